"""FiniteMDP: samples against the arrays they come from, the two ends of a game, sweeps, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import FiniteMDP, FiniteMDPState
from envs.finite_mdp import _draw

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
DRAW = jax.jit(jax.vmap(_draw, in_axes=(0, None)))


def sample(params, index, action):
    """NUM independent steps from one state under one action."""
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(index))
    return jax.tree.map(np.asarray, STEP(KEYS, state, jnp.int32(action), params))


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_and_rewards_follow_the_arrays(seed):
    transition, reward = random_arrays(seed)
    size, actions = transition.shape[:2]
    env = FiniteMDP(transition, reward)
    params, num = env.default_params, 4000

    def step(key, index, action):
        state = FiniteMDPState(time=jnp.int32(0), index=index)
        return env.step_env(key, state, action, params)

    index, action = np.divmod(np.arange(size * actions), actions)
    keys = jax.random.split(jax.random.key(seed), (size * actions, num))
    along = jax.vmap(jax.vmap(step, (0, None, None)))
    _, state, paid, _, _ = jax.jit(along)(keys, jnp.asarray(index), jnp.asarray(action))

    expected = transition.reshape(size * actions, size)
    found = np.stack([(np.asarray(state.index) == k).mean(axis=1) for k in range(size)], axis=1)
    assert (found[expected == 0.0] == 0.0).all()
    error = np.sqrt(expected * (1.0 - expected) / num)
    assert (np.abs(found - expected) <= 4.0 * error + 1e-12).all()
    rewards = reward.reshape(size * actions, size)[np.arange(size * actions)[:, None], state.index]
    np.testing.assert_allclose(paid, rewards, rtol=1e-6)


def test_initial_state_follows_its_distribution():
    initial, num = np.array([0.2, 0.0, 0.5, 0.3, 0.0]), 20_000
    env = FiniteMDP(*random_arrays(0), initial)
    obs, state = jax.vmap(env.reset_env, (0, None))(
        jax.random.split(jax.random.key(0), num), env.default_params
    )
    found = np.bincount(state.index, minlength=5) / num
    assert (np.abs(found - initial) <= 4.0 * np.sqrt(initial * (1.0 - initial) / num)).all()
    np.testing.assert_array_equal(obs, state.index)
    assert (np.asarray(state.time) == 0).all()


def test_default_start_is_state_zero():
    env = FiniteMDP(*random_arrays(0))
    _, state = env.reset_env(jax.random.key(3), env.default_params)
    assert state.index == 0


@pytest.mark.parametrize("total", [1.0, 0.9])
def test_impossible_last_state_is_never_drawn(total):
    """Even where the row sums to visibly less than one, so that u often lies above the whole sum."""
    row = jnp.asarray(total * np.array([0.0, 0.3, 0.0, 0.7, 0.0, 0.0]), jnp.float32)
    drawn = jax.vmap(_draw, (0, None))(jax.random.split(jax.random.key(0), 10_000), row)
    assert set(np.unique(drawn)) == {1, 3}


def test_rounding_in_a_long_row_never_reaches_an_impossible_state():
    rng = np.random.default_rng(0)
    row = np.where(np.arange(999) % 3 == 0, rng.random(999), 0.0)
    row = jnp.asarray(row / row.sum(), jnp.float32)
    drawn = jax.vmap(_draw, (0, None))(jax.random.split(jax.random.key(0), 20_000), row)
    assert (row[drawn] > 0).all()


def test_terminated_exactly_on_entering_a_terminal_state():
    env = FiniteMDP(TRANSITION, REWARD)
    params = env.default_params
    np.testing.assert_array_equal(params.terminal, [False, False, True])
    for index in range(2):
        for action in range(2):
            _, state, reward, terminated, info = sample(env, params, index, action, 200)
            np.testing.assert_array_equal(terminated, state.index == 2)
            np.testing.assert_array_equal(jax.vmap(env.is_terminated, (0, None))(state, params), terminated)
            assert (np.asarray(reward) == REWARD[index][action]).all()
            assert info == {}


def test_nothing_follows_a_terminal_state_whatever_its_rows_say():
    env = FiniteMDP(TRANSITION, REWARD, terminal=(False, True, False), reward_noise=1.0)
    _, state, reward, terminated, _ = sample(env, env.default_params, 1, 0, 50)
    assert (np.asarray(state.index) == 1).all()
    assert (np.asarray(reward) == 0.0).all()
    assert np.asarray(terminated).all()
    model = env.exact_model()
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
    sigma, num = 0.5, 20_000
    reward = np.array(REWARD)
    reward = np.broadcast_to(reward[..., None], (3, 2, 3)) if by_next_state else reward
    env = FiniteMDP(TRANSITION, reward, reward_noise=sigma)
    _, state, paid, _, _ = sample(env, env.default_params, 0, 0, num)
    paid, index = np.asarray(paid), np.asarray(state.index)
    assert abs(paid.mean() - 1.0) < 4.0 * sigma / np.sqrt(num)
    assert abs(paid.std() - sigma) < 4.0 * sigma / np.sqrt(2.0 * num)
    assert abs(np.corrcoef(paid, index)[0, 1]) < 4.0 / np.sqrt(
        num
    )  # noise and next state do not share a draw


def test_noise_can_be_given_later_in_the_params():
    env = FiniteMDP(TRANSITION, REWARD)
    assert env.default_params.reward_noise is None
    params = env.default_params.replace(reward_noise=jnp.float32(2.0))
    _, _, paid, _, _ = sample(env, params, 0, 0, 2000)
    assert 1.8 < np.std(paid) < 2.2


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
    models = jax.vmap(first.exact_model)(both)
    np.testing.assert_array_equal(models.reward[:, :, 0], [[1.0, 0.0], [7.0, 0.0]])


def test_reward_is_differentiable_in_its_params():
    env = FiniteMDP(TRANSITION, REWARD)
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(1))

    def paid(reward):
        params = env.default_params.replace(reward=reward)
        return env.step_env(jax.random.key(0), state, 1, params)[2]

    expected = np.zeros((3, 2))
    expected[1, 1] = 1.0
    np.testing.assert_array_equal(jax.grad(paid)(jnp.asarray(REWARD)), expected)


def test_auto_reset_under_jit_and_vmap_draws_new_starts():
    env = FiniteMDP(TRANSITION, REWARD, (0.5, 0.5, 0.0), max_steps=4)
    params, games = env.default_params, 64
    _, state = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), games), params)

    def play(state, key):
        keys = jax.random.split(key, games)
        actions = jax.random.randint(key, (games,), 0, 2)
        obs, after, _, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, actions, params
        )
        return after, (state.time, obs, after.time, terminated, truncated, info["final_observation"])

    _, rows = jax.jit(lambda s, k: jax.lax.scan(play, s, k))(state, jax.random.split(jax.random.key(1), 100))
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
    obs, state, _, _, _ = sample(env, params, 0, 1, 100)
    np.testing.assert_array_equal(obs, np.array([4, 4, 0])[state.index])
    assert env.observe(jax.random.key(0), jax.tree.map(lambda x: x[0], state), None, params) == obs[0]


def test_exact_model_is_stochastic_and_keeps_what_was_given():
    transition, reward = random_arrays(4)
    initial = np.full(5, 0.2)
    env = FiniteMDP(transition, reward, initial)
    model = env.exact_model(env.default_params)
    np.testing.assert_allclose(model.transition, transition, atol=1e-7)
    np.testing.assert_allclose(model.transition.sum(-1), 1.0, atol=3e-7)
    np.testing.assert_allclose(model.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(model.initial, initial, rtol=1e-6)
    assert model.transition.dtype == model.reward.dtype == model.initial.dtype == jnp.float32


def test_sampled_return_agrees_with_the_exact_model():
    """Whole games under a uniform policy against (I − P_π)⁻¹ r_π."""
    env = FiniteMDP(TRANSITION, REWARD, max_steps=200)
    model = env.exact_model()
    transition = np.asarray(model.transition, np.float64).mean(axis=1)
    value = np.linalg.solve(np.eye(2) - transition[:2, :2], np.asarray(model.reward).mean(axis=1)[:2])
    params = env.default_params

    def play(key):
        def row(carry, key):
            state, total = carry
            key_action, key_step = jax.random.split(key)
            action = jax.random.randint(key_action, (), 0, 2)
            _, state, reward, _, _ = env.step_env(key_step, state, action, params)
            return (state, total + reward), None

        start = env.reset_env(key, params)[1]
        return jax.lax.scan(row, (start, jnp.float32(0.0)), jax.random.split(key, 60))[0]

    state, total = jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(0), 4000))
    assert (np.asarray(state.index) == 2).all()
    assert abs(np.mean(total) - value[0]) < 4.0 * np.std(total) / np.sqrt(4000)


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
