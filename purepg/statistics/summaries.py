"""What the seeds of one configuration say, in short: a summary, shares of seeds, a performance profile.

The seed is the replicate. A seed's games share one training, so a thousand games of one seed are one observation of the
algorithm. Each seed is first reduced to one number (`purepg.statistics.seed_metrics`); `intervals` says how sure the S
numbers are.

A number that is not finite is a failure. It is counted, never dropped, and shows in the mean (NaN or infinite, without
an interval); whatever goes by rank (median, interquartile mean, quantiles, tolerance interval, shares) puts NaN below
all numbers. Larger is better throughout: negate costs. A seed that was frozen keeps its number, that of its last sound
policy, and is counted as diverged.
"""

from typing import NamedTuple

import numpy as np

from purepg.statistics.intervals import (
    Interval,
    bootstrap_interval,
    check_seeds,
    interquartile_mean,
    mean_interval,
    median,
    rank_values,
    studentized_interval,
    tolerance_interval,
    wilson_interval,
)

__all__ = [
    "ENOUGH_SEEDS",
    "QUANTILES",
    "Profile",
    "Share",
    "Summary",
    "caution",
    "performance_profile",
    "share_diverged",
    "share_solved",
    "summarize",
]

ENOUGH_SEEDS = 20  # below, intervals are wide and lean on the normal distribution
QUANTILES = (0.05, 0.25, 0.75, 0.95)


class Share(NamedTuple):
    """How many of the seeds, with Wilson's interval for the share among all possible seeds.

    Attributes:
      count: How many seeds.
      num_seeds: Of how many.
      share: Count / num_seeds.
      low: Lower end of the interval.
      high: Upper end.
    """

    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    num_seeds: int
    share: float
    low: float
    high: float


class Profile(NamedTuple):
    """Share of seeds at or above each threshold, with Wilson's interval at each.

    Attributes:
      thresholds: `[K]`.
      share: `[K]`, in [0, 1].
      low: `[K]`, lower ends of the intervals.
      high: `[K]`, upper ends.
    """

    thresholds: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Summary(NamedTuple):
    """The numbers of S seeds, in short.

    Attributes:
      num_seeds: S.
      mean: Over the seeds.
      low: Lower end of the mean's t interval.
      high: Its upper end.
      interquartile_mean: Mean of the middle half of the seeds.
      median: Over the seeds.
      worst: The lowest number.
      best: The highest number.
      interquartile_mean_interval: By the bootstrap.
      median_interval: By the bootstrap.
      mean_bootstrap_interval: Of the mean, by the bootstrap-t: it is the better one for skewed numbers.
      quantiles: At `QUANTILES`.
      tolerance: Holds 90 % of new runs, with confidence 95 %.
      num_diverged: Seeds that are not finite or were frozen.
    """

    num_seeds: int
    mean: float
    low: float
    high: float
    interquartile_mean: float
    median: float
    worst: float
    best: float
    interquartile_mean_interval: Interval
    median_interval: Interval
    mean_bootstrap_interval: Interval
    quantiles: tuple[float, ...]
    tolerance: Interval
    num_diverged: int


def summarize(
    values: np.ndarray, confidence: float = 0.95, *, frozen_at: np.ndarray | None = None
) -> Summary:
    """Summary of one configuration's seeds; the intervals of a single seed are NaN.

    Args:
      values: `[S]`, one number per seed; larger is better.
      confidence: of the intervals, in (0, 1); the tolerance interval has its own.
      frozen_at: `[S]`, the update at which a seed was given up, −1 for never, as in `Result.dataset`.

    Raises:
      InvalidInput: no seeds, or more than one number per seed.
    """
    values = check_seeds(values)
    mean, ranked = mean_interval(values, confidence), np.sort(rank_values(values))
    return Summary(
        len(values),
        float(mean.mean),
        float(mean.low),
        float(mean.high),
        float(interquartile_mean(ranked)),
        float(median(ranked)),
        float(ranked[0]),
        float(ranked[-1]),
        bootstrap_interval(ranked, interquartile_mean, confidence),
        bootstrap_interval(ranked, median, confidence),
        studentized_interval(values, confidence),
        tuple(np.quantile(ranked, QUANTILES, method="inverted_cdf").tolist()),
        tolerance_interval(ranked),
        share_diverged(values, frozen_at).count,
    )


def share_solved(values: np.ndarray, threshold: float, confidence: float = 0.95) -> Share:
    """The share of seeds at or above a threshold.

    Args:
      values: `[S]`, one number per seed; NaN is below every threshold.
      threshold: the return that counts as solved.
      confidence: of the interval, in (0, 1).
    """
    return _share(check_seeds(values) >= threshold, confidence)


def share_diverged(
    values: np.ndarray, frozen_at: np.ndarray | None = None, confidence: float = 0.95
) -> Share:
    """The share of seeds that are not finite or were frozen.

    Args:
      values: `[S]`, one number per seed.
      frozen_at: `[S]`, the update at which a seed was given up, −1 for never; none: no seed was.
      confidence: of the interval, in (0, 1).
    """
    diverged = ~np.isfinite(check_seeds(values))
    if frozen_at is not None:
        diverged |= np.asarray(frozen_at) >= 0
    return _share(diverged, confidence)


def performance_profile(values: np.ndarray, thresholds: np.ndarray, confidence: float = 0.95) -> Profile:
    """Share of the seeds at or above each threshold.

    At one threshold the bootstrap would resample a share: its distribution is binomial, without any width where the
    share is 0 or 1. Wilson's interval answers the same question better.

    Args:
      values: `[S]`, one number per seed; NaN is below every threshold.
      thresholds: `[K]`.
      confidence: of the intervals, in (0, 1).
    """
    values, thresholds = check_seeds(values), np.asarray(thresholds, np.float64)
    share = (values[:, None] >= thresholds).mean(axis=0)
    return Profile(thresholds, share, *wilson_interval(share, len(values), confidence))


def caution(num_seeds: int) -> str:
    """A sentence on what few seeds cannot say; empty from `ENOUGH_SEEDS` on.

    Args:
      num_seeds: S, at least 1.
    """
    if num_seeds >= ENOUGH_SEEDS:
        return ""
    few = "1 seed says" if num_seeds == 1 else f"{num_seeds} seeds say"
    return (
        f"{few} little: take {ENOUGH_SEEDS} or more; intervals of fewer lean on the normal distribution "
        "and miss rare failures"
    )


def _share(chosen: np.ndarray, confidence: float) -> Share:
    count = int(chosen.sum())
    low, high = wilson_interval(chosen.mean(), len(chosen), confidence)
    return Share(count, len(chosen), count / len(chosen), float(low), float(high))
