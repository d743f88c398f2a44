"""The task: what is played, by which policy, and how games are collected. Static: it hashes by value.

The traced numbers come beside it, as `Hyperparams`, and `fit` is where the two meet: it makes the longest game static,
as long as the environment's parameters in use allow, and refuses what does not go together.
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

    A task carries it to whatever differentiates rows. A program never asks which machine it is traced on, so that one
    can be exported for a device that is absent, with `jax.export` and `for_platform("cuda")`. It is set where programs
    are built (`purepg.run`) and does not belong to what was trained: saved runs, flags and sweeps leave it out.

    Attributes:
      rows_per_chunk: Rows differentiated at once; 0: as many as suit the platform that the program is compiled for.
      row_axis: Axis of the devices that share the rows of one seed, such as `purepg.seeds.ROW_AXIS`; None: each device
        has all rows.
    """

    rows_per_chunk: int = 0
    row_axis: str | None = None

    def __post_init__(self):
        whole_number("rows_per_chunk", self.rows_per_chunk, 0)


AUTOMATIC = Backend()


def for_platform(platform: str, row_axis: str | None = None) -> Backend:
    """The backend that suits a platform.

    Args:
      platform: JAX's name of it: cpu, cuda, rocm or tpu.
      row_axis: as in `Backend`.
    """
    return Backend(ROWS_ON_CPU if platform == "cpu" else ROWS_ELSEWHERE, row_axis)


def of_machine(field: dataclasses.Field) -> bool:
    """Whether a record's field is the machine's to decide, so that it is neither saved nor a flag.

    Args:
      field: a field of a dataclass.
    """
    return field.metadata.get("of_machine", False)


def _check_sizes(collect: Any) -> None:
    checks.record(collect)
    if collect.num_games < 1:
        raise InvalidInput(f"num_games = {collect.num_games}: at least 1 game is needed for an update")
    if collect.max_steps is not None and collect.max_steps < 1:
        raise InvalidInput(f"max_steps = {collect.max_steps}: a game needs at least 1 step")


@dataclass(frozen=True)
class Games:
    """N fresh games per update, each played to its end or the limit; rows after a game's end are masked.

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
    """T steps per update of N running games, each followed by a fresh one when it ends.

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
    """Environment, policy and collection.

    Attributes:
      env: The spec of the environment, of `purepg.environment`; a name is turned into one.
      policy: The policy that plays.
      collect: Whole games or segments.
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
        """The longest game in steps: that of `collect` or, where it is None there, the environment's default."""
        return self.collect.max_steps or environments.time_limit(self.env)

    @property
    def steps_an_update(self) -> tuple[int, int]:
        """The fewest and the most environment steps that an update plays."""
        collect = self.collect
        whole = isinstance(collect, Games)
        fewest, most = (1, self.max_steps) if whole else (collect.num_steps, collect.num_steps)
        return fewest * collect.num_games, most * collect.num_games

    def bind_policy(self, *, with_value: bool = False) -> BoundPolicy:
        """The policy's functions for this environment.

        Args:
          with_value: whether the network has one more output, V, for a critic that shares it.
        """
        policies.check(self.policy, self.env, with_value=with_value)
        policy = self.policy.bind(self.env, with_value=with_value)
        if not self.normalize_observations:
            return policy
        inputs = environments.inputs(self.env)
        if inputs.num_categories is not None:
            raise InvalidInput(
                f"{self.env.name!r} observes integers, which cannot be normalized: leave normalize_observations off"
            )
        return normalized(policy, inputs.shape)


def fit(task: Task, hyper: Hyperparams) -> tuple[Task, Hyperparams]:
    """Fits task and numbers to one another: `max_steps` becomes the limit of the environment's parameters in use.

    Where replicates differ in their limits it is the largest: one program plays them all, and each game is cut by its
    own limit. Called wherever a task meets concrete numbers; traced ones cannot be inspected and pass.

    Args:
      task: what is played.
      hyper: its numbers, concrete or traced; scalars, or arrays `[R]` over replicates.

    Returns:
      The task with `max_steps` of the parameters in use, and the numbers with the environment's parameters in `env`.

    Raises:
      InvalidInput: a number is missing or outside its range; the parameters change the spaces that a policy is built
        for; or the task's own max_steps cuts games before a limit that was given.
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
    """The method as this backend computes it.

    Args:
      method: a method's record, with a field `task`.
      backend: how updates are cut for the devices.
    """
    return dataclasses.replace(method, task=dataclasses.replace(method.task, backend=backend))
