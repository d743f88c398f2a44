"""Statistics from the moments of B batch estimates: spread, signal, bias, cost, and a test of the whole gradient.

Is the mean of B estimates equal to ∇J up to noise? The largest of thousands of |z| reaches 4 without any bias, and many
components of a policy's gradient are rare events, whose z is not normal at all. So the difference d is examined along
K random directions instead (`purepg.diagnostics.moments`), sums of components with random signs. Such a sum is nearly
normal, and the covariance of the sums is measured, which accounts for correlated components. With S the covariance of d
along the directions and r its rank, Hotelling's

    T² = dᵀ S⁻¹ d,      T² (B − r) / (r (B − 1)) ~ F(r, B − r)      without a bias

A bias is detected if its length ‖d‖ within a leaf is not small compared with the noise √(Σ s²/B) there. A bias in a
single component among many noisier ones may be missed: its own z says more. With few batches only B/4 directions are
used.

Reference: Hotelling (1931), The Generalization of Student's Ratio.
"""

from typing import Literal, NamedTuple

import jax
import numpy as np

from purepg.diagnostics.moments import Moments, along, measure, signs
from purepg.diagnostics.reference import Reference, check_reference, of_one_replicate, reference_gradient
from purepg.errors import whole_number
from purepg.estimators import Estimator
from purepg.hyperparams import Hyperparams
from purepg.methods.policy_gradient import PolicyGradient
from purepg.policies.networks import Params
from purepg.task import Task

__all__ = ["GradientStatistics", "gradient_statistics", "statistics_of"]

_ROUNDING = 1e-6  # relative, of sums in float32


class GradientStatistics(NamedTuple):
    """Statistics of one estimator from B batch estimates. Pytrees are like the parameters.

    Attributes:
      variance: N·Var of the batch estimate.
      standard_error: of the mean.
      reference: ∇J of whole games; NaN where none was asked for, as is everything computed from it.
      reference_error: its standard error; 0 where it is exact.
      bias_z: (mean − reference) / its standard error; 0 where both are exact and equal.
      cosine: of mean and reference.
      bias_p_value: of the hypothesis that no component is biased.
      steps: environment steps per batch.
      seconds: per batch, on all devices of this machine, without compilation.
    """

    mean: Params
    variance: Params
    standard_error: Params
    reference: Params
    reference_error: Params
    bias_z: Params
    snr: float
    cosine: float
    bias_p_value: float
    num_batches: int
    num_games: int
    steps: float
    seconds: float

    @property
    def total_variance(self) -> float:
        """Σ of the variances over all parameters."""
        return float(sum(np.sum(x) for x in jax.tree.leaves(self.variance)))

    @property
    def largest_bias_z(self) -> float:
        """The largest |bias z|, NaN if any is; no sign of a bias among thousands, or where an event is never seen."""
        return float(np.max(np.abs(np.concatenate([np.ravel(x) for x in jax.tree.leaves(self.bias_z)]))))

    @property
    def cost(self) -> float:
        """Variance of the batch estimate × environment steps: the cost of a given accuracy, whatever the batch size."""
        return self.total_variance / self.num_games * self.steps


def gradient_statistics(
    task: Task,
    estimator: Estimator,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    num_batches: int,
    *,
    reference: Reference | Literal["measure"] | None = "measure",
) -> GradientStatistics:
    """Statistics of an estimator at `params`, over `num_batches` independent batches.

    Args:
      task: as for training; its number of games is the size of a batch.
      estimator: what is measured, by its `policy_gradient`.
      hyper: numbers, concrete scalars.
      params: of the policy as `estimator.bind(task)` makes it.
      key: one typed key.
      num_batches: B, at least 2.
      reference: ∇J where already known; "measure" calls `reference_gradient`. None: nothing is said about a bias.

    Raises:
      InvalidInput: fewer than two batches, hyper-parameters of several replicates, an estimator that does not suit
        the task, or a reference that does not suit the parameters.
    """
    num_batches = whole_number("num_batches", num_batches, 2, 2**31 - 1)  # a variance needs two
    task, hyper = of_one_replicate(task, hyper)
    PolicyGradient(task, estimator).check_numbers(hyper)
    batch_key, reference_key = jax.random.split(key)
    check_reference(reference, params)
    moments, seconds = measure(task, estimator, hyper, params, batch_key, num_batches)
    if reference == "measure":
        reference = reference_gradient(task, hyper, params, reference_key, estimator=estimator)
    return statistics_of(task, moments, reference, seconds)


def statistics_of(
    task: Task, moments: Moments, reference: Reference | None, seconds: float
) -> GradientStatistics:
    """The statistics of moments compared with a reference.

    Args:
      task: what was played; its number of games is the size of a batch.
      moments: what `measure` returned.
      reference: ∇J; None: nothing is said about a bias.
      seconds: per batch.
    """
    num_games, count = task.collect.num_games, float(moments.count)
    mean, variance, error = moments.mean, moments.variance, moments.standard_error
    if reference is None:
        unknown = jax.tree.map(lambda x: np.full_like(x, np.nan), mean)
        reference = Reference(unknown, unknown)
    true_mean, true_error = reference.gradient, reference.error
    noise = sum(float(np.sum(x)) for x in jax.tree.leaves(variance))
    signal = np.maximum(_dot(mean, mean) - noise / count, 0.0)  # NaN stays NaN
    length = np.sqrt(_dot(mean, mean) * _dot(true_mean, true_mean))
    p_value = _p_value(
        jax.tree.map(np.subtract, mean, true_mean),
        jax.tree.map(lambda x, y: np.abs(x) + np.abs(y), mean, true_mean),
        moments.covariance + reference.covariance_along,
        int(count),
    )
    return GradientStatistics(
        mean=mean,
        variance=jax.tree.map(lambda x: num_games * x, variance),
        standard_error=error,
        reference=true_mean,
        reference_error=true_error,
        bias_z=jax.tree.map(_z, mean, true_mean, error, true_error),
        snr=float("inf") if noise == 0 else float(np.sqrt(signal / noise)),
        cosine=_dot(mean, true_mean) / length if length > 0 else float("nan"),
        bias_p_value=p_value,
        num_batches=int(count),
        num_games=num_games,
        steps=float(moments.steps) / count,
        seconds=seconds,
    )


def _dot(a: Params, b: Params) -> float:
    return float(
        sum(np.sum(np.asarray(x, np.float64) * y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))
    )


def _z(mean: np.ndarray, reference: np.ndarray, error: np.ndarray, reference_error: np.ndarray) -> np.ndarray:
    """(mean − reference) / its standard error; sums in float32 are only accurate to about 1e-6 of their size."""
    rounding = _ROUNDING * (np.abs(mean) + np.abs(reference))
    spread = np.sqrt(error**2 + reference_error**2 + rounding**2)
    return np.divide(mean - reference, spread, out=np.zeros_like(spread), where=spread != 0)


def _p_value(difference: Params, size: Params, covariance: np.ndarray, num_batches: int) -> float:
    """Chance of a difference at least as large, in the sense of T², without a bias; NaN if any number is.

    Args:
      difference: of the mean and ∇J.
      size: of the numbers it is a difference of, which is what rounding is relative to.
      covariance: of the difference along the directions, [K, K].
      num_batches: B.
    """
    from scipy import stats

    directions = [np.asarray(sign, np.float64) for sign in signs(difference)]
    num = max(1, min(len(covariance), num_batches // 4))
    d, covariance = along(directions, difference)[:num], covariance[:num, :num]
    if not (np.isfinite(d).all() and np.isfinite(covariance).all()):
        return float("nan")
    rounding = _ROUNDING * np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(size)))
    deviation = np.sqrt(np.diagonal(covariance))
    varies = deviation > rounding
    if (np.abs(d[~varies]) > 5 * rounding).any():
        return 0.0  # certain, and another number
    if not varies.any():
        return 1.0
    scale = deviation[varies]
    values, vectors = np.linalg.eigh(covariance[np.ix_(varies, varies)] / np.outer(scale, scale))
    kept = values > 1e-4  # what is below is rounding: a softmax's components depend on each other
    along_each = vectors[:, kept].T @ (d[varies] / scale)
    t_squared, rank = np.sum(along_each**2 / values[kept]), kept.sum()
    return float(
        stats.f.sf(t_squared * (num_batches - rank) / (rank * (num_batches - 1)), rank, num_batches - rank)
    )
