"""Tables of names: what a name stands for, what a mistyped one may have meant, what "module:name" refers to.

purepg's own objects are named as its users reach them, "purepg:PolicyGradient" or "purepg:baselines.LeaveOneOut", since
modules may move.

The environments of `envs` are found by their place beside purepg, since a user's project often has an `envs` too:
"envs:Name" is the user's where theirs has the name, else ours.
"""

import difflib
import functools
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import purepg
from purepg.errors import InvalidInput

OURS = pathlib.Path(purepg.__file__).resolve().parent.parent / "envs"
ALIAS = "purepg_envs"  # the name of ours where another package has `envs`


def import_object(path: str) -> Any:
    """The object named "module:name".

    Args:
      path: the name, which may have dots.

    Raises:
      InvalidInput: there is no such module or name.
    """
    root, dot, rest = path.partition(":")[0].partition(".")
    if root != "envs":
        return _import(path)
    try:
        _claim_theirs()
        return _import(path)
    except InvalidInput as error:
        try:
            return _import(f"{our_envs().__name__}{dot}{rest}:{path.partition(':')[2]}")
        except InvalidInput:
            theirs = _theirs()
            if theirs is not None and _is_ours(getattr(sys.modules.get("envs"), "__spec__", None)):
                raise InvalidInput(
                    f"cannot import {path!r}: purepg's own package `envs` was imported before the one in "
                    f"{theirs.origin}; put the latter's folder before purepg's on the path, or rename it"
                ) from error
            raise error from error.__cause__


def our_envs() -> ModuleType:
    """The package `envs` beside purepg, as `purepg_envs` where another has its name."""
    loaded = sys.modules.get("envs")
    if loaded is not None and _is_ours(loaded.__spec__):
        return loaded
    if loaded is None and not _theirs():
        found = importlib.util.find_spec("envs")
        if found and _is_ours(found):
            return importlib.import_module("envs")
    if ALIAS not in sys.modules:
        spec = importlib.util.spec_from_file_location(ALIAS, OURS / "__init__.py")
        assert spec is not None
        _execute(spec)
    return sys.modules[ALIAS]


def _elsewhere() -> list[str]:
    """The path without copies of purepg: an `envs` beside one is no project's own."""
    return [place for place in sys.path if not (pathlib.Path(place) / "purepg" / "__init__.py").is_file()]


def _theirs() -> ModuleSpec | None:
    """Another package or module `envs` on the path; a mere folder does not take the name from ours."""
    found = PathFinder.find_spec("envs", _elsewhere())
    return found if found and found.origin else None


def _claim_theirs() -> None:
    """Import the user's `envs` under this name, also where Python would find ours first; a folder joins ours.

    Raises:
      InvalidInput: it fails when it is run.
    """
    loaded = sys.modules.get("envs")
    if loaded is not None and not _is_ours(loaded.__spec__):
        return
    theirs = _theirs()
    if theirs is None:
        ours = our_envs()
        if ours.__name__ == "envs":
            folders = [str(pathlib.Path(place).resolve() / "envs") for place in _elsewhere()]
            ours.__path__ += [f for f in folders if pathlib.Path(f).is_dir() and f not in ours.__path__]
    elif loaded is None:
        try:
            _execute(theirs)
        except (Exception, SystemExit) as error:
            raise InvalidInput(f"importing 'envs' fails with {type(error).__name__}: {error}") from error


def _execute(spec: ModuleSpec) -> None:
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise


def _is_ours(spec: ModuleSpec | None) -> bool:
    return spec is not None and spec.origin is not None and pathlib.Path(spec.origin).resolve().parent == OURS


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"cannot import {path!r} (expected module:name): {error}") from error
    except (Exception, SystemExit) as error:  # the module's own, when it is imported
        raise InvalidInput(f"importing {path!r} fails with {type(error).__name__}: {error}") from error


def spellings(module: str, name: str) -> list[str]:
    """The names by which `import_object` may find something that a module defines; the best comes first.

    Args:
      module: that defines it.
      name: of it there, which may have dots.
    """
    package, *path = module.split(".")
    if package == ALIAS:
        return [f"{'.'.join(['envs', *path])}:{name}"]
    if package != "purepg":
        return [f"{module}:{name}"]
    first = name.partition(".")[0]
    return [
        f"purepg:{found}"
        for home, found in ((first, name), *((part, f"{part}.{name}") for part in reversed(path)))
        if home in purepg.__all__
    ]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The words ", did you mean …?", or "".

    Args:
      name: what was given.
      known: the names that exist.
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def lookup(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry of a table by its name.

    Args:
      what: kind of thing, for the message.
      name: the entry's.
      table: name → entry.

    Raises:
      InvalidInput: there is no such name; the message lists all names.
    """
    if not isinstance(name, str) or name not in table:
        close = did_you_mean(name, table) if isinstance(name, str) else ""
        raise InvalidInput(f"unknown {what} {name!r}{close}; known: {', '.join(table)}")
    return table[name]
