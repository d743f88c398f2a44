"""Taxi and CliffWalking against Gymnasium's toy-text tables, transition by transition."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import CliffWalking, FiniteMDPState, Taxi
from purepg import exact

NAMES = {"Taxi": (Taxi, "Taxi-v4"), "CliffWalking": (CliffWalking, "CliffWalking-v1")}


@pytest.fixture(params=NAMES, scope="module")
def pair(request):
    ours, theirs = NAMES[request.param]
    return ours(), gymnasium.make(theirs).unwrapped


def entries(theirs):
    """(state, action, next state, reward, terminated) of every entry of their table, each certain."""
    for state, row in theirs.P.items():
        for action, outcomes in row.items():
            assert len(outcomes) == 1
            probability, after, reward, terminated = outcomes[0]
            assert probability == 1.0
            yield state, action, int(after), reward, terminated


def test_spaces(pair):
    ours, theirs = pair
    assert ours.num_states == ours.observation_space().n == theirs.observation_space.n
    assert ours.num_actions == theirs.action_space.n
    np.testing.assert_array_equal(ours.observation_index, np.arange(ours.num_states))


def test_every_transition_and_reward(pair):
    """In all rows, also those of states that no game reaches, or that end it."""
    ours, theirs = pair
    params = ours.default_params
    following, reward = np.zeros(params.following.shape), np.zeros(params.reward.shape)
    for state, action, after, paid, _ in entries(theirs):
        following[state, action], reward[state, action] = after, paid
    np.testing.assert_array_equal(params.following, following)
    np.testing.assert_array_equal(params.reward, reward)


@pytest.mark.slow
def test_the_exact_model_says_the_same(pair):
    ours, theirs = pair
    model, terminal = jax.tree.map(np.asarray, ours.exact_model()), ours.default_params.terminal
    for state, action, after, paid, _ in entries(theirs):
        after, paid = (state, 0.0) if terminal[state] else (after, paid)
        np.testing.assert_array_equal(np.flatnonzero(model.transition[state, action]), [after])
        assert model.transition[state, action, after] == 1.0
        assert model.reward[state, action] == paid


def test_the_same_steps_end_the_game(pair):
    """From every state in which a game can be; nothing follows a terminal one."""
    ours, theirs = pair
    terminal = np.asarray(ours.default_params.terminal)
    reached = {s for s, p in enumerate(theirs.initial_state_distrib) if p > 0}
    while True:
        more = {after for s, _, after, _, ended in entries(theirs) if s in reached and not ended} | reached
        if more == reached:
            break
        reached = more
    assert not terminal[list(reached)].any()
    for state, _, after, _, terminated in entries(theirs):
        if state in reached:
            assert terminated == terminal[after]


def test_initial_distribution(pair):
    ours, theirs = pair
    np.testing.assert_allclose(ours.default_params.initial, theirs.initial_state_distrib, rtol=1e-6)


def test_steps_are_the_tables(pair):
    """`step_env` of all states and actions at once."""
    ours, theirs = pair
    params = ours.default_params

    @jax.jit
    def step(index, action):
        state = FiniteMDPState(time=jnp.int32(0), index=index)
        return ours.step_env(jax.random.key(0), state, action, params)[:4]

    table = [e for e in entries(theirs) if not params.terminal[e[0]]]
    states, actions, after, reward, _ = (np.array(column) for column in zip(*table, strict=True))
    observation, _, paid, terminated = jax.vmap(step)(states, actions)
    np.testing.assert_array_equal(observation, after)
    np.testing.assert_array_equal(paid, reward)
    np.testing.assert_array_equal(terminated, np.asarray(params.terminal)[after])


def test_time_limits():
    assert Taxi().default_params.max_steps_in_episode == gymnasium.spec("Taxi-v4").max_episode_steps == 200
    assert CliffWalking().default_params.max_steps_in_episode == 200
    assert gymnasium.spec("CliffWalking-v1").max_episode_steps is None  # ours is stated in its docstring


@pytest.mark.slow
def test_the_best_ways():
    """13 steps along the cliff; a taxi's best return over uniform starts (by value iteration, no discount)."""
    cliff = CliffWalking().exact_model()
    assert exact.value_iteration(cliff.transition, cliff.reward, 1.0, 1e-9).v[36] == pytest.approx(-13)
    taxi = Taxi().exact_model()
    best = exact.value_iteration(taxi.transition, taxi.reward, 1.0, 1e-9)
    assert (taxi.initial * best.v).sum() == pytest.approx(7.93, abs=0.005)
