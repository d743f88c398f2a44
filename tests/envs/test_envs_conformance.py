"""What every environment of the table promises: shapes, dtypes, jit, vmap, scan, auto-reset, registration."""

import os
import pathlib
import re
import subprocess
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import environment, spaces

import envs

GAMES = 16
KEY = jax.random.key(0)


@pytest.fixture(params=envs.IDS, scope="module")
def env(request):
    return envs.IDS[request.param]()


def spec(tree):
    """Structure, shapes and dtypes; weak types count, since a scan's carry must keep them."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def discrete(env):
    return isinstance(env.action_space(env.default_params), spaces.Discrete)


def random_actions(env, shape):
    """Uniform ones, or normal ones where the space has no bounds to sample between."""
    rng, space = np.random.default_rng(0), env.action_space(env.default_params)
    if discrete(env):
        return rng.integers(space.n, size=shape)
    finite = np.isfinite(space.high - space.low)
    actions = rng.uniform(space.low, space.high, (*shape, *space.shape)) if finite else None
    return np.float32(rng.normal(size=(*shape, *space.shape)) if actions is None else actions)


def assert_observation(env, params, obs):
    space, obs = env.observation_space(params), np.asarray(obs)
    assert obs.dtype == space.dtype == (jnp.int32 if discrete(env) else jnp.float32)
    assert obs.shape[obs.ndim - len(space.shape) :] == space.shape
    low, high = (0, space.n - 1) if discrete(env) else (space.low, space.high)
    assert np.isfinite(obs).all()
    assert np.all((obs >= low) & (obs <= high))


def test_is_a_gymnax_environment(env):
    assert isinstance(env, environment.Environment)
    assert env.name in envs.IDS
    assert type(env) is envs.IDS[env.name]
    params = env.default_params
    assert isinstance(params, environment.EnvParams)
    assert params.max_steps_in_episode >= 1
    space = env.action_space(params)
    assert env.num_actions == (space.n if discrete(env) else np.prod(space.shape))
    assert env.supports_transition_gradients == (not discrete(env))


@pytest.mark.slow
def test_reset_and_step_shapes_and_dtypes(env):
    params = env.default_params
    obs, state = jax.tree.map(np.asarray, jax.jit(env.reset_env)(KEY, params))
    assert obs.shape == env.observation_space(params).shape
    assert_observation(env, params, obs)
    assert state.time == 0
    assert not env.is_terminated(state, params)
    assert not env.is_truncated(state, params)
    step = jax.jit(env.step_env)
    for action in range(env.num_actions) if discrete(env) else random_actions(env, (3,)):
        obs, after, reward, terminated, info = jax.tree.map(np.asarray, step(KEY, state, action, params))
        assert_observation(env, params, obs)
        assert (reward.shape, reward.dtype) == ((), np.float32)
        assert (terminated.shape, terminated.dtype) == ((), np.bool_)
        assert after.time == 1
        assert terminated == env.is_terminated(after, params)
        assert info == {}
        np.testing.assert_allclose(env.observe(KEY, after, action, params), obs, rtol=1e-6)


def test_state_keeps_structure_and_dtypes(env):
    params = env.default_params
    before = jax.eval_shape(env.reset_env, KEY, params)
    after = jax.eval_shape(env.step_env, KEY, before[1], jnp.asarray(random_actions(env, ())), params)
    assert spec(before) == spec(after[:2])


@pytest.mark.slow
def test_scan_of_auto_reset_steps_under_jit_and_vmap(env):
    params = env.default_params
    actions = random_actions(env, (300, GAMES))

    def row(state, xs):
        keys, action = xs
        obs, state, *row, info = jax.vmap(env.step, (0, 0, 0, None))(keys, state, action, params)
        return state, (obs, *row, info["final_observation"])

    @jax.jit
    def play(keys):
        _, state = jax.vmap(env.reset, (0, None))(keys[0], params)
        return jax.lax.scan(row, state, (keys, actions))

    keys = jax.random.split(jax.random.key(0), (300, GAMES))
    state, (obs, reward, terminated, truncated, final) = jax.tree.map(np.asarray, play(keys))
    for seen in (obs, final):
        assert_observation(env, params, seen)
    assert reward.shape == terminated.shape == truncated.shape == (300, GAMES)
    assert np.isfinite(reward).all()
    assert (terminated | truncated).any()
    assert (state.time < params.max_steps_in_episode).all()


def test_exact_model_is_a_stochastic_process(env):
    if not discrete(env):
        assert not hasattr(env, "exact_model")
        return
    model = jax.tree.map(np.asarray, jax.jit(env.exact_model)(env.default_params))
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
    assert isinstance(params, environment.EnvParams)
    assert jax.tree.structure(params) == jax.tree.structure(env.default_params)


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


def test_the_ids_are_those_that_need_neither_arguments_nor_an_extra():
    """Derived from the stub: a class that is added there is here, or says why not."""
    assert set(envs.__all__) - set(envs.IDS) == {
        *("IDS", "register", "Brax", "FiniteMDP"),  # an extra; arguments
        *("ExactLQR", "ExactModel", "FiniteMDPParams", "FiniteMDPState"),  # no environments
    }


def test_the_table_names_every_environment():
    table = {row.split("|")[1] for row in (envs.__doc__ or "").splitlines() if row.startswith("| `")}
    named = {name.strip(" `") for cell in table for name in cell.split(",")}
    assert named == {*envs.IDS, "Brax", "FiniteMDP"}


def test_import_is_light_and_stands_alone():
    """`import envs` loads neither JAX nor gymnax, and no environment imports purepg."""
    folder = pathlib.Path(envs.__file__).parent
    code = "import sys, envs; assert not {'jax', 'gymnax', 'purepg'} & set(sys.modules)"
    variables = os.environ | {"PYTHONPATH": str(folder.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=variables, timeout=60)
    imports = re.compile(r"^\s*(import|from)\s+purepg", re.MULTILINE)
    assert not [path.name for path in folder.glob("*.py") if imports.search(path.read_text("utf-8"))]
