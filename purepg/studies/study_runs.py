"""The runs of a study: what a replicate is, which ones exist, and one run for all missing ones that go together.

A replicate is its method, its numbers, its length (updates, budget of steps), its evaluations and its seed. Those that
differ only in numbers and seed lie along the replicates' axis of one run.
"""

import dataclasses
import math
import operator
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import environments, hyperparams
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.runs import configuration, run_folder, run_length, runner
from purepg.runs.plans import Plan, encode
from purepg.runs.results import Result
from purepg.runs.run_options import Progress, RunOptions
from purepg.training import Method, fitted

__all__ = ["Config", "ReplicateIndex", "StudyRuns"]


class Config(NamedTuple):
    """One configuration.

    Attributes:
      name: Unique in a study.
      method: What is trained.
      hyper: Its numbers, scalars.
      num_updates: At most; none: as many as the study's budget of steps lasts for.
      settings: What sets it apart, (field, value) pairs: coordinates of the study's dataset.
    """

    name: str
    method: Method
    hyper: Hyperparams
    num_updates: int | None
    settings: tuple[tuple[str, Any], ...] = ()


class ReplicateIndex(NamedTuple):
    """A replicate's place.

    Attributes:
      part: Number of the run.
      index: Along the run's seed axis.
    """

    part: int
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]


_SHARED = ("evaluation_games", "evaluate_every", "num_steps")  # what all replicates of a study have
_shared = operator.attrgetter(*_SHARED)  # of a plan, or of a run's options


class StudyRuns:
    """The runs of a study: those that exist, and those that are still to be made."""

    def __init__(self, folder: pathlib.Path | None, options: RunOptions):
        self.folder, self.options = folder, options
        self.results: list[Result] = []
        self.places: dict[Any, ReplicateIndex] = {}

    def key(self, config: Config, seed: int) -> Any:
        """What a replicate is.

        Args:
          config: its configuration.
          seed: its seed's number.
        """
        hyper = _rows(config.method, config.hyper, 1)
        return (
            *_played(config.method, config.hyper, 1)[0],
            config.num_updates,
            _shared(self.options),
            hyper[0],
            seed,
        )

    def carry_out(
        self,
        configs: Sequence[Config],
        seeds: Sequence[int],
        wanted: dict[tuple[str, int], Any],
    ) -> None:
        """Continues interrupted runs, then trains what is missing.

        Args:
          configs: of the study.
          seeds: the seed numbers.
          wanted: (configuration's name, seed) → what the replicate is.
        """
        there = sorted(self.folder.glob("parts/[0-9]*")) if self.folder else []
        plans = [(path, run_folder.read_plan(path)) for path in there]
        for path, plan in plans:
            _check_asked_for(plan, path, configs, wanted, _shared(self.options))
        clock = _Clock(self.options.report)
        for path, plan in plans:
            if not run_folder.is_finished(path):
                clock.expect(plan)
        known = {key for _, plan in plans for key in _keys(plan)}
        missing = list(_missing(configs, seeds, wanted, known, self.options))
        for plan in missing:
            clock.expect(plan)
            if self.folder:
                encode(plan)  # what cannot be saved is refused before any is trained
        for path, plan in plans:
            pause = self.options.checkpoint_seconds
            self._add(plan, runner.resume(path, checkpoint_seconds=pause, report=clock.of(plan)))
        for i, plan in enumerate(missing, start=len(plans)):
            options = dataclasses.replace(self.options, report=clock.of(plan))
            self._add(plan, runner.start(plan, self.folder and self.folder / "parts" / f"{i:03}", options))

    def _add(self, plan: Plan, result: Result) -> None:
        if not run_length.is_done(result.state, plan.num_updates):
            raise KeyboardInterrupt
        places = {key: ReplicateIndex(len(self.results), i) for i, key in enumerate(_keys(plan))}
        self.places = places | self.places  # what was there first stays
        self.results.append(result)


def _check_asked_for(
    plan: Plan,
    path: pathlib.Path,
    configs: Sequence[Config],
    wanted: dict[tuple[str, int], Any],
    shared: tuple,
) -> None:
    """Refuses a call that would leave out an existing run, and says how they differ.

    Raises:
      InvalidInput: not all replicates of the run are wanted.
    """
    left_out = set(_keys(plan)) - set(wanted.values())
    if not left_out:
        return
    folder = path.parent.parent
    spec = plan.method.task.env
    others = [config.method.task.env for config in configs if config.method.task.env != spec]
    if others:
        what = f"is of {_named(spec)}, this one is of {_named(others[0])}: give it a folder of its own"
    elif shared != (saved := _shared(plan)):
        names = " and ".join(f"{name} = {value}" for name, value in zip(_SHARED, saved, strict=True))
        what = (
            f"has {names}, here they are {' and '.join(map(str, shared))}: give the same, or another folder"
        )
    else:
        what = _difference(plan, left_out, configs) + ": ask for that too, or give another folder"
    raise InvalidInput(f"the study in {folder} {what}")


def _difference(plan: Plan, left_out: set, configs: Sequence[Config]) -> str:
    """What a run of the study has that is not asked for now."""
    rows = _rows(plan.method, plan.hyper, len(plan.seeds))
    same = [config for config in configs if config.method == plan.method]
    numbers = {_rows(config.method, config.hyper, 1)[0]: config.num_updates for config in same}
    if not same:
        saved, *given = (
            configuration.encode(method) for method in (plan.method, *(c.method for c in configs))
        )
        apart = [_apart(configuration.paths(saved), configuration.paths(one)) for one in given]
        return f"has a method with {min(apart, key=len)[0]}, which none of those here has"
    if lengths := {numbers[row] for row in rows if row in numbers} - {plan.num_updates}:
        saved, given = (n or "any number of" for n in (plan.num_updates, min(lengths, key=lambda n: n or 0)))
        return f"has runs of {saved} updates, here they have {given}"
    if not numbers.keys() >= set(rows):
        return (
            f"has numbers that none of those here has: {hyperparams.encode(plan.hyper, plan.method.task.env)}"
        )
    return f"has seeds {', '.join(map(str, sorted({key[-1] for key in left_out})))}"


def _apart(saved: dict[str, Any], given: dict[str, Any]) -> list[str]:
    return [f"{name} = {value}" for name, value in saved.items() if given.get(name) != value] or [
        "fewer fields"
    ]


def _named(spec: EnvironmentSpec) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in spec.arguments)
    return spec.name + (f" with {arguments}" if arguments else "")


def _missing(
    configs: Sequence[Config],
    seeds: Sequence[int],
    wanted: dict[tuple[str, int], Any],
    known: set,
    options: RunOptions,
) -> Iterator[Plan]:
    """Runs for the missing replicates: one for all that share method and length."""
    groups: dict[Any, dict[Any, tuple[Config, int]]] = {}
    for config in configs:
        for seed in seeds:
            key = wanted[config.name, seed]
            if key not in known:
                groups.setdefault((config.method, config.num_updates), {})[key] = config, seed
    for (method, num_updates), replicates in groups.items():
        pairs = list(replicates.values())
        hyper = jax.tree.map(_column, *(config.hyper for config, _ in pairs))
        numbers = np.array([seed for _, seed in pairs])
        yield options.plan(*fitted(method, hyper), numbers, num_updates)


def _column(*numbers: Any) -> Any:
    """One number of all replicates `[R]`, or the one that they share."""
    arrays = [np.asarray(x) for x in numbers]
    if all(np.array_equal(x, arrays[0]) for x in arrays):
        return numbers[0]
    return np.stack(arrays)


def _rows(method: Method, hyper: Hyperparams, num_replicates: int) -> list[tuple[bytes, ...]]:
    """The numbers of each replicate, to be compared."""
    env = environments.parameters(method.task.env, None)
    columns = []
    for x, like in zip(jax.tree.leaves(hyper), jax.tree.leaves(Hyperparams(env=env)), strict=True):
        x = np.asarray(x, jnp.result_type(like))
        shared = x.ndim == np.ndim(like)
        columns.append([x.tobytes()] * num_replicates if shared else [row.tobytes() for row in x])
    return list(zip(*columns, strict=True))


def _keys(plan: Plan) -> list[Any]:
    """What each replicate of a run is."""
    rows = _rows(plan.method, plan.hyper, len(plan.seeds))
    played = _played(plan.method, plan.hyper, len(plan.seeds))
    fixed = plan.num_updates, _shared(plan)
    return [(*game, *fixed, row, int(seed)) for game, row, seed in zip(played, rows, plan.seeds, strict=True)]


def _played(method: Method, hyper: Hyperparams, num_replicates: int) -> list[tuple[Method, int | None]]:
    """Each replicate's method and its longest game, whatever the static length of the program that plays all."""
    if not hasattr(hyper.env, "max_steps_in_episode"):
        return [(method, None)] * num_replicates
    task: Any = method.task
    longest = np.minimum(np.asarray(hyper.env.max_steps_in_episode), task.collect.max_steps or math.inf)
    task = dataclasses.replace(task, collect=dataclasses.replace(task.collect, max_steps=None))
    bare: Any = dataclasses.replace(method, task=task)  # pyright: ignore
    return [(bare, int(x)) for x in np.broadcast_to(longest, num_replicates)]


def _updates(plan: Plan) -> int:
    """Updates of all replicates of a run, as far as that is known beforehand."""
    return run_length.before(plan.method.task, plan.num_updates, plan.num_steps) * len(plan.seeds)


class _Clock:
    """Progress of a study from that of its runs, each weighted by the updates of its replicates."""

    def __init__(self, report: Callable[[Progress], None] | None):
        self.report = report
        self.total = self.done = 0
        self.seconds = 0.0

    def expect(self, plan: Plan) -> None:
        self.total += _updates(plan)

    def of(self, plan: Plan) -> Callable[[Progress], None] | None:
        """What a run of the study reports to."""
        if self.report is None:
            return None
        tell, before, others = self.report, self.done, self.total - _updates(plan)

        def report(progress: Progress) -> None:
            # How long a budget lasts is only seen on the way.
            self.total = others + progress.num_updates * len(plan.seeds)
            left = self.total - before - progress.iteration * len(plan.seeds)
            if progress.iteration == progress.num_updates:
                self.done = before + progress.num_updates * len(plan.seeds)
            rate = progress.seconds_left / max(progress.num_updates - progress.iteration, 1) / len(plan.seeds)
            in_all = progress._replace(
                iteration=self.total - left,
                num_updates=self.total,
                seconds_left=rate * left if progress.iteration < progress.num_updates else 0.0,
            )
            tell(in_all)

        return report
