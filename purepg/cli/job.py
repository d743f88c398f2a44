"""What is trained: a job from the first pass over the flags, its method and numbers from the second.

The job's environment and names choose a preset. The preset's fields, as `purepg.runs.records` names them, are the flags
of the second pass, which reads what the first one has left.
"""

import dataclasses
import pathlib
import re
import time
from typing import Annotated, Any, NamedTuple

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from purepg.cli.flags import changes_of, given, is_environment, pairs, parse, positive, refuse_without_effect
from purepg.errors import InvalidInput, whole_number


@dataclasses.dataclass(frozen=True)
class Choice:
    """Names that choose a method and its parts."""

    method: Annotated[str, tyro.conf.arg(aliases=("--estimator",))] = "reinforce-loo"
    """Estimator of the gradient, or another method: a name that `purepg list` shows."""
    baseline: str | None = None
    """Another baseline than the method's own: none, constant, mean, loo, moving, value, optimal."""
    critic: str | None = None
    """Another critic than the method's own: none, shared (the policy's network), own."""
    network: str | None = None
    """Another network of the policy than the method's own: mlp, conv, table."""
    optimizer: str | None = None
    """Another optimiser than the method's own: adam, sgd, rmsprop; its schedule stays."""
    collect: str | None = None
    """Another way to collect than the method's own: games (whole ones) or segments."""


@dataclasses.dataclass(frozen=True)
class Common:
    """What a job and a comparison have in common."""

    set: tuple[str, ...] = ()
    """Fields that differ from the defaults, as field=value: num_games=32, critic.network=table, env.gravity=5."""
    env_arguments: tuple[str, ...] = ()
    """Arguments of the environment's constructor, as name=value."""
    env_params: tuple[str, ...] = ()
    """Parameters of the environment that differ from its defaults, as name=value."""
    updates: int | None = None
    """Updates of each seed, with --steps at most; none: each method's own number, or what --steps allows."""
    steps: int | None = None
    """Budget of environment steps of each seed, which stops after the first update in which its steps reach it. Without
    --updates there are as many as the budget lasts for, and schedules are as long; in whole games, whose length is not
    known beforehand, they hardly fall."""
    seeds: int = 64
    """Independent seeds, the same ones for every method, numbered from first_seed."""
    first_seed: int = 0
    """Number of the first seed; a seed's result depends on its number alone."""
    evaluation_games: int = 100
    """Fresh games of the final greedy evaluation of each seed; 0 for none."""
    evaluate_every: int = 0
    """Updates between two evaluations during training (metric greedy_return); 0: only at the end."""
    placement: str = "auto"
    """Where the seed axis goes: sequential (one seed after another on each device), vmap (all at once), shared (several
    devices per seed), or auto, what suits the machine."""

    def options(self) -> dict[str, Any]:
        """What `run` and `study` take by the same names."""
        names = "evaluation_games", "evaluate_every", "placement"
        return {name: getattr(self, name) for name in names} | {"num_steps": self.steps}


@dataclasses.dataclass(frozen=True)
class Job(Common, Choice):
    out: str | None = None
    """Folder for the run, which must not exist; default: a new one in runs/."""


class Parsed(NamedTuple):
    """What a command line says."""

    job: Any
    method: Any
    hyper: Any
    given: frozenset[str]  # the paths of the fields that were given a value


def parse_job(arguments: list[str], command: str, job: type[Job] = Job) -> Parsed:
    """The job, and the preset that it chooses with the given changes.

    Raises:
      InvalidInput: something is unknown, ambiguous or not a value, or things do not go together.
    """
    from purepg import environments, presets
    from purepg.runs import records
    from purepg.studies import sweep as sweeps

    chosen, words = parse(job, arguments, command, return_unknown_args=True, add_help=False)
    if chosen.updates is not None:
        whole_number("num_updates", chosen.updates, 1)
    env, words = _environment(words)
    spec = environments.environment(env, **pairs(chosen.env_arguments))
    preset = presets.preset(spec, chosen.method, chosen.collect, chosen.updates)
    named = _named_parts(preset.method, chosen)
    method, hyper = records.changed(preset.method, preset.hyper, named)
    shown = dataclasses.replace(chosen, updates=preset.num_updates)
    words = ["--help"] if {"-h", "--help"} & {*words} else [env, *words]  # help covers what follows it
    flags = named | _second_pass(words, command, shown, method, hyper)
    changes = changes_of(chosen.env_params, chosen.set)
    refuse_without_effect(method, changes)
    if twice := flags.keys() & changes.keys():
        raise InvalidInput(f"{', '.join(sorted(twice))} is given twice: give it once")
    changes |= flags
    method, hyper = records.changed(preset.method, preset.hyper, changes)
    targets = [records.target(method, name, value) for name, value in changes.items()]
    if chosen.updates is None and chosen.steps is not None:
        method = sweeps.as_long_as(chosen.steps, method, preset.num_updates, targets.__contains__)
        shown = chosen
    return Parsed(shown, method, hyper, frozenset(targets))


def new_folder_name(env: str, what: str) -> str:
    """A name in runs/ that is still free."""
    env = re.sub(r"[^\w.-]+", "-", env)
    base = f"runs/{env}-{what}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (base if i == 0 else f"{base}-{i + 1}" for i in range(1000))
    return next(name for name in names if not pathlib.Path(name).exists())


def flags_of(method: Any, job: type[Job] = Job) -> dict[str, str]:
    """Path → flag of every field of the method and its numbers; a longer flag where the job has the same name."""
    from purepg.runs import records

    taken = [field.name for field in dataclasses.fields(job)]
    names = {path: "method." * (name in taken) + name for path, name in records.shorts(method).items()}
    return {path: f"--{name}".replace("_", "-") for path, name in names.items()}


def _environment(words: list[str]) -> tuple[str, list[str]]:
    """The environment among the words that no flag of the job has taken, and the others.

    It comes first; after an unknown flag, whose values are not known yet, it is recognised by its name.
    """
    for i, word in enumerate(words):
        if not word.startswith("-") and (i == 0 or is_environment(word)):
            return word, words[:i] + words[i + 1 :]
    return "CartPole-v1", words


def _named_parts(method: Any, job: Job) -> dict[str, str]:
    """The parts of the method that the job names, path → name.

    Raises:
      InvalidInput: the method has no such part.
    """
    from purepg.runs import records

    found = {}
    for part in ("baseline", "critic", "network", "optimizer"):
        if (name := getattr(job, part)) is not None:
            if not records.matches(method, part):
                raise InvalidInput(f"{job.method!r} has no {part}: leave --{part} out")
            found[records.find(method, part)] = name
    return found


def _second_pass(words: list[str], command: str, job: Job, method: Any, hyper: Any) -> dict[str, Any]:
    """The fields of the method and its numbers that the words give a value, path → value."""
    fields = _fields(method, hyper)
    flags = {path: flag for path, flag in flags_of(method, type(job)).items() if path in fields}
    words = [_spelled(word, flags, method) for word in words]
    env: Any = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    text = "Environment: an id that `purepg list` shows, or module:Class."
    everything = [StructFieldSpec("env", env, method.task.env.name, text), *_of(job)]
    known = [field.name for field in everything]
    for path, field in fields.items():
        kind: Any = Annotated[field.type, tyro.conf.arg(name=flags[path][2:])]
        everything.append(dataclasses.replace(field, name=f"fields.{path}", type=kind))
        known.append(flags[path][2:])
    registry = ConstructorRegistry()
    spec = StructConstructorSpec(dict, tuple(everything))
    registry.struct_rule(lambda info: spec if info.type is Parsed else None)
    found = parse(Parsed, words, command, known, registry=registry)
    there = given(words)
    return {path: found[f"fields.{path}"] for path, flag in flags.items() if flag in there}


def _fields(method: Any, hyper: Any) -> dict[str, StructFieldSpec]:
    """Path → type, default and help of every field that is not a record itself."""
    from purepg.runs import records

    inner = {f"{path}.": value for path, value in records.fields(method).items() if records.is_record(value)}
    found: dict[str, StructFieldSpec] = {}
    for prefix, record in (("", hyper), ("", method), *inner.items()):
        own = records.parts(record)
        for field in _of(record):
            if field.name in own and not records.is_record(own[field.name]):
                found.setdefault(prefix + field.name, field)
    return found


def _of(record: Any) -> tuple[StructFieldSpec, ...]:
    """What tyro knows of the fields of a record."""
    info = StructTypeInfo.make(type(record), record, in_union_context=False)
    spec: Any = ConstructorRegistry.get_struct_spec(info)
    return spec.fields


def _spelled(word: str, flags: dict[str, str], method: Any) -> str:
    """The word, a flag that is another name of a field spelled as `--help` shows it."""
    from purepg.runs import records

    flag, equals, value = word.partition("=")
    name = positive(flag).removeprefix("--")
    if not word.startswith("--") or f"--{name}" in flags.values() or not records.matches(method, name):
        return word
    path = records.find(method, name)
    if path.startswith("env."):
        raise InvalidInput(f"{flag} is no flag: give --set {path}=…")
    if (shown := flags.get(path)) is None:
        return word
    if positive(flag) != flag.replace("_", "-"):
        shown = re.sub(r"(^--|\.)(?=[^.]*$)", r"\1no-", shown)
    return f"{shown}{equals}{value}"
