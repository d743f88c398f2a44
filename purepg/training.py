"""Training one seed: a pure scan over the updates of a method.

A method is anything with `init(hyper, key) → state`, `update(hyper, state, key) → (state, metrics)`, `params(state)`,
`act(params, deterministic=…)` and a `task`. Update i of a run draws its randomness from `fold_in(key, i)`: a run is the
same however it is cut into pieces.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from purepg import metrics, task
from purepg.dtypes import in_types_of
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.rollout import Act, Running
from purepg.task import Task

PATIENCE = 10  # updates in a row without a finite state, after which a seed is frozen


class Method(Protocol):
    """A way to learn; a static record."""

    @property
    def task(self) -> Task: ...
    def init(self, hyper: Hyperparams, key: jax.Array) -> Any: ...
    def update(self, hyper: Hyperparams, state: Any, key: jax.Array) -> tuple[Any, Metrics]: ...
    def params(self, state: Any) -> Any: ...
    def act(self, params: Any, *, deterministic: bool, env_params: Any = None) -> Act: ...


class TrainState(NamedTuple):
    """One seed's run so far."""

    learner: Any  # the method's state
    key: jax.Array  # the run's key; never changes
    iteration: jax.Array  # [] int32, updates tried
    skipped: jax.Array  # [] int32, updates in a row that were not finite
    frozen_at: jax.Array  # [] int32, the update at which the seed was given up; −1 while it learns


def init(method: Method, hyper: Hyperparams, key: jax.Array) -> TrainState:
    """A fresh run of `method` from a typed key. Pure, one seed; map it over keys for more."""
    method = task.fitted(method, hyper)
    init_key, run_key = jax.random.split(key)
    return TrainState(method.init(hyper, init_key), run_key, jnp.int32(0), jnp.int32(0), jnp.int32(-1))


def train(
    method: Method, hyper: Hyperparams, state: TrainState, num_updates: int
) -> tuple[TrainState, Metrics]:
    """`num_updates` updates from `state`; metrics are stacked to `[num_updates]`. Pure, one seed.

    An update after which something learned is not finite (parameters, optimiser, averages, a critic, a replay) leaves
    the learner as it was and counts as skipped; after `PATIENCE` of them in a row the seed is frozen. Games that run on
    (`rollout.Running`) are the environment's: an infinite "best so far" in its state is nobody's fault, and a NaN in it
    that reaches an observation shows in the parameters. A skipped update has not taken place for its games either: the
    next one plays them on from before the NaN with other noise. Where that does not help, the games themselves are
    broken, and the seed is frozen rather than trained on what is left.
    """
    method = task.fitted(method, hyper)

    def one_update(state: TrainState, _):
        key = jax.random.fold_in(state.key, state.iteration)
        learner, numbers = method.update(hyper, state.learner, key)
        learner = in_types_of(learner, state.learner)
        finite = _all_finite(_learned(learner))
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


def _learned(learner: Any) -> list[Any]:
    """The state without its running games."""
    parts = jax.tree.leaves(learner, is_leaf=lambda x: isinstance(x, Running))
    return [part for part in parts if not isinstance(part, Running)]


def _all_finite(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats] or [True]))
