"""Environments that gymnax allows and few write: they are played, or refused in one line that says what to change."""

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purepg
from purepg import environments
from purepg.errors import InvalidInput


@struct.dataclass
class State:
    time: jax.Array


@struct.dataclass
class Limited:
    max_steps_in_episode: int = 6


@struct.dataclass
class Unlimited:
    strength: float = 1.0


class Usual(environment.Environment):
    """A reward of 1 a step; what is unusual is changed below."""

    params, shape, dtype = Limited, (2,), jnp.float32
    reward, terminated = jnp.ones(()), jnp.zeros((), bool)
    actions = spaces.Discrete(2)

    @property
    def default_params(self):
        return self.params()

    def reset_env(self, key, params):
        return jnp.ones(self.shape, self.dtype), State(jnp.int32(0))

    def step_env(self, key, state, action, params):
        observation = jnp.ones(self.shape, self.dtype)
        return observation, State(state.time + 1), self.reward, self.terminated, {}

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, self.shape, jnp.float32)

    def action_space(self, params=None):
        return self.actions


class RewardInAList(Usual):
    reward = jnp.ones((1,))


class EndInAList(Usual):
    terminated = jnp.zeros((1,), bool)


class PythonNumbers(Usual):
    reward, terminated = 1, 0.0


class Bytes(Usual):
    dtype = jnp.uint8


class HalfPrecision(Usual):
    dtype = jnp.float16


class Categories(spaces.Discrete):
    pass


class OwnDiscrete(Usual):
    shape, dtype = (), jnp.int32

    def observation_space(self, params):
        return Categories(3)


class NoLimit(Usual):
    params = Unlimited


class TwoRewards(Usual):
    reward = jnp.ones((2,))


class Blind(Usual):
    shape = (0,)


class IntegerBox(Usual):
    actions = spaces.Box(0, 5, (1,), jnp.int32)


class Pair(Usual):
    actions = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3)))


class MultiDiscrete(spaces.Space):
    shape, dtype = (2,), jnp.int32


class Several(Usual):
    actions = MultiDiscrete()


SOFTMAX, GAUSSIAN = purepg.Softmax(purepg.MLP((2,))), purepg.Gaussian(purepg.MLP((2,)))


def trained(env, policy=SOFTMAX, collect=None, target="reward_to_go"):
    task = purepg.Task(f"{__name__}:{env.__name__}", policy, collect or purepg.Games(2))
    critic = "none" if isinstance(task.collect, purepg.Games) else "own"
    method = purepg.PolicyGradient(task, purepg.ScoreFunction(target=target, critic=critic))
    return purepg.run(method, None, 1, 1, evaluation_games=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [RewardInAList, EndInAList, PythonNumbers, Bytes, HalfPrecision, OwnDiscrete],
    ids=lambda e: e.__name__,
)
@pytest.mark.parametrize("collect", [purepg.Games(2), purepg.Segments(2, 7)], ids=["games", "segments"])
def test_is_played_to_its_limit(env, collect):
    result = trained(env, collect=collect)
    assert result.dataset["return"].values == 6
    assert result.dataset["evaluation_return"].values == 6


@pytest.mark.slow
def test_without_a_limit_of_its_own_it_has_the_one_that_is_given():
    assert trained(NoLimit, collect=purepg.Games(2, max_steps=3)).dataset["return"].values == 3
    with pytest.raises(InvalidInput, match="give max_steps"):
        trained(NoLimit)


def test_a_space_made_from_discrete_is_one():
    assert environments.inputs(purepg.environment(f"{__name__}:OwnDiscrete")).num_categories == 3


@pytest.mark.parametrize(
    ("env", "words"),
    [(TwoRewards, r"reward of shape \(2,\)"), (Blind, "observes nothing")],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_is_refused_with_what_is_wrong(env, words):
    with pytest.raises(InvalidInput, match=words):
        trained(env)


@pytest.mark.parametrize("env", [IntegerBox, Pair, Several], ids=lambda e: e.__name__)
@pytest.mark.parametrize("policy", [SOFTMAX, GAUSSIAN], ids=["softmax", "gaussian"])
def test_no_policy_sends_to_another_that_cannot_either(env, policy):
    with pytest.raises(InvalidInput, match="wrap the environment") as refusal:
        trained(env, policy)
    assert "take a" not in str(refusal.value)


@pytest.mark.parametrize("given", [Usual(), None, 3, ["CartPole-v1"]])
def test_a_name_is_a_name(given):
    with pytest.raises(InvalidInput, match=r"^env(ironment)? = "):
        purepg.Task(given)
    with pytest.raises(InvalidInput, match=r"^environment = "):
        purepg.environment(given)


def test_a_constructor_that_fails_for_its_own_reason_is_one_line():
    with pytest.raises(InvalidInput, match="cannot be made: URLError"):
        environments.resolve(purepg.environment(f"{__name__}:downloads"))


def downloads():
    from urllib.error import URLError

    raise URLError("no network\nhere")


def seen_by_init(key, observation):
    assert observation.dtype == jnp.uint8
    return {"w": jnp.zeros((2, 2))}


def linear(params, observation):
    return observation.astype(jnp.float32) @ params["w"]


@pytest.mark.slow
def test_functions_of_the_user_see_the_environments_own_type():
    network = purepg.Functions(seen_by_init, linear)
    assert trained(Bytes, purepg.Softmax(network)).dataset["return"].values == 6
