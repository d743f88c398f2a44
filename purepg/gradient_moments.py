"""Moments of a batch's gradient over independent batches: the measuring behind `purepg.diagnostics`.

What an estimator learns (averages, critics) is settled by a few estimates at the same parameters first and then held
fixed. Its running games (`purepg.trajectory.Running`, wherever they are in its state) and its typed keys are not: every
batch has its own, so that batches are independent.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import bias_test, seeds
from purepg.errors import InvalidInput
from purepg.estimators import Estimator
from purepg.hyperparams import Hyperparams
from purepg.networks import Params
from purepg.task import Segments, Task
from purepg.trajectory import Running

_SETTLING = 100  # estimates before a baseline or critic is held fixed


class Moments(NamedTuple):
    """Of B batch estimates."""

    count: jax.Array  # [], B
    mean: Params
    deviation: Params  # Σ (x − mean)²
    along: jax.Array  # [K], mean along the directions of `purepg.bias_test`
    together: jax.Array  # [K, K], Σ of the products of deviations along them
    steps: jax.Array  # [], sum


def measure(
    task: Task, estimator: Estimator, hyper: Hyperparams, params: Params, key: jax.Array, num_batches: int
) -> tuple[Moments, float]:
    """Moments over independent batches, split over the devices; and seconds for a batch.

    Raises:
      InvalidInput: the estimator's state hides its running games.
    """
    num_parts = min(len(jax.local_devices()), num_batches // 2)
    per_part = -(-num_batches // num_parts)

    def settle(params, key):
        def one(state, key):
            return estimator.estimate(task, hyper, params, state, key).state, None

        init_key, key = jax.random.split(key)
        state = estimator.init(task, hyper, params, init_key)
        return jax.lax.scan(one, state, jax.random.split(key, _SETTLING))[0]

    def one_part(params, settled, key):
        def one_batch(moments: Moments, key) -> tuple[Moments, None]:
            init_key, key = jax.random.split(key)
            state = _with_fresh_games(settled, estimator.init(task, hyper, params, init_key))
            estimate = estimator.estimate(task, hyper, params, state, key)
            gradient = estimate.policy_gradient
            along = bias_test.along(directions, gradient)
            return add(moments, gradient, along, estimate.metrics["steps"].sum), None

        directions = bias_test.signs(params)
        return jax.lax.scan(one_batch, zero(params), jax.random.split(key, per_part))[0]

    settle_key, key = jax.random.split(key)
    settled = jax.jit(settle)(params, settle_key)
    if isinstance(task.collect, Segments) and not _has_running_games(settled):
        raise InvalidInput(
            f"the state of {type(estimator).__name__} holds no running games (purepg.trajectory.Running), so that "
            "batches of segments would all start from the same: keep in it what purepg.collection.start gives"
        )
    tiled = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (num_parts, *x.shape)), (params, settled))
    arguments = *tiled, jax.random.split(key, num_parts)
    compiled = seeds.compiled(one_part, *arguments)
    started = time.perf_counter()
    parts = jax.device_get(compiled(*arguments))
    seconds = (time.perf_counter() - started) / (per_part * num_parts)
    moments = jax.tree.map(lambda x: np.asarray(x[0], np.float64), parts)
    for i in range(1, num_parts):
        moments = _merge(moments, jax.tree.map(lambda x, i=i: np.asarray(x[i], np.float64), parts))
    return moments, seconds


def standard_error(moments: Moments) -> Params:
    """Of the mean."""
    return jax.tree.map(lambda d: np.sqrt(d / (moments.count - 1) / moments.count), moments.deviation)


def covariance(moments: Moments) -> np.ndarray:
    """Of the mean along the directions, [K, K]."""
    return np.asarray(moments.together) / (moments.count - 1) / moments.count


def zero(like: Params) -> Moments:
    """Of no batch at all."""
    zeros = jax.tree.map(jnp.zeros_like, like)
    along = bias_test.along(bias_test.signs(like), zeros)
    return Moments(jnp.zeros(()), zeros, zeros, along, jnp.outer(along, along), jnp.zeros(()))


def add(moments: Moments, gradient: Params, along: jax.Array, steps: jax.Array | float) -> Moments:
    """The moments with one batch more: Welford's update."""
    count = moments.count + 1.0
    before = jax.tree.map(jnp.subtract, gradient, moments.mean)
    mean = jax.tree.map(lambda m, d: m + d / count, moments.mean, before)
    deviation = jax.tree.map(lambda s, d, g, m: s + d * (g - m), moments.deviation, before, gradient, mean)
    apart = along - moments.along
    together = moments.together + jnp.outer(apart, apart) * (moments.count / count)
    return Moments(count, mean, deviation, moments.along + apart / count, together, moments.steps + steps)


def _merge(a: Moments, b: Moments) -> Moments:
    """Chan, Golub and LeVeque's (1983)."""
    count = a.count + b.count
    mean = jax.tree.map(lambda x, y: x + (y - x) * b.count / count, a.mean, b.mean)
    deviation = jax.tree.map(
        lambda u, v, x, y: u + v + (y - x) ** 2 * a.count * b.count / count,
        a.deviation,
        b.deviation,
        a.mean,
        b.mean,
    )
    apart = b.along - a.along
    along = a.along + apart * b.count / count
    together = a.together + b.together + np.outer(apart, apart) * a.count * b.count / count
    return Moments(count, mean, deviation, along, together, a.steps + b.steps)


def _with_fresh_games(settled: Any, fresh: Any) -> Any:
    """What was learned, with games and keys of its own."""

    def choose(old, new):
        random = _is_running(old) or jnp.issubdtype(jnp.result_type(old), jax.dtypes.prng_key)
        return new if random else old

    return jax.tree.map(choose, settled, fresh, is_leaf=_is_running)


def _has_running_games(state: Any) -> bool:
    return any(map(_is_running, jax.tree.leaves(state, is_leaf=_is_running)))


def _is_running(part: Any) -> bool:
    return isinstance(part, Running)
