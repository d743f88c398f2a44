"""Specs, names and what the rest asks of an environment; every gymnax environment can be played."""

import dataclasses

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax import registration
from gymnax.environments import spaces
from gymnax.environments.classic_control import cartpole

import purepg
from purepg import environments
from purepg.environments import Inputs
from purepg.errors import InvalidInput
from purepg.rollout.rollout import play_games
from purepg.rollout.trajectory import ActionOutput

OURS = ("Bandit", "Chain", "ShortCorridor", "GridWorld")

# gymnax id: shape of an observation, number of categories, number of actions (none: continuous).
GYMNAX = {
    "CartPole-v1": ((4,), None, 2),
    "Pendulum-v1": ((3,), None, None),
    "Acrobot-v1": ((6,), None, 3),
    "MountainCar-v0": ((2,), None, 3),
    "MountainCarContinuous-v0": ((2,), None, None),
    "Asterix-MinAtar": ((10, 10, 4), None, 5),
    "Breakout-MinAtar": ((10, 10, 4), None, 3),
    "Freeway-MinAtar": ((10, 10, 7), None, 3),
    "Seaquest-MinAtar": ((10, 10, 10), None, 6),
    "SpaceInvaders-MinAtar": ((10, 10, 6), None, 4),
    "Catch-bsuite": ((10, 5), None, 3),
    "DeepSea-bsuite": ((8, 8), None, 2),
    "MemoryChain-bsuite": ((3,), None, 2),
    "UmbrellaChain-bsuite": ((3,), None, 2),
    "DiscountingChain-bsuite": ((2,), None, 5),
    "SimpleBandit-bsuite": ((1, 1), None, 11),
    "FourRooms-misc": ((4,), None, 4),
    "MetaMaze-misc": ((15,), None, 4),
    "PointRobot-misc": ((6,), None, None),
    "BernoulliBandit-misc": ((4,), None, 2),
    "GaussianBandit-misc": ((4,), None, 2),
    "Reacher-misc": ((8,), None, None),
    "Swimmer-misc": ((16,), None, None),
    "Pong-misc": ((30, 40, 3), None, 3),
    "FrozenLake-misc": ((), 16, 4),
}
DISCRETE = [name for name, (_, _, actions) in GYMNAX.items() if actions is not None]
CONTINUOUS = [name for name, (_, _, actions) in GYMNAX.items() if actions is None]


class ShortCartPole(cartpole.CartPole):
    """A user's own environment."""

    def __init__(self, limit: int = 7):
        super().__init__()
        self.limit = limit

    @property
    def default_params(self):
        return super().default_params.replace(max_steps_in_episode=self.limit)


class Structured(cartpole.CartPole):
    """Observes a structure of arrays."""

    def reset_env(self, key, params):
        observation, state = super().reset_env(key, params)
        return {"cart": observation[:2], "pole": observation[2:]}, state


class CountsWrongly(cartpole.CartPole):
    """Declares a space that its observations are not in, as some of gymnax do."""

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, (17,), jnp.float32)


@pytest.fixture
def registry():
    """What the test registers with gymnax is forgotten afterwards."""
    known, ids = dict(registration._registry), list(registration.registered_envs)
    yield registration
    registration._registry.clear()
    registration._registry.update(known)
    registration.registered_envs[:] = ids


# Specs


def test_equal_specs_are_one_environment():
    one = purepg.environment("GridWorld", slip=0.1, max_steps=5)
    other = purepg.environment("GridWorld", max_steps=5, slip=0.1)
    assert one is not other
    assert one == other
    assert hash(one) == hash(other)
    assert environments.resolve(one) is environments.resolve(other)


def test_other_arguments_are_another_environment():
    one, other = (purepg.environment("GridWorld", slip=slip) for slip in (0.1, 0.2))
    assert one != other
    assert environments.resolve(one) is not environments.resolve(other)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray, lambda x: x], ids=["numpy", "jax", "lists"])
def test_arrays_among_the_arguments_hash_by_value(convert):
    values = [[[1.0, 0.0], [0.5, 0.5]]]
    spec = purepg.environment("any:Thing", table=convert(values))
    assert spec.arguments == (("table", (((1.0, 0.0), (0.5, 0.5)),)),)
    assert hash(spec) == hash(purepg.environment("any:Thing", table=values))


def test_a_frozen_array_reaches_the_constructor():
    env = environments.resolve(purepg.environment("Bandit", rewards=np.array([0.0, 2.0, 1.0])))
    assert env.num_actions == 3


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        purepg.environment("Bandit").name = "Chain"  # pyright: ignore


# Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("Shortcoridor", "ShortCorridor"),
        ("breakout-MinAtar", "Breakout-MinAtar"),
    ],
)
def test_unknown_id_names_the_closest(name, meant):
    with pytest.raises(InvalidInput, match=f"{name!r}, did you mean {meant!r}"):
        environments.resolve(purepg.environment(name))


def test_nothing_is_suggested_for_an_id_like_no_other():
    with pytest.raises(InvalidInput, match="unknown environment 'zzz'; `purepg list`"):
        environments.resolve(purepg.environment("zzz"))


def test_module_and_class_name_an_environment():
    env = environments.resolve(purepg.environment(f"{__name__}:ShortCartPole", limit=9))
    assert type(env) is ShortCartPole
    assert env.limit == 9


@pytest.mark.parametrize("name", ["no_such_module:X", "math:no_such_name", ":X", "math:"])
def test_what_cannot_be_imported_is_refused(name):
    with pytest.raises(InvalidInput, match=f"cannot import '{name}'.*module:name"):
        environments.resolve(purepg.environment(name))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("CartPole-v1", {"size": 3}),  # TypeError
        ("FrozenLake-misc", {"map_name": "none"}),  # ValueError
        (f"{__name__}:ShortCartPole", {"lmit": 3}),
    ],
)
def test_constructor_errors_are_the_users(name, arguments):
    with pytest.raises(InvalidInput, match=f"'{name}' cannot be made: "):
        environments.resolve(purepg.environment(name, **arguments))


def test_what_is_no_environment_is_refused():
    with pytest.raises(InvalidInput, match=r"not a gymnax 1\.x Environment: it lacks reset_env, step_env"):
        environments.resolve(purepg.environment("fractions:Fraction"))


def test_an_environment_registered_at_run_time(registry):
    gymnax.registration.register("Mine-v0", ShortCartPole)
    spec = purepg.environment("Mine-v0", limit=4)
    assert "Mine-v0" in environments.names()
    assert type(environments.resolve(spec)) is ShortCartPole
    assert environments.time_limit(spec) == 4


def test_names_registers_ours(registry):
    forget(registry, *OURS)
    names = environments.names()
    assert set(OURS) <= set(names)
    assert set(GYMNAX) <= set(names)


def test_ours_are_found_without_asking_for_the_names(registry):
    forget(registry, *OURS)
    fresh = purepg.environment("ShortCorridor", max_steps=321)  # of no other test: what is made is kept
    assert environments.resolve(fresh).name == "ShortCorridor"


def forget(registry, *ids):
    for name in ids:
        if registry._registry.pop(name, None) is not None:
            registry.registered_envs.remove(name)


def test_names_is_a_copy():
    environments.names().clear()
    assert environments.names()


# What the rest asks


def test_parameters_are_the_defaults_unless_given():
    spec = purepg.environment("CartPole-v1")
    given = cartpole.EnvParams(gravity=1.0)
    assert environments.parameters(spec, given) is given
    assert environments.parameters(spec, None).gravity == 9.8


def test_time_limit_is_the_environments_own():
    assert environments.time_limit(purepg.environment("CartPole-v1")) == 500
    assert environments.time_limit(purepg.environment("GridWorld", max_steps=12)) == 12


def test_the_shape_is_read_off_a_reset():
    assert environments.inputs(purepg.environment(f"{__name__}:CountsWrongly")) == Inputs((4,), None)


def test_structured_observations_are_refused():
    with pytest.raises(InvalidInput, match="Structured' observes a structure of arrays; only single arrays"):
        environments.inputs(purepg.environment(f"{__name__}:Structured"))


def test_an_exact_model_where_there_is_one():
    model = environments.exact_model(purepg.environment("GridWorld"))
    assert model.transition.shape == (11, 4, 11)
    with pytest.raises(InvalidInput, match="'CartPole-v1' has no exact model"):
        environments.exact_model(purepg.environment("CartPole-v1"))


# Conformance: every environment of gymnax


def test_the_table_is_complete():
    """All but the one that downloads its data when constructed."""
    assert set(GYMNAX) == set(registration._builtins) - {"MNISTBandit-bsuite"}


@pytest.mark.parametrize("name", GYMNAX)
def test_inputs(name):
    shape, categories, _ = GYMNAX[name]
    assert environments.inputs(purepg.environment(name)) == Inputs(shape, categories)


@pytest.mark.parametrize("name", DISCRETE)
def test_num_actions(name):
    assert environments.num_actions(purepg.environment(name)) == GYMNAX[name][2]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_actions_are_refused(name):
    task = purepg.Task(name)
    with pytest.raises(InvalidInput, match=f"'{name}' has actions Box.*softmax policy needs a finite set"):
        task.bind_policy()


def game(name):
    """A function of a key and parameters that plays two games of three steps, and the parameters' shapes."""
    spec = purepg.environment(name)
    network = purepg.MLP() if environments.inputs(spec).num_categories is None else purepg.Table()
    policy = (purepg.Softmax if environments.is_discrete(spec) else purepg.Gaussian)(network).bind(spec)
    env = environments.resolve(spec)

    def play(key, params):
        def act(key, observation):
            action = policy.distribution(params, observation).sample(key)
            return ActionOutput(action, policy.play(action))

        return play_games(env, env.default_params, act, key, num_games=2, max_steps=3)

    return play, jax.eval_shape(policy.init, jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GYMNAX, *OURS])
def test_every_environment_can_be_rolled_out(name):
    """Traced to the last step, which finds every clash of shapes and types; compiling all of them takes minutes."""
    environments.names()
    play, params = game(name)
    gymnax_promotes = name == "Swimmer-misc"  # in its own dynamics
    with jax.numpy_rank_promotion("allow" if gymnax_promotes else "raise"):
        rows = jax.eval_shape(play, jax.random.key(0), params)
    shape = environments.inputs(purepg.environment(name)).shape
    given = {field: x for field, x in rows._asdict().items() if x is not None}
    kinds = {field: (x.shape, np.dtype(x.dtype).kind) for field, x in given.items()}
    assert kinds.pop("observation")[0] == (3, 2, *shape)
    action_shape, action_kind = kinds.pop("action")
    if name in CONTINUOUS:
        assert action_kind == "f"
        assert len(action_shape) == 3
        assert action_shape[:2] == (3, 2)
    else:
        assert (action_shape, action_kind) == ((3, 2), "i")
    numbers = {
        "reward": "f",
        "terminated": "b",
        "truncated": "b",
        "mask": "b",
        "time": "i",
        "return_so_far": "f",
    }
    assert kinds == {field: ((3, 2), kind) for field, kind in numbers.items()}
    assert rows.reward.dtype == jnp.float32
