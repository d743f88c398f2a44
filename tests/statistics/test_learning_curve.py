"""Numbers of a learning curve: by hand, against a loop, refusals."""

import numpy as np
import pytest

from purepg.errors import InvalidInput
from purepg.statistics import learning_curve

NAN, INF = np.nan, np.inf


def test_a_curve_carries_its_last_known_value():
    curve = np.array([[NAN, 1, NAN, NAN, 4], [NAN, NAN, NAN, NAN, NAN]])
    np.testing.assert_array_equal(learning_curve.carried(curve)[0], [NAN, 1, 1, 1, 4])
    assert np.isnan(learning_curve.carried(curve)[1]).all()


def test_final_and_best_by_hand():
    curves = np.array([[0.0, 6, 4, 2], [NAN, 5, NAN, 1], [NAN] * 4])
    np.testing.assert_array_equal(learning_curve.final(curves, 2), [3, 3, NAN])
    np.testing.assert_array_equal(learning_curve.best(curves, 2), [5, 5, NAN])
    np.testing.assert_array_equal(learning_curve.best(curves, 1), [6, 5, NAN])
    assert learning_curve.final(curves[0], 4) == 3  # a curve alone does too


def test_area_by_hand_with_steps_of_all_or_of_each():
    """10 steps at 1, 30 at 2: 70 / 40. An unknown beginning has the first known value."""
    curves, steps = np.array([[1.0, 2.0], [NAN, 2.0], [NAN, NAN]]), np.array([10, 40])
    np.testing.assert_array_equal(learning_curve.area_under_curve(curves, steps), [1.75, 2, NAN])
    each = np.array([[10, 40], [5, 6], [1, 2]])
    np.testing.assert_array_equal(learning_curve.area_under_curve(curves, each), [1.75, 2, NAN])


def test_a_failure_is_no_absence():
    """NaN with a count is what the games returned; with count 0 there were none."""
    curve, steps = np.array([NAN, 1, NAN, 3, 4]), np.arange(10, 60, 10)
    none, failed = np.array([0, 2, 0, 2, 2]), np.array([0, 2, 5, 2, 2])
    np.testing.assert_array_equal(learning_curve.carried(curve, none), [NAN, 1, 1, 3, 4])
    np.testing.assert_array_equal(learning_curve.carried(curve, failed), [NAN, 1, NAN, 3, 4])
    np.testing.assert_array_equal(learning_curve.carried(curve, [0, 2, 5, 0, 0]), [NAN, 1, NAN, NAN, NAN])
    for function, arguments, expected in (
        (learning_curve.final, (3,), (1 + 3 + 4) / 3),
        (learning_curve.best, (2,), 3.5),
        (learning_curve.area_under_curve, (steps,), (1 + 1 + 1 + 3 + 4) / 5),
    ):
        assert function(curve, *arguments, none) == function(curve, *arguments) == expected
        assert np.isnan(function(curve, *arguments, failed))
    assert learning_curve.final(curve, 2, failed) == 3.5  # it has recovered
    for count in (none, failed, None):
        assert learning_curve.steps_to_threshold(curve, steps, 1, count) == 20
        assert learning_curve.steps_to_threshold(curve, steps, 3, count) == 40
    assert learning_curve.steps_to_threshold([NAN, NAN], [1, 2], -5, [0, 3]) == INF
    many = np.stack([curve, curve])
    np.testing.assert_array_equal(learning_curve.final(many, 3, np.stack([none, failed])), [8 / 3, NAN])


def test_area_of_a_constant_is_the_constant():
    steps = np.random.default_rng(0).integers(1, 50, (7, 20)).cumsum(axis=1)
    np.testing.assert_allclose(learning_curve.area_under_curve(np.full((7, 20), 3.5), steps), 3.5)


def test_steps_to_threshold_by_hand():
    curves, steps = np.array([[1.0, 5, 0, 5], [0, NAN, 0, 9], [0, 1, 2, 3]]), np.array([10, 20, 30, 40])
    np.testing.assert_array_equal(learning_curve.steps_to_threshold(curves, steps, 5), [20, 40, INF])
    np.testing.assert_array_equal(
        learning_curve.steps_to_threshold(curves, steps, 2.5, window=2), [20, 40, 40]
    )


def test_numbers_of_a_curve_against_a_loop():
    rng = np.random.default_rng(1)
    curves = rng.normal(size=(20, 15)).cumsum(axis=1)
    curves[rng.random(curves.shape) < 0.2] = NAN
    steps = rng.integers(1, 9, curves.shape).cumsum(axis=1)
    for curve, own, best, reached in zip(
        curves,
        steps,
        learning_curve.best(curves, 3),
        learning_curve.steps_to_threshold(curves, steps, 1.0),
        strict=True,
    ):
        filled, value = [], NAN
        for x in curve:
            value = value if np.isnan(x) else x
            filled.append(value)
        means = [np.mean(filled[i : i + 3]) for i in range(13)]
        assert best == pytest.approx(np.nanmax(means))
        assert reached == next((n for n, x in zip(own, filled, strict=True) if x >= 1.0), INF)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(InvalidInput, match="threshold is NaN"):
        learning_curve.steps_to_threshold(np.ones((2, 3)), np.array([1, 2, 3]), NAN)


@pytest.mark.parametrize("last", [0, 5])
def test_a_window_that_does_not_fit_is_refused(last):
    with pytest.raises(InvalidInput, match="give 1 to 4"):
        learning_curve.final(np.ones((2, 4)), last)
    with pytest.raises(InvalidInput, match="give 1 to 4"):
        learning_curve.best(np.ones((2, 4)), last)


def test_steps_of_each_update_are_refused_where_steps_so_far_are_meant():
    with pytest.raises(InvalidInput, match="cumsum"):
        learning_curve.area_under_curve(np.ones((2, 3)), np.array([10, 10, 10]))
    with pytest.raises(InvalidInput, match="cumsum"):
        learning_curve.steps_to_threshold(np.ones((2, 3)), np.array([10, 20, 15]), 1)
    with pytest.raises(InvalidInput, match="shape"):
        learning_curve.area_under_curve(np.ones((2, 3)), np.array([10, 20]))
