"""FiniteMDP: samples against the arrays they come from, the two ends of a game, sweeps, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import FiniteMDP, FiniteMDPState
from envs.finite_mdp import draw, invert

# Two states that lead to each other or to the end (state 2); reward [S, A].
TRANSITION = (
    ((0.5, 0.5, 0.0), (0.0, 0.25, 0.75)),
    ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
)
REWARD = ((1.0, -2.0), (0.5, 3.0), (0.0, 0.0))


def random_arrays(seed, num_states=5, num_actions=3):
    """A random process with zeros among its probabilities, the last state of most rows included."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(num_states), (num_states, num_actions))
    transition[rng.random(transition.shape) < 0.4] = 0.0
    transition[..., 1] += 0.1
    transition /= transition.sum(-1, keepdims=True)
    return transition, rng.normal(size=transition.shape)


NUM = 20_000
KEYS = jax.random.split(jax.random.key(0), NUM)
ENV = FiniteMDP(TRANSITION, REWARD)
PARAMS = ENV.default_params
# Compiled once: any process of three states and two actions is played by giving its params.
STEP = jax.jit(jax.vmap(ENV.step_env, in_axes=(0, None, None, None)))
DRAW = jax.jit(jax.vmap(draw, in_axes=(0, None)))


def sample(params, index, action):
    """NUM independent steps from one state under one action."""
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(index))
    return jax.tree.map(np.asarray, STEP(KEYS, state, jnp.int32(action), params))


@pytest.fixture(scope="module")
def step_everywhere():
    """4000 steps from each of 5 states under each of 3 actions, compiled once for all params."""
    env = FiniteMDP(*random_arrays(0))

    def step(key, index, action, params):
        return env.step_env(key, FiniteMDPState(time=jnp.int32(0), index=index), action, params)

    pairs = jax.vmap(jax.vmap(step, (0, None, None, None)), (0, 0, 0, None))
    return jax.jit(lambda keys, params: pairs(keys, *np.divmod(np.arange(15), 3), params))


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_and_rewards_follow_the_arrays(seed, step_everywhere):
    transition, reward = random_arrays(seed)
    size, actions, num = 5, 3, 4000
    keys = jax.random.split(jax.random.key(seed), (size * actions, num))
    _, state, paid, _, _ = step_everywhere(keys, FiniteMDP(transition, reward).default_params)

    expected = transition.reshape(size * actions, size)
    found = np.stack([(np.asarray(state.index) == k).mean(axis=1) for k in range(size)], axis=1)
    assert (found[expected == 0.0] == 0.0).all()
    error = np.sqrt(expected * (1.0 - expected) / num)
    assert (np.abs(found - expected) <= 4.0 * error + 1e-12).all()
    rewards = reward.reshape(size * actions, size)[np.arange(size * actions)[:, None], state.index]
    np.testing.assert_allclose(paid, rewards, rtol=1e-6)


def test_initial_state_follows_its_distribution():
    initial = np.array([0.2, 0.0, 0.5, 0.3, 0.0])
    env = FiniteMDP(*random_arrays(0), initial)
    obs, state = jax.jit(jax.vmap(env.reset_env, (0, None)))(KEYS, env.default_params)
    found = np.bincount(state.index, minlength=5) / NUM
    assert (np.abs(found - initial) <= 4.0 * np.sqrt(initial * (1.0 - initial) / NUM)).all()
    np.testing.assert_array_equal(obs, state.index)
    assert (np.asarray(state.time) == 0).all()


def test_default_start_is_state_zero():
    np.testing.assert_array_equal(PARAMS.initial, [1.0, 0.0, 0.0])
    assert ENV.reset_env(KEYS[0], PARAMS)[1].index == 0


@pytest.mark.parametrize("total", [1.0, 0.9])
def test_impossible_last_state_is_never_drawn(total):
    """Even where the row sums to visibly less than one, so that u often lies above the whole sum."""
    row = jnp.asarray(total * np.array([0.0, 0.3, 0.0, 0.7, 0.0, 0.0]), jnp.float32)
    drawn = DRAW(KEYS, row)
    assert set(np.unique(drawn)) == {1, 3}


def test_rounding_in_a_long_row_never_reaches_an_impossible_state():
    """At every u where the search changes its answer; here XLA's running sum is not monotone."""
    rng = np.random.default_rng(0)
    row = np.where(np.arange(999) % 3 == 0, rng.random(999), 0.0)
    row = jnp.asarray(row / row.sum(), jnp.float32)
    edges = np.asarray(jnp.cumsum(row))
    u = np.concatenate([np.nextafter(edges, np.float32(0)), edges, [0.0]]).astype(np.float32)
    drawn = np.asarray(jax.jit(jax.vmap(invert, (0, None)))(u, row))
    assert (np.asarray(row)[drawn] > 0).all()
    assert drawn[-1] == 0


def test_terminated_exactly_on_entering_a_terminal_state():
    np.testing.assert_array_equal(PARAMS.terminal, [False, False, True])
    for index in range(2):
        for action in range(2):
            _, state, reward, terminated, info = sample(PARAMS, index, action)
            np.testing.assert_array_equal(terminated, state.index == 2)
            np.testing.assert_array_equal(ENV.is_terminated(state, PARAMS), terminated)
            assert (reward == REWARD[index][action]).all()
            assert info == {}


def test_nothing_follows_a_terminal_state_whatever_its_rows_say():
    env = FiniteMDP(TRANSITION, REWARD, terminal=(False, True, False), reward_noise=1.0)
    _, state, reward, terminated, _ = sample(env.default_params, 1, 0)
    assert (state.index == 1).all()
    assert (reward == 0.0).all()
    assert terminated.all()
    model = jax.jit(env.exact_model)()
    np.testing.assert_array_equal(model.transition[1], [[0.0, 1.0, 0.0]] * 2)
    np.testing.assert_array_equal(model.reward, [REWARD[0], (0.0, 0.0), REWARD[2]])


def test_default_terminal_states_absorb_under_every_action_and_pay_nothing():
    keeps = np.broadcast_to(np.eye(4)[:, None], (4, 2, 4)).copy()
    keeps[0, :] = keeps[3, 1] = np.eye(4)[1]  # state 0 leaves; state 3 only stays under action 0
    reward = np.zeros((4, 2))
    reward[2, 1] = 1.0  # state 2 stays and is paid for it
    expected = [False, True, False, False]
    np.testing.assert_array_equal(FiniteMDP(keeps, reward).default_params.terminal, expected)
    unused = np.broadcast_to(reward[..., None], (4, 2, 4)).copy()
    unused[1, 0, 0] = 5.0  # on a transition that never happens
    np.testing.assert_array_equal(FiniteMDP(keeps, unused).default_params.terminal, expected)


def test_time_limit_truncates_and_does_not_terminate():
    env = FiniteMDP([[[1.0]]], [[1.0]], max_steps=3)  # endless, pays 1
    params = env.default_params
    _, state = env.reset_env(jax.random.key(0), params)
    flags = []
    for _ in range(4):
        _, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, 0, params)
        flags.append((bool(env.is_truncated(state, params)), bool(terminated)))
        assert reward == 1.0
    assert flags == [(False, False), (False, False), (True, False), (True, False)]
    assert state.time == 4


@pytest.mark.parametrize("by_next_state", [False, True])
def test_reward_noise_has_the_stated_mean_and_deviation(by_next_state):
    sigma = 0.5
    reward = np.array(REWARD)
    reward = np.broadcast_to(reward[..., None], (3, 2, 3)) if by_next_state else reward
    env = FiniteMDP(TRANSITION, reward, reward_noise=sigma)
    _, state, paid, _, _ = sample(env.default_params, 0, 0)
    assert abs(paid.mean() - 1.0) < 4.0 * sigma / np.sqrt(NUM)
    assert abs(paid.std() - sigma) < 4.0 * sigma / np.sqrt(2.0 * NUM)
    # noise and next state do not share a draw
    assert abs(np.corrcoef(paid, state.index)[0, 1]) < 4.0 / np.sqrt(NUM)


def test_noise_can_be_given_later_in_the_params():
    assert PARAMS.reward_noise is None
    _, _, paid, _, _ = sample(PARAMS.replace(reward_noise=jnp.float32(2.0)), 0, 0)
    assert abs(paid.std() - 2.0) < 4.0 * 2.0 / np.sqrt(2.0 * NUM)


def test_params_sweep_two_processes_at_once():
    """One vmapped program plays two different tables, terminal states included."""
    first = FiniteMDP([[[0.0, 1.0]], [[0.0, 1.0]]], [[1.0], [0.0]])
    second = FiniteMDP([[[1.0, 0.0]], [[0.0, 1.0]]], [[7.0], [0.0]])
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first.default_params, second.default_params)

    def two_steps(key, params):
        _, state = first.reset_env(key, params)
        _, state, r_0, _, _ = first.step_env(key, state, 0, params)
        _, state, r_1, terminated, _ = first.step_env(key, state, 0, params)
        return state.index, r_0 + r_1, terminated, first.is_truncated(state, params)

    index, total, terminated, truncated = jax.jit(jax.vmap(two_steps, (None, 0)))(jax.random.key(0), both)
    np.testing.assert_array_equal(index, [1, 0])
    np.testing.assert_array_equal(total, [1.0, 14.0])
    np.testing.assert_array_equal(terminated, [True, False])
    np.testing.assert_array_equal(truncated, [False, False])
    models = jax.jit(jax.vmap(first.exact_model))(both)
    np.testing.assert_array_equal(models.reward[:, :, 0], [[1.0, 0.0], [7.0, 0.0]])


def test_reward_is_differentiable_in_its_params():
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(1))

    def paid(reward):
        return ENV.step_env(KEYS[0], state, 1, PARAMS.replace(reward=reward))[2]

    expected = np.zeros((3, 2))
    expected[1, 1] = 1.0
    np.testing.assert_array_equal(jax.jit(jax.grad(paid))(jnp.asarray(REWARD)), expected)


def test_auto_reset_under_jit_and_vmap_draws_new_starts():
    env = FiniteMDP(TRANSITION, REWARD, (0.5, 0.5, 0.0), max_steps=4)
    params, games = env.default_params, 64
    actions = np.random.default_rng(0).integers(2, size=(100, games))

    def row(state, xs):
        obs, after, _, *ends, info = jax.vmap(env.step, (0, 0, 0, None))(xs[0], state, xs[1], params)
        return after, (state.time, obs, after.time, *ends, info["final_observation"])

    @jax.jit
    def play(keys):
        _, state = jax.vmap(env.reset, (0, None))(keys[0], params)
        return jax.lax.scan(row, state, (keys, actions))

    _, rows = play(KEYS[: actions.size].reshape(actions.shape))
    before, obs, time, terminated, truncated, final = (np.asarray(row) for row in rows)
    np.testing.assert_array_equal(terminated, final == 2)
    np.testing.assert_array_equal(truncated, before + 1 >= 4)
    done = terminated | truncated
    np.testing.assert_array_equal(time, np.where(done, 0, before + 1))
    np.testing.assert_array_equal(obs[~done], final[~done])
    starts = obs[done]
    assert abs((starts == 1).mean() - 0.5) < 4.0 * 0.5 / np.sqrt(starts.size)


def test_aliased_states_look_alike():
    env = FiniteMDP(TRANSITION, REWARD, observation=(4, 4, 0))
    params = env.default_params
    assert env.num_states == 3
    assert env.num_observations == env.observation_space(params).n == 5
    np.testing.assert_array_equal(env.observation_index, [4, 4, 0])
    assert env.reset_env(jax.random.key(0), params)[0] == 4
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(0))
    obs, state, *_ = jax.jit(jax.vmap(env.step_env, (0, None, None, None)))(KEYS, state, 1, params)
    np.testing.assert_array_equal(obs, np.array([4, 4, 0])[state.index])
    np.testing.assert_array_equal(env.observe(KEYS[0], state, None, params), obs)


def test_exact_model_is_stochastic_and_keeps_what_was_given():
    transition, reward = random_arrays(4)
    initial = np.full(5, 0.2)
    env = FiniteMDP(transition, reward, initial)
    model = jax.tree.map(np.asarray, jax.jit(env.exact_model)(env.default_params))
    np.testing.assert_allclose(model.transition, transition, atol=1e-7)
    np.testing.assert_allclose(model.transition.sum(-1), 1.0, atol=3e-7)
    np.testing.assert_allclose(model.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(model.initial, initial, rtol=1e-6)
    assert model.transition.dtype == model.reward.dtype == model.initial.dtype == jnp.float32


def test_sampled_return_agrees_with_the_exact_model():
    """Whole games under a uniform policy against (I − P_π)⁻¹ r_π."""
    model = jax.jit(ENV.exact_model)(PARAMS)
    transition = np.asarray(model.transition, np.float64).mean(axis=1)
    value = np.linalg.solve(np.eye(2) - transition[:2, :2], np.asarray(model.reward).mean(axis=1)[:2])

    games, steps = 500, 40
    actions = np.random.default_rng(0).integers(2, size=(steps, games))
    start = FiniteMDPState(time=jnp.zeros(games, jnp.int32), index=jnp.zeros(games, jnp.int32))

    def row(state, xs):
        _, state, reward, _, _ = jax.vmap(ENV.step_env, (0, 0, 0, None))(xs[0], state, xs[1], PARAMS)
        return state, reward

    keys = KEYS.reshape(steps, games)
    state, reward = jax.jit(lambda keys: jax.lax.scan(row, start, (keys, actions)))(keys)
    total = np.asarray(reward).sum(axis=0)
    assert (np.asarray(state.index) == 2).all()
    assert abs(total.mean() - value[0]) < 4.0 * total.std() / np.sqrt(games)


def test_rows_within_tolerance_are_made_exact():
    off = np.array(TRANSITION) * (1.0 + 5e-6)
    np.testing.assert_allclose(
        np.asarray(FiniteMDP(off, REWARD).default_params.transition, np.float64).sum(-1), 1.0, atol=1e-7
    )


def changed(path, value, array=TRANSITION):
    array = np.array(array)
    array[path] = value
    return array


REFUSED = {
    "ragged": ({"transition": [[[1.0], [1.0, 0.0]]]}, "rectangular"),
    "text": ({"transition": "P"}, "rectangular"),
    "two axes": ({"transition": [[1.0]]}, r"\[S, A, S\]"),
    "not square": ({"transition": np.ones((2, 1, 3)) / 3}, r"\[2, 1, 3\]"),
    "empty": ({"transition": np.ones((0, 0, 0))}, "at least one state"),
    "no actions": ({"transition": np.ones((1, 0, 1))}, "at least one state"),
    "row sum": ({"transition": changed((1, 0, 0), 0.9)}, r"transition\[1, 0\] sums to 0.9"),
    "negative": ({"transition": changed((0, 0), (1.5, -0.5, 0.0))}, r"transition\[0, 0, 1\] is -0.5"),
    "nan": ({"transition": changed((0, 1, 2), np.nan)}, r"transition\[0, 1, 2\] is nan"),
    "reward shape": ({"reward": [1.0, 2.0, 3.0]}, r"reward has shape \[3\].*\[3, 2\] or \[3, 2, 3\]"),
    "reward inf": ({"reward": changed((1, 1), np.inf, REWARD)}, r"reward\[1, 1\] is inf"),
    "reward beyond float32": ({"reward": changed((1, 1), 1e300, REWARD)}, "float32"),
    "initial shape": ({"initial": (1.0, 0.0)}, r"initial has shape \[2\]"),
    "initial sum": ({"initial": (0.5, 0.4, 0.0)}, "initial sums to 0.9"),
    "initial negative": ({"initial": (1.5, -0.5, 0.0)}, r"initial\[1\] is -0.5"),
    "initial terminal": ({"initial": (0.5, 0.0, 0.5)}, "state 2, which is terminal"),
    "starts at its end": ({"terminal": (True, False, False)}, "state 0, which is terminal"),
    "terminal shape": ({"terminal": (True,)}, r"terminal has shape \[1\]"),
    "terminal values": ({"terminal": (0, 2, 1)}, "one boolean for each state"),
    "observation shape": ({"observation": (0, 1)}, r"observation has shape \[2\]"),
    "observation fraction": ({"observation": (0, 0.5, 1)}, "whole number"),
    "observation negative": ({"observation": (0, -1, 1)}, "whole number"),
    "noise negative": ({"reward_noise": -1.0}, "reward_noise is -1.0.*at least 0"),
    "noise nan": ({"reward_noise": float("nan")}, "reward_noise is nan"),
    "noise text": ({"reward_noise": "much"}, "reward_noise is 'much'"),
    "no steps": ({"max_steps": 0}, "max_steps is 0.*at least 1"),
    "half steps": ({"max_steps": 2.5}, "max_steps is 2.5"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        FiniteMDP(**({"transition": TRANSITION, "reward": REWARD} | arguments))
    assert "\n" not in str(caught.value)
