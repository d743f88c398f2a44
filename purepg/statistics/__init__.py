"""What many seeds say. The seed is the replicate: one number per seed in, an interval or a verdict out.

    intervals      mean, interquartile mean and share with their intervals; tolerance interval; profile
    comparisons    which of two configurations is better, by how much, and how sure that is
    seed_metrics   from a run's metrics to one number per seed
    learning_curve the curve of many seeds, with its band

What is exported here are the intervals; `purepg.comparisons` is a name of its own.
"""

from purepg.statistics import comparisons
from purepg.statistics.intervals import (
    ENOUGH_SEEDS,
    QUANTILES,
    Interval,
    MeanInterval,
    Profile,
    Share,
    Summary,
    bootstrap_interval,
    caution,
    check_seeds,
    interquartile_mean,
    mean_interval,
    performance_profile,
    rank_values,
    share_diverged,
    share_solved,
    studentized_interval,
    summarize,
    tolerance_interval,
    upper,
    wilson_interval,
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
