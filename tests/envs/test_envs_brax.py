"""Brax's environments behind gymnax's API, against Brax itself."""

import dataclasses
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from envs import Brax
from purepg import environments, presets
from purepg.errors import InvalidInput

SPEC = environments.environment("envs:Brax", env_name="inverted_pendulum")
KEY = jax.random.key(3)
NUM_STEPS = 20

needs_brax = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('brax')", reason="an extra")


def played(env, actions, params=None):
    """Observations, rewards, ends of one game."""
    params = env.default_params if params is None else params

    def step(state, action):
        observation, state, reward, terminated, _ = env.step_env(KEY, state, action, params)
        return state, (observation, reward, terminated, env.is_truncated(state, params))

    return jax.lax.scan(step, env.reset_env(KEY, params)[1], actions)[1]


@pytest.mark.slow
@needs_brax
def test_a_game_is_brax_own():
    env = environments.resolve(SPEC)
    theirs = env._env  # pyright: ignore[reportAttributeAccessIssue]
    actions = jnp.linspace(-2.0, 2.0, NUM_STEPS)[:, None]

    def step(state, action):
        state = theirs.step(state, jnp.clip(action, -1.0, 1.0))
        state = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if jnp.ndim(x) == 0 else x, state)
        return state, (state.obs, state.reward, state.done)

    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings(action="ignore"):
        start = theirs.reset(KEY)
        _, (observation, reward, done) = jax.jit(lambda s: jax.lax.scan(step, s, actions))(start)
    ours = jax.jit(lambda: played(env, actions))()
    np.testing.assert_allclose(ours[0], observation, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours[1], reward)
    np.testing.assert_array_equal(ours[2], done > 0.5)


@pytest.mark.slow
@needs_brax
def test_a_fallen_pole_terminates_and_the_limit_truncates():
    env = environments.resolve(SPEC)
    params = env.default_params.replace(max_steps_in_episode=3)
    run = jax.jit(lambda actions: played(env, actions, params))
    fallen, still = run(jnp.ones((NUM_STEPS, 1))), run(jnp.zeros((NUM_STEPS, 1)))
    np.testing.assert_array_equal(fallen[2], np.abs(fallen[0][:, 1]) > 0.2)
    assert fallen[2].any()
    assert not still[2].any()
    np.testing.assert_array_equal(still[3], np.arange(1, NUM_STEPS + 1) >= 3)


@pytest.mark.slow
@needs_brax
def test_the_gradient_through_the_game_agrees_with_finite_differences():
    env = environments.resolve(SPEC)
    actions = 0.3 * jax.random.normal(KEY, (4, 1))

    def moved(env):
        return jax.jit(lambda actions: jnp.sum(played(env, actions)[0][-1] ** 2))

    gradient = jax.jit(jax.grad(moved(env.with_transition_gradients())))(actions)
    step = 1e-2
    value = moved(env)
    differences = [
        (value(actions.at[t].add(step)) - value(actions.at[t].add(-step))) / (2 * step) for t in range(4)
    ]
    np.testing.assert_allclose(gradient[:, 0], differences, rtol=1e-2)
    np.testing.assert_array_equal(jax.jit(jax.grad(moved(env)))(actions), 0.0)


@pytest.mark.slow
@needs_brax
def test_purepg_trains_on_it():
    preset = presets.preset(SPEC, "gae")
    collect = purepg.Segments(2, 3, max_steps=4)
    method = dataclasses.replace(preset.method, task=dataclasses.replace(preset.method.task, collect=collect))
    state = jax.jit(
        lambda key: purepg.train(method, preset.hyper, purepg.init(method, preset.hyper, key), 2)
    )(KEY)
    assert not state[0].skipped
    assert int(state[0].iteration) == 2


@needs_brax
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"env_name": "inverted"}, "one of Brax's environments, ant"),
        ({"backend": "warp"}, "give one of spring"),
    ],
)
def test_what_brax_lacks_is_said_with_what_it_has(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        environments.resolve(environments.environment("envs:Brax", **arguments))


def test_without_brax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "brax", None)
    with pytest.raises(ImportError, match=r"pip install 'purepg\[brax\]'"):
        Brax("inverted_pendulum")
    with pytest.raises(InvalidInput, match=r"pip install 'purepg\[brax\]'"):
        environments.resolve(environments.environment("envs:Brax", env_name="ant"))
