"""Nested frozen records by the names of their fields: the names that flags, sweeps and `--set` share.

A field of a method has a path, from the method down: `task.collect.num_games`, `estimator.baseline.decay`. Beside the
method stand its numbers: every field of `Hyperparams`, as `learning_rate`, and the environment's parameters, as
`env.gravity`. Any end of a path that no other path has names the field too: `num_games`, `baseline.decay`, `gravity`.
What is exact comes first: a whole path, then what is left of one without the records of which a method has one by
nature (`shorts`), so that `network.hidden` is the policy's also where a critic has a network of its own.

A part is given whole, or by its name where it is in a table: `baseline=loo`, `network=table`, `optimizer=sgd`.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from purepg import environments, hyperparams
from purepg.environments import env_params
from purepg.errors import InvalidInput, checks
from purepg.hyperparams import Hyperparams
from purepg.names import did_you_mean
from purepg.task import of_machine

_BY_NATURE = ("task", "collect", "estimator")  # of these a method has one
_NUMBERS = tuple(field.name for field in dataclasses.fields(Hyperparams) if field.name != "env")


def parts(record: Any) -> dict[str, Any]:
    """The fields of one record by name; not the environment and the backend, chosen otherwise, nor what flax adds."""
    hidden = ("parent", "name") if isinstance(record, nn.Module) else ("env",)
    own = [field for field in dataclasses.fields(record) if field.init and not of_machine(field)]
    names = [field.name for field in own if field.name not in hidden]
    return {name: getattr(record, name) for name in names}


def is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def fields(record: Any, prefix: str = "") -> dict[str, Any]:
    """Path → value of every field of a record and of the records in it, those included."""
    found = {}
    for name, value in parts(record).items():
        found[prefix + name] = value
        if is_record(value):
            found |= fields(value, f"{prefix}{name}.")
    return found


def paths(method: Any) -> list[str]:
    """Of every number beside the method, every parameter of its environment, every field of it and its records."""
    defaults = environments.parameters(method.task.env, None)
    return [*_NUMBERS, *(f"env.{name}" for name in env_params.leaves(defaults)), *fields(method)]


def shorts(method: Any) -> dict[str, str]:
    """Path → what its flag is called: the path without the records of which there is one, where nothing else is."""
    found = {path: _short(path) for path in paths(method)}
    count = collections.Counter(found.values())
    return {path: name if count[name] == 1 else path for path, name in found.items()}


def matches(method: Any, name: str) -> list[str]:
    """The paths that a name stands for: one where it is exact, else all that end in it; dashes are underscores."""
    name, short = name.replace("-", "_"), shorts(method)
    if name.startswith("env."):
        return [name]  # whole: the environment says which there are
    name = name.removeprefix("method.")
    exact = {shown: path for path, shown in short.items()} | {path: path for path in short}
    return [exact[name]] if name in exact else [path for path in short if path.endswith(f".{name}")]


def find(method: Any, name: str) -> str:
    """The path of the field that a name stands for.

    Args:
      method: what has the field, or the environment in it, or the numbers beside it.
      name: the path, or any end of it that is unique.

    Raises:
      InvalidInput: no field has this name, or several have.
    """
    found = matches(method, name)
    if len(found) > 1:
        raise InvalidInput(f"{name!r} could be any of {', '.join(found)}: give one of these names")
    if not found:
        known = paths(method)
        ends = [path.split(".", i)[-1] for path in known for i in range(path.count(".") + 1)]
        close = did_you_mean(name.replace("-", "_"), ends)
        raise InvalidInput(f"no field {name!r}{close}; there are {', '.join(known)}")
    return found[0]


def target(method: Any, name: str, value: Any) -> str:
    """The path that a value for a name goes to: a word for a record that has a `name` is that name.

    Raises:
      InvalidInput: as `find`.
    """
    path = find(method, name)
    named = isinstance(value, str) and f"{path}.name" in fields(method)
    return f"{path}.name" if named else path


def changed(method: Any, hyper: Hyperparams, changes: Mapping[str, Any]) -> tuple[Any, Hyperparams]:
    """The method and the numbers with some fields changed, whatever their order: parts first, then all others at once.

    Args:
      changes: name → value; one value, not one for each replicate.

    Raises:
      InvalidInput: as `find`; this is no value for a field; or two names are of one field.
    """
    left, given = dict(changes), {}

    def give(name: str, value: Any) -> str:
        path = target(method, name, value)
        if path in given:
            raise InvalidInput(f"{path} is given twice, by two of its names: give it once")
        given[path] = value
        return path

    while name := _outermost(method, left):
        path = give(name, left.pop(name))
        method = replaced(method, {path: given[path]})
    own = {path: given[path] for path in [give(name, value) for name, value in left.items()]}
    numbers = {name: own.pop(name) for name in _NUMBERS if name in own}
    for name, value in numbers.items():
        hyperparams.check_one(name, value)
    env = {path.removeprefix("env."): own.pop(path) for path in list(own) if path.startswith("env.")}
    if env:
        numbers["env"] = env_params.with_fields(method.task.env, env, replicates=False, base=hyper.env)
    return replaced(method, own), dataclasses.replace(hyper, **numbers)


def replaced(record: Any, values: Mapping[str, Any]) -> Any:
    """The record with other values at some paths, all at once: a constructor sees none without the others.

    Raises:
      InvalidInput: this is no value for a field.
    """
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        inner.setdefault(name, {})[rest] = value
    kinds = {field.name: field for field in dataclasses.fields(record)}
    chosen = {
        name: checks.field(kinds[name], those[""]) if "" in those else replaced(getattr(record, name), those)
        for name, those in inner.items()
    }
    made = dataclasses.replace(record, **chosen)
    for name, value in chosen.items():
        before = getattr(record, name)
        if is_record(before) and not is_record(getattr(made, name)):
            its = ", ".join(f"{name}.{part}" for part in parts(before))
            raise InvalidInput(f"{name} = {value!r}: give a part of it {its}")
    return made


def _short(path: str) -> str:
    *records, name = path.split(".")
    shown = ".".join([*(record for record in records if record not in _BY_NATURE), name])
    return shown.removeprefix("policy.") if shown.startswith("policy.network") else shown


def _outermost(method: Any, changes: Mapping[str, Any]) -> str:
    """Of the names of whole parts among the changes that of the outermost; "" where there is none."""
    every, depth = fields(method), {}
    for name, value in changes.items():
        if len(matches(method, name)) == 1 and is_record(every.get(path := target(method, name, value))):
            depth[name] = path.count(".")
    return min(depth, key=lambda name: depth[name], default="")
