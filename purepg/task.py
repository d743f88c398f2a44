"""The task: what is played, by which policy, and how games are collected. Static: it hashes by value.

The numbers that are traced come beside it, as `Hyperparams`; `fit` is where the two meet. It makes static what has
to be, the longest game, as the environment's parameters in use have it, and refuses what does not go together.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jax.core import Tracer

from purepg import environments, hyperparams, policies
from purepg.environments import EnvironmentSpec, env_params
from purepg.errors import InvalidInput, checks, whole_number
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy, Policy, Softmax
from purepg.policies.normalization import normalized

__all__ = [
    "AUTOMATIC",
    "ROWS_ELSEWHERE",
    "ROWS_ON_CPU",
    "Backend",
    "Games",
    "Segments",
    "Task",
    "fit",
    "for_platform",
    "of_machine",
    "on",
]

ROWS_ON_CPU, ROWS_ELSEWHERE = 256, 65_536


@dataclass(frozen=True)
class Backend:
    """What the machine decides, not the researcher: how an update is cut for the devices that compute it.

    A task carries it to whatever differentiates rows. Nothing is looked up around the program, so that one for a
    device that is not here can be made here, with `jax.export` and `for_platform("cuda")`. It is set where programs
    are built (`purepg.run`), and is no part of what was trained: saved runs, flags and sweeps leave it out.

    Attributes:
      rows_per_chunk: Rows differentiated at once; 0: what suits the platform that the program is compiled for.
      row_axis: Axis of the devices that share the rows of one seed, as `purepg.seeds.ROW_AXIS`; none: each has all
        rows.
    """

    rows_per_chunk: int = 0
    row_axis: str | None = None

    def __post_init__(self):
        whole_number("rows_per_chunk", self.rows_per_chunk, 0)


AUTOMATIC = Backend()


def for_platform(platform: str, row_axis: str | None = None) -> Backend:
    """What suits a platform as JAX names it: cpu, cuda, rocm, tpu."""
    return Backend(ROWS_ON_CPU if platform == "cpu" else ROWS_ELSEWHERE, row_axis)


def of_machine(field: dataclasses.Field) -> bool:
    """Whether a record's field is the machine's to decide: it is neither saved nor a flag."""
    return field.metadata.get("of_machine", False)


def _check_sizes(collect: Any) -> None:
    checks.record(collect)
    if collect.num_games < 1:
        raise InvalidInput(f"num_games = {collect.num_games}: at least 1 game is needed for an update")
    if collect.max_steps is not None and collect.max_steps < 1:
        raise InvalidInput(f"max_steps = {collect.max_steps}: a game needs at least 1 step")


@dataclass(frozen=True)
class Games:
    """N fresh games an update, each to its end or the limit; rows after a game's end are masked.

    Attributes:
      num_games: Games played side by side for each update (N).
      max_steps: Longest game in steps (T), a longer one is cut there; none: the environment's own limit.
    """

    num_games: int = 64
    max_steps: int | None = None

    def __post_init__(self):
        _check_sizes(self)


@dataclass(frozen=True)
class Segments:
    """T steps an update of N running games, each followed by a fresh one when it ends.

    Attributes:
      num_games: Games that run side by side (N).
      num_steps: Steps of each game in an update (T).
      max_steps: A game that has run for so many steps is cut; none: the environment's own limit.
    """

    num_games: int = 64
    num_steps: int = 32
    max_steps: int | None = None

    def __post_init__(self):
        _check_sizes(self)
        if self.num_steps < 1:
            raise InvalidInput(f"num_steps = {self.num_steps}: a segment needs at least 1 step")


@dataclass(frozen=True)
class Task:
    """Environment, policy and collection. A name in place of the spec is turned into one.

    Attributes:
      normalize_observations: Shift and scale observations by their running mean and deviation.
      backend: How updates are cut for the devices; `purepg.run` sets it.
    """

    env: EnvironmentSpec
    policy: Policy = Softmax()
    collect: Games | Segments = Games()
    normalize_observations: bool = False
    backend: Backend = field(default=AUTOMATIC, metadata={"of_machine": True})

    def __post_init__(self):
        if isinstance(self.env, str):
            object.__setattr__(self, "env", environments.environment(self.env))
        for name, fits, wanted in (
            ("env", isinstance(self.env, EnvironmentSpec), "its name, or purepg.environment(name, …)"),
            ("policy", isinstance(self.policy, Policy), "a policy, as purepg.Softmax() or purepg.Gaussian()"),
            ("backend", isinstance(self.backend, Backend), "purepg.Backend(…), or leave it out"),
            ("collect", isinstance(self.collect, Games | Segments), "purepg.Games(…) or purepg.Segments(…)"),
        ):
            checks.kind(name, getattr(self, name), fits, wanted)

    @property
    def max_steps(self) -> int:
        """The longest game in steps, by the environment's default parameters where `collect` does not say it."""
        return self.collect.max_steps or environments.time_limit(self.env)

    @property
    def steps_an_update(self) -> tuple[int, int]:
        """The fewest and the most environment steps that an update plays."""
        collect = self.collect
        whole = isinstance(collect, Games)
        fewest, most = (1, self.max_steps) if whole else (collect.num_steps, collect.num_steps)
        return fewest * collect.num_games, most * collect.num_games

    def bind_policy(self, *, with_value: bool = False) -> BoundPolicy:
        """The policy's functions for this environment; `with_value` gives its network one more output, V."""
        policies.check(self.policy, self.env, with_value)
        policy = self.policy.bind(self.env, with_value=with_value)
        if not self.normalize_observations:
            return policy
        inputs = environments.inputs(self.env)
        if inputs.num_categories is not None:
            raise InvalidInput(
                f"{self.env.name!r} observes integers: normalize_observations is for numbers, leave it off"
            )
        return normalized(policy, inputs.shape)


def fit(task: Task, hyper: Hyperparams) -> tuple[Task, Hyperparams]:
    """Task and numbers fitted to one another: `max_steps` is the limit of the environment's parameters in use.

    Where replicates have limits of their own it is the largest: one program plays them all, and each game is cut by its
    own. Called wherever a task meets numbers that are concrete; those that are traced cannot be looked at and pass.

    Raises:
      InvalidInput: a number is none or outside its range; the parameters have other spaces than a policy is built for;
        or the task's own max_steps cuts games before a limit that was given.
    """
    checks.record(task)
    hyperparams.check(hyper)
    if hyper.env is None:
        return task, hyperparams.resolved(hyper, task.env)
    env_params.check(task.env, hyper.env)
    if not hasattr(hyper.env, "max_steps_in_episode") or isinstance(hyper.env.max_steps_in_episode, Tracer):
        return task, hyper
    limit, default = (environments.time_limit(task.env, params) for params in (hyper.env, None))
    given = task.collect.max_steps
    if given is not None and default != limit > given:
        raise InvalidInput(
            f"max_steps = {given} cuts games before max_steps_in_episode = {limit}: leave one of them out"
        )
    if given is not None or limit == default:
        return task, hyper
    return dataclasses.replace(task, collect=dataclasses.replace(task.collect, max_steps=limit)), hyper


def on(method: Any, backend: Backend) -> Any:
    """The method as this backend computes it."""
    return dataclasses.replace(method, task=dataclasses.replace(method.task, backend=backend))
