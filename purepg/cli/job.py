"""What is trained: environment and method from flags, the defaults of every flag from the two names."""

import dataclasses
import os
import re
import time
from typing import Annotated, Any

import tyro

from purepg.backend import of_machine
from purepg.cli.flags import changes_of, given, pairs, parse, refuse_without_effect
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Job:
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    estimator: str = "reinforce-loo"
    """Estimator of the gradient, or another method: a name that `purepg list` shows."""
    baseline: str | None = None
    """Another baseline than the estimator's own: none, constant, mean, loo, moving, value."""
    critic: str | None = None
    """Another critic than the estimator's own: none, shared (the policy's network), own."""
    collect: str | None = None
    """Another way to collect than the estimator's own: games (whole ones) or segments."""
    env_arguments: tuple[str, ...] = ()
    """Arguments of the environment's constructor, as name=value."""
    env_params: tuple[str, ...] = ()
    """Parameters of the environment that differ from its defaults, as name=value."""
    seeds: int = 64
    """Independent seeds, numbered from first_seed."""
    first_seed: int = 0
    """Number of the first seed; a seed's result depends on its number alone."""
    updates: int = 100
    """Updates of each seed; with --steps the most, if given."""
    steps: int | None = None
    """Budget of environment steps of each seed: it stops after the first update in which its own reach it. Without
    --updates there are as many as that lasts, and schedules are as long; in whole games, whose length nobody knows
    before, they hardly fall."""
    evaluation_games: int = 100
    """Fresh games of the final greedy evaluation of each seed; 0 for none."""
    evaluate_every: int = 0
    """Updates between two evaluations during training (metric greedy_return); 0: only at the end."""
    placement: str = "auto"
    """Where the seed axis goes: sequential (one seed after another on each device), vmap (all at once), shared (several
    devices a seed), or auto, what suits the machine."""
    tensorboard: bool = False
    """A live log for TensorBoard in the run's folder, beside progress.csv."""
    out: str | None = None
    """Folder for the run, which must not exist; default: a new one in runs/."""


def parse_job(arguments: list[str], command: str, job: type[Job] = Job) -> tuple[Any, Any, Any]:
    """The job's own fields, the method and its numbers.

    Two passes: environment and estimator choose the defaults, which then are flags of their own.
    """
    from purepg import environments, hyperparams, presets, sweeps

    names = _peek(arguments, job)
    spec = environments.environment(names.env, **pairs(names.env_arguments))
    recipe = presets.preset(spec, names.estimator, names.collect, names.updates)
    method = _with_parts(recipe.method, names)
    records = {("hyper",): recipe.hyper, **_records(method)}
    flags = {path: _flags(record, path, job) for path, record in records.items()}
    fields = [
        (_field(path), Annotated[type(default), tyro.conf.arg(name=_prefix(path))], default)
        for path, default in flags.items()
        if default is not None
    ]
    fields = [(name, kind, dataclasses.field(default=default)) for name, kind, default in fields]
    record = dataclasses.make_dataclass("flags", fields, bases=(job,), frozen=True)
    default = record(**vars(names) | {"updates": recipe.num_updates})
    parsed: Any = parse(record, arguments, command, default=default)
    if (parsed.env, parsed.env_arguments) != (names.env, names.env_arguments):
        raise InvalidInput(f"the environment comes first: purepg {command} {parsed.env} …")
    chosen = {path: vars(getattr(parsed, _field(path), record)) for path, record in records.items()}
    method, hyper = _rebuilt(method, (), chosen), hyperparams.Hyperparams(**chosen["hyper",])
    changes = changes_of(parsed.env_params)
    refuse_without_effect(spec, changes)
    for name, value in changes.items():
        method, hyper = sweeps.changed(method, hyper, name, value)
    words = given(arguments)
    if parsed.steps is not None and "--updates" not in words:
        method = sweeps.as_long_as(
            parsed.steps, method, recipe.num_updates, lambda field: flag_of(field, job) in words
        )
        parsed = dataclasses.replace(parsed, updates=None)
    return parsed, method, hyper


def new_folder_name(env: str, what: str) -> str:
    """A name in runs/ that is not taken."""
    env = re.sub(r"[^\w.-]+", "-", env)
    base = os.path.join("runs", f"{env}-{what}-{time.strftime('%Y%m%d-%H%M%S')}")
    names = (base if i == 0 else f"{base}-{i + 1}" for i in range(1000))
    return next(name for name in names if not os.path.exists(name))


def _with_parts(method: Any, names: Job) -> Any:
    """The method with the baseline and the critic that were asked for."""
    for part in ("baseline", "critic"):
        if (given := getattr(names, part)) is None:
            continue
        estimator = getattr(method, "estimator", None)
        if estimator is None or not hasattr(estimator, part):
            raise InvalidInput(f"{names.estimator!r} has no {part}: leave --{part} out")
        method = dataclasses.replace(method, estimator=dataclasses.replace(estimator, **{part: given}))
    return method


_Path = tuple[str, ...]  # the names of fields, from the method down to a record


def _is_chosen_elsewhere(field: dataclasses.Field) -> bool:
    return field.name == "env" or of_machine(field)


def _nested(record: Any) -> dict[str, Any]:
    """The fields of a record that are records themselves; the environment is chosen otherwise."""
    fields = {
        f.name: getattr(record, f.name) for f in dataclasses.fields(record) if not _is_chosen_elsewhere(f)
    }
    return {name: value for name, value in fields.items() if dataclasses.is_dataclass(value)}


def _records(record: Any, path: _Path = ()) -> dict[_Path, Any]:
    """The record and all those in it."""
    found = {path: record}
    for name, value in _nested(record).items():
        found |= _records(value, (*path, name))
    return found


def _rebuilt(record: Any, path: _Path, chosen: dict[_Path, dict[str, Any]]) -> Any:
    """The record with the chosen fields of it and of those in it."""
    nested = {name: _rebuilt(value, (*path, name), chosen) for name, value in _nested(record).items()}
    return dataclasses.replace(record, **chosen[path] | nested)


def _field(path: _Path) -> str:
    return "_".join(("fields", *path))


def _prefix(path: _Path) -> str:
    """What comes before the dot in the flags of a record; nothing for those that there is one of by nature."""
    names = [name for name in path if name not in ("hyper", "task", "estimator", "collect")]
    return ".".join(names).replace("policy.network", "network")


def _flags(record: Any, path: _Path, job: type[Job]) -> Any:
    """The same record without flags for the records in it and the environment; none if there is nothing left.

    A field whose flag would be one of the job's own has a longer one.
    """
    without = [f.name for f in dataclasses.fields(record) if _is_chosen_elsewhere(f)] + list(_nested(record))
    if len(without) == len(dataclasses.fields(record)):
        return None
    kinds: dict[str, Any] = dict.fromkeys(without, Annotated[Any, tyro.conf.Suppress])
    for field in dataclasses.fields(record):
        if field.name not in without and _is_taken(path, field.name, job):
            longer = tyro.conf.arg(name=flag_of(field.name, job).removeprefix("--"))
            kinds[field.name] = Annotated[field.type, longer]
    fields = [(name, kind, dataclasses.field(default=getattr(record, name))) for name, kind in kinds.items()]
    made = dataclasses.make_dataclass(type(record).__name__, fields, bases=(type(record),), frozen=True)
    made.__doc__ = type(record).__doc__
    return made(**vars(record))


def flag_of(field: str, job: type[Job] = Job) -> str:
    """The flag of a field of the method or of its numbers, named as in a sweep."""
    *path, name = field.split(".")
    prefix = "method" if _is_taken(tuple(path), name, job) else _prefix(tuple(path))
    return "--" + ".".join(filter(None, (prefix, name))).replace("_", "-")


def _is_taken(path: _Path, name: str, job: type[Job]) -> bool:
    """Whether the field's flag would be one of the job's own."""
    return not _prefix(path) and name in (field.name for field in dataclasses.fields(job))


def _peek(arguments: list[str], job: type[Job]) -> Job:
    """The fields that choose other flags, from arguments that may hold flags not known yet."""
    words = given(arguments)
    chosen: dict[str, Any] = {
        name: words[f"--{name}"][0]
        for name in ("estimator", "baseline", "critic", "collect")
        if words.get(f"--{name}")
    }
    if arguments and not arguments[0].startswith("-"):
        chosen["env"] = arguments[0]
    updates = "".join(words.get("--updates", []))
    chosen["updates"] = int(updates) if updates.isdecimal() else 0
    return job(**chosen, env_arguments=tuple(words.get("--env-arguments", ())))
