"""LQR, PointMass, CartPoleSwingUp, BallAgainstWall, LogisticMap: dynamics, gradients, closed forms.

Where derivatives are compared, numbers are float64: the environments take the dtype of their params.
"""

import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from envs import LQR, BallAgainstWall, CartPoleSwingUp, LogisticMap, PointMass, ScalarLQR

KEY = jax.random.key(0)
STEPS = 20
NOISY = {"noise_std": (0.1, 0.2), "initial_mean": (1.0, -2.0), "initial_std": (0.5, 0.0)}
WITH_STATE = {
    "LQR": LQR(),
    "LQR with noise": LQR(**NOISY),
    "ScalarLQR": ScalarLQR(),
    "PointMass": PointMass(goal=(0.3, -0.2)),
    "CartPoleSwingUp": CartPoleSwingUp(rail=0.05, start_noise=0.5),  # beyond the rail soon
    "LogisticMap": LogisticMap(),
}


@pytest.fixture(params=WITH_STATE)
def env(request):
    return WITH_STATE[request.param]


def floating(leaf):
    return jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)


def in_double(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if floating(leaf) else leaf, tree)


def play(env, params, state, actions, key=KEY):
    """States after, [T, ...], and rewards [T], of actions [T, A]."""

    def step(state, xs):
        action, key = xs
        _, state, reward, _, _ = env.step_env(key, state, action, params)
        return state, (state, reward)

    return jax.lax.scan(step, state, (actions, jax.random.split(key, len(actions))))[1]


def random_actions(env, steps=STEPS, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(steps, env.num_actions))


def numbers(params):
    return {name: np.asarray(value, np.float64) for name, value in vars(params).items() if value is not None}


# What all of them do


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_STATE)
def test_rollout_gradient_against_finite_differences(name):
    """d return / d (actions, first state) of a whole rollout, transition gradients on, in float64."""
    env = WITH_STATE[name].with_transition_gradients()
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        start = env.reset_env(KEY, params)[1]
        flat, build = jax.flatten_util.ravel_pytree(
            {field: value for field, value in vars(start).items() if field != "time"}
        )
        assert flat.dtype == jnp.float64
        actions = np.clip(random_actions(env, scale=0.5), -0.99, 0.99)  # inside: a clipped one has a kink

        @jax.jit
        def total(actions, flat):
            return play(env, params, start.replace(**build(flat)), actions)[1].sum()

        got = jax.jit(jax.grad(total, (0, 1)))(actions, flat)
        for position, (x, gradient) in enumerate(zip((actions, np.asarray(flat)), got, strict=True)):
            assert gradient.dtype == jnp.float64
            assert np.all(np.asarray(gradient).ravel()[: env.num_actions] != 0)
            for index in list(np.ndindex(x.shape))[:: max(1, x.size // 10)]:
                h = 1e-9 if name == "LogisticMap" else 1e-6  # chaos: second derivatives grow like 4^T
                ends = []
                for sign in (1.0, -1.0):
                    moved = [actions, np.asarray(flat)]
                    moved[position] = x.copy()
                    moved[position][index] += sign * h
                    ends.append(float(total(*moved)))
                difference = (ends[0] - ends[1]) / (2 * h)
                rtol = 1e-2 if name == "LogisticMap" else 1e-5
                np.testing.assert_allclose(gradient[index], difference, rtol=rtol, atol=1e-6)


@pytest.mark.slow
def test_transitions_are_detached_unless_asked_for(env):
    """Off: the next state carries nothing, and only the reward's own gradient is left."""
    params, start = env.default_params, env.reset_env(KEY, env.default_params)[1]
    actions = jnp.asarray(np.clip(random_actions(env), -0.9, 0.9), jnp.float32)

    def seen_after(env, action):
        observation, state, _, _, _ = env.step_env(KEY, start, action, params)
        floats = [leaf for leaf in jax.tree.leaves((observation, state)) if floating(leaf)]
        return sum(leaf.sum() for leaf in floats)

    assert not env.transition_gradients_enabled
    assert not np.any(jax.grad(lambda action: seen_after(env, action))(actions[0]))
    on = env.with_transition_gradients()
    assert np.any(jax.grad(lambda action: seen_after(on, action))(actions[0]))

    states, _ = play(env, params, start, actions)

    def own(state, action):
        return env.step_env(KEY, state, action, params)[2]

    before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), start, states)
    expected = jax.jit(jax.vmap(jax.grad(own, 1)))(before, actions)
    got = jax.jit(jax.grad(lambda actions: play(env, params, start, actions)[1].sum()))(actions)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_gradient_reaches_params(env):
    on = env.with_transition_gradients()
    start = on.reset_env(KEY, on.default_params)[1]
    actions = jnp.asarray(random_actions(env, scale=0.3), jnp.float32)
    field = {"LQR": "A", "ScalarLQR": "A", "PointMass": "drag", "LogisticMap": "growth"}.get(
        env.name, "gravity"
    )

    def total(value):
        params = on.default_params.replace(**{field: value})
        return play(on, params, start, actions)[1].sum()

    gradient = jax.grad(total)(getattr(on.default_params, field))
    assert np.isfinite(gradient).all()
    assert np.any(gradient)


@pytest.mark.slow
def test_params_can_be_swept(env):
    """Every number of the params at once under vmap, against one after another."""
    params = env.default_params
    steps = params.max_steps_in_episode
    factors = jnp.float32([0.5, 0.8, 1.0])
    start = env.reset_env(KEY, params)[1]
    actions = jnp.asarray(random_actions(env, steps=5, scale=0.3), jnp.float32)

    def total(factor):
        scaled = jax.tree.map(lambda leaf: leaf * factor, params).replace(max_steps_in_episode=steps)
        return play(env, scaled, start, actions)[1].sum()

    swept, total = jax.jit(jax.vmap(total))(factors), jax.jit(total)
    np.testing.assert_allclose(swept, [total(factor) for factor in factors], rtol=2e-5)
    assert len(np.unique(swept)) == 3


def test_limit_truncates_and_never_terminates(env):
    limited = type(env)(max_steps=3)
    params = limited.default_params
    _, state = limited.reset_env(KEY, params)
    for step in range(1, 4):
        _, state, _, terminated, _ = limited.step_env(KEY, state, jnp.zeros(env.num_actions), params)
        assert not terminated
        assert limited.is_truncated(state, params) == (step == 3)


def test_numbers_stay_in_float64(env):
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        observation, state = env.reset_env(KEY, params)
        observation, after, reward, _, _ = env.step_env(KEY, state, jnp.zeros(env.num_actions), params)
        assert jax.tree.map(lambda leaf: leaf.dtype, state) == jax.tree.map(lambda leaf: leaf.dtype, after)
        assert observation.dtype == reward.dtype == jnp.float64


def test_nothing_calls_lapack(env):
    """Batched LAPACK inside a jitted program can hang on CPU."""
    on, params = env.with_transition_gradients(), env.default_params
    actions = jnp.zeros((8, STEPS, env.num_actions))

    def total(actions, key):
        return play(on, params, on.reset_env(key, params)[1], actions)[1].sum()

    program = jax.jit(jax.vmap(jax.grad(total))).lower(actions, jax.random.split(KEY, 8)).as_text()
    assert "lapack" not in program.lower()


# LQR


@pytest.mark.parametrize("env", [LQR(), LQR(**NOISY)], ids=["plain", "noise"])
def test_lqr_against_a_loop(env):
    p = numbers(env.default_params)
    _, state = env.reset_env(KEY, env.default_params)
    actions = random_actions(env, scale=3.0)
    states, rewards = play(env, env.default_params, state, jnp.asarray(actions, jnp.float32))
    x = np.asarray(state.x, np.float64)
    for t, (u, key) in enumerate(zip(actions, jax.random.split(KEY, STEPS), strict=True)):
        np.testing.assert_allclose(rewards[t], -(x @ p["Q"] @ x + u @ p["R"] @ u), rtol=1e-5)
        x = p["A"] @ x + p["B"] @ u + p.get("noise_std", 0.0) * np.asarray(jax.random.normal(key, (2,)))
        np.testing.assert_allclose(states.x[t], x, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(states.x[0], state.x)


def test_lqr_exact_arrays():
    env = LQR(**NOISY, max_steps=7)
    exact = jax.jit(env.exact_lqr)(env.default_params)
    np.testing.assert_allclose(exact.initial_second_moment, [[1.25, -2.0], [-2.0, 4.0]])
    np.testing.assert_allclose(exact.noise_covariance, np.diag([0.01, 0.04]), rtol=1e-6)
    assert env.exact_lqr().horizon == 7
    np.testing.assert_array_equal(LQR().exact_lqr().noise_covariance, np.zeros((2, 2)))
    np.testing.assert_array_equal(LQR().exact_lqr().A, np.float32([[1.0, 0.1], [0.0, 1.0]]))


def lqr_return(model, gain, action_std, discount):
    """J of u = −K x + σ ε by the recursion of the second moment."""
    A, B, Q, R, moment, noise, horizon = (np.asarray(array, np.float64) for array in model)
    closed, total = A - B @ gain, 0.0
    for t in range(int(horizon)):
        cost = np.trace((Q + gain.T @ R @ gain) @ moment) + action_std**2 * np.trace(R)
        total -= discount**t * cost
        moment = closed @ moment @ closed.T + action_std**2 * B @ B.T + noise
    return total


@pytest.mark.slow
def test_lqr_mean_return_is_that_of_its_exact_arrays():
    env, games = LQR(**NOISY, max_steps=30), 20_000
    params, gain, std, discount = env.default_params, np.array([[1.0, 1.5]]), 0.5, 0.95

    def game(key):
        start_key, play_key, action_key = jax.random.split(key, 3)
        _, state = env.reset_env(start_key, params)

        def step(state, xs):
            key, noise = xs
            action = -jnp.asarray(gain, jnp.float32) @ state.x + std * noise
            _, state, reward, _, _ = env.step_env(key, state, action, params)
            return state, reward

        noise = jax.random.normal(action_key, (30, 1))
        return jax.lax.scan(step, state, (jax.random.split(play_key, 30), noise))[1] @ discount ** jnp.arange(
            30.0
        )

    returns = np.asarray(jax.jit(jax.vmap(game))(jax.random.split(KEY, games)), np.float64)
    error = 4 * returns.std() / np.sqrt(games)
    assert abs(returns.mean() - lqr_return(env.exact_lqr(), gain, std, discount)) < error


def test_scalar_lqr_golden_ratio():
    """A = B = Q = R = 1: from x_0 = 1 the gain 1/φ costs φ, and neighbours cost more."""
    golden = (1 + np.sqrt(5)) / 2
    env = ScalarLQR(initial_mean=1.0, initial_std=0.0, max_steps=60)

    def total(gain):
        def step(state, _):
            _, state, reward, _, _ = env.step_env(KEY, state, -gain * state.x, env.default_params)
            return state, reward

        return jax.lax.scan(step, env.reset_env(KEY, env.default_params)[1], None, 60)[1].sum()

    gains = jnp.float32([1 / golden - 0.1, 1 / golden, 1 / golden + 0.1])
    costs = -jax.vmap(total)(gains)
    np.testing.assert_allclose(costs[1], golden, rtol=1e-5)
    assert costs.argmin() == 1


# PointMass


def test_point_mass_against_a_loop():
    env = WITH_STATE["PointMass"]
    p = numbers(env.default_params)
    _, state = env.reset_env(KEY, env.default_params)
    actions = random_actions(env, scale=2.0)
    states, rewards = play(env, env.default_params, state, jnp.asarray(actions, jnp.float32))
    position, velocity = (np.asarray(a, np.float64) for a in (state.position, state.velocity))
    assert not velocity.any()
    assert (np.abs(actions) > 1).any()
    for t, a in enumerate(np.clip(actions, -1, 1)):
        off = np.linalg.norm(position - p["goal"])
        reward = -(np.hypot(off, 0.1) - 0.1) - 0.01 * velocity @ velocity - 0.01 * a @ a
        np.testing.assert_allclose(rewards[t], reward, rtol=1e-5)
        velocity = velocity + 0.1 * (1.0 * a - 0.1 * velocity) / 1.0
        position = position + 0.1 * velocity
        np.testing.assert_allclose(states.position[t], position, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(states.velocity[t], velocity, rtol=1e-5, atol=1e-6)
    after = jax.tree.map(lambda leaf: leaf[-1], states)
    seen = env.observe(KEY, after, None, env.default_params)
    np.testing.assert_allclose(seen, [*(position - p["goal"]), *velocity], rtol=1e-4)


@pytest.mark.slow
def test_point_mass_starts_in_its_square():
    env = PointMass(start_range=2.0, goal=(5.0, 5.0))
    states = jax.vmap(lambda key: env.reset_env(key, env.default_params)[1])(jax.random.split(KEY, 500))
    low, high = np.min(states.position, axis=0), np.max(states.position, axis=0)
    assert np.all((low >= -2) & (low < -1.9) & (high <= 2) & (high > 1.9))


# CartPoleSwingUp


def test_cartpole_against_a_loop():
    """The two equations of motion as a linear system in (ẍ, θ̈), solved at each step."""
    env = WITH_STATE["CartPoleSwingUp"]
    _, state = env.reset_env(KEY, env.default_params)
    actions = random_actions(env, steps=60)
    states, rewards = play(env, env.default_params, state, jnp.asarray(actions, jnp.float32))
    x, x_dot, theta, theta_dot = (float(s) for s in (state.x, state.x_dot, state.theta, state.theta_dot))
    g, total, m, half, dt = 9.8, 1.1, 0.1, 0.5, 0.02
    for t, a in enumerate(np.clip(actions[:, 0], -1, 1)):
        beyond = max(abs(x) - 0.05, 0.0)
        reward = np.cos(theta) - (np.sqrt(1 + beyond**2) - 1) - 0.01 * a**2
        np.testing.assert_allclose(rewards[t], reward, rtol=1e-4, atol=1e-4)
        mass = [[total, m * half * np.cos(theta)], [m * half * np.cos(theta), 4 / 3 * m * half**2]]
        force = [10.0 * a + m * half * theta_dot**2 * np.sin(theta), m * g * half * np.sin(theta)]
        acceleration = np.linalg.solve(mass, force)
        x_dot, theta_dot = x_dot + dt * acceleration[0], theta_dot + dt * acceleration[1]
        x, theta = x + dt * x_dot, theta + dt * theta_dot
        after = [states.x[t], states.x_dot[t], states.theta[t], states.theta_dot[t]]
        np.testing.assert_allclose(after, [x, x_dot, theta, theta_dot], rtol=1e-4, atol=1e-4)
    seen = env.observe(KEY, jax.tree.map(lambda leaf: leaf[-1], states), None, env.default_params)
    np.testing.assert_allclose(
        seen, [x, x_dot, np.cos(theta), np.sin(theta), theta_dot], rtol=1e-3, atol=1e-3
    )


def test_cartpole_energy_changes_by_the_work_of_the_force():
    """Small steps, three seconds of a swinging pole: E(t) − E(0) = ∫ F ẋ dt."""
    env = CartPoleSwingUp(time_step=1e-4)
    actions = 0.5 * np.sin(np.arange(30_000)[:, None] * 1e-4 * 5.0)
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        start = env.reset_env(KEY, params)[1].replace(theta=jnp.float64(2.0), theta_dot=jnp.float64(0.0))
        states, _ = jax.jit(lambda: play(env, params, start, jnp.asarray(actions)))()
    start, states = jax.tree.map(np.asarray, (start, states))

    def energy(s):
        m, half = 0.1, 0.5
        kinetic = 0.5 * 1.1 * s.x_dot**2 + m * half * s.x_dot * s.theta_dot * np.cos(s.theta)
        return kinetic + 2 / 3 * m * half**2 * s.theta_dot**2 + m * 9.8 * half * np.cos(s.theta)

    x = np.concatenate([start.x[None], states.x])
    work = np.cumsum(10.0 * actions[:, 0] * np.diff(x))
    gained = energy(states) - energy(start)
    assert np.ptp(work) > 1.0
    np.testing.assert_allclose(gained, work, atol=5e-3)


@pytest.mark.slow
def test_cartpole_can_be_swung_up_and_kept_up():
    """Pump energy until the pole is nearly up, then balance: the return the module promises."""
    env = CartPoleSwingUp()

    def act(s):
        angle = (s.theta + jnp.pi) % (2 * jnp.pi) - jnp.pi
        missing = s.theta_dot**2 / 60 + 0.49 * (jnp.cos(angle) - 1)  # E − E(upright), J
        pump = 0.8 * jnp.clip(20 * missing * s.theta_dot * jnp.cos(angle), -1, 1) - 0.1 * (s.x + s.x_dot)
        balance = 0.1 * s.x + 0.2 * s.x_dot + 3 * angle + 0.6 * s.theta_dot
        return jnp.where(jnp.abs(angle) < 0.4, balance, pump)[None]

    def game(key):
        def step(state, _):
            _, state, reward, _, _ = env.step_env(key, state, act(state), env.default_params)
            return state, (reward, state.theta)

        return jax.lax.scan(step, env.reset_env(key, env.default_params)[1], None, 250)[1]

    rewards, theta = jax.jit(jax.vmap(game))(jax.random.split(KEY, 50))
    assert 125 < rewards.sum(1).mean() < 140
    assert np.all(np.cos(theta[:, -1]) > 0.99)
    # … and hanging on is what the module says it is.
    still = CartPoleSwingUp(start_noise=0.0)
    start = still.reset_env(KEY, still.default_params)[1]
    assert play(still, still.default_params, start, jnp.zeros((250, 1)))[1].sum() == pytest.approx(-250)


# BallAgainstWall


def throw(env, angles):
    """Rewards of angles [N] through the environment."""
    params = env.default_params
    _, state = env.reset_env(KEY, params)
    return jax.vmap(lambda angle: env.step_env(KEY, state, angle[None], params)[2])(jnp.asarray(angles))


def landing(angle, *, v=10.0, w=5.0, h=3.0, g=9.81):
    """The throw by its trajectory: where is the ball when it passes the wall, and when it is down?"""
    angle = min(max(angle, 0.0), np.pi / 2)
    forward, up = v * np.cos(angle), v * np.sin(angle)
    down = forward * 2 * up / g
    if down <= w:
        return down
    passing = w / forward
    return down if up * passing - g * passing**2 / 2 > h else w


@pytest.mark.parametrize("height", [0.0, 1.0, 3.0, 30.0])
def test_ball_lands_where_its_trajectory_says(height):
    angles = np.float32(np.linspace(-0.2, 1.8, 401))
    expected = [landing(angle, h=height) for angle in angles]
    np.testing.assert_allclose(throw(BallAgainstWall(wall_height=height), angles), expected, atol=1e-5)


def test_ball_is_thrown_once():
    env = BallAgainstWall()
    params = env.default_params
    observation, state = env.reset_env(KEY, params)
    np.testing.assert_array_equal(observation, [5.0, 3.0])
    assert not env.is_truncated(state, params)
    _, state, reward, terminated, _ = env.step_env(KEY, state, jnp.array([1.0]), params)
    assert terminated
    assert state.landing == reward > 9
    _, again, nothing, terminated, _ = env.step_env(KEY, state, jnp.array([0.3]), params)
    assert terminated
    assert nothing == 0
    assert again.landing == state.landing


@pytest.mark.slow
def test_ball_gradient_of_a_throw():
    """Over the wall and short of it the slope of the range, at the wall and outside the bounds none."""
    slope = jax.grad(lambda angle: throw(BallAgainstWall(), angle[None])[0])
    for angle, expected in (
        (1.0, 200 / 9.81 * np.cos(2.0)),
        (0.2, 200 / 9.81 * np.cos(0.4)),
        (0.7, 0),
        (-0.1, 0),
    ):
        np.testing.assert_allclose(slope(jnp.float32(angle)), expected, rtol=1e-5)


def just_clearing(height):
    """tan θ of 5 tan θ − 1.25 (1 + tan²θ) = h: v = 10 m/s, the wall 5 m away, g = 10 m/s²."""
    return np.sort(np.arctan(np.roots([1.25, -5.0, 1.25 + height])))


SPREADS = [(0.9, 0.1), (1.2, 0.3), (0.2, 0.5), (0.874, 0.01), (-0.5, 0.2)]


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "std"), SPREADS)
@pytest.mark.parametrize("height", [0.0, 3.0, 30.0])
def test_ball_expected_reward_against_adaptive_quadrature(mean, std, height):
    env = BallAgainstWall(wall_height=height, gravity=10.0)  # exact in float32
    low = 0.5 * np.arcsin(0.5)
    jumps = just_clearing(height) if height < 3.75 else []
    spread = np.clip(mean + std * np.arange(-8, 9), 0.0, np.pi / 2)
    points = sorted({0.0, low, np.pi / 2 - low, np.pi / 2, *jumps, *spread})

    def weighted(angle):
        return landing(angle, h=height, g=10.0) * stats.norm.pdf(angle, mean, std)

    pieces = [integrate.quad(weighted, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(points)]
    np.testing.assert_allclose(env.expected_reward(mean, std), sum(pieces), atol=2e-5)
    with jax.enable_x64(True):
        got = env.expected_reward(mean, std, in_double(env.default_params))
        np.testing.assert_allclose(got, sum(pieces), atol=1e-9)


@pytest.mark.slow
def test_ball_expected_reward_against_monte_carlo():
    env, draws = BallAgainstWall(), 100_000
    for mean, std in SPREADS:
        rewards = np.asarray(throw(env, mean + std * jax.random.normal(KEY, draws)), np.float64)
        error = 4 * rewards.std() / np.sqrt(draws)
        assert abs(rewards.mean() - env.expected_reward(mean, std)) < error + 1e-5


def estimates(env, mean, std, draws=200_000):
    """Per-sample gradients by (μ, σ) through the environment: score function and pathwise, [2, N] each."""
    noise = jax.random.normal(jax.random.key(1), draws)
    angles = mean + std * noise
    score = jnp.stack([noise, noise**2 - 1]) / std * throw(env, angles)[None]
    slope = jax.jit(jax.grad(lambda angles: throw(env, angles).sum()))(angles)
    return np.asarray(score, np.float64), np.asarray(jnp.stack([slope, slope * noise]), np.float64)


def sure(samples, expected):
    error = samples.std(axis=1) / np.sqrt(samples.shape[1])
    return np.abs(samples.mean(axis=1) - np.asarray(expected)) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "std"), [(0.9, 0.1), (0.8, 0.2)])
def test_ball_score_function_is_right_and_pathwise_is_not(mean, std):
    env = BallAgainstWall()
    true, limit = env.expected_gradient(mean, std), env.pathwise_gradient(mean, std)
    score, pathwise = estimates(env, mean, std)
    assert sure(score, true).all()
    assert sure(pathwise, limit).all()
    assert not sure(pathwise, true).any()
    assert true.mean > 5.0
    assert limit.mean < -1.0  # even the sign is wrong


def test_ball_without_a_wall_both_are_right():
    env = BallAgainstWall(wall_height=0.0)
    true, limit = env.expected_gradient(0.9, 0.1), env.pathwise_gradient(0.9, 0.1)
    np.testing.assert_allclose(true, limit, rtol=1e-4, atol=1e-4)
    for samples in estimates(env, 0.9, 0.1):
        assert sure(samples, true).all()


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "std"), SPREADS)
def test_ball_what_pathwise_misses_are_the_jumps(mean, std):
    """d/dμ E r = E r′ + Σ_j jump_j p(θ_j), times ε_j for σ; and the gradient against finite differences."""
    env = BallAgainstWall(gravity=10.0)
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        true, limit = env.expected_gradient(mean, std, params), env.pathwise_gradient(mean, std, params)
        h = 1e-6
        by_mean = (
            env.expected_reward(mean + h, std, params) - env.expected_reward(mean - h, std, params)
        ) / (2 * h)
        by_std = (env.expected_reward(mean, std + h, params) - env.expected_reward(mean, std - h, params)) / (
            2 * h
        )
    np.testing.assert_allclose(true, [by_mean, by_std], rtol=1e-6, atol=1e-7)
    angles = just_clearing(3.0)
    jumps = np.array([1.0, -1.0]) * (10.0 * np.sin(2 * angles) - 5.0)  # up over the wall, down behind its top
    noise = (angles - mean) / std
    missed = jumps * stats.norm.pdf(angles, mean, std)
    np.testing.assert_allclose(true.mean - limit.mean, missed.sum(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(true.std - limit.std, (missed * noise).sum(), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_ball_numbers_of_the_module():
    """Where pathwise stops and where the best is, σ = 0.1."""
    env, means = BallAgainstWall(), jnp.arange(0.4, 1.3, 0.005)
    reward = jax.jit(jax.vmap(lambda mean: env.expected_reward(mean, 0.1)))(means)
    limit = jax.jit(jax.vmap(lambda mean: env.pathwise_gradient(mean, 0.1).mean))(means)
    assert (means[reward.argmax()], reward.max()) == pytest.approx((1.005, 8.54), abs=0.006)
    stops = int(jnp.argmax(limit <= 0))
    assert (means[stops], reward[stops]) == pytest.approx((0.585, 5.01), abs=0.006)
    assert np.all(limit[stops:] <= 0)


@pytest.mark.slow
def test_ball_gradient_is_finite_where_nothing_clears_or_reaches_the_wall():
    for env in (BallAgainstWall(wall_height=30.0), BallAgainstWall(wall_distance=50.0)):

        def total(params, env=env):
            return env.expected_reward(0.8, 0.2, params) + throw_with(env, params)

        gradient = jax.grad(total, allow_int=True)(env.default_params)
        for name in ("speed", "wall_distance", "wall_height", "gravity"):
            assert np.isfinite(getattr(gradient, name))
        assert gradient.speed > 0


def throw_with(env, params):
    return env.step_env(KEY, env.reset_env(KEY, params)[1], jnp.float32([0.8]), params)[2]


def test_ball_params_can_be_swept():
    env, heights = BallAgainstWall(), jnp.float32([0.0, 2.0, 3.0])

    def both(height):
        params = env.default_params.replace(wall_height=height)
        return throw_with(env, params), env.expected_reward(0.8, 0.1, params)

    swept = jax.jit(jax.vmap(both))(heights)
    np.testing.assert_allclose(swept[0], [landing(0.8, h=height) for height in heights], rtol=1e-5)
    assert np.all(np.diff(swept[1]) < 0)


# LogisticMap


def test_logistic_map_against_a_loop():
    env = LogisticMap(growth=3.7)
    _, state = env.reset_env(KEY, env.default_params)
    actions = random_actions(env, scale=2.0)
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        states, rewards = play(env, params, in_double(state), jnp.asarray(actions))
    rho, k = float(np.float32(3.7)), float(np.float32(0.1))
    x = float(state.x)
    assert 0.1 <= x <= 0.9
    for t, a in enumerate(np.clip(actions[:, 0], -1, 1)):
        np.testing.assert_allclose(rewards[t], -((x - (1 - 1 / 3.7)) ** 2) - 0.01 * a**2, atol=1e-6)
        y = x + k * a * x * (1 - x)
        x = rho * y * (1 - y)
        np.testing.assert_allclose(states.x[t], x, atol=1e-9)


def test_logistic_map_in_closed_form():
    """ρ = 4, no action: x_t = sin²(2^t arcsin √x_0)."""
    env = LogisticMap()
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        state = env.reset_env(KEY, params)[1]
        states, _ = play(env, params, state, jnp.zeros((STEPS, 1)))
    angle = 2.0 ** np.arange(1, STEPS + 1) * np.arcsin(np.sqrt(float(state.x)))
    np.testing.assert_allclose(states.x, np.sin(angle) ** 2, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 100.0])
def test_logistic_map_stays_in_its_interval(scale):
    env = LogisticMap(nudge=1.0, start_low=0.0, start_high=1.0)
    keys = jax.random.split(KEY, 200)
    starts = jax.vmap(lambda key: env.reset_env(key, env.default_params)[1])(keys)
    actions = jnp.asarray(random_actions(env, steps=200, scale=scale), jnp.float32)
    x = jax.vmap(lambda start: play(env, env.default_params, start, actions)[0].x)(starts)
    assert np.all((x >= 0) & (x <= 1))


def test_logistic_map_leaves_one():
    """x = 1, which float32 orbits reach, does not end in 0 for ever; its gradient is that of the map."""
    env = LogisticMap(nudge=0.5).with_transition_gradients()
    params = env.default_params
    start = env.reset_env(KEY, params)[1].replace(x=jnp.float32(1.0))
    for push in (-1.0, 0.0, 1.0):
        x = play(env, params, start, jnp.full((60, 1), push))[0].x
        assert np.ptp(x[-10:]) > 0.1

    def after(x):
        return play(env, params, start.replace(x=x), jnp.zeros((1, 1)))[0].x[-1]

    np.testing.assert_allclose(jax.grad(after)(jnp.float32(1.0)), -4.0, rtol=1e-6)


def log_growth(growth, steps, starts):
    """log|∂x_T/∂x_0| through the environment, without action, of starts [N]."""
    env = LogisticMap(growth=growth).with_transition_gradients()
    with jax.enable_x64(True):
        params = in_double(env.default_params)
        start = env.reset_env(KEY, params)[1]

        def last(x):
            return play(env, params, start.replace(x=x), jnp.zeros((steps, 1)))[0].x[-1]

        return np.log(np.abs(np.asarray(jax.jit(jax.vmap(jax.grad(last)))(jnp.asarray(starts)))))


def test_logistic_map_gradient_grows_at_the_lyapunov_exponent():
    """ln 2 for ρ = 4, starts drawn from the invariant density; ln|2 − ρ| at the fixed point."""
    starts = np.sin(np.random.default_rng(0).uniform(0, np.pi / 2, 2000)) ** 2
    rate = log_growth(4.0, 30, starts) / 30
    error = 4 * rate.std() / np.sqrt(len(rate))
    assert error < 0.01
    assert abs(rate.mean() - np.log(2)) < error
    settled = 1 - 1 / 2.5
    np.testing.assert_allclose(log_growth(2.5, 30, [settled]) / 30, np.log(0.5), rtol=1e-3)


@pytest.mark.slow
def test_logistic_map_pathwise_variance_explodes_with_the_horizon():
    """The gradient of a game's return by a shift of all its actions: its spread doubles at every step."""
    env, games = LogisticMap().with_transition_gradients(), 4000
    starts = jax.vmap(lambda key: env.reset_env(key, env.default_params)[1])(jax.random.split(KEY, games))

    def spread(steps):
        def total(shift, start):
            return play(env, env.default_params, start, jnp.full((steps, 1), shift))[1].sum()

        slopes = jax.jit(jax.vmap(jax.grad(total), (None, 0)))(jnp.float32(0.0), starts)
        return np.std(np.asarray(slopes, np.float64))

    growth = np.log(np.array([spread(20) / spread(10), spread(30) / spread(20)])) / 10
    np.testing.assert_allclose(growth, np.log(2), atol=0.15)


def test_logistic_map_can_be_held_at_its_unstable_fixed_point():
    env = LogisticMap()

    def game(key):
        def step(state, _):
            wanted = -(state.x - 0.75) / (0.1 * 0.1875)  # moves y to 0.75
            action = jnp.where(jnp.abs(wanted) < 1, wanted, 0.0)
            _, state, _, _, _ = env.step_env(key, state, action[None], env.default_params)
            return state, state.x

        return jax.lax.scan(step, env.reset_env(key, env.default_params)[1], None, 200)[1]

    x = np.asarray(jax.jit(jax.vmap(game))(jax.random.split(KEY, 200)))
    held = (np.abs(x - 0.75) < 0.02).mean(axis=0)
    assert held[49] > 0.4
    assert held[199] > 0.9


# Bad arguments


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (LQR, {"A": ((1.0, 0.0),)}, r"A has shape \[1, 2\].*\[1, 1\]"),
        (LQR, {"A": 1.0}, r"A has shape \[\].*matrix"),
        (LQR, {"B": ((1.0,),)}, r"B has shape \[1, 1\].*\[2, 1\]"),
        (LQR, {"Q": ((1.0, 0.5), (0.0, 1.0))}, "Q is not symmetric"),
        (LQR, {"Q": ((1.0, 0.0), (0.0, -1.0))}, "Q has the eigenvalue -1.*semidefinite"),
        (LQR, {"R": ((0.0,),)}, "R has the eigenvalue 0.*positive definite"),
        (LQR, {"R": ((float("nan"),),)}, "R.*nan"),
        (LQR, {"noise_std": -1.0}, "noise_std.*at least 0"),
        (LQR, {"noise_std": (1.0, 1.0, 1.0)}, r"noise_std has shape \[3\]"),
        (LQR, {"initial_std": (1.0, -1.0)}, "initial_std.*at least 0"),
        (LQR, {"initial_mean": "x"}, "initial_mean is not"),
        (LQR, {"max_steps": 0}, "max_steps is 0"),
        (ScalarLQR, {"r": 0.0}, "r is 0.0"),
        (ScalarLQR, {"q": -1.0}, "q is -1.0"),
        (PointMass, {"mass": 0.0}, "mass is 0.0"),
        (PointMass, {"goal": (1.0,)}, r"goal has shape \[1\]"),
        (PointMass, {"drag": -1.0}, "drag is -1.0"),
        (PointMass, {"max_steps": 2.5}, "max_steps is 2.5"),
        (CartPoleSwingUp, {"half_length": 0.0}, "half_length is 0.0"),
        (CartPoleSwingUp, {"rail_cost": -1.0}, "rail_cost is -1.0"),
        (CartPoleSwingUp, {"gravity": float("inf")}, "gravity is inf"),
        (BallAgainstWall, {"speed": 0.0}, "speed is 0.0"),
        (BallAgainstWall, {"wall_height": -1.0}, "wall_height is -1.0"),
        (LogisticMap, {"growth": 4.1}, "growth is 4.1.*at most 4"),
        (LogisticMap, {"nudge": 2.0}, "nudge is 2.0"),
        (LogisticMap, {"start_low": 0.9, "start_high": 0.1}, "start_high is 0.1.*at least 0.9"),
        (LogisticMap, {"max_steps": -1}, "max_steps is -1"),
    ],
)
def test_refuses(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
