"""What many seeds say. The seed is the replicate: one number per seed goes in, an interval or a verdict comes out.

    intervals      mean, median, interquartile mean and share with their intervals; the tolerance interval
    summaries      what the seeds of one configuration say: summary, shares of seeds, performance profile
    comparisons    which of two configurations is better, by how much, and how sure that is
    seed_metrics   from a run's metrics to one number per seed
    learning_curve from the curve of a seed to one number

Intervals and summaries are exported here; comparisons are `purepg.comparisons`.
"""

from purepg.statistics import comparisons
from purepg.statistics.intervals import (
    Interval,
    MeanInterval,
    bootstrap_interval,
    check_seeds,
    interquartile_mean,
    mean_interval,
    rank_values,
    studentized_interval,
    tolerance_interval,
    upper,
    wilson_interval,
)
from purepg.statistics.summaries import (
    ENOUGH_SEEDS,
    QUANTILES,
    Profile,
    Share,
    Summary,
    caution,
    performance_profile,
    share_diverged,
    share_solved,
    summarize,
)

__all__ = [
    "ENOUGH_SEEDS",
    "QUANTILES",
    "Interval",
    "MeanInterval",
    "Profile",
    "Share",
    "Summary",
    "bootstrap_interval",
    "caution",
    "check_seeds",
    "comparisons",
    "interquartile_mean",
    "mean_interval",
    "performance_profile",
    "rank_values",
    "share_diverged",
    "share_solved",
    "studentized_interval",
    "summarize",
    "tolerance_interval",
    "upper",
    "wilson_interval",
]
