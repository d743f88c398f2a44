import numpy as np
import scipy.stats

from purepg.statistics import summarize


def test_summary_by_hand():
    s = summarize(np.array([1.0, 2.0, 3.0, 10.0]))
    assert (s.num_seeds, s.mean, s.median, s.worst, s.best) == (4, 4.0, 2.5, 1.0, 10.0)
    assert s.interquartile_mean == 2.5
    half = scipy.stats.t.ppf(0.975, 3) * np.std([1, 2, 3, 10], ddof=1) / 2
    np.testing.assert_allclose([s.low, s.high], [4 - half, 4 + half])


def test_one_seed_has_no_interval_and_a_failed_seed_is_not_dropped():
    assert np.isnan(summarize(np.array([3.0])).low)
    assert np.isnan(summarize(np.array([3.0, np.nan])).mean)


def test_interval_covers_the_mean_as_often_as_it_says():
    """2000 samples of 10 normal numbers: coverage 95 % within 4 standard errors (0.5 % each)."""
    rng = np.random.default_rng(0)
    summaries = [summarize(rng.normal(size=10)) for _ in range(2000)]
    coverage = np.mean([s.low < 0 < s.high for s in summaries])
    assert abs(coverage - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)
