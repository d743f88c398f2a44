"""Training one seed: a pure scan over the updates of a method.

A method is a frozen record derived from `Method`. Update i of a run draws its randomness from `fold_in(key, i)`, so
that a run comes out the same however it is cut into pieces.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from purepg.errors import InvalidInput, checks, whole_number
from purepg.errors.dtypes import in_types_of
from purepg.errors.shapes import check_shapes
from purepg.hyperparams import Hyperparams
from purepg.machines import branches
from purepg.rollout import metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act, ActiveGames
from purepg.task import Task, fit

__all__ = ["MOST_STEPS", "PATIENCE", "Method", "TrainState", "fitted", "init", "train"]

PATIENCE = 10  # updates in a row without a finite state after which a seed is frozen
MOST_STEPS = 2**32 - 1  # the largest budget of steps, which is counted in 32 bits


@runtime_checkable
class Method(Protocol):
    """A way to learn: a static record, which hashes by value."""

    task: Task

    def check_numbers(self, hyper: Hyperparams) -> None:
        """Refuses numbers that this method cannot use.

        Args:
          hyper: concrete numbers, scalars or arrays `[S]`; traced ones pass.

        Raises:
          InvalidInput: the method cannot use these concrete numbers, scalars or `[S]`; traced ones pass.
        """

    def init(self, hyper: Hyperparams, key: jax.Array) -> Any:
        """A state: a pytree of arrays.

        Args:
          hyper: traced numbers, scalars.
          key: one typed key.
        """
        ...

    def update(self, hyper: Hyperparams, state: Any, key: jax.Array) -> tuple[Any, Metrics]:
        """Plays, learns once, and says how it went.

        Args:
          hyper: traced numbers, scalars.
          state: what `init` or the update before returned.
          key: one typed key, another one at every update.

        Returns:
          The next state, of the same structure, shapes and types, and the metrics ("return", "length" and "steps"
          among them, as `metrics.of_games` makes them).
        """
        ...

    def params(self, state: Any) -> Any:
        """The part of a state that `act` needs.

        Args:
          state: what `init` or `update` returned.
        """
        ...

    def act(self, params: Any, *, deterministic: bool, env_params: Any = None) -> Act:
        """How it plays with these parameters.

        Args:
          params: what `params` returned.
          deterministic: whether it plays as well as it can, or explores as in training.
          env_params: the environment's parameters, whose action bounds hold; None: the defaults.

        Returns:
          A function of a key and observations `[N, *shape]`, as `rollout.Act` says.
        """
        ...


def fitted(method: Method, hyper: Hyperparams) -> tuple[Any, Hyperparams]:
    """Fits the method's task and the numbers to one another (`purepg.task.fit`), as every run does first.

    Args:
      method: a method's record.
      hyper: its numbers, scalars or arrays `[S]`.

    Returns:
      Both, the task's longest game and the environment's parameters filled in.

    Raises:
      InvalidInput: as `fit`; or the method is no method, or cannot use one of the numbers.
    """
    checks.conforms("method", method, Method)
    checks.kind("method", method, dataclasses.is_dataclass(method), "a frozen dataclass: it hashes by value")
    checks.kind("task", method.task, isinstance(method.task, Task), "a task, as purepg.Task('CartPole-v1')")
    checks.record(method)
    task, hyper = fit(method.task, hyper)
    method.check_numbers(hyper)
    return (method if task == method.task else dataclasses.replace(method, task=task)), hyper  # pyright: ignore


class TrainState(NamedTuple):
    """One seed's run so far.

    Attributes:
      learner: the method's state.
      key: the run's key; never changes.
      iteration: [] int32, updates tried.
      skipped: [] int32, updates in a row that were not finite.
      frozen_at: [] int32, the update at which the seed was given up; −1 while it learns.
      steps_left: [] uint32, of its budget of environment steps, if it has one.
    """

    learner: Any
    key: jax.Array
    iteration: jax.Array
    skipped: jax.Array
    frozen_at: jax.Array
    steps_left: jax.Array | None = None


def init(method: Method, hyper: Hyperparams, key: jax.Array, num_steps: int | None = None) -> TrainState:
    """A fresh run of `method`. Pure, one seed; map it over keys for more.

    Args:
      method: a method's record.
      hyper: its numbers, scalars.
      key: one typed key, as of jax.random.key(0).
      num_steps: budget of environment steps that `train` keeps to, from 1 to 2^32 − 1; None: no budget.
    """
    method, hyper = fitted(method, hyper)
    is_key = isinstance(key, jax.Array) and (key.ndim == 0 or jnp.issubdtype(key.dtype, jnp.unsignedinteger))
    checks.kind("key", key, is_key, "one typed key, as of jax.random.key(0)")
    init_key, run_key = jax.random.split(key)
    left = None if num_steps is None else jnp.uint32(whole_number("num_steps", num_steps, 1, MOST_STEPS))
    learner, zero = method.init(hyper, init_key), jnp.int32(0)
    return TrainState(learner, run_key, zero, zero, jnp.int32(-1), left)


def train(
    method: Method, hyper: Hyperparams, state: TrainState, num_updates: int, *, stop_at: int | None = None
) -> tuple[TrainState, Metrics]:
    """Makes `num_updates` updates from `state`. Pure, one seed; map it over states for more.

    An update after which something learned is not finite (parameters, optimiser, averages, a critic, a replay) leaves
    the learner as it was and counts as skipped; after `PATIENCE` of them in a row the seed is frozen. Running games
    (`trajectory.ActiveGames`) are not checked: their state is the environment's, where an infinite "best so far" is
    legitimate, and a NaN in it that reaches an observation shows in the parameters. A skipped update is undone for its
    games too: the next one plays them on from before the NaN with other noise. Where that does not help, the games
    themselves are broken, and the seed is frozen rather than trained on the remaining ones.

    With a budget of environment steps, the update that reaches it is the last: later updates, or those after `stop_at`,
    leave the state as it is, to the bit, and their metrics are sums over nothing. They cost nothing once all seeds that
    are mapped side by side have finished.

    Args:
      method: a method's record; static under `jit`.
      hyper: its numbers, scalars.
      state: from `init`, or from `train` to go on.
      num_updates: at least 0; static.
      stop_at: the run's last update, counted from its start; none: there is no such limit.

    Returns:
      The state after the updates, and each metric as `metrics.Average` of arrays `[num_updates]`.
    """
    method, hyper = fitted(method, hyper)
    num_updates = whole_number("num_updates", num_updates, 0)
    stop_at = None if stop_at is None else whole_number("stop_at", stop_at, 0)
    checks.kind("state", state, isinstance(state, TrainState), "what purepg.init or purepg.train has given")

    def one_update(state: TrainState):
        key = jax.random.fold_in(state.key, state.iteration)
        updated = method.update(hyper, state.learner, key)
        is_pair = isinstance(updated, tuple) and len(updated) == 2
        checks.kind(f"an update of {type(method).__name__}", updated, is_pair, "the pair (state, metrics)")
        learner, numbers = updated
        _check_update(method, learner, numbers, state.learner)
        learner = in_types_of(learner, state.learner)
        finite = _all_finite(_learned(learner))
        keep = finite & (state.frozen_at < 0)
        skipped = jnp.where(finite, 0, state.skipped + 1)
        give_up = (skipped >= PATIENCE) & (state.frozen_at < 0)
        after = TrainState(
            learner=jax.tree.map(lambda new, old: jnp.where(keep, new, old), learner, state.learner),
            key=state.key,
            iteration=state.iteration + 1,
            skipped=skipped,
            frozen_at=jnp.where(give_up, state.iteration, state.frozen_at),
            steps_left=_left(state.steps_left, numbers),
        )
        return after, numbers | {"skipped": metrics.once(~keep)}

    def within_budget(state: TrainState, _):
        goes_on = []
        if state.steps_left is not None:
            goes_on.append(state.steps_left > 0)
        if stop_at is not None:
            goes_on.append(state.iteration < stop_at)
        if not goes_on:
            return one_update(state)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one_update, state)[1])

        def rest(state: TrainState):
            return state, nothing

        return branches.cond(functools.reduce(jnp.logical_and, goes_on), one_update, rest, state)

    return jax.lax.scan(within_budget, state, length=num_updates)


def _check_update(method: Method, learner: Any, numbers: Any, before: Any) -> None:
    """
    Raises:
      InvalidInput: an update returned a state unlike the one before, or no metrics.
    """
    whose = f"of {type(method).__name__}"
    checks.same_arrays(f"the state {whose} after an update", learner, "the state before", before)
    averages = isinstance(numbers, dict) and all(isinstance(x, metrics.Average) for x in numbers.values())
    checks.kind(f"metrics {whose}", numbers, averages, "a dict of names and metrics.Average(sum, count)")
    for name, x in numbers.items():
        check_shapes("a metric", (), **{f"{name} {whose}": x.sum, f"the count of {name} {whose}": x.count})


def _left(steps_left: jax.Array | None, numbers: Metrics) -> jax.Array | None:
    """The budget left after an update with these metrics."""
    if steps_left is None:
        return None
    if "steps" not in numbers:
        raise InvalidInput(
            f"a budget of steps needs the metric 'steps', but the method reports only {', '.join(numbers)}"
        )
    return steps_left - jnp.minimum(steps_left, numbers["steps"].sum.astype(steps_left.dtype))


def _learned(learner: Any) -> list[Any]:
    """The state without its running games."""
    parts = jax.tree.leaves(learner, is_leaf=lambda x: isinstance(x, ActiveGames))
    return [part for part in parts if not isinstance(part, ActiveGames)]


def _all_finite(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats] or [True]))
