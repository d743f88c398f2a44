"""Training one seed: a pure scan over the updates of a method.

A method is a frozen record derived from `Method`. Update i of a run draws its randomness from `fold_in(key, i)`: a run
is the same however it is cut into pieces.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from purepg.errors import InvalidInput, checks, whole_number
from purepg.errors.dtypes import in_types_of
from purepg.errors.shapes import check_shapes
from purepg.hyperparams import Hyperparams
from purepg.rollout import metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act, ActiveGames
from purepg.task import Task, fit

__all__ = ["MOST_STEPS", "PATIENCE", "Method", "TrainState", "fitted", "init", "train"]

PATIENCE = 10  # updates in a row without a finite state, after which a seed is frozen
MOST_STEPS = 2**32 - 1  # of a budget, which is counted in 32 bits


@runtime_checkable
class Method(Protocol):
    """A way to learn; a static record."""

    task: Task

    def check_numbers(self, hyper: Hyperparams) -> None:
        """
        Raises:
          InvalidInput: the method cannot use these concrete numbers, scalars or `[S]`; traced ones pass.
        """

    def init(self, hyper: Hyperparams, key: jax.Array) -> Any:
        """A state: a pytree of arrays."""
        ...

    def update(self, hyper: Hyperparams, state: Any, key: jax.Array) -> tuple[Any, Metrics]:
        """The next state, of the same shapes, and "return", "length" and "steps" (`metrics.of_games`) among numbers."""
        ...

    def params(self, state: Any) -> Any:
        """What `act` needs of a state."""
        ...

    def act(self, params: Any, *, deterministic: bool, env_params: Any = None) -> Act:
        """How it plays: as it would at its best, or as it explores; bounds are those of `env_params`."""
        ...


def fitted(method: Method, hyper: Hyperparams) -> tuple[Any, Hyperparams]:
    """Method and numbers, its task and these fitted to one another (`purepg.task.fit`): what runs begin with.

    Raises:
      InvalidInput: as `fit`; or a number of the method is none, or one that the method cannot use.
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
    """A fresh run of `method` from a typed key. Pure, one seed; map it over keys for more.

    With `num_steps`, from 1 to 2^32 − 1, it has a budget of so many environment steps, which `train` keeps to.
    """
    method, hyper = fitted(method, hyper)
    is_key = isinstance(key, jax.Array) and (key.ndim == 0 or jnp.issubdtype(key.dtype, jnp.unsignedinteger))
    checks.kind("key", key, is_key, "one typed key, as of jax.random.key(0)")
    init_key, run_key = jax.random.split(key)
    left = None if num_steps is None else jnp.uint32(whole_number("num_steps", num_steps, 1, MOST_STEPS))
    learner, zero = method.init(hyper, init_key), jnp.int32(0)
    return TrainState(learner, run_key, zero, zero, jnp.int32(-1), left)


def train(
    method: Method, hyper: Hyperparams, state: TrainState, num_updates: int
) -> tuple[TrainState, Metrics]:
    """`num_updates` updates from `state`; metrics are stacked to `[num_updates]`. Pure, one seed.

    An update after which something learned is not finite (parameters, optimiser, averages, a critic, a replay) leaves
    the learner as it was and counts as skipped; after `PATIENCE` of them in a row the seed is frozen. Games that run
    on (`trajectory.ActiveGames`) are the environment's: an infinite "best so far" in its state is nobody's fault, and a
    NaN in it that reaches an observation shows in the parameters. A skipped update has not taken place for its games
    either: the next one plays them on from before the NaN with other noise. Where that does not help, the games
    themselves are broken, and the seed is frozen rather than trained on what is left.

    With a budget of environment steps the update that reaches it is the last one: whatever is run after it leaves the
    state as it is, to the bit, and its metrics are sums over nothing. (Mapped side by side every seed still computes
    what the longest does.)
    """
    method, hyper = fitted(method, hyper)
    num_updates = whole_number("num_updates", num_updates, 0)
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
        if state.steps_left is None:
            return one_update(state)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one_update, state)[1])
        return jax.lax.cond(state.steps_left > 0, one_update, lambda state: (state, nothing), state)

    return jax.lax.scan(within_budget, state, length=num_updates)


def _check_update(method: Method, learner: Any, numbers: Any, before: Any) -> None:
    """
    Raises:
      InvalidInput: what an update gave is no state like the one before, or no metrics.
    """
    whose = f"of {type(method).__name__}"
    checks.same_arrays(f"the state {whose} after an update", learner, "the state before", before)
    averages = isinstance(numbers, dict) and all(isinstance(x, metrics.Average) for x in numbers.values())
    checks.kind(f"metrics {whose}", numbers, averages, "a dict of names and metrics.Average(sum, count)")
    for name, x in numbers.items():
        check_shapes("a metric", (), **{f"{name} {whose}": x.sum, f"the count of {name} {whose}": x.count})


def _left(steps_left: jax.Array | None, numbers: Metrics) -> jax.Array | None:
    """What an update with these metrics leaves of a budget."""
    if steps_left is None:
        return None
    if "steps" not in numbers:
        raise InvalidInput(f"a budget of steps needs the metric 'steps', the method has {', '.join(numbers)}")
    return steps_left - jnp.minimum(steps_left, numbers["steps"].sum.astype(steps_left.dtype))


def _learned(learner: Any) -> list[Any]:
    """The state without its running games."""
    parts = jax.tree.leaves(learner, is_leaf=lambda x: isinstance(x, ActiveGames))
    return [part for part in parts if not isinstance(part, ActiveGames)]


def _all_finite(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats] or [True]))
