"""The cross-entropy method: elites, fits, smoothing and floor against NumPy; both forms learn; the ordinary runner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import purepg
from purepg.errors import InvalidInput
from purepg.methods.cross_entropy import CrossEntropy, CrossEntropyState, OverParameters, OverSessions
from purepg.methods.elites import elites, fit_table, nothing_to_choose, refit

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)
HYPER = purepg.Hyperparams(learning_rate=0.05, discount=1.0)
TABLE = purepg.Softmax(purepg.Table())
RNG = np.random.default_rng(0)


# The arithmetic


def test_elites_are_the_best_and_equals_share_the_places_left():
    returns = jnp.array([1.0, 5.0, 3.0, 5.0, 2.0, 3.0, 0.0, -1.0])
    weight, threshold = elites(returns, 0.25)
    np.testing.assert_array_equal(weight, [0, 1, 0, 1, 0, 0, 0, 0])
    assert threshold == 5.0
    np.testing.assert_array_equal(elites(returns, 0.375)[0], [0, 1, 0.5, 1, 0, 0.5, 0, 0])
    np.testing.assert_array_equal(
        elites(returns, 1e-6)[0], [0, 0.5, 0, 0.5, 0, 0, 0, 0]
    )  # at least one place
    np.testing.assert_allclose(elites(jnp.zeros(8), 0.25)[0], 0.25)  # nothing to choose between


@pytest.mark.slow
def test_a_return_that_is_no_number_is_below_all_others_and_no_elite():
    nan, inf = jnp.nan, jnp.inf
    weight, threshold = elites(jnp.array([1, 2, nan, 3, 0, 5, 4, 2]), 0.25)
    np.testing.assert_array_equal(weight, [0, 0, 0, 0, 0, 1, 1, 0])
    assert threshold == 4
    np.testing.assert_array_equal(elites(jnp.array([nan, 1, nan, nan]), 0.5)[0], [0, 1, 0, 0])
    np.testing.assert_array_equal(elites(jnp.array([nan, -inf, 1, 2]), 0.75)[0][2:], [1, 1])
    np.testing.assert_array_equal(elites(jnp.full(4, nan), 0.5)[0], 0)


def test_among_equals_and_failures_there_is_nothing_to_choose():
    assert nothing_to_choose(jnp.full(5, 0.1))
    assert nothing_to_choose(jnp.full(5, jnp.nan))
    assert not nothing_to_choose(jnp.array([1, 1, jnp.nan]))
    assert not nothing_to_choose(jnp.array([1, 1, 1.0000001]))


@pytest.mark.parametrize("num_candidates", [3, 5, 8, 11])
def test_two_elites_are_the_least_that_have_a_deviation(num_candidates):
    weight, threshold = elites(jnp.arange(float(num_candidates)), 0.125, least=2)
    assert weight.sum() == 2
    assert threshold == num_candidates - 2


@pytest.mark.parametrize(("smoothing", "floor"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.5), (0.7, 0.5)])
def test_refit_against_numpy(smoothing, floor):
    mean, std = RNG.normal(size=3), RNG.uniform(0.5, 1, 3)
    candidates, weight = RNG.normal(size=(6, 3)), np.array([1, 0, 0.5, 1, 0, 0.5])
    best = np.average(candidates, axis=0, weights=weight)
    variance = np.average((candidates - best) ** 2, axis=0, weights=weight)
    new_mean, new_std = refit(
        *(jnp.asarray(x, jnp.float32) for x in (mean, std, candidates, weight)),
        smoothing=smoothing,
        noise_floor=floor,
    )
    np.testing.assert_allclose(new_mean, smoothing * mean + (1 - smoothing) * best, rtol=1e-5)
    spread = np.sqrt(variance + floor**2)
    np.testing.assert_allclose(new_std, smoothing * std + (1 - smoothing) * spread, rtol=1e-5)


def test_the_floor_keeps_a_single_elite_from_ending_the_search():
    options = {"smoothing": 0.0, "noise_floor": 0.2}
    _, std = refit(jnp.zeros(2), jnp.ones(2), jnp.ones((1, 2)), jnp.ones(1), **options)
    np.testing.assert_allclose(std, 0.2)


@pytest.mark.parametrize(("smoothing", "floor"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.1), (0.6, 0.1)])
def test_fit_table_against_numpy(smoothing, floor):
    logits = RNG.normal(size=(3, 2))
    observation, action = RNG.integers(0, 2, (5, 4)), RNG.integers(0, 2, (5, 4))  # observation 2 is not seen
    weight = RNG.random((5, 4)) * (RNG.random((5, 4)) < 0.5)
    expected = softmax(logits, axis=1)
    for o in range(2):
        here = observation == o
        share = np.bincount(action[here], weight[here], minlength=2) / weight[here].sum()
        expected[o] = smoothing * expected[o] + (1 - smoothing) * share
    expected = (1 - floor) * expected + floor / 2
    options = {"smoothing": smoothing, "noise_floor": floor}
    tables = (jnp.asarray(x, jnp.float32) for x in (logits, weight))
    fitted = fit_table(next(tables), observation, action, next(tables), **options)
    assert np.isfinite(fitted).all()
    np.testing.assert_allclose(softmax(np.asarray(fitted), axis=1), expected, rtol=1e-5, atol=1e-7)


# An update from end to end, on a bandit, where a candidate's return is known from its parameters


def bandit(policy=TABLE, num_games=32, arms=(0.0, 2.0, 1.0)):
    return purepg.Task(purepg.environment("Bandit", rewards=arms), policy, purepg.Games(num_games))


@pytest.mark.slow
def test_an_update_over_parameters_against_numpy():
    arms = np.array([0.0, 2.0, 1.0])
    method = CrossEntropy(bandit(), OverParameters(games=2), 0.25, smoothing=0.3, noise_floor=0.1)
    table = jnp.array([[1.0, 0.0, 0.5]])
    state = CrossEntropyState({"table": table}, {"table": jnp.array([[1.0, 2.0, 0.5]])})
    key = jax.random.key(3)
    after, numbers = quick_jit(method.update)(HYPER, state, key)

    noise = np.asarray(jax.random.normal(jax.random.split(key)[0], (16, 3)))
    candidates = np.array(table) + np.array([1.0, 2.0, 0.5]) * noise
    returns = arms[candidates.argmax(1)]
    bar = np.sort(returns)[-4]
    weight = (returns > bar) + (returns == bar) * (4 - (returns > bar).sum()) / (returns == bar).sum()
    best = np.average(candidates, axis=0, weights=weight)
    variance = np.average((candidates - best) ** 2, axis=0, weights=weight)
    mean = 0.3 * np.array(table[0]) + 0.7 * best
    std = 0.3 * np.array([1.0, 2.0, 0.5]) + 0.7 * np.sqrt(variance + 0.01)
    np.testing.assert_allclose(after.params["table"][0], mean, rtol=1e-5)
    np.testing.assert_allclose(after.search["table"][0], std, rtol=1e-5)
    assert numbers["elite_threshold"].sum == bar
    np.testing.assert_allclose(numbers["return"].sum / numbers["return"].count, returns.mean(), rtol=1e-6)
    assert numbers["steps"].sum == 32


@pytest.mark.slow
def test_a_few_candidates_do_not_end_the_search():
    """Eight candidates, an eighth of them elites: one would have no deviation, and all later ones would equal it."""
    method = CrossEntropy(bandit(num_games=8))
    state = method.init(HYPER, jax.random.key(0))
    update = quick_jit(method.update)
    for i in range(5):
        state, _ = update(HYPER, state, jax.random.key(i))
        assert (state.search["table"] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("over", "policy"),
    [
        (OverParameters(), TABLE),
        (OverSessions(), TABLE),
        (OverSessions(steps=2), purepg.Softmax(purepg.MLP((3,)))),
    ],
    ids=["parameters", "table", "network"],
)
def test_where_all_are_equally_good_the_search_stays(over, policy):
    """A fit to all of them would drift and narrow, from one update to the next, without a reason."""
    method = CrossEntropy(bandit(policy, arms=(1.0, 1.0, 1.0)), over)
    state = method.init(HYPER, jax.random.key(0))
    after, _ = quick_jit(method.update)(HYPER, state, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after, state)


@pytest.mark.slow
def test_a_candidates_return_is_the_mean_over_its_games():
    """Noise ten times the difference between the arms: 64 games a candidate tell them apart."""
    env = purepg.environment("Bandit", rewards=(1.0, 0.0), reward_noise=2.0)
    method = CrossEntropy(purepg.Task(env, TABLE, purepg.Games(1024)), OverParameters(games=64), 0.25)
    state = method.init(HYPER, jax.random.key(0))
    update = quick_jit(method.update)
    for i in range(3):
        state, _ = update(HYPER, state, jax.random.key(i))
    assert state.params["table"][0, 0] > state.params["table"][0, 1] + 0.5


@pytest.mark.slow
def test_what_is_compared_is_the_discounted_return():
    """All candidates walk right, 1 is paid in the third step."""
    policy = purepg.Softmax(purepg.Table(((0.0, 1.0),)))
    task = purepg.Task(purepg.environment("Chain", length=5), policy, purepg.Games(4, 10))
    method = CrossEntropy(task, OverParameters(initial_std=1e-6))
    hyper = purepg.Hyperparams(discount=0.9)
    _, numbers = quick_jit(method.update)(hyper, method.init(hyper, jax.random.key(0)), jax.random.key(1))
    np.testing.assert_allclose(numbers["elite_threshold"].sum, 0.81, rtol=1e-6)


@pytest.mark.slow
def test_an_update_over_sessions_fits_the_elites():
    """Elites took the best arm: π jumps to it in a table, up to floor and smoothing."""
    method = CrossEntropy(bandit(), OverSessions(), 0.1, smoothing=0.2, noise_floor=0.3)
    state = method.init(HYPER, jax.random.key(0))
    after, numbers = quick_jit(method.update)(HYPER, state, jax.random.key(0))
    expected = 0.7 * (0.2 / 3 + 0.8 * np.array([0.0, 1.0, 0.0])) + 0.1
    np.testing.assert_allclose(jax.nn.softmax(after.params["table"][0]), expected, rtol=1e-5)
    assert numbers["elite_threshold"].sum == 2.0


@pytest.mark.slow
def test_a_networks_fit_sees_only_live_rows_of_elites():
    """Games of different length on a chain: log-likelihood of exactly what the elites did rises."""
    env = purepg.environment("Chain", length=3)
    policy = purepg.Softmax(purepg.MLP((8,)))
    method = CrossEntropy(purepg.Task(env, policy, purepg.Games(64, 40)), OverSessions(steps=50), 0.25)
    hyper = purepg.Hyperparams(learning_rate=0.02, discount=0.9)  # sooner is better: to the right at once
    state = method.init(hyper, jax.random.key(0))
    update = quick_jit(method.update)
    for i in range(4):
        state, _ = update(hyper, state, jax.random.key(i))
    distribution = method.task.bind_policy().distribution(state.params, jnp.arange(2, 4))
    assert (jax.nn.softmax(distribution.logits)[:, 1] > 0.9).all()


# Learning, and the ordinary runner


GRID = purepg.Task("GridWorld", TABLE, purepg.Games(128, 50))
SEARCH = {"elite_fraction": 0.1, "smoothing": 0.2, "noise_floor": 0.05}
BEST = 0.8  # five moves


@pytest.mark.slow
def test_sessions_solve_a_grid():
    method = CrossEntropy(GRID, OverSessions(), **SEARCH)

    @quick_jit
    def learn(key):
        state = purepg.train(method, HYPER, purepg.init(method, HYPER, key), 30)[0]
        return purepg.evaluate(method, HYPER, method.params(state.learner), key, 1).returns

    np.testing.assert_allclose(learn(jax.random.key(0)), BEST, rtol=1e-5)


@pytest.mark.slow
def test_parameters_solve_a_grid_through_the_runner(tmp_path):
    method = CrossEntropy(GRID, OverParameters(), **SEARCH)
    result = purepg.run(method, HYPER, seeds=2, num_updates=30, evaluation_games=5)
    np.testing.assert_allclose(result.dataset["evaluation_return"], BEST, rtol=1e-5)
    again = purepg.load(result.save(tmp_path / "run"))
    assert again.method == method
    jax.tree.map(np.testing.assert_array_equal, again.state.learner, result.state.learner)
    play = quick_jit(
        lambda params: purepg.evaluate(method, HYPER, params, jax.random.key(0), 4, deterministic=False)
    )
    games = play(again.params(1))
    assert games.returns.shape == (4,)


@pytest.mark.slow
@pytest.mark.parametrize("over", [OverParameters(), OverSessions()], ids=["parameters", "sessions"])
def test_continuous_actions_improve(over):
    """Pendulum for a moment: finite, the same shapes, and another policy than before."""
    task = purepg.Task("Pendulum-v1", purepg.Gaussian(purepg.MLP((4,))), purepg.Games(16, 20))
    method = CrossEntropy(task, over, noise_floor=0.1 if isinstance(over, OverParameters) else 0.0)
    state = method.init(HYPER, jax.random.key(0))
    with jax.numpy_rank_promotion("allow"):  # the policy's bounds promote
        after, numbers = quick_jit(method.update)(HYPER, state, jax.random.key(0))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(after))
    assert numbers["steps"].sum == 320
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (after, state)), strict=True))


# Refusals


def refused(*arguments, **options):
    with pytest.raises(purepg.InvalidInput) as caught:
        CrossEntropy(*arguments, **options).init(HYPER, jax.random.key(0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refuses_what_it_cannot_do():
    assert "whole games" in refused(purepg.Task("GridWorld", TABLE, purepg.Segments(2, 2)))
    assert "cannot be shared out" in refused(bandit(num_games=7), OverParameters(games=2))
    normalized = purepg.Task("CartPole-v1", normalize_observations=True)
    assert "normalise" in refused(normalized)
    assert "elite_fraction" in refused(bandit(), elite_fraction=0.0)
    assert "smoothing" in refused(bandit(), smoothing=1.0)
    assert "noise_floor" in refused(bandit(), noise_floor=-0.1)
    for name in ("elite_fraction", "smoothing", "noise_floor"):
        assert name in refused(bandit(), **{name: float("nan")})
    assert "elite_fraction" in refused(bandit(), elite_fraction=1.5)
    assert "noise_floor" in refused(bandit(), noise_floor=float("inf"))
    assert "[0, 1]" in refused(bandit(), OverSessions(), noise_floor=1.5)
    assert "num_games >= 4" in refused(bandit(num_games=2), OverParameters(games=2))
    for std in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(purepg.InvalidInput, match="initial_std"):
            OverParameters(initial_std=std)
    with pytest.raises(purepg.InvalidInput, match="games = 0"):
        OverParameters(games=0)
    with pytest.raises(purepg.InvalidInput, match="steps = 0"):
        OverSessions(steps=0)


def test_what_a_fit_of_a_network_does_not_use_is_refused():
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((4,))), purepg.Games(8))
    for name in ("smoothing", "noise_floor"):
        method = CrossEntropy(task, OverSessions(), **{name: 0.1})
        with pytest.raises(InvalidInput, match=f"{name} = 0.1: over sessions it is for a table"):
            purepg.init(method, purepg.Hyperparams(), jax.random.key(0))
    still = purepg.Task("PointMass", purepg.Gaussian(purepg.MLP((4,)), "fixed", 0.0), purepg.Games(8))
    with pytest.raises(InvalidInput, match="a policy without noise"):
        purepg.init(CrossEntropy(still, OverSessions()), purepg.Hyperparams(), jax.random.key(0))
