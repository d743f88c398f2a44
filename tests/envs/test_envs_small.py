"""Bandit, Chain and ShortCorridor: every transition by hand, and their values in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import Bandit, Chain, FiniteMDPState, ShortCorridor


def value(env, policy):
    """v(s) of a game without discount, policy [S, A]: (I − P_π) v = r_π over the nonterminal states."""
    model = jax.jit(env.exact_model)()
    transition, reward = (np.asarray(array, np.float64) for array in model[:2])
    if reward.ndim == 3:
        reward = (transition * reward).sum(-1)
    alive = ~np.asarray(env.default_params.terminal)
    table = np.einsum("sa,sak->sk", policy, transition)[np.ix_(alive, alive)]
    v = np.zeros(env.num_states)
    v[alive] = np.linalg.solve(np.eye(alive.sum()) - table, (policy * reward).sum(-1)[alive])
    return v


def step(env, index, action, seed=0):
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(index))
    obs, state, reward, terminated, _ = env.step_env(jax.random.key(seed), state, action, env.default_params)
    return int(obs), int(state.index), float(reward), bool(terminated)


# Bandit


def test_bandit_pays_its_arm_and_is_over():
    env = Bandit((1.0, 0.0, -2.5))
    assert env.num_actions == 3
    for action, reward in enumerate((1.0, 0.0, -2.5)):
        assert step(env, 0, action) == (0, 1, reward, True)
        assert step(env, 1, action) == (0, 1, 0.0, True)


def test_bandit_default_and_noise():
    assert [step(Bandit(), 0, action)[2] for action in range(2)] == [1.0, 0.0]
    env = Bandit(reward_noise=1.0)
    assert step(env, 0, 0, seed=0)[2] != step(env, 0, 0, seed=1)[2]
    assert step(env, 0, 0)[3]


def test_bandit_exact_gradient_of_a_softmax_policy():
    """∂J/∂logit of the better arm is p(1 − p)."""
    model = jax.jit(Bandit().exact_model)()

    def objective(logits):
        return jnp.dot(jax.nn.softmax(logits), model.reward[0])

    p = 0.9
    gradient = jax.jit(jax.grad(objective))(jnp.log(jnp.array([p, 1 - p])))
    np.testing.assert_allclose(gradient, [p * (1 - p), -p * (1 - p)], rtol=1e-5)


@pytest.mark.parametrize("rewards", [(), 1.0, ((1.0, 0.0),), (1.0, float("nan")), "ab"])
def test_bandit_refuses_bad_rewards(rewards):
    with pytest.raises(ValueError, match="rewards"):
        Bandit(rewards)


# Chain


def test_chain_moves_and_ends():
    env = Chain(3, left_reward=0.1)
    assert step(env, 2, 0) == (1, 1, 0.0, False)
    assert step(env, 2, 1) == (3, 3, 0.0, False)
    left = step(env, 1, 0)
    assert left[:2] == (0, 0)
    assert left[2] == pytest.approx(0.1)
    assert left[3]
    assert step(env, 3, 1) == (4, 4, 1.0, True)
    assert step(env, 4, 0) == (4, 4, 0.0, True)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "start"), [(1, 1), (2, 1), (5, 3), (6, 3)])
def test_chain_starts_in_the_middle(length, start):
    env = Chain(length)
    assert env.reset_env(jax.random.key(0), env.default_params)[0] == start
    env = Chain(length, start=length)
    assert env.reset_env(jax.random.key(0), env.default_params)[0] == length


def test_chain_uniform_policy_has_the_textbook_values():
    env = Chain()
    np.testing.assert_allclose(value(env, np.full((7, 2), 0.5))[1:6], np.arange(1, 6) / 6, rtol=1e-5)


def test_chain_slip_goes_the_other_way():
    env = Chain(3, slip=0.2, step_reward=-1.0, left_reward=2.0)
    model = jax.jit(env.exact_model)()
    np.testing.assert_allclose(model.transition[2, 0], [0.0, 0.8, 0.0, 0.2, 0.0], rtol=1e-6)
    np.testing.assert_allclose(model.transition[2, 1], [0.0, 0.2, 0.0, 0.8, 0.0], rtol=1e-6)
    assert float(model.reward[2, 0, 1]) == -1.0
    assert float(model.reward[1, 0, 0]) == 1.0
    assert float(model.reward[3, 1, 4]) == 0.0


@pytest.mark.slow
def test_chain_games_end_at_different_times():
    env, games = Chain(), 500
    actions = np.random.default_rng(0).integers(2, size=(300, games))
    start = FiniteMDPState(time=jnp.zeros(games, jnp.int32), index=jnp.full(games, 3, jnp.int32))

    def row(state, xs):
        _, state, _, terminated, _ = jax.vmap(env.step_env, (0, 0, 0, None))(
            xs[0], state, xs[1], env.default_params
        )
        return state, terminated

    keys = jax.random.split(jax.random.key(0), actions.shape)
    over = jax.jit(lambda keys: jax.lax.scan(row, start, (keys, actions)))(keys)[1]
    over = np.asarray(over)
    length = 1 + over.argmax(axis=0)
    assert over.any(axis=0).all()
    assert length.min() == 3
    assert abs(length.mean() - 9.0) < 4.0 * length.std() / np.sqrt(
        500
    )  # a walk from k to 0 or n takes k(n − k)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length is 0"),
        ({"length": 2.0}, "length is 2.0"),
        ({"slip": 1.5}, "slip is 1.5.*at least 0, at most 1"),
        ({"slip": -0.1}, "slip is -0.1"),
        ({"start": 0}, "start is 0.*from 1 to 5"),
        ({"start": 6}, "start is 6.*from 1 to 5"),
        ({"left_reward": float("inf")}, "left_reward is inf"),
        ({"right_reward": None}, "right_reward is None"),
        ({"step_reward": "x"}, "step_reward is 'x'"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_chain_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Chain(**arguments)


# ShortCorridor


@pytest.mark.parametrize(
    ("index", "action", "after"), [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 0), (2, 0, 1), (2, 1, 3)]
)
def test_corridor_transitions(index, action, after):
    assert step(ShortCorridor(), index, action) == (0, after, -1.0, after == 3)


@pytest.mark.parametrize("p", [0.05, 0.3, 2 - np.sqrt(2), 0.95])
def test_corridor_value_in_closed_form(p):
    v = value(ShortCorridor(), np.tile([1 - p, p], (4, 1)))
    np.testing.assert_allclose(v[0], (2 * p - 4) / (p * (1 - p)), rtol=1e-6)


def test_corridor_best_value():
    p = 2 - np.sqrt(2)
    assert value(ShortCorridor(), np.tile([1 - p, p], (4, 1)))[0] == pytest.approx(-(6 + 4 * np.sqrt(2)))


def test_corridor_shows_one_observation_and_has_a_limit():
    env = ShortCorridor(max_steps=2)
    params = env.default_params
    assert env.observation_space(params).n == 1
    obs, state = env.reset_env(jax.random.key(0), params)
    for _ in range(2):
        assert not env.is_truncated(state, params)
        obs, state, _, terminated, _ = env.step_env(jax.random.key(0), state, 0, params)
        assert obs == 0
        assert not terminated
    assert env.is_truncated(state, params)
    with pytest.raises(ValueError, match="max_steps is -1"):
        ShortCorridor(max_steps=-1)
