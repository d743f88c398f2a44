"""Tables of names: what a name stands for, what a mistyped one may have meant, what "module:name" refers to.

purepg's own objects are named as its users reach them, "purepg:PolicyGradient" or "purepg:baselines.LeaveOneOut", since
modules may move.
"""

import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import purepg
from purepg.errors import InvalidInput


def import_object(path: str) -> Any:
    """The object named "module:name".

    Args:
      path: the name, which may have dots.

    Raises:
      InvalidInput: there is no such module or name.
    """
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
