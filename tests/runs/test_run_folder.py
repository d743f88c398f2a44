"""What a folder says of a run: all of it, or a refusal before the training."""

import dataclasses
import json
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment
from problems import two_states

import purepg
from purepg import estimators, hyperparams
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.runs import saved_state


class Wind(NamedTuple):
    east: Any = 0.25
    north: Any = -0.5


@struct.dataclass
class Params:
    """Every kind of field that a pytree may have."""

    max_steps_in_episode: int = 3
    wind: Wind = Wind()
    gains: tuple[Any, Any] = (1.0, 2.0)
    table: Any = dataclasses.field(default_factory=lambda: jnp.arange(6.0).reshape(2, 3))
    nothing: Any = None
    mode: str = struct.field(pytree_node=False, default="calm")


class State(NamedTuple):
    x: jax.Array
    time: jax.Array


class Sailing(Environment):
    """One number that the wind moves."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        state = State(jax.random.normal(key), jnp.int32(0))
        return state.x[None], state

    def step_env(self, key, state, action, params):
        x = state.x + params.wind.east * action + params.wind.north * params.gains[0] + params.table.sum()
        state = State(x, state.time + 1)
        return state.x[None], state, -jnp.abs(x) + params.gains[1], jnp.bool_(False), {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def action_space(self, params):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return spaces.Box(-jnp.inf, jnp.inf, (1,))


def method(env):
    task = purepg.Task(env, purepg.Softmax(purepg.MLP((2,))), purepg.Games(2, 3))  # pyright: ignore
    return purepg.PolicyGradient(task, estimators.make("reinforce"))


SAILING = method(purepg.environment(f"{__name__}:Sailing"))
CHANGED = Params(wind=Wind(1.0, 2.0), gains=(3.0, 4.0), table=jnp.full((2, 3), 5.0))


def run(hyper, folder=None, seeds=2):
    return purepg.run(SAILING, hyper, seeds, 2, evaluation_games=1, directory=folder)


@pytest.mark.slow
def test_parameters_of_every_kind_are_saved(tmp_path):
    hyper = Hyperparams(env=CHANGED)
    result = run(hyper, tmp_path / "run")
    loaded = purepg.load(tmp_path / "run")
    assert jax.tree.structure(loaded.hyper) == jax.tree.structure(hyper)
    jax.tree.map(np.testing.assert_array_equal, loaded.hyper, hyper)
    assert loaded.dataset.identical(result.dataset)
    again = loaded.save(tmp_path / "again")
    assert (again / "config.json").read_bytes() == (tmp_path / "run" / "config.json").read_bytes()


@pytest.mark.slow
def test_parameters_of_each_replicate_are_saved(tmp_path):
    hyper = Hyperparams(env=dataclasses.replace(CHANGED, gains=(jnp.ones(2), 4.0)))
    run(hyper, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, purepg.load(tmp_path / "run").hyper, hyper)


@pytest.mark.parametrize("change", [{"mode": "storm"}, {"nothing": 1.0}, {"table": None}])
def test_parameters_that_differ_in_more_than_numbers_are_refused_before_training(change, tmp_path):
    def trained(progress):
        raise AssertionError("it trains")

    with pytest.raises(InvalidInput, match=r"(differs from the defaults of|are no parameters of) .*Sailing"):
        purepg.run(
            SAILING,
            Hyperparams(env=dataclasses.replace(CHANGED, **change)),
            2,
            2,
            directory=tmp_path / "run",
            report=trained,
        )
    assert not list(tmp_path.iterdir())


def test_every_hyper_parameter_is_saved():
    names = [f.name for f in dataclasses.fields(Hyperparams) if f.name != "env"]
    hyper = Hyperparams(**{name: (i + 1) / 100 for i, name in enumerate(names)})
    data = json.loads(json.dumps(hyperparams.encode(hyper, SAILING.task.env)))
    assert data.keys() == {*names, "env"}
    assert dataclasses.replace(hyperparams.decode(data, SAILING.task.env), env=None) == hyper


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("hyper", "discount"), "the hyper-parameters have discount, which was not saved"),
        (
            ("hyper", "env", "wind.east"),
            r"the parameters of '.*Sailing' have wind\.east, which was not saved",
        ),
        (("seeds",), "KeyError"),
    ],
)
def test_what_is_missing_is_named(path, words, tmp_path):
    run(Hyperparams(env=CHANGED), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    part = config
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match=words):
        purepg.load(tmp_path / "run")


def test_what_holds_no_run_is_told(tmp_path):
    for folder, words in (
        (tmp_path / "missing", "there is no folder"),
        (tmp_path, "holds no saved run"),
        (tmp_path / "file", "holds no saved run"),
    ):
        (tmp_path / "file").touch()
        with pytest.raises(InvalidInput, match=words):
            purepg.load(folder)


@pytest.mark.slow
def test_types_of_another_setting_are_named(tmp_path):
    """What was trained in double precision is not read as single by and by."""
    task = purepg.PolicyGradient(two_states(num_games=2), estimators.make("reinforce"))
    result = purepg.run(task, Hyperparams(0.1), 1, 1, evaluation_games=0)
    double = jax.tree.map(lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x, result.state)
    folder = result.save(tmp_path / "run")
    shutil.rmtree(folder / "state")
    saved_state.write(folder / "state", double)
    with pytest.raises(
        InvalidInput, match=r"is float64\[1, 3, 2\] there and float32\[1, 3, 2\] here.*jax_enable_x64"
    ):
        purepg.load(folder)
