"""Critics: what they learn where a limit cuts the game, where their gradient goes, what is refused."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnax.environments import environment, spaces

import purepg
from purepg import baselines, critics
from purepg.errors import InvalidInput
from purepg.rollout import collection
from purepg.rollout.trajectory import Trajectory

KEY = jax.random.key(0)
GAMMA, LIMIT = 0.9, 20

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


# An endless game


class Endless(environment.Environment):
    """Pays 1 for ever and always looks the same; only its limit cuts it."""

    @property
    def default_params(self):
        return environment.EnvParams(max_steps_in_episode=LIMIT)

    def reset_env(self, key, params):
        return jnp.int32(0), environment.EnvState(time=0)

    def step_env(self, key, state, action, params):
        return jnp.int32(0), environment.EnvState(time=state.time + 1), 1.0, False, {}

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params=None):
        return spaces.Discrete(1)


# As many games as a game has steps: where starts are staggered, one is cut in every row.
COLLECT = {"games": purepg.Games(2), "segments": purepg.Segments(LIMIT, 5)}
CRITIC = {"shared": critics.SharedCritic(), "own": critics.OwnCritic(purepg.Table())}
NUM_UPDATES = 300


def learned_value(target, collect, critic, time_limit):
    """V of the only observation after training; with SGD the shared V moves by 1/2 of the mean error an update."""
    task = purepg.Task("test_critics:Endless", purepg.Softmax(purepg.Table()), COLLECT[collect])
    estimator = purepg.ScoreFunction(
        target, baselines.Value(), CRITIC[critic], time_limit, n=3, discount_weighting=False
    )
    method = purepg.PolicyGradient(task, estimator, purepg.Optimizer("sgd"))
    hyper = purepg.Hyperparams(
        learning_rate=0.5 / (LIMIT if collect == "games" else 1),  # games: a sum over the rows of a game
        discount=GAMMA,
        trace_decay=0.8,
        value_coefficient=0.5,
        critic_learning_rate=0.2,
    )

    @quick_jit
    def train(key):
        learner = purepg.train(method, hyper, purepg.init(method, hyper, key), NUM_UPDATES)[0].learner
        critic_state = learner.estimator.learned.critic
        return estimator.critic.outputs(task, learner.params, critic_state, jnp.int32(0)).value

    return float(train(KEY))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "collect", "critic"),
    [
        ("td", "games", "shared"),
        ("td", "segments", "own"),
        ("n_step", "games", "own"),
        ("n_step", "segments", "shared"),
        ("lambda", "games", "own"),
        ("lambda", "segments", "shared"),
    ],
)
def test_a_limit_that_is_an_artefact_does_not_show_in_v(target, collect, critic):
    """V = Σ γ^k = 1/(1 − γ) = 10, however the game is cut."""
    assert abs(learned_value(target, collect, critic, "bootstrap") - 10) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("collect", "critic"), [("games", "own"), ("segments", "shared")])
def test_truncation_taken_for_termination_gives_the_wrong_fixed_point_of_td(collect, critic):
    """The wrong one: V = 1 + γ V · 19/20, as one row in twenty ends: 6.897 instead of 10."""
    wrong = 1 / (1 - GAMMA * (1 - 1 / LIMIT))
    assert abs(wrong - 6.897) < 1e-3
    assert abs(learned_value("td", collect, critic, "objective") - wrong) < 0.02


@pytest.mark.slow
def test_monte_carlo_learns_the_return_up_to_the_limit():
    """Right for J up to the limit: the mean over rows of Σ_{k<20−t} γ^k, 6.047; for the endless game it is wrong."""
    remaining = np.arange(1, LIMIT + 1)
    mean = ((1 - GAMMA**remaining) / (1 - GAMMA)).mean()
    assert abs(mean - 6.047) < 1e-3
    assert abs(learned_value("reward_to_go", "games", "shared", "objective") - mean) < 0.02


# Where the gradient goes


class Vectors(Endless):
    """The same with observations of three numbers."""

    def reset_env(self, key, params):
        return jax.random.uniform(key, (3,)), environment.EnvState(time=0)

    def step_env(self, key, state, action, params):
        _, state, *rest = super().step_env(key, state, action, params)
        return jax.random.normal(key, (3,)), state, *rest

    def observation_space(self, params=None):
        return spaces.Box(-jnp.inf, jnp.inf, (3,))


STEPS, GAMES = 4, 3
TASK = purepg.Task(
    "test_critics:Vectors", purepg.Softmax(purepg.MLP((5,), output_scale=1.0)), purepg.Games(GAMES, STEPS)
)
HYPER = purepg.Hyperparams(discount=GAMMA, critic_learning_rate=0.05, value_coefficient=0.5)
NETWORK = purepg.MLP((4,), output_scale=1.0)


def some_rows(seed=0):
    """Games of 4, 3 and 2 steps: cut in the last row, cut, terminated."""
    generator = np.random.default_rng(seed)
    shape, length = (STEPS, GAMES), np.array([4, 3, 2])
    time = np.broadcast_to(np.arange(STEPS)[:, None], shape)
    mask, last = time < length, time == length - 1
    terminated = last & (np.arange(GAMES) == 2)
    reward = np.where(mask, generator.normal(size=shape), 0.0)
    rows = Trajectory(
        observation=generator.normal(size=(*shape, 3)),
        action=generator.integers(2, size=shape),
        reward=reward,
        terminated=terminated,
        truncated=last & ~terminated,
        mask=mask,
        time=time,
        return_so_far=np.cumsum(reward, axis=0),
        value=generator.normal(size=shape),
        bootstrap_value=np.where(last & ~terminated, generator.normal(size=shape), 0.0),
    )
    return jax.tree.map(lambda x: jnp.asarray(x, {"f": np.float32, "i": np.int32}.get(x.dtype.kind)), rows)


def actor_critic(critic, **fields):
    return purepg.ScoreFunction("td", baselines.Value(), critic, "bootstrap", **fields)


@functools.cache
def estimating(estimator):
    """Parameters, the estimator's state, and the compiled estimate from rows."""

    @quick_jit
    def start(key):
        params = estimator.bind(TASK).init(key)
        return params, estimator.init(TASK, HYPER, params, key)

    return *start(KEY), quick_jit(functools.partial(estimator.estimate_from, TASK))


def targets(rows):
    """y = r + γ V(s'), [T, N], by a loop."""
    rows, y = jax.tree.map(np.asarray, rows), np.zeros((STEPS, GAMES), np.float32)
    for t, n in np.ndindex(STEPS, GAMES):
        if rows.mask[t, n]:
            ends = rows.terminated[t, n], rows.truncated[t, n]
            following = 0.0 if ends[0] else rows.bootstrap_value[t, n] if ends[1] else rows.value[t + 1, n]
            y[t, n] = rows.reward[t, n] + GAMMA * following
    return y


def gradient_of_squared_error(value, rows):
    """params → ∇ (1/N) Σ_rows (y − V)² with value: params, observation → V; y are numbers."""
    target = targets(rows)

    def loss(params):
        error = target - value(params, rows.observation)
        return jnp.sum(jnp.where(rows.mask, error**2, 0.0)) / GAMES

    return quick_jit(jax.grad(loss))


@pytest.mark.slow
def test_a_shared_critics_gradient_is_that_of_its_squared_error():
    """−c ∇ (1/N) Σ_rows (y − V)²."""
    rows, estimator = some_rows(), actor_critic(critics.SharedCritic())
    params, state, estimate = estimating(estimator)

    def value(params, observation):
        return estimator.bind(TASK).outputs(params, observation).value

    expected = jax.tree.map(lambda g: -0.5 * g, gradient_of_squared_error(value, rows)(params))
    actual = estimate(HYPER, params, state, rows).other_gradient
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5), actual, expected)


def test_a_shared_critics_gradient_reaches_the_body():
    params, state, estimate = estimating(actor_critic(critics.SharedCritic()))
    gradient = estimate(HYPER, params, state, some_rows()).other_gradient
    assert len(gradient) == 2
    assert all(np.abs(x).max() > 1e-3 for x in jax.tree.leaves(gradient))


def test_the_value_coefficient_leaves_the_policys_gradient_as_it_is():
    """Bit for bit, and the value's share of the update is proportional to it."""
    params, state, estimate = estimating(actor_critic(critics.SharedCritic()))
    none, half, five = (
        estimate(replace(HYPER, value_coefficient=c), params, state, some_rows()) for c in (0.0, 0.5, 5.0)
    )
    jax.tree.map(np.testing.assert_array_equal, none.policy_gradient, half.policy_gradient)
    jax.tree.map(np.testing.assert_array_equal, none.policy_gradient, five.policy_gradient)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), none.other_gradient)
    jax.tree.map(
        lambda h, f: np.testing.assert_allclose(f, 10 * h, rtol=1e-4, atol=1e-5),
        half.other_gradient,
        five.other_gradient,
    )


@pytest.mark.slow
def test_a_critic_of_its_own_adds_nothing_to_the_policys_gradient_and_learns_itself():
    params, state, estimate = estimating(actor_critic(critics.OwnCritic(NETWORK)))
    for coefficient in (0.5, 5.0):
        after = estimate(replace(HYPER, value_coefficient=coefficient), params, state, some_rows())
        jax.tree.map(np.testing.assert_array_equal, after.gradient, after.policy_gradient)
        changed = jax.tree.map(
            lambda a, b: np.abs(a - b).max() > 1e-3,
            after.state.learned.critic.params,
            state.learned.critic.params,
        )
        assert all(jax.tree.leaves(changed))


def test_value_error_is_the_mean_squared_td_error_of_live_rows():
    params, state, estimate = estimating(actor_critic(critics.SharedCritic()))
    rows = some_rows()
    total, count = estimate(HYPER, params, state, rows).metrics["value_error"]
    assert count == 9
    expected = np.where(rows.mask, (targets(rows) - rows.value) ** 2, 0.0).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-4)


# A critic's own steps


def network_value(params, observation):
    return NETWORK.apply(params, observation, purepg.environments.inputs(TASK.env), 1)[..., 0]


@pytest.fixture(scope="module")
def adam_by_hand():
    """Plain optax Adam on the squared error: the parameters from the first to the last."""
    differentiate, optimizer = gradient_of_squared_error(network_value, some_rows()), optax.adam(0.05)

    def course(params, steps):
        state, passed = optimizer.init(params), [params]
        for _ in range(steps):
            change, state = optimizer.update(differentiate(params), state)
            params = optax.apply_updates(params, change)
            passed.append(params)
        return passed

    return course


@pytest.mark.slow
def test_a_critic_takes_a_step_down_the_squared_error(adam_by_hand):
    params, state, estimate = estimating(actor_critic(critics.OwnCritic(NETWORK)))
    after = estimate(HYPER, params, state, some_rows()).state.learned.critic
    expected = adam_by_hand(state.learned.critic.params, 1)[-1]
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-4), after.params, expected)
    jax.tree.map(np.testing.assert_array_equal, after.params, after.copy)


@pytest.mark.slow
def test_several_steps_and_the_copy_moves_by_its_share_after_each(adam_by_hand):
    params, state, estimate = estimating(actor_critic(critics.OwnCritic(NETWORK, 2, target_rate=0.25)))
    after = estimate(HYPER, params, state, some_rows()).state.learned.critic
    start, first, second = adam_by_hand(state.learned.critic.params, 2)
    expected = jax.tree.map(lambda a, b, c: 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c, start, first, second)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-4), after.copy, expected)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-4), after.params, second)


@pytest.mark.slow
def test_v_is_the_copys():
    estimator = actor_critic(critics.OwnCritic(NETWORK, target_rate=0.25))
    params, state, _ = estimating(estimator)
    rows = some_rows()
    copy = jax.tree.map(lambda x: x + 1.0, state.learned.critic.copy)
    value = estimator.critic.outputs(
        TASK, params, state.learned.critic._replace(copy=copy), rows.observation
    ).value
    np.testing.assert_allclose(value, network_value(copy, rows.observation), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_critic_learns_after_its_use():
    """The rows' values and the estimate are those of the state before the update."""
    estimator = actor_critic(critics.OwnCritic(purepg.Table()))
    task = replace(
        TASK, env=purepg.environment("test_critics:Endless"), policy=purepg.Softmax(purepg.Table())
    )
    params = estimator.bind(task).init(KEY)
    state = estimator.init(task, HYPER, params, KEY)

    @quick_jit
    def estimates(key):
        def value(observation):
            return estimator.critic.outputs(task, params, state.learned.critic, observation).value

        act = critics.acting(estimator.critic, task, params, state.learned.critic)
        rows = collection.collect(task, HYPER, act, state.games, key, value)[1]
        return estimator.estimate(task, HYPER, params, state, key), rows

    estimate, rows = estimates(KEY)
    np.testing.assert_array_equal(rows.value, 0.0)
    np.testing.assert_allclose(
        estimate.metrics["value_error"].sum, rows.mask.sum(), rtol=1e-5
    )  # y = 1, V = 0
    assert np.abs(estimate.state.learned.critic.params["table"]).min() > 0.01


def test_a_critic_learning_rate_of_zero_leaves_v_as_it_is():
    params, state, estimate = estimating(actor_critic(critics.OwnCritic(NETWORK)))
    after = estimate(
        replace(HYPER, critic_learning_rate=0.0), params, state, some_rows()
    ).state.learned.critic
    jax.tree.map(np.testing.assert_array_equal, after.copy, state.learned.critic.copy)


# Refusals

IN_GAMES, IN_SEGMENTS = replace(TASK, collect=purepg.Games(3)), replace(TASK, collect=purepg.Segments(3))
SHARED = critics.SharedCritic()
NO_CRITIC = "needs a critic: give critic shared or own"


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        (IN_GAMES, {"target": "td0"}, "target = 'td0' is not one of reward_to_go, total, td, n_step, lambda"),
        (IN_GAMES, {"time_limit": "wall"}, "time_limit = 'wall' is not one of objective, bootstrap"),
        (IN_GAMES, {"target": "total"}, "needs discount_weighting off"),
        (IN_GAMES, {"target": "n_step", "critic": SHARED, "n": 0}, "n = 0: .* needs at least one step"),
        (IN_GAMES, {"rows_per_chunk": -1}, "rows_per_chunk = -1: give a positive number"),
        (
            IN_SEGMENTS,
            {"target": "total", "critic": SHARED, "discount_weighting": False},
            "target 'total' needs whole games",
        ),
        (IN_GAMES, {"target": "td"}, f"target 'td' {NO_CRITIC}"),
        (IN_GAMES, {"target": "n_step"}, f"target 'n_step' {NO_CRITIC}"),
        (IN_GAMES, {"target": "lambda"}, f"target 'lambda' {NO_CRITIC}"),
        (IN_GAMES, {"time_limit": "bootstrap"}, f"time_limit 'bootstrap' {NO_CRITIC}"),
        (IN_GAMES, {"baseline": baselines.Value()}, f"baseline 'value' {NO_CRITIC}"),
        (IN_SEGMENTS, {}, f"a segment, which ends inside games, {NO_CRITIC}"),
        *(
            (IN_SEGMENTS, {"critic": SHARED, "baseline": baseline}, "in segments take baseline value")
            for baseline in (
                baselines.Mean(),
                baselines.LeaveOneOut(),
                baselines.Moving(),
                baselines.Optimal(),
            )
        ),
    ],
)
def test_what_cannot_be_right_is_refused(task, fields, message):
    with pytest.raises(InvalidInput, match=message):
        purepg.ScoreFunction(**fields).check(task)


@pytest.mark.parametrize("task", [IN_GAMES, IN_SEGMENTS], ids=["games", "segments"])
@pytest.mark.parametrize("critic", CRITIC)
@pytest.mark.parametrize("target", ["reward_to_go", "td", "n_step", "lambda"])
@pytest.mark.parametrize("time_limit", ["objective", "bootstrap"])
def test_what_can_be_right_is_not(task, critic, target, time_limit):
    purepg.ScoreFunction(target, baselines.Value(), CRITIC[critic], time_limit).check(task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps = 0: a critic needs at least 1 step per update"),
        ({"target_rate": 0.0}, r"target_rate = 0.0: must lie in \(0, 1\]"),
        ({"target_rate": 1.5}, r"target_rate = 1.5: must lie in \(0, 1\]"),
        ({"target_rate": -0.5}, r"target_rate = -0.5: must lie in \(0, 1\]"),
        ({"target_rate": float("nan")}, r"target_rate = nan: must lie in \(0, 1\]"),
    ],
)
def test_what_makes_no_critic_is_refused(fields, message):
    with pytest.raises(InvalidInput, match=message):
        critics.OwnCritic(**fields)


def test_critics_by_name():
    assert critics.make("shared") == critics.SharedCritic()
    with pytest.raises(InvalidInput, match="known: none, shared, own"):
        critics.make("common")
