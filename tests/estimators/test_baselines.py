"""Baselines against loops over games, and what makes them unbiased: b[t, n] knows nothing of game n's own returns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
from purepg import baselines
from purepg.errors import InvalidInput
from purepg.estimators.baselines import (
    Constant,
    LeaveOneOut,
    Mean,
    Moving,
    NoBaseline,
    Optimal,
    ScoreProducts,
    Value,
)
from purepg.rollout.trajectory import Trajectory

STEPS, GAMES = 3, 4  # those of the task below
TASK = two_states(GAMES)
SEGMENTS = dataclasses.replace(TASK, collect=purepg.Segments(GAMES, STEPS))
ALL = {name: baselines.make(name) for name in baselines.NAMES} | {"constant 1.5": Constant(1.5)}


def batch(seed):
    """Random returns [T, N], 0 after each game's end, and rows with the same mask and random values."""
    generator = np.random.default_rng(seed)
    length = generator.integers(1, STEPS + 1, GAMES)
    length[0] = STEPS  # so that no row is dead in all games
    mask = np.arange(STEPS)[:, None] < length
    returns = np.where(mask, generator.normal(2.0, 1.0, mask.shape), 0.0).astype(np.float32)
    zeros, end = np.zeros(mask.shape, np.int32), np.arange(STEPS)[:, None] == length - 1
    time = np.broadcast_to(np.arange(STEPS)[:, None], mask.shape)
    value = generator.normal(0.0, 1.0, mask.shape).astype(np.float32)
    return_so_far = returns.cumsum(axis=0)
    return jnp.asarray(returns), Trajectory(
        zeros, zeros, returns, end, zeros > 0, mask, time, return_so_far, value
    )


def values(baseline, returns, rows, state=None):
    state = baseline.init(TASK) if state is None else state
    return np.asarray(baseline.values(state, returns, rows, lambda: scores(returns, rows)))


def scores(returns, rows):
    """As if ∇log π were one number in each row, its value: A_n = Σ_t g G and S_n = Σ_t g."""
    gradient = jnp.where(rows.mask, rows.value, 0.0)
    with_return, alone = (gradient * returns).sum(axis=0), gradient.sum(axis=0)
    return ScoreProducts(with_return * alone, alone**2)


def after(baseline, *seeds):
    """The state when batches of these seeds have been seen."""
    state = baseline.init(TASK)
    for seed in seeds:
        state = baseline.update(state, *batch(seed))
    return state


# Against loops


def test_none_is_zero():
    np.testing.assert_array_equal(values(NoBaseline(), *batch(0)), np.zeros((STEPS, GAMES)))


def test_constant_is_its_value():
    np.testing.assert_array_equal(values(Constant(1.5), *batch(0)), np.full((STEPS, GAMES), 1.5))


def test_mean_over_all_games_finished_ones_count_zero():
    returns, rows = batch(0)
    expected = np.zeros((STEPS, GAMES))
    for t in range(STEPS):
        expected[t, :] = sum(float(returns[t, m]) for m in range(GAMES)) / GAMES
    np.testing.assert_allclose(values(Mean(), returns, rows), expected, rtol=1e-5)


def test_leave_one_out_over_all_other_games_finished_ones_count_zero():
    returns, rows = batch(0)
    expected = np.zeros((STEPS, GAMES))
    for t in range(STEPS):
        for n in range(GAMES):
            expected[t, n] = sum(float(returns[t, m]) for m in range(GAMES) if m != n) / (GAMES - 1)
    np.testing.assert_allclose(values(LeaveOneOut(), returns, rows), expected, rtol=1e-5, atol=1e-6)


def test_mean_is_leave_one_out_with_the_own_game_mixed_in():
    """G − mean = (N − 1)/N · (G − loo)."""
    returns, rows = batch(1)
    left = returns - values(Mean(), returns, rows)
    right = (GAMES - 1) / GAMES * (returns - values(LeaveOneOut(), returns, rows))
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def test_leave_one_out_by_hand():
    returns = jnp.array([[1.0, 2.0, 6.0], [4.0, 0.0, 0.0]])
    np.testing.assert_allclose(LeaveOneOut().values((), returns, None), [[4.0, 3.5, 1.5], [0.0, 2.0, 2.0]])


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_past", [1, 2, 5])
def test_moving_is_a_weighted_average_of_past_means(decay, num_past):
    """Weights decay^age, normalised: an average of one batch is that batch's mean, not (1 − decay) of it."""
    baseline = Moving(decay)
    seeds = range(10, 10 + num_past)
    weights = np.array([decay ** (num_past - 1 - i) for i in range(num_past)])
    means = np.array([np.asarray(batch(seed)[0]).mean(axis=1) for seed in seeds])
    expected = (weights[:, None] * means).sum(axis=0) / weights.sum()
    actual = values(baseline, *batch(0), after(baseline, *seeds))
    np.testing.assert_allclose(
        actual, np.broadcast_to(expected[:, None], (STEPS, GAMES)), rtol=1e-4, atol=1e-6
    )


def test_moving_is_zero_in_the_first_update():
    np.testing.assert_array_equal(values(Moving(), *batch(0)), np.zeros((STEPS, GAMES)))


def test_value_is_what_the_critic_said():
    returns, rows = batch(0)
    np.testing.assert_array_equal(values(Value(), returns, rows), rows.value)


@pytest.mark.slow
def test_optimal_is_the_ratio_over_all_other_games():
    returns, rows = batch(0)
    product, square = scores(returns, rows)
    expected = np.zeros((STEPS, GAMES))
    for n in range(GAMES):
        others = [m for m in range(GAMES) if m != n]
        expected[:, n] = sum(float(product[m]) for m in others) / sum(float(square[m]) for m in others)
    np.testing.assert_allclose(values(Optimal(), returns, rows), expected, rtol=1e-5)


# What makes them unbiased

OTHERS_ONLY = [name for name in ALL if name != "mean"]


def changed(baseline, game):
    """Which columns of b move when this game's own returns do, [N]."""
    state = after(baseline, 20, 21)
    returns, rows = batch(0)
    other = returns.at[:, game].add(jnp.arange(1.0, STEPS + 1.0))
    difference = values(baseline, other, rows, state) - values(baseline, returns, rows, state)
    return (np.abs(difference) > 1e-4).any(axis=0)


@pytest.mark.parametrize("own", [1e9, np.inf, np.nan])
@pytest.mark.parametrize("name", OTHERS_ONLY)
def test_an_outlier_leaves_its_own_baseline_as_it_is(name, own):
    """To the bit: total − own would leave rounding of the size of the outlier, 0 or NaN in the others' place."""
    state = after(ALL[name], 20, 21)
    returns, rows = batch(0)
    given = scores(returns, rows)
    outlier = ScoreProducts(*(x.at[1].set(own) for x in given))
    expected = ALL[name].values(state, returns, rows, lambda: given)[:, 1]
    actual = ALL[name].values(state, returns.at[:, 1].set(own), rows, lambda: outlier)[:, 1]
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("game", range(GAMES))
@pytest.mark.parametrize("name", OTHERS_ONLY)
def test_a_games_own_returns_do_not_enter_its_baseline(name, game):
    assert not changed(ALL[name], game)[game]


def test_a_games_own_returns_enter_the_mean():
    """Why `mean` shrinks the gradient; and proof that the test above sees what it looks for."""
    assert changed(ALL["mean"], 1).all()


def test_a_games_returns_enter_leave_one_out_of_all_others():
    np.testing.assert_array_equal(changed(LeaveOneOut(), 1), np.arange(GAMES) != 1)


def test_a_games_returns_enter_the_optimal_constant_of_all_others():
    np.testing.assert_array_equal(changed(Optimal(), 1), np.arange(GAMES) != 1)


def test_the_current_batch_does_not_enter_the_moving_average():
    assert not changed(Moving(), 1).any()


# Conformance


@pytest.mark.parametrize("name", ALL)
def test_shape_and_type_of_values(name):
    actual = values(ALL[name], *batch(0))
    assert actual.shape == (STEPS, GAMES)
    assert actual.dtype == np.float32


@pytest.mark.parametrize("name", ALL)
def test_an_update_keeps_the_states_structure(name):
    """As a scan's carry must."""
    start = ALL[name].init(TASK)
    jax.tree.map(
        lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)),
        start,
        after(ALL[name], 1),
    )


@pytest.mark.parametrize("name", ALL)
def test_suits_a_task_with_several_games(name):
    ALL[name].check(TASK)


@pytest.mark.parametrize("name", ["none", "constant", "value"])
def test_suits_segments(name):
    ALL[name].check(SEGMENTS)


@pytest.mark.parametrize("name", baselines.NAMES)
def test_equal_records_hash_equal(name):
    assert baselines.make(name) == baselines.make(name)
    assert hash(baselines.make(name)) == hash(baselines.make(name))


# Refusals


@pytest.mark.parametrize("name", ["loo", "optimal"])
def test_what_averages_the_other_games_needs_two(name):
    with pytest.raises(InvalidInput, match=f"'{name}' averages the other games: give num_games >= 2, not 1"):
        ALL[name].check(two_states(1))


@pytest.mark.parametrize("name", ["mean", "loo", "moving", "optimal"])
def test_what_compares_games_needs_whole_ones(name):
    with pytest.raises(
        InvalidInput, match="compare whole games: collect games; in segments take baseline value"
    ):
        ALL[name].check(SEGMENTS)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(InvalidInput, match=r"must lie in \[0, 1\)"):
        Moving(decay)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_constant_that_is_no_number_is_refused(value):
    with pytest.raises(InvalidInput, match="a finite number"):
        Constant(value)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(
        InvalidInput,
        match=r"'lo', did you mean 'loo'.*known: none, constant, mean, loo, moving, value, optimal",
    ):
        baselines.make("lo")
