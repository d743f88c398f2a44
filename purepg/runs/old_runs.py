"""Runs of earlier formats: they are read, evaluated and plotted, but not resumed.

Formats 4 and 5 are those of purepg 0.1. They named classes by the modules that these stood in; format 4 kept states by
orbax and had no checksums. Format 6 had other names for parts of a state. The tables here are the one place where old
names are kept.

What a state holds beside parameters, keys and counts (of optimisers, critics, running games) may have another form by
now. What is not in the file stands in the state as its shape and type alone: nothing can be computed from it, and it
cannot be saved.
"""

import logging
import pathlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.interpreters import partial_eval

import purepg
from purepg.machines import files, seeds
from purepg.runs import saved_state
from purepg.training import Method, TrainState

if TYPE_CHECKING:
    import xarray

FORMATS = (4, 5, 6)
UNSEALED = (4,)  # without checksums

# Old → today's, where that is not the public name of what is called the same.
_NAMES = {"purepg.distributions:Gaussian": "purepg:distributions.Gaussian"}
# By a record's public name of today.
_FIELDS: dict[str, dict[str, str | None]] = {}  # old → today's; None where it is gone
_DEFAULTS: dict[str, dict[str, Any]] = {}  # fields that are new since, as `configuration.encode` writes them
_PATHS = {"target_params": "slow", "return_so_far": "score"}  # a state's parts, today's → old
_PLAN = {"num_steps": None}  # what config.json has got since


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """What an old config.json says, in today's names."""
    return _PLAN | config | {
        "method": _renamed(config["method"]),
        "hyper": _with_fields("purepg:Hyperparams", config["hyper"]),
        "placement": seeds.RENAMED.get(config["placement"], config["placement"]),
    }  # fmt: skip


def upgraded_dataset(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """An old dataset in today's names."""
    if "placement" not in dataset.attrs:  # a study's
        return dataset
    placement = str(dataset.attrs["placement"])
    return dataset.assign_attrs(placement=seeds.RENAMED.get(placement, placement))


def state_reader(version: int, method: Method) -> Callable[[pathlib.Path, Any], TrainState]:
    """(folder of a state, template) → what the state of a run has in both, as `saved_state.read`.

    Args:
      version: the run's format.
      method: what it trained.
    """

    def read(folder: pathlib.Path, template: TrainState) -> TrainState:
        arrays = _by_orbax(folder, template) if version in UNSEALED else saved_state.read_arrays(folder)
        paths = saved_state.by_path(template)
        arrays |= {path: arrays[_old(path)] for path in paths if path not in arrays and _old(path) in arrays}
        return saved_state.matched(arrays, template, folder, needed=_needed(method, template))

    return read


def _renamed(data: Any) -> Any:
    """What `configuration.encode` wrote, in today's names."""
    if isinstance(data, list):
        return [_renamed(x) for x in data]
    if not isinstance(data, dict):
        return data
    data = {name: _renamed(x) for name, x in data.items()}
    if data.keys() == {"function"}:
        return {"function": _public(data["function"])}
    if "type" not in data:
        return data
    name = _public(data.pop("type"))
    return {"type": name} | _with_fields(name, data)


def _with_fields(record: str, data: dict[str, Any]) -> dict[str, Any]:
    """A record's fields in today's names, with those that it has got since."""
    names = {name: name for name in data} | _FIELDS.get(record, {})
    kept = {new: data[old] for old, new in names.items() if new is not None and old in data}
    return _DEFAULTS.get(record, {}) | kept


def _public(name: str) -> str:
    """Today's name of what had an old one."""
    if name in _NAMES:
        return _NAMES[name]
    module, _, inner = name.removeprefix("purepg.").partition(":")
    if module == name.partition(":")[0]:  # a user's own
        return name
    if inner.partition(".")[0] in purepg.__all__:
        return f"purepg:{inner}"
    home = module.partition(".")[0]
    return f"purepg:{home}.{inner}" if home in purepg.__all__ else name


def _old(path: str) -> str:
    """What a path in a state was called, in either of the ways in which paths are written."""
    return re.sub(rf"(?<=[./])({'|'.join(_PATHS)})(?=[./\[]|$)", lambda found: _PATHS[found[0]], path)


def _needed(method: Method, template: TrainState) -> set[str]:
    """The paths of what playing reads of a state: all but what only training needs."""

    def playing(state: TrainState) -> Any:
        return method.params(state.learner), state._replace(learner=())

    jaxpr = jax.make_jaxpr(jax.vmap(playing))(template).jaxpr
    read = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    return {path for path, used in zip(saved_state.by_path(template), read, strict=True) if used}


def _by_orbax(folder: pathlib.Path, template: TrainState) -> dict[str, np.ndarray]:
    """What orbax finds in a folder for the paths of a state."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # it logs that it misses a file of later versions
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    folder = next(folder.glob("default"), folder)  # a checkpoint's
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree: Any = checkpointer.metadata(folder.resolve()).item_metadata.tree  # pyright: ignore
            plain = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            found = checkpointer.restore(folder.resolve(), restore_args=plain)
    except Exception as error:  # whatever a reader makes of half a file
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise files.Damaged(f"{folder.name}: {type(error).__name__}: {line}") from error
    saved = saved_state.by_path(found, simple=True, separator="/")
    simple = zip(
        saved_state.by_path(template, simple=True, separator="/"), saved_state.by_path(template), strict=True
    )
    return {
        path: np.asarray(saved[key]) for name, path in simple for key in (_old(name), name) if key in saved
    }
