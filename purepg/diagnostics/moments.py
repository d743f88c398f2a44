"""Moments of a batch's gradient over independent batches: the measuring.

What an estimator learns (averages, critics) is settled by a few estimates at the same parameters first and then held
fixed. Its running games and its typed keys are not: every batch has its own, so that batches are independent.

Beside the components of a gradient, sums of them along K random directions are followed, for a test of the whole vector
(`purepg.diagnostics.statistics`): sums with random signs, one over all components and eight within each leaf of the
parameters, so that a leaf with much noise does not hide one with little. How they vary together is measured, `[K, K]`.
"""

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg.errors import InvalidInput
from purepg.estimators import Estimator, EstimatorState
from purepg.hyperparams import Hyperparams
from purepg.machines import seeds
from purepg.policies import running_moments
from purepg.policies.networks import Params
from purepg.task import Segments, Task

__all__ = ["Moments", "Sample", "add", "along", "covariance_of", "measure", "signs", "zero"]

_SETTLING = 100  # estimates before a baseline or critic is held fixed
_EACH = 8  # directions within a leaf


class Sample(NamedTuple):
    """One batch estimate.

    Attributes:
      along: [K], along the directions.
    """

    gradient: Params
    along: Any


class Moments(NamedTuple):
    """Of B batch estimates.

    Attributes:
      samples: of a `Sample`, component by component.
      together: [K, K], Σ of the products of deviations along the directions.
      steps: [], sum.
    """

    samples: running_moments.Moments
    together: Any
    steps: Any

    @property
    def count(self) -> Any:
        """B."""
        return self.samples.count

    @property
    def mean(self) -> Params:
        """Of the gradient."""
        return self.samples.mean.gradient

    @property
    def variance(self) -> Params:
        """Of one batch estimate."""
        return jax.tree.map(lambda d: d / (self.count - 1), self.samples.deviation.gradient)

    @property
    def standard_error(self) -> Params:
        """Of the mean."""
        return jax.tree.map(lambda v: np.sqrt(v / self.count), self.variance)

    @property
    def covariance(self) -> np.ndarray:
        """Of the mean along the directions, [K, K]."""
        return np.asarray(self.together) / (self.count - 1) / self.count


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
            sample = Sample(gradient, along(directions, gradient))
            return add(moments, sample, estimate.metrics["steps"].sum), None

        directions = signs(params)
        return jax.lax.scan(one_batch, zero(params), jax.random.split(key, per_part))[0]

    settle_key, key = jax.random.split(key)
    settled = jax.jit(settle)(params, settle_key)
    if isinstance(task.collect, Segments) and not jax.tree.leaves(settled.games):
        raise InvalidInput(
            f"the state of {type(estimator).__name__} holds no running games, so that batches of segments would all "
            "start from the same: EstimatorState has what purepg.rollout.collection.start gives in its field `games`"
        )
    tiled = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (num_parts, *x.shape)), (params, settled))
    arguments = *tiled, jax.random.split(key, num_parts)
    compiled = seeds.compiled(one_part, *arguments)
    started = time.perf_counter()
    parts = jax.device_get(compiled(*arguments))
    seconds = (time.perf_counter() - started) / (per_part * num_parts)
    parts = [jax.tree.map(lambda x, i=i: np.asarray(x[i], np.float64), parts) for i in range(num_parts)]
    return functools.reduce(_merge, parts), seconds


def zero(like: Params) -> Moments:
    """Of no batch at all, of gradients like the parameters."""
    sums = jnp.zeros(1 + _EACH * len(jax.tree.leaves(like)))
    return Moments(running_moments.zero(Sample(like, sums)), jnp.outer(sums, sums), jnp.zeros(()))


def add(moments: Moments, sample: Sample, steps: jax.Array | float) -> Moments:
    """The moments with one batch more."""
    together = moments.together + _products(moments.samples, sample.along, 1.0)
    return Moments(running_moments.add(moments.samples, sample), together, moments.steps + steps)


def _merge(a: Moments, b: Moments) -> Moments:
    together = a.together + b.together + _products(a.samples, b.samples.mean.along, b.count)
    return Moments(running_moments.merge(a.samples, b.samples), together, a.steps + b.steps)


def _products(samples: running_moments.Moments, along: Any, count: Any) -> Any:
    """What `count` more samples with this mean add to the products `[K, K]`: d dᵀ n_a n_b / n."""
    apart = along - samples.mean.along
    return apart[:, None] * apart[None] * (samples.count * count / (samples.count + count))


def signs(like: Params) -> list[jax.Array]:
    """The directions. Of each leaf, [1 + 8, size]: its part in the one over all leaves, and those within it."""
    leaves = jax.tree.leaves(like)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return [
        jax.random.rademacher(k, (1 + _EACH, x.size), jnp.float32) for k, x in zip(keys, leaves, strict=True)
    ]


def along(directions: Any, tree: Params) -> Any:
    """A gradient along the directions of `signs`, [K]: over all leaves, then the first within each leaf, and so on."""
    parts = [sign @ x.reshape(-1) for sign, x in zip(directions, jax.tree.leaves(tree), strict=True)]
    xp = jnp if isinstance(parts[0], jax.Array) else np
    parts = xp.stack(parts, axis=1)  # [9, leaves]
    return xp.concatenate([parts[:1].sum(axis=1), parts[1:].reshape(-1)])


def covariance_of(error: Params) -> np.ndarray:
    """[K, K] along the directions, of components that vary independently with these standard errors."""
    leaves, directions = jax.tree.leaves(error), [np.asarray(sign, np.float64) for sign in signs(error)]
    num = len(leaves)
    found = np.zeros((1 + _EACH * num,) * 2)
    for i, (sign, x) in enumerate(zip(directions, leaves, strict=True)):
        weighted = sign * np.asarray(x, np.float64).reshape(1, -1)
        at = np.r_[0, 1 + i : len(found) : num]
        found[np.ix_(at, at)] += weighted @ weighted.T
    return found


def _with_fresh_games(settled: EstimatorState, fresh: EstimatorState) -> EstimatorState:
    """What was learned, with games and keys of its own."""

    def choose(old, new):
        return new if jnp.issubdtype(jnp.result_type(old), jax.dtypes.prng_key) else old

    return EstimatorState(fresh.games, jax.tree.map(choose, settled.learned, fresh.learned))
