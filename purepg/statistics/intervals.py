"""Intervals from one number per seed: S seeds make a sentence with its uncertainty.

    mean                 mean ± t_{S−1} s/√S, or bootstrap-t
    interquartile mean   the mean of the middle half, which a few outliers do not move; bootstrap
    median               bootstrap
    tolerance interval   what a *new run* will do; it does not shrink to a point as seeds are added
    share                Wilson's interval

Measured coverage of nominal 95 %, 4000 repetitions of 10, 20, 64 seeds (`experiments/interval_coverage.py`):

    mean, t interval          normal 94.9, 95.2, 94.8    Beta(8, 2) 93.5, 93.9, 94.4    exponential 89.6, 91.6, 93.2
    mean, bootstrap-t         normal 94.5, 95.2, 94.7    Beta(8, 2) 94.7, 94.9, 95.2    exponential 93.5, 94.0, 94.3
    interquartile mean        normal 96.8, 96.2, 95.2    Beta(8, 2) 96.4, 95.6, 94.4    exponential 97.3, 95.8, 95.7
    median                    normal 97.0, 95.5, 95.0    Beta(8, 2) 96.4, 95.7, 95.3    exponential 97.4, 95.1, 95.4
    share, exactly            0.05: 91.4, 92.5, 96.0     0.2: 96.7, 95.6, 96.0          0.5: 97.9, 95.9, 94.0

References: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021); Hesterberg,
What Teachers Should Know about the Bootstrap (2015), for percentiles widened to the t quantile; Wilks (1941).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats

from purepg.errors import InvalidInput

__all__ = [
    "Interval",
    "MeanInterval",
    "bootstrap_interval",
    "check_seeds",
    "interquartile_mean",
    "mean_interval",
    "median",
    "rank_values",
    "studentized_interval",
    "tolerance_interval",
    "upper",
    "wilson_interval",
]


class Interval(NamedTuple):
    """A range; both ends NaN where there are too few seeds for one.

    Attributes:
      low: Lower end.
      high: Upper end.
    """

    low: float
    high: float


class MeanInterval(NamedTuple):
    """Means over the seeds with their t intervals.

    Attributes:
      mean: `[...]`.
      low: `[...]`, lower ends.
      high: `[...]`, upper ends.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(
    values: np.ndarray, confidence: float = 0.95, *, present: np.ndarray | None = None
) -> MeanInterval:
    """Mean and t interval over the seeds, axis 0 of `values` [S, ...].

    A number that is not finite makes its mean not finite, and its interval NaN.

    Args:
      values: `[S, ...]`, one number per seed.
      confidence: of the interval, in (0, 1).
      present: `[S, ...]` bool, which numbers count; none: all. It leaves out seeds that have not ended an episode yet,
        and is not meant for those that failed.
    """
    values = np.asarray(values, np.float64)
    present = np.ones(values.shape, bool) if present is None else present
    with np.errstate(invalid="ignore", divide="ignore"):
        count = present.sum(axis=0)
        mean = np.where(present, values, 0).sum(axis=0) / count
        variance = np.where(present, np.square(values - mean), 0).sum(axis=0) / (count - 1)
        quantile = scipy.stats.t.ppf(upper(confidence), np.maximum(count - 1, 1))
        half = np.where(count > 1, quantile * np.sqrt(variance / count), np.nan)
        return MeanInterval(mean, mean - half, mean + half)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the numbers that are left without the ⌊S/4⌋ lowest and the ⌊S/4⌋ highest, `[...]`.

    Args:
      values: `[..., S]`, one number per seed.
    """
    with np.errstate(invalid="ignore"):
        return scipy.stats.trim_mean(values, 0.25, axis=-1)


def median(values: np.ndarray) -> np.ndarray:
    """Median over the seeds, `[...]`.

    Args:
      values: `[..., S]`, one number per seed.
    """
    with np.errstate(invalid="ignore"):
        return np.median(values, axis=-1)


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    confidence: float = 0.95,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile-bootstrap interval of a statistic; NaN below two seeds.

    Percentiles are widened as a t interval is against a normal one, with the factor √(S/(S−1)) for the bootstrap's
    variance: the mean of 10 normal numbers is covered 94.4 % of the time, not 90.1 %.

    Args:
      values: `[S]`, one number per seed.
      statistic: maps resamples `[B, S]` to `[B]`.
      confidence: of the interval, in (0, 1).
      num_resamples: B.
      seed: of the resampling.
    """
    values = check_seeds(values)
    if len(values) < 2:
        return Interval(np.nan, np.nan)
    t = -scipy.stats.t.ppf(upper(confidence), len(values) - 1)
    tail = scipy.stats.norm.cdf(t * np.sqrt(len(values) / (len(values) - 1)))
    resampled = statistic(_resamples(values, num_resamples, seed))
    low, high = np.quantile(resampled, (tail, 1 - tail), method="inverted_cdf")  # no difference of infinities
    return Interval(float(low), float(high))


def studentized_interval(
    values: np.ndarray, confidence: float = 0.95, *, num_resamples: int = 2000, seed: int = 0
) -> Interval:
    """Bootstrap-t interval of the mean: the quantiles of the t statistic come from resamples, not from a table.

    The mean of 20 exponential numbers is covered 94.0 % of the time, by the t interval 91.6 %. NaN below four seeds,
    which have too few resamples, and where a number is not finite.

    Args:
      values: `[S]`, one number per seed.
      confidence: of the interval, in (0, 1).
      num_resamples: how many.
      seed: of the resampling.
    """
    values = check_seeds(values)
    if len(values) < 4 or not np.isfinite(values).all():
        return Interval(np.nan, np.nan)
    centred = values - values.mean()
    drawn = _resamples(centred, num_resamples, seed)
    spread = drawn.std(axis=-1)
    if (spread <= 1e-12 * np.abs(values).max()).all():
        return Interval(float(values[0]), float(values[0]))
    varied = spread > 0
    t = drawn.mean(axis=-1)[varied] / spread[varied] * centred.std()
    low, high = values.mean() - np.quantile(t, (upper(confidence), 1 - upper(confidence)))
    return Interval(float(low), float(high))


def tolerance_interval(values: np.ndarray, content: float = 0.9, confidence: float = 0.95) -> Interval:
    """A range that holds a given share of new runs, with a given confidence.

    It assumes nothing about the distribution (Wilks): it reaches from the k-th lowest to the k-th highest seed, whose
    content follows Beta(S − 2k + 1, 2k), with the largest k that suffices. Content 90 % at confidence 95 % needs 46
    seeds; below that both ends are NaN, since a normal range misleads where returns are bounded or seeds fail.

    Args:
      values: `[S]`, one number per seed; NaN is below all others.
      content: the share of new runs, in (0, 1).
      confidence: that the range holds them, in (0, 1).
    """
    ranked = np.sort(rank_values(check_seeds(values)))
    k = np.arange(1, len(ranked) // 2 + 1)
    enough = scipy.stats.beta.sf(content, len(ranked) - 2 * k + 1, 2 * k) >= confidence
    if not enough.any():
        return Interval(np.nan, np.nan)
    k = int(k[enough].max())
    return Interval(float(ranked[k - 1]), float(ranked[-k]))


def wilson_interval(
    share: np.ndarray, num_seeds: float, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of shares: its lower and upper ends, each `[...]`.

    Args:
      share: `[...]`, in [0, 1].
      num_seeds: among how many, positive.
      confidence: of the interval, in (0, 1).
    """
    share = np.asarray(share, np.float64)
    z2 = scipy.stats.norm.ppf(upper(confidence)) ** 2
    centre = (share + z2 / (2 * num_seeds)) / (1 + z2 / num_seeds)
    half = np.sqrt(z2 * (share * (1 - share) / num_seeds + z2 / (4 * num_seeds**2))) / (1 + z2 / num_seeds)
    return np.where(share == 0, 0, centre - half), np.where(share == 1, 1, centre + half)


def check_seeds(values: np.ndarray) -> np.ndarray:
    """The values as floats `[S]`.

    Args:
      values: one number per seed.

    Raises:
      InvalidInput: no seeds, or more than one number per seed.
    """
    try:
        values = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InvalidInput(f"values = {values!r}: give one number per seed [S]") from None
    if values.ndim != 1 or len(values) == 0:
        raise InvalidInput(
            f"values of shape {values.shape}: give one number per seed [S], S >= 1; `final(curve, last)` makes one"
        )
    return values


def rank_values(values: np.ndarray) -> np.ndarray:
    """The values with −inf for NaN: a seed without a number is below all others.

    Args:
      values: `[...]`.
    """
    return np.where(np.isnan(values), -np.inf, values)


def upper(confidence: float) -> float:
    """The quantile at which the upper end of a two-sided interval lies, in (½, 1).

    Args:
      confidence: of the interval, in (0, 1).

    Raises:
      InvalidInput: it lies elsewhere.
    """
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence = {confidence}: give a number in (0, 1), such as 0.95")
    return (1 + confidence) / 2


def _resamples(values: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """[B, S], drawn with replacement."""
    return values[np.random.default_rng(seed).integers(len(values), size=(num_resamples, len(values)))]
