"""JAX's settings and types that are legal but unusual: training works, and the types of its state stay."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import purepg
from purepg import critics, environments, presets

HERE = pathlib.Path(__file__).parent

ENVIRONMENTS = {
    "pathwise": "PointMass",
    "pathwise-short": "PointMass",
    "q-learning": "GridWorld",
    "sarsa": "GridWorld",
    "expected-sarsa": "GridWorld",
    "cem-sessions": "GridWorld",
}
NAMES = presets.NAMES


def small(name, env=None, network=None):
    """A preset with few games, its critic also as one of its own."""
    spec = purepg.environment(env or ENVIRONMENTS.get(name, "CartPole-v1"))
    preset = presets.preset(spec, name)
    task = preset.method.task
    length = {"num_steps": 4} if isinstance(task.collect, purepg.Segments) else {"max_steps": 8}
    policy = task.policy if network is None else dataclasses.replace(task.policy, network=network)
    task = dataclasses.replace(
        task, policy=policy, collect=dataclasses.replace(task.collect, num_games=8, **length)
    )
    return dataclasses.replace(preset.method, task=task), preset.hyper


def one_update(method, hyper):
    """Trains and evaluates."""
    result = purepg.run(method, hyper, 2, 1, evaluation_games=2)
    before = jax.eval_shape(lambda key: purepg.init(method, hyper, key), jax.random.key(0))
    for x, like in zip(jax.tree.leaves(result.state), jax.tree.leaves(before), strict=True):
        assert x.dtype == like.dtype
    return result


def traced(method, hyper):
    """The same without computing it: whatever a type does not fit shows."""
    env = environments.parameters(method.task.env, None)
    hyper = jax.tree.map(jnp.asarray, dataclasses.replace(hyper, env=env))

    def everything(key):
        state, metrics = purepg.train(method, hyper, purepg.init(method, hyper, key), 2)
        return metrics, purepg.evaluate(method, hyper, method.params(state.learner), key, 2)

    jax.eval_shape(everything, jax.random.key(0))


def every_method(do):
    for name in NAMES:
        do(*small(name))
    method, hyper = small("gae", "Pendulum-v1")
    own = dataclasses.replace(method.estimator, critic=critics.make("own"))
    do(dataclasses.replace(method, estimator=own), hyper)
    do(dataclasses.replace(method, task=dataclasses.replace(method.task, normalize_observations=True)), hyper)


def one_method(do):
    do(*small("reinforce-optimal"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "which", "how"),
    [
        ({"JAX_ENABLE_X64": "1"}, "every_method", "traced"),
        ({"JAX_ENABLE_X64": "1"}, "one_method", "one_update"),
        ({"JAX_NUMPY_DTYPE_PROMOTION": "strict"}, "every_method", "traced"),
        ({"JAX_DEBUG_INFS": "1", "JAX_DEBUG_NANS": "1"}, "one_method", "one_update"),
    ],
)
def test_training_works_under(setting, which, how):
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import test_unusual_settings as t; t.{which}(t.{how})"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=os.environ | setting, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@dataclasses.dataclass(frozen=True)
class Brief(purepg.MLP):
    """A network whose parameters have 16 bits."""

    def init(self, key, inputs, num_outputs):
        params = super().init(key, inputs, num_outputs)
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reinforce-loo", "gae", "dqn", "cem"])
def test_parameters_of_sixteen_bits_stay_so(name):
    method, hyper = small(name, network=Brief((4,)))
    result = one_update(method, hyper)
    assert {x.dtype for x in jax.tree.leaves(result.params(0))} >= {jnp.dtype(jnp.bfloat16)}


@pytest.mark.slow
def test_without_compilation_too():
    method, hyper = small("reinforce-loo", "Bandit")
    compiled = purepg.run(method, hyper, 2, 1, evaluation_games=2)
    with jax.disable_jit():
        plain = purepg.run(method, hyper, 2, 1, evaluation_games=2)
    assert plain.dataset["return"].equals(compiled.dataset["return"])
