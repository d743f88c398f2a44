"""What every environment of the table promises: shapes, dtypes, jit, vmap, scan, auto-reset, registration."""

import os
import pathlib
import subprocess
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import environment

import envs

GAMES = 16


@pytest.fixture(params=envs.IDS)
def env(request):
    return envs.IDS[request.param]()


def spec(tree):
    """Structure, shapes and dtypes; weak types count, since a scan's carry must keep them."""
    return jax.tree.map(
        lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf), jax.typeof(leaf).weak_type), tree
    )


def assert_observation(env, params, obs):
    space = env.observation_space(params)
    assert obs.dtype == space.dtype == jnp.int32
    assert np.all(jax.vmap(space.contains)(jnp.atleast_1d(obs)))


def test_is_a_gymnax_environment(env):
    assert isinstance(env, environment.Environment)
    assert env.name in envs.IDS
    assert type(env) is envs.IDS[env.name]
    params = env.default_params
    assert isinstance(params, environment.EnvParams)
    assert params.max_steps_in_episode >= 1
    assert env.action_space(params).n == env.num_actions


def test_reset_and_step_shapes_and_dtypes(env):
    params = env.default_params
    obs, state = env.reset_env(jax.random.key(0), params)
    assert obs.shape == env.observation_space(params).shape == ()
    assert_observation(env, params, obs)
    assert state.time == 0
    assert not env.is_terminated(state, params)
    assert not env.is_truncated(state, params)
    for action in range(env.num_actions):
        obs, after, reward, terminated, info = env.step_env(jax.random.key(1), state, action, params)
        assert_observation(env, params, obs)
        assert (reward.shape, reward.dtype) == ((), jnp.float32)
        assert (terminated.shape, terminated.dtype) == ((), jnp.bool_)
        assert after.time == 1
        assert terminated == env.is_terminated(after, params)
        assert info == {}
        assert env.observe(jax.random.key(1), after, action, params) == obs


def test_state_keeps_structure_and_dtypes(env):
    params = env.default_params
    obs, state = env.reset_env(jax.random.key(0), params)
    after_obs, after, *_ = env.step_env(jax.random.key(0), state, jnp.int32(0), params)
    assert spec((obs, state)) == spec((after_obs, after))


def test_same_key_same_step_with_and_without_jit(env):
    params = env.default_params
    _, state = env.reset_env(jax.random.key(0), params)
    plain = env.step_env(jax.random.key(2), state, jnp.int32(1), params)
    jitted = jax.jit(env.step_env)(jax.random.key(2), state, jnp.int32(1), params)
    jax.tree.map(np.testing.assert_array_equal, plain, jitted)


def test_scan_of_auto_reset_steps_under_jit_and_vmap(env):
    params = env.default_params
    _, state = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), GAMES), params)

    def row(state, key):
        keys = jax.random.split(key, GAMES)
        actions = jax.vmap(env.action_space(params).sample)(keys)
        obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, actions, params
        )
        return state, (obs, reward, terminated, truncated, info["final_observation"])

    scan = jax.jit(lambda state, keys: jax.lax.scan(row, state, keys))
    state, (obs, reward, terminated, truncated, final) = scan(state, jax.random.split(jax.random.key(1), 300))
    for seen in (obs, final):
        assert_observation(env, params, seen.reshape(-1))
    assert reward.shape == terminated.shape == truncated.shape == (300, GAMES)
    assert np.isfinite(reward).all()
    assert np.asarray(terminated).any()
    assert (np.asarray(state.time) < params.max_steps_in_episode).all()


def test_exact_model_is_a_stochastic_process(env):
    model = env.exact_model(env.default_params)
    states, actions = env.num_states, env.num_actions
    assert model.transition.shape == (states, actions, states)
    assert model.reward.shape in ((states, actions), (states, actions, states))
    assert model.initial.shape == env.observation_index.shape == (states,)
    np.testing.assert_allclose(model.transition.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(model.initial.sum(), 1.0, atol=1e-6)
    assert all(array.dtype == jnp.float32 and np.isfinite(array).all() for array in model)
    for state in np.flatnonzero(env.default_params.terminal):
        np.testing.assert_array_equal(model.transition[state], np.tile(np.eye(states)[state], (actions, 1)))
        assert not np.any(model.reward[state])


@pytest.mark.parametrize("env_id", envs.IDS)
def test_registered_with_gymnax(env_id):
    envs.register()
    envs.register()
    assert gymnax.registered_envs.count(env_id) == 1
    env, params = gymnax.make(env_id)
    assert type(env) is envs.IDS[env_id]
    _, state = env.reset(jax.random.key(0), params)
    env.step(jax.random.key(0), state, 0, params)


def test_arguments_pass_through_gymnax_make():
    envs.register()
    assert gymnax.make("GridWorld", map="S.G")[0].num_states == 3


def test_register_refuses_an_id_that_is_taken(monkeypatch):
    monkeypatch.setitem(gymnax.registration._registry, "Chain", dict)
    with pytest.raises(ValueError, match=r"'Chain'.*another"):
        envs.register()


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="GridWorld"):
        _ = envs.GridWrld
    assert set(envs.IDS) <= set(envs.__all__)
    assert all(hasattr(envs, name) for name in envs.__all__)


def test_import_is_light_and_stands_alone():
    """`import envs` loads neither JAX nor gymnax, and nothing here needs purepg."""
    code = (
        "import sys, envs; assert not {'jax', 'gymnax'} & set(sys.modules); "
        "envs.IDS; assert 'gymnax' in sys.modules and 'purepg' not in sys.modules"
    )
    root = pathlib.Path(envs.__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment, timeout=60)
