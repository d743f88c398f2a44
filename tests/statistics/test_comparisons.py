"""Comparisons of configurations: scipy as a reference, known powers, errors and coverage by simulation."""

import numpy as np
import pytest
import scipy.stats

from purepg import comparisons
from purepg.errors import InvalidInput
from purepg.statistics.comparisons import compare_all, compare_pair

NAN, INF = np.nan, np.inf


def draw(num_first, num_second, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1.0, num_first), rng.normal(0.0, 2.0, num_second)


# Against scipy and by hand


def test_welchs_test_is_scipys():
    first, second = draw(12, 30, shift=1.0)
    found, expected = (
        compare_pair(first, second, paired=False),
        scipy.stats.ttest_ind(first, second, equal_var=False),
    )
    interval = expected.confidence_interval()
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    np.testing.assert_allclose([found.low, found.high], interval)
    assert (found.num_first, found.num_second, found.paired) == (12, 30, False)


def test_the_paired_test_is_scipys():
    first, second = draw(15, 15, shift=1.0)
    second += first
    found, expected = compare_pair(first, second, paired=True), scipy.stats.ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue)
    np.testing.assert_allclose([found.low, found.high], expected.confidence_interval())


def test_improvement_and_effect_by_hand():
    found = compare_pair(np.array([1.0, 3.0]), np.array([1.0, 2.0]), paired=False)
    assert found.improvement == (0.5 + 0 + 1 + 1) / 4
    # pooled variance (2 + 0.5)/2, J = 1 − 3/(4·4 − 9)
    assert found.effect_size == pytest.approx((1 - 3 / 7) * 0.5 / np.sqrt(1.25))


def test_improvement_is_mann_whitneys_u():
    first, second = np.random.default_rng(0).integers(0, 6, (2, 25))
    found = compare_pair(first, second, paired=False)
    assert found.improvement == pytest.approx(scipy.stats.mannwhitneyu(first, second).statistic / 625)


def test_turned_round_everything_turns_round():
    first, second = draw(12, 20, shift=0.5)
    one, other = compare_pair(first, second, paired=False), compare_pair(second, first, paired=False)
    np.testing.assert_allclose(
        [one.difference, one.low, one.high, one.effect_size],
        [-other.difference, -other.high, -other.low, -other.effect_size],
    )
    np.testing.assert_allclose(
        [one.improvement, one.improvement_low, one.improvement_high],
        [1 - other.improvement, 1 - other.improvement_high, 1 - other.improvement_low],
    )
    assert (one.p_value, one.seeds_needed) == pytest.approx((other.p_value, other.seeds_needed))


def test_neither_scale_nor_place_matters():
    first, second = draw(12, 20, shift=0.5)
    one = compare_pair(first, second, paired=False)
    other = compare_pair(100 * first - 7, 100 * second - 7, paired=False)
    assert one.difference * 100 == pytest.approx(other.difference)
    for field in ("p_value", "improvement", "improvement_low", "effect_size", "seeds_needed"):
        assert getattr(one, field) == pytest.approx(getattr(other, field)), field


def test_pairing_gains_where_seeds_resemble_each_other_and_only_there():
    rng = np.random.default_rng(0)
    seed_effect, first, second = rng.normal(size=(3, 40))
    alike = compare_pair(seed_effect + 0.2 * first, seed_effect + 0.2 * second, paired=True)
    apart = compare_pair(seed_effect + 0.2 * first, seed_effect + 0.2 * second, paired=False)
    assert alike.high - alike.low < 0.4 * (apart.high - apart.low)
    paired, welch = (compare_pair(first, second, paired=p) for p in (True, False))
    assert paired.high - paired.low == pytest.approx(welch.high - welch.low, rel=0.15)


# Power


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17), (-0.8, 26)])
def test_seeds_needed_is_the_textbooks_number(effect, seeds):
    assert comparisons.seeds_needed(effect) == seeds


@pytest.mark.parametrize("effect", [0.01, 0.3, 1.7, 3.0])
def test_seeds_needed_is_the_least_number_with_that_power(effect):
    seeds = int(comparisons.seeds_needed(effect, 0.9))
    assert comparisons.power(effect, seeds) >= 0.9
    assert seeds == 2 or comparisons.power(effect, seeds - 1) < 0.9


def test_seeds_needed_at_the_ends():
    assert comparisons.seeds_needed(0.0) == INF
    assert np.isnan(comparisons.seeds_needed(NAN))
    assert comparisons.seeds_needed(INF) == 2
    assert comparisons.seeds_needed(50.0) == 2
    assert comparisons.seeds_needed(1e-4) == pytest.approx(1.57e9, rel=1e-3)
    assert comparisons.power(0.0, 10) == pytest.approx(0.05)


@pytest.mark.parametrize(("effect", "seeds"), [(0.3, 20), (-0.8, 26), (1.5, 3), (6.0, 40)])
def test_power_is_the_noncentral_distributions(effect, seeds):
    """Exact to the eighth digit; beyond what can be computed it is 1."""
    distribution = scipy.stats.nct(2 * seeds - 2, abs(effect) * np.sqrt(seeds / 2))
    critical = scipy.stats.t.ppf(0.975, 2 * seeds - 2)
    expected = distribution.sf(critical) + distribution.cdf(-critical)
    assert comparisons.power(effect, seeds) == pytest.approx(expected, abs=1e-8)


def simulate(shift, num_seeds, paired, repeats=400):
    """p values of that many comparisons, from numbers of their own."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(repeats, 2, num_seeds)) + np.array([shift, 0.0])[:, None]
    return np.array([compare_pair(*x, paired=paired).p_value for x in found])


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
def test_of_two_identical_configurations_five_percent_differ(paired):
    assert 0.03 <= np.mean(simulate(0.0, 20, paired) < 0.05) <= 0.07


@pytest.mark.parametrize(("effect", "seeds"), [(0.8, 26), (0.5, 64)])
def test_a_known_difference_is_found_as_often_as_computed(effect, seeds):
    expected = comparisons.power(effect, seeds)
    assert expected == pytest.approx(0.8, abs=0.015)
    found = np.mean(simulate(effect, seeds, paired=False) < 0.05)
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)


@pytest.mark.parametrize("num_seeds", [20, 64])
@pytest.mark.parametrize("truth", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("paired", [False, True])
def test_the_interval_of_the_improvement_covers_it(num_seeds, truth, paired):
    """Exponential numbers, P(X > Y) = a/(a + 1) at scales a and 1: 93 to 97 %, 3 standard errors of 0.7 % apart."""
    rng = np.random.default_rng(0)
    scale = np.array([truth / (1 - truth), 1.0])[:, None]
    samples = rng.exponential(size=(1000, 2, num_seeds)) * scale
    intervals = [
        comparisons.probability_of_improvement(*x, paired=paired, confidence=0.95)[1] for x in samples
    ]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.93 - 0.021 < covered < 0.97 + 0.021


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [-0.5, 0.9])
def test_the_improvement_of_pairs_is_that_of_independent_runs(correlation):
    """Ten normal pairs: with the pairs themselves among the wins the mean at 0.9 would be 0.66 for 0.64."""
    truth, rng = 0.64, np.random.default_rng(0)
    first, other = rng.normal(size=(2, 1500, 10))
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    first = first + np.sqrt(2) * scipy.stats.norm.ppf(truth)
    found = [compare_pair(x, y, paired=True) for x, y in zip(first, second, strict=True)]
    estimates = np.array([c.improvement for c in found])
    assert abs(estimates.mean() - truth) < 4 * estimates.std() / np.sqrt(1500)
    covered = np.mean([c.improvement_low <= truth <= c.improvement_high for c in found])
    assert covered > 0.93
    if correlation > 0:
        wrong = [compare_pair(x, y, paired=False).improvement for x, y in zip(first, second, strict=True)]
        assert np.mean(wrong) - truth > 4 * np.std(wrong) / np.sqrt(1500)


def test_pairing_narrows_the_improvement_where_seeds_resemble_each_other():
    rng = np.random.default_rng(0)
    seed, first, second = rng.normal(size=(3, 40))
    values = seed + 0.2 * first + 1.0, seed + 0.2 * second
    alike, apart = (compare_pair(*values, paired=paired) for paired in (True, False))
    assert alike.improvement_high - alike.improvement_low < 0.8 * (
        apart.improvement_high - apart.improvement_low
    )


def test_the_improvement_of_pairs_by_hand():
    """Of (0, 1), (2, 3), (4, 0) the wins over other seeds' runs: 2 > 1, 2 > 0, 4 > 1, 4 > 3, of six."""
    found = compare_pair(np.array([0.0, 2, 4]), np.array([1.0, 3, 0]), paired=True)
    assert found.improvement == pytest.approx((0 + 0.5 + 2 + 2) / 6)


# All pairs


def test_holm_by_hand():
    """Smallest × 3, next × 2, largest × 1, never falling, at most 1; NaN counts as a test."""
    np.testing.assert_allclose(comparisons.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(comparisons.holm(np.array([0.5, 0.9])), [1.0, 1.0])
    np.testing.assert_allclose(comparisons.holm(np.array([0.01, NAN])), [0.02, NAN])
    assert comparisons.holm(np.array([])).shape == (0,)


def test_all_pairs_in_order_paired_where_the_seeds_are_the_same():
    values = {"a": np.array([1.0, 2, 3]), "b": np.array([5.0, 4, 7]), "c": np.array([0.0, 1, 9])}
    seeds = {"a": np.array([0, 1, 2]), "b": np.array([2, 1, 0]), "c": np.array([5, 6, 7])}
    found = compare_all(values, seeds)
    assert [(c.first, c.second, c.paired) for c in found] == [
        ("a", "b", True),
        ("a", "c", False),
        ("b", "c", False),
    ]
    by_number = compare_pair(values["a"], values["b"][::-1], paired=True)
    assert found[0].p_value == by_number.p_value
    np.testing.assert_allclose(
        [c.adjusted_p_value for c in found], comparisons.holm(np.array([c.p_value for c in found]))
    )
    assert not any(c.paired for c in compare_all(values))
    assert compare_all({"a": values["a"]}) == []


@pytest.mark.slow
def test_of_identical_configurations_one_family_in_twenty_has_a_finding():
    """Five configurations, ten pairs: without a correction a quarter of the families would have one."""
    rng = np.random.default_rng(0)
    adjusted, plain = [], []
    for _ in range(150):
        found = compare_all({str(i): rng.normal(size=20) for i in range(5)})
        adjusted.append(min(c.adjusted_p_value for c in found) < 0.05)
        plain.append(min(c.p_value for c in found) < 0.05)
    assert np.mean(adjusted) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert np.mean(plain) > 0.15


@pytest.mark.parametrize("numbers", [[0, 1], [0, 0, 1]])
def test_seed_numbers_that_do_not_fit_are_refused(numbers):
    values = {"a": np.arange(3.0), "b": np.arange(3.0)}
    with pytest.raises(InvalidInput, match="its own number"):
        compare_all(values, {"a": np.arange(3), "b": np.array(numbers)})


def test_pairs_without_partners_are_refused():
    with pytest.raises(InvalidInput, match="cannot be paired"):
        compare_pair(np.ones(3), np.ones(4), paired=True)


# Ends


@pytest.mark.parametrize("paired", [False, True])
def test_a_failed_seed_leaves_no_mean_but_a_rank(paired):
    found = compare_pair(np.array([1.0, 2, NAN, 4]), np.array([0.0, 0.5, 0, 0]), paired=paired)
    numbers = found.difference, found.low, found.high, found.p_value, found.effect_size, found.seeds_needed
    assert np.isnan(numbers).all()
    assert found.improvement == 0.75
    assert found.improvement_low < 0.75 < found.improvement_high
    both = compare_pair(np.array([NAN, -INF]), np.array([NAN, INF]), paired=paired)
    assert both.improvement == 0.25  # a NaN is as bad as −inf


@pytest.mark.parametrize("paired", [False, True])
def test_seeds_that_are_all_equal(paired):
    same = compare_pair(np.full(7, 0.1), np.full(7, 0.1), paired=paired)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert (same.improvement, same.effect_size, same.seeds_needed) == (0.5, 0, INF)
    apart = compare_pair(np.full(7, 0.3), np.full(7, 0.1), paired=paired)
    assert (apart.p_value, apart.improvement, apart.effect_size, apart.seeds_needed) == (0, 1, INF, 2)


def test_full_separation_is_no_certainty():
    """20 of 20 beat all: another 20 might not, and the interval says so."""
    found = compare_pair(np.arange(20.0) + 100, np.arange(20.0), paired=False)
    assert (found.improvement, found.improvement_high) == (1, 1)
    assert 0.8 < found.improvement_low < 0.95


@pytest.mark.parametrize("paired", [False, True])
def test_one_seed_a_side_says_nothing_of_chance(paired):
    found = compare_pair(np.array([2.0]), np.array([1.0]), paired=paired)
    assert (found.difference, found.improvement) == (1, 1)
    assert np.isnan([found.low, found.p_value, found.improvement_low, found.effect_size]).all()


def test_one_seed_against_many():
    found = compare_pair(np.array([2.0]), np.arange(5.0), paired=False)
    assert np.isnan([found.low, found.p_value, found.improvement_low]).all()
    assert found.effect_size == 0
