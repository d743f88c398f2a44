"""Training one seed: a pure scan over the updates of a method.

A method is anything with `init(hyper, key) → state`, `update(hyper, state, key) → (state, metrics)`, `params(state)`,
`act(params, deterministic=…)` and a `task`. Update i of a run draws its randomness from `fold_in(key, i)`: a run is the
same however it is cut into pieces.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from purepg import hyperparams, metrics
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.rollout import Act
from purepg.task import Task

PATIENCE = 10  # updates in a row without a finite state, after which a seed is frozen


class Method(Protocol):
    """A way to learn; a static record."""

    @property
    def task(self) -> Task: ...
    def init(self, hyper: Hyperparams, key: jax.Array) -> Any: ...
    def update(self, hyper: Hyperparams, state: Any, key: jax.Array) -> tuple[Any, Metrics]: ...
    def params(self, state: Any) -> Any: ...
    def act(self, params: Any, *, deterministic: bool) -> Act: ...


@runtime_checkable
class ChecksNumbers(Protocol):
    """A method that allows less than the ranges of `Hyperparams`."""

    def check_numbers(self, hyper: Hyperparams) -> None:
        """Raises `InvalidInput` for concrete numbers, scalars or `[S]`, that it cannot use; traced ones pass."""
        ...


class TrainState(NamedTuple):
    """One seed's run so far."""

    learner: Any  # the method's state
    key: jax.Array  # the run's key; never changes
    iteration: jax.Array  # [] int32, updates tried
    skipped: jax.Array  # [] int32, updates in a row that were not finite
    frozen_at: jax.Array  # [] int32, the update at which the seed was given up; −1 while it learns


def check_numbers(method: Method, hyper: Hyperparams) -> None:
    """Refuses concrete numbers that are out of range, for everybody or for this method.

    Raises:
      InvalidInput: names the number.
    """
    hyperparams.check(hyper)
    if isinstance(method, ChecksNumbers):
        method.check_numbers(hyper)


def init(method: Method, hyper: Hyperparams, key: jax.Array) -> TrainState:
    """A fresh run of `method` from a typed key. Pure, one seed; map it over keys for more."""
    init_key, run_key = jax.random.split(key)
    return TrainState(method.init(hyper, init_key), run_key, jnp.int32(0), jnp.int32(0), jnp.int32(-1))


def train(
    method: Method, hyper: Hyperparams, state: TrainState, num_updates: int
) -> tuple[TrainState, Metrics]:
    """`num_updates` updates from `state`; metrics are stacked to `[num_updates]`. Pure, one seed.

    An update whose new state is not finite leaves the learner as it was and counts as skipped; after `PATIENCE` of
    them in a row the seed is frozen.
    """

    def one_update(state: TrainState, _):
        key = jax.random.fold_in(state.key, state.iteration)
        learner, numbers = method.update(hyper, state.learner, key)
        finite = _all_finite(learner)
        keep = finite & (state.frozen_at < 0)
        skipped = jnp.where(finite, 0, state.skipped + 1)
        give_up = (skipped >= PATIENCE) & (state.frozen_at < 0)
        state = TrainState(
            learner=jax.tree.map(lambda new, old: jnp.where(keep, new, old), learner, state.learner),
            key=state.key,
            iteration=state.iteration + 1,
            skipped=skipped,
            frozen_at=jnp.where(give_up, state.iteration, state.frozen_at),
        )
        return state, numbers | {"skipped": metrics.once(~keep)}

    return jax.lax.scan(one_update, state, length=num_updates)


def _all_finite(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats] or [True]))
