"""Measuring the moments of a batch's gradient over independent batches.

Whatever an estimator learns (averages, critics) first settles over some estimates at the same parameters and is then
held fixed. Its running games and typed keys are not: every batch has its own, so that batches are independent.

Besides the components of a gradient, their sums along K random directions are measured, for a test of the whole vector
(`purepg.diagnostics.statistics`): sums with random signs, one over all components and eight within each leaf of the
parameters, so that a leaf with much noise does not hide one with little. Their covariance is measured too, `[K, K]`.
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
      along: [K], its sums along the directions.
    """

    gradient: Params
    along: Any


class Moments(NamedTuple):
    """The moments of B batch estimates.

    Attributes:
      samples: the moments of a `Sample`, component by component.
      together: [K, K], sum of the products of deviations along the directions.
      steps: [], sum of the environment steps.
    """

    samples: running_moments.Moments
    together: Any
    steps: Any

    @property
    def count(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (tuple's is not used)
        """The number of batches B."""
        return self.samples.count

    @property
    def mean(self) -> Params:
        """The mean gradient."""
        return self.samples.mean.gradient

    @property
    def variance(self) -> Params:
        """The variance of one batch estimate."""
        return jax.tree.map(lambda d: d / (self.count - 1), self.samples.deviation.gradient)

    @property
    def standard_error(self) -> Params:
        """The standard error of the mean."""
        return jax.tree.map(lambda v: np.sqrt(v / self.count), self.variance)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the mean along the directions, [K, K]."""
        return np.asarray(self.together) / (self.count - 1) / self.count


def measure(
    task: Task, estimator: Estimator, hyper: Hyperparams, params: Params, key: jax.Array, num_batches: int
) -> tuple[Moments, float]:
    """Moments over independent batches, which are split over the devices, and the seconds per batch.

    Args:
      task: what is played; its number of games is the size of a batch.
      estimator: what is measured.
      hyper: numbers, concrete scalars.
      params: of the policy as `estimator.bind(task)` makes it.
      key: one typed key.
      num_batches: B, at least 2; rounded up to equal shares of the devices.

    Raises:
      InvalidInput: the estimator's running games are not in its state's field `games`.
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
    """The moments of no batches, for gradients like the parameters.

    Args:
      like: the parameters.
    """
    sums = jnp.zeros(1 + _EACH * len(jax.tree.leaves(like)))
    return Moments(running_moments.zero(Sample(like, sums)), jnp.outer(sums, sums), jnp.zeros(()))


def add(moments: Moments, sample: Sample, steps: jax.Array | float) -> Moments:
    """The moments with one more batch.

    Args:
      moments: of B batches.
      sample: one more estimate.
      steps: environment steps of this batch.
    """
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
    """The directions: for each leaf, [1 + 8, size], its part in the one over all leaves and the eight within it.

    Args:
      like: the parameters.
    """
    leaves = jax.tree.leaves(like)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return [
        jax.random.rademacher(k, (1 + _EACH, x.size), jnp.float32) for k, x in zip(keys, leaves, strict=True)
    ]


def along(directions: Any, tree: Params) -> Any:
    """A gradient's sums along the directions, [K]: over all leaves, then the first within each leaf, and so on.

    Args:
      directions: what `signs` returned.
      tree: a gradient like the parameters.
    """
    parts = [sign @ x.reshape(-1) for sign, x in zip(directions, jax.tree.leaves(tree), strict=True)]
    xp = jnp if isinstance(parts[0], jax.Array) else np
    parts = xp.stack(parts, axis=1)  # [9, leaves]
    return xp.concatenate([parts[:1].sum(axis=1), parts[1:].reshape(-1)])


def covariance_of(error: Params) -> np.ndarray:
    """[K, K], the covariance along the directions of components that vary independently with these standard errors.

    Args:
      error: standard errors, like the parameters.
    """
    leaves, directions = jax.tree.leaves(error), [np.asarray(sign, np.float64) for sign in signs(error)]
    num = len(leaves)
    found = np.zeros((1 + _EACH * num,) * 2)
    for i, (sign, x) in enumerate(zip(directions, leaves, strict=True)):
        weighted = sign * np.asarray(x, np.float64).reshape(1, -1)
        at = np.r_[0, 1 + i : len(found) : num]
        found[np.ix_(at, at)] += weighted @ weighted.T
    return found


def _with_fresh_games(settled: EstimatorState, fresh: EstimatorState) -> EstimatorState:
    """What was learned, with fresh games and keys."""

    def choose(old, new):
        return new if jnp.issubdtype(jnp.result_type(old), jax.dtypes.prng_key) else old

    return EstimatorState(fresh.games, jax.tree.map(choose, settled.learned, fresh.learned))
