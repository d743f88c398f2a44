"""Statistics of seeds: numbers by hand, scipy as a reference, coverage by simulation, what happens to failed seeds."""

import numpy as np
import pytest
import scipy.stats

from purepg import statistics
from purepg.errors import InvalidInput
from purepg.statistics import summarize

NAN, INF = np.nan, np.inf

# What the seeds say


def test_summary_by_hand():
    s = summarize(np.array([1.0, 2.0, 3.0, 10.0]))
    assert (s.num_seeds, s.mean, s.median, s.worst, s.best) == (4, 4.0, 2.5, 1.0, 10.0)
    assert s.interquartile_mean == 2.5
    half = scipy.stats.t.ppf(0.975, 3) * np.std([1, 2, 3, 10], ddof=1) / 2
    np.testing.assert_allclose([s.low, s.high], [4 - half, 4 + half])
    assert s.quantiles == (1, 1, 3, 10)
    assert np.isnan(s.tolerance).all()
    assert s.num_diverged == 0


def test_one_seed_has_no_interval_and_a_failed_seed_is_not_dropped():
    one = summarize(np.array([3.0]))
    assert (one.mean, one.median, one.interquartile_mean, one.worst) == (3, 3, 3, 3)
    intervals = one.interquartile_mean_interval, one.median_interval, one.mean_bootstrap_interval
    assert np.isnan([one.low, one.high, *np.ravel(intervals)]).all()
    failed = summarize(np.array([3.0, NAN]))
    assert np.isnan(failed.mean)
    assert (failed.num_diverged, failed.worst, failed.best) == (1, -INF, 3)


def test_ranks_survive_what_the_mean_does_not():
    """Two of 20 seeds failed: they are the lowest, and the middle half does not change with how low they are."""
    values = np.arange(20.0)
    lost = np.where(values < 2, NAN, values)
    s, whole = summarize(lost), summarize(values)
    assert np.isnan([s.mean, s.low, s.high, *s.mean_bootstrap_interval]).all()
    assert (s.median, s.interquartile_mean) == (whole.median, whole.interquartile_mean)
    assert s.median_interval == whole.median_interval
    assert s.quantiles == (-INF, *whole.quantiles[1:])
    assert s.num_diverged == 2


def test_infinities_stay_what_they_are():
    s = summarize(np.array([1.0, 2, 3, 4, INF]))
    assert (s.mean, s.median, s.best, s.num_diverged) == (INF, 3, INF, 1)
    assert np.isnan([s.low, s.high]).all()
    both = summarize(np.array([-INF, INF]))
    assert np.isnan([both.mean, both.median]).all()


def test_seeds_that_are_all_equal_have_intervals_without_width():
    s = summarize(np.full(50, 0.1))
    for interval in (
        s.interquartile_mean_interval,
        s.median_interval,
        s.mean_bootstrap_interval,
        s.tolerance,
    ):
        np.testing.assert_allclose(interval, 0.1)
    np.testing.assert_allclose([s.mean, s.low, s.high], 0.1)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((3, 2)), np.array(1.0)])
def test_anything_but_one_number_a_seed_is_refused(values):
    with pytest.raises(InvalidInput, match="one number per seed"):
        summarize(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, np.nan])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(InvalidInput, match=r"confidence = .*\(0, 1\)"):
        summarize(np.arange(5.0), confidence)
    with pytest.raises(InvalidInput, match="confidence"):
        statistics.wilson_interval(np.array(0.5), 10, confidence)


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 4, 5, 7, 8, 30])
def test_interquartile_mean_is_scipys_trimmed_mean(num_seeds):
    values = np.random.default_rng(num_seeds).normal(size=(6, num_seeds))
    expected = scipy.stats.trim_mean(values, 0.25, axis=1)
    np.testing.assert_allclose(statistics.interquartile_mean(values), expected)


def test_mean_interval_is_scipys_and_leaves_out_what_is_not_there_yet():
    values = np.random.default_rng(0).normal(size=(9, 3))
    present = np.ones((9, 3), bool)
    present[4:, 1], present[1:, 2] = False, False
    found = statistics.mean_interval(values, 0.9, present=present)
    for i in (0, 1):
        chosen = values[present[:, i], i]
        expected = scipy.stats.t.interval(0.9, len(chosen) - 1, chosen.mean(), scipy.stats.sem(chosen))
        np.testing.assert_allclose([found.low[i], found.high[i]], expected)
    assert found.mean[2] == values[0, 2]
    assert np.isnan(found.low[2])
    assert np.isnan(statistics.mean_interval(values, present=~present).mean[0])


def test_bootstrap_resamples_as_scipy_does():
    """Widening apart: at the same tail both agree up to the error of resampling (a twentieth of the width)."""
    values = np.random.default_rng(3).gamma(4, size=200)
    ours = statistics.bootstrap_interval(values, lambda x: x.mean(axis=-1), num_resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=(ours.high - ours.low) / 20)
    assert ours == statistics.bootstrap_interval(values, lambda x: x.mean(axis=-1), num_resamples=20_000)


def test_shares_are_scipys():
    for count in (0, 1, 7, 20):
        values = np.arange(20) < count
        found = statistics.share_solved(values, 1.0)
        expected = scipy.stats.binomtest(count, 20).proportion_ci(method="wilson")
        assert (found.count, found.num_seeds, found.share) == (count, 20, count / 20)
        np.testing.assert_allclose([found.low, found.high], expected, atol=1e-12)
    assert statistics.share_solved(np.array([NAN, 2.0, INF]), 1.0).count == 2


def test_failed_and_frozen_seeds_are_counted_once():
    values, frozen_at = np.array([1.0, NAN, 3, -INF]), np.array([-1, 7, 0, -1])
    assert statistics.share_diverged(values).count == 2
    assert statistics.share_diverged(values, frozen_at).count == 3
    assert summarize(values, frozen_at=frozen_at).num_diverged == 3


def test_profile_is_the_share_solved_at_each_threshold():
    values, thresholds = np.array([1.0, 2, 2, NAN, 5]), np.array([0.0, 2, 3, 6])
    profile = statistics.performance_profile(values, thresholds)
    np.testing.assert_allclose(profile.share, [0.8, 0.6, 0.2, 0])
    for i, threshold in enumerate(thresholds):
        solved = statistics.share_solved(values, threshold)
        np.testing.assert_allclose([profile.low[i], profile.high[i]], [solved.low, solved.high])


def test_tolerance_needs_46_seeds_and_drops_more_ends_the_more_there_are():
    """1 − n·0.9^(n−1) + (n − 1)·0.9^n passes 95 % at n = 46 (Wilks)."""
    assert np.isnan(statistics.tolerance_interval(np.arange(45.0))).all()
    assert statistics.tolerance_interval(np.arange(46.0)) == (0, 45)
    low, high = statistics.tolerance_interval(np.arange(1000.0))
    assert low + high == 999
    inside = high - low - 1  # seeds between the ends, whose content is Beta(inside + 1, 1000 − inside)
    assert scipy.stats.beta.sf(0.9, inside + 1, 1000 - inside) >= 0.95
    assert scipy.stats.beta.sf(0.9, inside - 1, 1002 - inside) < 0.95
    assert statistics.tolerance_interval(np.r_[NAN, np.arange(45.0)]).low == -INF


def test_few_seeds_are_cautioned():
    assert "1 seed says" in statistics.caution(1)
    assert "19 seeds" in statistics.caution(19)
    assert statistics.caution(20) == ""


# Coverage

FAMILIES = {
    "normal": scipy.stats.norm(),
    "bounded": scipy.stats.beta(8, 2),  # skewness −0.8, as near a return's ceiling
    "gamma": scipy.stats.gamma(4),  # skewness 1
    "exponential": scipy.stats.expon(),  # skewness 2
}


def within(covered, truth=0.95):
    """93 to 97 %, and what a simulation with so many samples may err by (3 standard errors)."""
    return abs(np.mean(covered) - truth) < 0.02 + 3 * np.sqrt(truth * (1 - truth) / len(covered))


@pytest.mark.parametrize("family", ["normal", "bounded", "gamma"])
@pytest.mark.parametrize("num_seeds", [20, 64])
def test_t_interval_covers_the_mean_as_often_as_it_says(family, num_seeds):
    distribution = FAMILIES[family]
    values = distribution.rvs(size=(num_seeds, 20_000), random_state=np.random.default_rng(0))
    found = statistics.mean_interval(values)
    covered = np.mean((found.low < distribution.mean()) & (distribution.mean() < found.high))
    assert 0.93 < covered < 0.97  # standard error 0.15 %


def coverage(interval, family, truth, num_seeds=30, samples=1000):
    values = FAMILIES[family].rvs(size=(samples, num_seeds), random_state=np.random.default_rng(0))
    return [low <= truth <= high for low, high in (interval(x, seed) for seed, x in enumerate(values))]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_bootstrap_covers_median_and_interquartile_mean_as_often_as_it_says(family):
    distribution = FAMILIES[family]
    quartiles = distribution.ppf([0.25, 0.75])
    middle = 2 * distribution.expect(lambda x: x, lb=quartiles[0], ub=quartiles[1])

    def interval(statistic):
        return lambda x, seed: statistics.bootstrap_interval(x, statistic, num_resamples=500, seed=seed)

    assert within(coverage(interval(statistics.interquartile_mean), family, middle))
    assert within(coverage(interval(lambda x: np.median(x, axis=-1)), family, distribution.median()))


@pytest.mark.parametrize("family", FAMILIES)
def test_bootstrap_t_covers_the_mean_of_skewed_seeds_too(family):
    def interval(x, seed):
        return statistics.studentized_interval(x, num_resamples=500, seed=seed)

    assert within(coverage(interval, family, FAMILIES[family].mean(), num_seeds=20))


def test_what_the_widening_and_the_bootstrap_t_are_for():
    """Exponential, 20 seeds: t falls short. Normal, 10 seeds: so do percentiles as they are, 91 %, widened not."""
    values = FAMILIES["exponential"].rvs(size=(20, 20_000), random_state=np.random.default_rng(0))
    found = statistics.mean_interval(values)
    assert np.mean((found.low < 1) & (found.high > 1)) < 0.93

    def widened(x, seed):
        return statistics.bootstrap_interval(x, lambda y: y.mean(axis=-1), num_resamples=500, seed=seed)

    def plain(x, seed):
        drawn = x[np.random.default_rng(seed).integers(10, size=(500, 10))].mean(axis=-1)
        return np.quantile(drawn, [0.025, 0.975])

    assert np.mean(coverage(plain, "normal", 0.0, num_seeds=10)) < 0.925
    assert within(coverage(widened, "normal", 0.0, num_seeds=10))


def test_tolerance_interval_holds_90_percent_as_often_as_it_says():
    """Uniform numbers: the content is the width. At 64 seeds k = 1 is reached with more than 95 %, exactly known."""
    values = np.random.default_rng(0).random((1000, 64))
    found = np.array([statistics.tolerance_interval(x) for x in values])
    expected = scipy.stats.beta.sf(0.9, 63, 2)
    assert expected > 0.95
    held = np.mean(found[:, 1] - found[:, 0] >= 0.9)
    assert abs(held - expected) < 4 * np.sqrt(expected * (1 - expected) / 1000)
