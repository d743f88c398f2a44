import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.classic_control import cartpole
from problems import HORIZON, INITIAL, LOGITS, REWARD, TRANSITION, every_batch, two_states

import purepg
from purepg import baselines, estimators, exact
from purepg.errors import InvalidInput
from purepg.estimators import score_function
from purepg.estimators.score_function import Learned
from purepg.rollout.trajectory import Trajectory

GAMMA = 0.9
HYPER = purepg.Hyperparams(discount=GAMMA)
PARAMS = {"table": jnp.asarray(LOGITS, jnp.float32)}
NOTHING = estimators.EstimatorState(
    (), Learned((), ())
)  # whole games, no critic, a baseline that learns nothing
FLOAT = {"rtol": 1e-5, "atol": 2e-6}


def exact_gradient(**options):
    return exact.policy_gradient(TRANSITION, REWARD, INITIAL, LOGITS, GAMMA, horizon=HORIZON, **options)


def mean_estimate(estimator, num_games=2, hyper=HYPER, state=None):
    """E[g] by enumeration: every batch of games weighted by its probability. Nothing is sampled."""
    task = two_states(num_games)
    batches = every_batch(num_games)
    state = estimator.init(task, hyper, PARAMS, jax.random.key(0)) if state is None else state

    def one(rows):
        return estimator.estimate_from(task, hyper, PARAMS, state, rows).policy_gradient["table"]

    gradients = np.asarray(jax.jit(jax.vmap(one))(batches.rows), np.float64)
    return np.tensordot(batches.probability, gradients, 1)


def with_baseline(baseline, **fields):
    return estimators.ScoreFunction(baseline=baseline, **fields)


UNBIASED = {
    "none": with_baseline(baselines.NoBaseline()),
    "constant": with_baseline(baselines.Constant(1.7)),
    "loo": with_baseline(baselines.LeaveOneOut()),
    "moving": with_baseline(baselines.Moving()),
    "total": estimators.ScoreFunction(target="total", discount_weighting=False),
    "total with loo": with_baseline(baselines.LeaveOneOut(), target="total", discount_weighting=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNBIASED)
def test_expectation_is_the_gradient_by_enumeration(name):
    np.testing.assert_allclose(mean_estimate(UNBIASED[name]), exact_gradient(), **FLOAT)


@pytest.mark.slow
@pytest.mark.parametrize("num_games", [1, 2, 3])
def test_mean_baseline_shrinks_the_gradient_by_one_game(num_games):
    """The row's own game is in the mean: exactly (N − 1)/N of the gradient, nothing at N = 1."""
    actual = mean_estimate(with_baseline(baselines.Mean()), num_games)
    np.testing.assert_allclose(actual, (num_games - 1) / num_games * exact_gradient(), **FLOAT)


@pytest.mark.slow
def test_moving_baseline_is_unbiased_whatever_the_past():
    estimator = UNBIASED["moving"]
    past = every_batch(2)
    rows = jax.tree.map(lambda x: x[7], past.rows)
    state = estimator.init(two_states(), HYPER, PARAMS, jax.random.key(0))
    state = estimator.estimate_from(two_states(), HYPER, PARAMS, state, rows).state
    assert np.abs(np.asarray(state.learned.baseline.mean)).max() > 0.01
    np.testing.assert_allclose(mean_estimate(estimator, state=state), exact_gradient(), **FLOAT)


@pytest.mark.slow
def test_without_discount_weighting_the_mean_is_the_undiscounted_visit_direction():
    """Σ_t E ∇log π Q without γ^t; it is not the gradient."""
    actual = mean_estimate(estimators.ScoreFunction(discount_weighting=False))
    np.testing.assert_allclose(actual, exact_gradient(discount_weighting=False), **FLOAT)
    assert np.abs(actual - exact_gradient()).max() > 0.01


def cosine(actual, expected):
    return np.vdot(actual, expected) / np.linalg.norm(actual) / np.linalg.norm(expected)


def test_normalized_advantages_are_biased_in_direction():
    normalized = estimators.ScoreFunction(normalize_advantages=True)
    assert cosine(mean_estimate(normalized), exact_gradient()) < 1 - 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("value", "games"), [(0.1, 32), (100.1, 100), (-3.3e7, 1000), (0.0, 4)])
def test_equal_advantages_are_standardised_to_nothing(value, games):
    """Rounding of their mean is no direction, nor is what rounding has left of equal returns less their mean."""
    mask = np.arange(8)[:, None] < 1 + np.arange(games) % 8
    equal = jnp.where(mask, jnp.float32(value), 7.0)
    standardize = jax.jit(score_function.standardize)
    np.testing.assert_array_equal(np.asarray(standardize(equal, mask))[mask], 0.0)
    rounding = jnp.nextafter(equal, jnp.inf) - equal
    rounding = jnp.where(jnp.arange(games) % 2 == 0, rounding, 0.0)
    np.testing.assert_array_equal(np.asarray(standardize(rounding, mask, equal))[mask], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, -1e3])
def test_standardised_advantages_have_mean_0_and_deviation_1_at_any_scale(scale, offset):
    x = scale * (np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32) + np.float32(offset))
    mask = np.arange(8)[:, None] < 1 + np.arange(16) % 8
    out = np.asarray(score_function.standardize(jnp.asarray(x), mask))[mask]
    np.testing.assert_allclose([out.mean(), out.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose(np.corrcoef(out, x[mask])[0, 1], 1, atol=1e-5)
    failed = np.asarray(score_function.standardize(jnp.asarray(x).at[0, 0].set(jnp.nan), mask))
    assert np.isnan(failed[mask]).all()


@dataclasses.dataclass(frozen=True)
class MeanOverAlive(baselines.NoBaseline):
    """The wrong one: the row's own return is a larger share of the mean the fewer games are left."""

    def values(self, state, returns, rows, scores=None):
        alive = rows.mask.sum(axis=1, keepdims=True)
        return jnp.broadcast_to(returns.sum(axis=1, keepdims=True) / jnp.maximum(alive, 1), returns.shape)


@dataclasses.dataclass(frozen=True)
class OneForEachGame(baselines.NoBaseline):
    """[N] where [T, N] is asked for: with T = N it would broadcast."""

    def values(self, state, returns, rows, scores=None):
        return returns[0]


def test_what_has_another_shape_is_named():
    square, false = jnp.zeros((2, 2)), jnp.zeros((2, 2), bool)
    whole = jnp.zeros((2, 2), jnp.int32)
    rows = Trajectory(whole, whole, square, false, false, ~false, whole, square)

    def message(estimator, rows):
        with pytest.raises(InvalidInput) as caught:
            estimator.estimate_from(two_states(2), HYPER, PARAMS, NOTHING, rows)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert message(with_baseline(OneForEachGame()), rows).startswith("baseline has shape (2,)")
    plain = estimators.make("reinforce")
    for field in ("reward", "terminated", "truncated", "time", "return_so_far"):
        wrong = rows._replace(**{field: getattr(rows, field)[0]})
        assert message(plain, wrong) == f"{field} has shape (2,); mask asks for (2, 2)"
    for field in ("observation", "action"):
        wrong = rows._replace(**{field: whole[:1]})
        assert message(plain, wrong) == f"{field} has shape (1, 2); mask asks for (2, 2, ...)"
    assert message(plain, rows._replace(value=square[0])).startswith("value has shape (2,)")


@pytest.mark.slow
def test_mean_over_alive_games_is_biased_in_direction():
    """By enumeration, so any angle beyond rounding is proof; the mean over all games has none."""
    assert cosine(mean_estimate(with_baseline(MeanOverAlive())), exact_gradient()) < 1 - 1e-3
    assert cosine(mean_estimate(with_baseline(baselines.Mean())), exact_gradient()) > 1 - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("better", "baseline", "variance"),
    [(0.5, 0.0, 0.0625), (0.5, 0.5, 0.0), (0.9, 0.0, 0.0009), (0.9, 0.9, 0.0576), (0.9, 0.1, 0.0)],
)
def test_variance_on_a_bandit_is_the_known_one(better, baseline, variance):
    """Rewards (1, 0): exact variance per logit without baseline, with V and with the best constant b."""
    logits = {"table": jnp.asarray([[np.log(better), np.log(1 - better)]], jnp.float32)}
    task = purepg.Task("Bandit", purepg.Softmax(purepg.Table()), purepg.Games(1))
    estimator = with_baseline(baselines.Constant(baseline))

    def one(action, reward):
        false, true = jnp.zeros((1, 1), bool), jnp.ones((1, 1), bool)
        zero = jnp.zeros((1, 1), jnp.int32)
        reward = jnp.full((1, 1), reward)
        rows = Trajectory(
            zero, jnp.full((1, 1), action), reward, true, false, true, zero, return_so_far=reward
        )
        return estimator.estimate_from(task, HYPER, logits, NOTHING, rows).gradient["table"][0]

    gradients = np.array([one(0, 1.0), one(1, 0.0)])
    odds = np.array([better, 1 - better])[:, None]
    mean = (odds * gradients).sum(axis=0)
    np.testing.assert_allclose((odds * (gradients - mean) ** 2).sum(axis=0), variance, atol=1e-6)
    np.testing.assert_allclose(mean, better * (1 - better) * np.array([1, -1]), rtol=1e-4)


@pytest.mark.slow
def test_entropy_bonus_enters_the_update_and_not_the_estimate():
    """Its gradient is (1/N) Σ_rows ∇H(π(·|s)); `policy_gradient` does not contain it."""
    rows = jax.tree.map(lambda x: x[5], every_batch(2).rows)
    hyper = dataclasses.replace(HYPER, entropy_coefficient=0.3)
    plain = estimators.ScoreFunction().estimate_from(two_states(), HYPER, PARAMS, NOTHING, rows)
    bonus = estimators.ScoreFunction().estimate_from(two_states(), hyper, PARAMS, NOTHING, rows)

    def entropy(table):
        log_prob = jax.nn.log_softmax(table)[rows.observation]
        return -0.3 * jnp.sum(jnp.where(rows.mask, jnp.sum(jnp.exp(log_prob) * log_prob, -1), 0.0)) / 2

    np.testing.assert_array_equal(plain.policy_gradient["table"], bonus.policy_gradient["table"])
    np.testing.assert_allclose(
        bonus.other_gradient["table"], jax.grad(entropy)(PARAMS["table"]), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(plain.other_gradient["table"], 0.0)


@pytest.mark.slow
def test_reward_scale_scales_the_estimate_and_not_the_reported_return():
    rows = jax.tree.map(lambda x: x[5], every_batch(2).rows)
    hyper = dataclasses.replace(HYPER, reward_scale=0.1)
    plain = estimators.ScoreFunction().estimate_from(two_states(), HYPER, PARAMS, NOTHING, rows)
    scaled = estimators.ScoreFunction().estimate_from(two_states(), hyper, PARAMS, NOTHING, rows)
    np.testing.assert_allclose(scaled.gradient["table"], 0.1 * plain.gradient["table"], rtol=1e-5)
    assert scaled.metrics["return"] == plain.metrics["return"]


PRESETS = [name for name, e in estimators.NAMES.items() if isinstance(e, estimators.ScoreFunction)]


@pytest.mark.slow
@pytest.mark.parametrize("critic", [None, purepg.OwnCritic(purepg.Table(), steps=2)], ids=["its own", "own"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_estimates_in_the_shape_of_its_parameters(name, critic):
    """Finite, and in a state that a scan can carry on."""
    estimator: Any = estimators.make(name)
    if critic is not None:
        estimator = dataclasses.replace(estimator, critic=critic)
    in_segments = estimator.time_limit == "bootstrap"
    collect = purepg.Segments(3, 5) if in_segments else purepg.Games(3)
    task = purepg.Task(two_states().env, purepg.Softmax(purepg.Table()), collect)
    estimator.check(task)
    params = estimator.bind(task).init(jax.random.key(0))
    start = estimator.init(task, HYPER, params, jax.random.key(1))
    estimate = jax.jit(lambda s: estimator.estimate(task, HYPER, params, s, jax.random.key(2)))(start)
    for like, tree in (
        (params, estimate.gradient),
        (params, estimate.policy_gradient),
        (start, estimate.state),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), like, tree)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(estimate._replace(state=())))
    assert {"return", "length", "steps", "entropy"} <= estimate.metrics.keys()


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_chunk", [7, 30, 100])
def test_chunks_change_the_gradient_by_rounding_only(rows_per_chunk):
    method = purepg.PolicyGradient(
        purepg.Task("CartPole-v1", collect=purepg.Games(3, 30)), estimators.make("reinforce-loo")
    )
    params = method.task.bind_policy().init(jax.random.key(1))
    chunked = dataclasses.replace(method.estimator, rows_per_chunk=rows_per_chunk)
    whole, parts = (
        jax.jit(lambda p, e=e: e.estimate(method.task, HYPER, p, NOTHING, jax.random.key(2)))(params)
        for e in (dataclasses.replace(method.estimator, rows_per_chunk=10**6), chunked)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, parts)


def z_scores(task, estimator, hyper, reference, num_batches, key=0):
    """In standard errors: the largest deviation of the mean estimate from the reference, and the reference's size."""
    params = task.bind_policy().init(jax.random.key(0))

    def one(key):
        return estimator.estimate(task, hyper, params, NOTHING, key).policy_gradient["table"]

    keys = jax.random.split(jax.random.key(key), num_batches)
    gradients = np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys), np.float64)
    error = gradients.std(axis=0, ddof=1) / np.sqrt(num_batches)
    deviation = np.where(
        error > 0, (gradients.mean(axis=0) - reference) / np.where(error > 0, error, 1.0), 0.0
    )
    np.testing.assert_allclose(reference[error == 0], 0.0, atol=1e-6)
    return np.abs(deviation).max(), np.abs(reference / np.where(error > 0, error, np.inf)).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reinforce-total", "reinforce", "reinforce-loo"])
def test_short_corridor_by_sampling(name):
    """4 standard errors; the games are long enough that their limit does not show."""
    table = purepg.Table(((0.7, 0.0),))
    task = purepg.Task(purepg.environment("ShortCorridor"), purepg.Softmax(table), purepg.Games(20, 500))
    model = purepg.environments.exact_model(task.env)
    logits = np.tile([[0.7, 0.0]], (4, 1))
    reference = exact.policy_gradient(*model, logits, 1.0).sum(
        axis=0, keepdims=True
    )  # all states share one row
    worst, signal = z_scores(task, estimators.make(name), purepg.Hyperparams(discount=1.0), reference, 500)
    assert worst < 4
    assert signal > 8  # an estimator without signal would be refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "discount_weighting"),
    [(estimators.make("reinforce-loo"), True), (estimators.ScoreFunction(discount_weighting=False), False)],
)
def test_gridworld_by_sampling(estimator, discount_weighting):
    """4 standard errors, with slip; without γ^t the expectation is the γ^t-dropped direction and not the gradient."""
    env = purepg.environment("GridWorld", slip=0.2)
    task = purepg.Task(env, purepg.Softmax(purepg.Table()), purepg.Games(20, 50))
    model = purepg.environments.exact_model(env)
    logits = np.zeros(model.reward.shape[:2])
    reference = exact.policy_gradient(
        *model, logits, GAMMA, horizon=50, discount_weighting=discount_weighting
    )
    other = exact.policy_gradient(
        *model, logits, GAMMA, horizon=50, discount_weighting=not discount_weighting
    )
    worst, signal = z_scores(task, estimator, HYPER, reference, 1000)
    assert worst < 4
    assert signal > 8
    assert z_scores(task, estimator, HYPER, other, 1000)[0] > 8


@pytest.mark.slow
def test_dropping_the_discount_weight_can_point_the_wrong_way():
    """A long detour: what comes late weighs too much without γ^t, and ascent lowers J."""
    gradient, dropped, *_ = wrong_way_example()
    assert np.vdot(gradient, dropped) < 0


def wrong_way_example():
    """State 0: action 0 pays 1 and ends, action 1 leads to state 1 … late states pull a shared parameter the other way.

    All states share one row of logits (they look the same), so that late visits and the first one fight over it.
    """
    steps = 12
    transition = np.zeros((steps + 1, 2, steps + 1))
    reward = np.zeros((steps + 1, 2))
    for s in range(steps):
        transition[s, :, s + 1] = 1.0
    transition[steps, :, steps] = 1.0
    reward[0, 0] = 1.0  # now, action 0 is better by 1
    reward[1:steps, 1] = 0.5  # later, action 1 is better by 1/2 each time
    initial = np.eye(steps + 1)[0]
    logits = np.zeros((steps + 1, 2))
    gradients = [
        exact.policy_gradient(transition, reward, initial, logits, 0.5, discount_weighting=w).sum(axis=0)
        for w in (True, False)
    ]
    return *gradients, transition, reward


@pytest.mark.slow
def test_the_wrong_way_example_holds_for_the_estimator():
    """The same example through the estimator, by sampling: 4 standard errors."""
    gradient, dropped, transition, reward = wrong_way_example()
    env = purepg.environment(
        "envs.finite_mdp:FiniteMDP", transition=transition, reward=reward, observation=[0] * len(reward)
    )
    task = purepg.Task(env, purepg.Softmax(purepg.Table()), purepg.Games(20, 20))
    hyper = purepg.Hyperparams(discount=0.5)
    for weighting, reference in ((True, gradient), (False, dropped)):
        estimator = estimators.ScoreFunction(discount_weighting=weighting)
        assert z_scores(task, estimator, hyper, reference[None], 1000)[0] < 4


@jax.custom_jvp
def no_gradient(x):
    return x


@no_gradient.defjvp
def _refuse(primals, tangents):
    raise AssertionError("the environment was differentiated")


@pytest.mark.slow
def test_the_environment_is_never_differentiated():
    task = purepg.Task("test_score_function:TrapEnvironment", collect=purepg.Games(2, 5))
    params = task.bind_policy().init(jax.random.key(0))
    estimate = estimators.make("reinforce").estimate(task, HYPER, params, NOTHING, jax.random.key(1))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(estimate.gradient))
    # The trap works: differentiating through the environment trips it.
    env = purepg.environments.resolve(task.env)
    with pytest.raises(AssertionError, match="was differentiated"):
        jax.grad(lambda x: env.step_env(jax.random.key(0), env.reset_state(x), 0, env.default_params)[2])(1.0)


class TrapEnvironment(cartpole.CartPole):
    """CartPole with a derivative that raises in its state and reward."""

    def reset_state(self, x):
        return self.reset_env(jax.random.key(0), self.default_params)[1].replace(x=x)

    def step_env(self, key, state, action, params):
        state = jax.tree.map(lambda x: no_gradient(x) if jnp.result_type(x) == jnp.float32 else x, state)
        observation, state, reward, done, info = super().step_env(key, state, action, params)
        return observation, state, reward + no_gradient(state.x), done, info


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (estimators.ScoreFunction(target="total"), "discount_weighting off"),
        (estimators.ScoreFunction(target="totl"), "not one of"),  # pyright: ignore
        (estimators.ScoreFunction(rows_per_chunk=-1), "positive number"),
    ],
)
def test_what_cannot_be_right_is_refused(estimator, message):
    with pytest.raises(InvalidInput, match=message):
        estimator.check(two_states())


def test_leave_one_out_needs_another_game():
    with pytest.raises(InvalidInput, match="num_games >= 2"):
        estimators.make("reinforce-loo").check(two_states(num_games=1))
    with pytest.raises(InvalidInput, match="did you mean 'reinforce-loo'"):
        estimators.make("reinforce-lo")
    with pytest.raises(InvalidInput, match="known: none, constant, mean, loo, moving, value"):
        baselines.make("average")


@pytest.mark.parametrize("name", ["reinforce", "gae", "actor-critic"])
def test_a_policy_without_noise_is_refused(name):
    task = purepg.Task("PointMass", purepg.Gaussian(purepg.MLP((4,)), "fixed", 0.0), purepg.Games(2, 5))
    method = purepg.PolicyGradient(task, estimators.make(name))
    with pytest.raises(InvalidInput, match="a policy without noise"):
        purepg.init(method, purepg.Hyperparams(), jax.random.key(0))
