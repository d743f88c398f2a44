"""What many seeds say: the seed is the replicate.

Every function takes one number a seed and keeps seeds that failed: a number that is not finite makes the mean what it
is, and is counted.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats


class Summary(NamedTuple):
    """One number a seed, in short."""

    num_seeds: int
    mean: float
    low: float  # t interval of the mean
    high: float
    interquartile_mean: float
    median: float
    worst: float
    best: float


def summarize(values: np.ndarray, confidence: float = 0.95) -> Summary:
    """Summary of `values` [S]; the interval needs two seeds and is NaN below."""
    values = np.asarray(values, np.float64)
    mean, count = float(values.mean()), len(values)
    half = np.nan
    if count > 1:
        half = scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * scipy.stats.sem(values)
    return Summary(
        count,
        mean,
        mean - half,
        mean + half,
        float(scipy.stats.trim_mean(values, 0.25)),
        float(np.median(values)),
        float(values.min()),
        float(values.max()),
    )
