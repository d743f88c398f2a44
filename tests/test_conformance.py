"""What every estimator and every method keeps to: a new one is a row of its table, and is tested by that.

Programs are traced and never compiled: shapes, types and equality are all that is asked for.
"""

import functools
import json
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import purepg
from purepg import estimators, presets
from purepg.errors import InvalidInput, checks
from purepg.estimators import EstimatorState
from purepg.estimators.base import Estimator
from purepg.policies import Policy
from purepg.policies.distributions import Categorical
from purepg.rollout import metrics
from purepg.rollout.trajectory import ActiveGames
from purepg.runs import configuration
from purepg.training import Method, fitted

HYPER = purepg.Hyperparams(entropy_coefficient=0.01)
NAMES = presets.NAMES


def refusal(function):
    """What is said against it; empty where nothing is."""
    try:
        function()
    except InvalidInput as error:
        return str(error)
    return ""


def small(collect):
    """As few games and steps as any estimator can use."""
    short = {"num_steps": 3} if isinstance(collect, purepg.Segments) else {}
    return replace(collect, num_games=8, max_steps=12, **short)


@functools.cache
def method_of(name):
    """The preset with few games, in the first environment that it can learn in."""
    for env in ("Chain", "PointMass"):
        method = presets.preset(env, name).method
        if isinstance(method, purepg.CrossEntropy) and isinstance(method.over, purepg.OverParameters):
            method = replace(method, over=purepg.OverParameters(2))
        method = replace(method, task=replace(method.task, collect=small(method.task.collect)))
        if not refusal(lambda method=method: fitted(method, HYPER)):
            return method
    raise AssertionError(f"{name} learns nowhere here")


def again(name):
    """An equal record made anew."""
    return configuration.decode(json.loads(json.dumps(configuration.encode(method_of(name)))))


@functools.cache
def traced(name):
    """Shapes of a learner's state, of the next one as the method itself gives it, and of an update's metrics."""
    method = method_of(name)
    state = jax.eval_shape(lambda key: method.init(HYPER, key), jax.random.key(0))
    return state, *jax.eval_shape(functools.partial(method.update, HYPER), state, jax.random.key(1))


def types(tree):
    return {jax.tree_util.keystr(path): x.dtype for path, x in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_saved_hashed_and_compared_by_value(name):
    method = method_of(name)
    assert isinstance(method, Method)
    assert again(name) == method
    assert again(name) is not method
    assert hash(again(name)) == hash(method)


@pytest.mark.parametrize("name", NAMES)
def test_equal_records_are_traced_once(name):
    calls = []

    @functools.partial(jax.jit, static_argnums=0)
    def act(method, key):
        calls.append(method)
        return method.init(HYPER, key)

    for one in (method_of(name), again(name)):
        act.trace(one, jax.random.key(0))
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types_of_a_state_stay(name):
    before, after, _ = traced(name)
    checks.same_arrays("after", after, "before", before)
    games = lambda x: isinstance(x, ActiveGames)  # noqa: E731 (the environment's types are `train`'s business)
    kept = [jax.tree.map(lambda x: () if games(x) else x, tree, is_leaf=games) for tree in (before, after)]
    assert types(kept[1]) == types(kept[0])


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_sums_with_counts_and_tell_of_games(name):
    numbers = traced(name)[2]
    assert {"return", "length", "steps"} <= numbers.keys()
    for x in numbers.values():
        assert isinstance(x, metrics.Average)
        assert (x.sum.shape, x.count.shape) == ((), ())


@pytest.mark.parametrize("name", NAMES)
def test_a_method_plays_with_what_it_gives_as_its_parameters(name):
    method = method_of(name)
    params = jax.eval_shape(method.params, traced(name)[0])
    inputs = purepg.environments.inputs(method.task.env)
    seen = jnp.zeros((5, *inputs.shape), inputs.dtype)
    for deterministic in (True, False):

        def act(params, key, deterministic=deterministic):
            return method.act(params, deterministic=deterministic)(key, seen)

        chosen = jax.eval_shape(act, params, jax.random.key(0))
        assert chosen.action.shape[0] == chosen.env_action.shape[0] == 5


@pytest.mark.parametrize("name", NAMES)
def test_a_method_refuses_numbers_outside_their_range(name):
    with pytest.raises(InvalidInput, match="learning_rate = -1"):
        purepg.init(method_of(name), purepg.Hyperparams(learning_rate=-1.0), jax.random.key(0))


# Estimators


@pytest.mark.parametrize("name", estimators.NAMES)
def test_an_estimator_says_what_is_asked_of_it(name):
    estimator, method = estimators.make(name), method_of(name)
    assert isinstance(estimator, Estimator)
    collects = {"games": purepg.Games, "segments": purepg.Segments}[estimator.collects]
    assert isinstance(method.task.collect, collects)
    state: Any = traced(name)[0].estimator
    assert isinstance(state, EstimatorState)
    assert isinstance(state.games, ActiveGames) == (estimator.collects == "segments")
    params = traced(name)[0].params
    outputs = jax.eval_shape(
        estimator.bind(method.task).outputs, params, jax.eval_shape(lambda: collection_example(method))
    )
    assert (outputs.value is not None) == estimator.shares_value


def collection_example(method):
    inputs = purepg.environments.inputs(method.task.env)
    return jnp.zeros((2, *inputs.shape), inputs.dtype)


@pytest.mark.parametrize("critic", purepg.critics.NAMES)
@pytest.mark.parametrize("name", estimators.NAMES)
def test_an_estimator_takes_another_critic_or_refuses_it(name, critic):
    """Its check of a task says whether it can use it, and the state holds what the critic learns."""
    made, task, estimator = purepg.critics.make(critic), method_of(name).task, estimators.make(name)
    words = refusal(lambda: estimator.with_critic(made).check(task))
    if words:
        assert "critic" in words
        return
    estimator = estimator.with_critic(made)
    method = purepg.PolicyGradient(task, estimator)
    state = jax.eval_shape(lambda key: method.init(HYPER, key), jax.random.key(0))
    learns = bool(jax.tree.leaves(jax.eval_shape(lambda key: made.init(task, HYPER, key), jax.random.key(0))))
    names = " ".join(types(state.estimator.learned))
    assert ("optimizer" in names) == learns
    assert estimator.shares_value == made.shares_value


@pytest.mark.parametrize("name", estimators.NAMES)
def test_an_estimator_refuses_what_it_cannot_be_right_for(name):
    wrong = [
        purepg.Task(purepg.environment("Chain")),
        purepg.Task(purepg.environment("PointMass"), purepg.Gaussian(std="fixed", initial_std=0.0)),
    ]
    assert any(refusal(lambda task=task: estimators.make(name).check(task)) for task in wrong)


# What others give back


class Broken(Estimator):
    """An estimator, by what it gives back."""

    def __init__(self, state=None, estimate=None):
        self.state, self.given = EstimatorState() if state is None else state, estimate

    def init(self, task, hyper, params, key):
        return self.state

    def estimate(self, task, hyper, params, state, key):
        gradient = jax.tree.map(jnp.zeros_like, params)
        right = estimators.Estimate(gradient, gradient, state, {})
        return right if self.given is None else self.given(right)


TASK = purepg.Task(purepg.environment("Chain"), purepg.Softmax(purepg.Table()), purepg.Games(2))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Broken(state=()), "the state of Broken = ()"),
        (Broken(estimate=lambda right: right.gradient), "the estimate of Broken"),
        (
            Broken(estimate=lambda right: right._replace(gradient={})),
            "gradient of Broken: ['table'] is missing",
        ),
        (
            Broken(estimate=lambda right: right._replace(policy_gradient={"table": jnp.zeros(3)})),
            "policy_gradient of Broken: ['table'] is (3,)",
        ),
        (
            Broken(estimate=lambda right: right._replace(state=EstimatorState(learned=jnp.zeros(2)))),
            "the state of Broken: .learned is (2,), the state before have none there",
        ),
        (Broken(estimate=lambda right: right._replace(metrics={"return": 1.0})), "metrics of PolicyGradient"),
    ],
)
def test_what_an_estimator_gives_back_is_checked_at_once(broken, words):
    method = purepg.PolicyGradient(TASK, broken)
    with pytest.raises(InvalidInput) as error:
        jax.eval_shape(
            lambda key: purepg.train(method, HYPER, purepg.init(method, HYPER, key), 2), jax.random.key(0)
        )
    assert words in str(error.value)


def test_a_record_that_is_no_estimator_is_told_what_it_lacks():
    with pytest.raises(InvalidInput, match=r"a record that has .*collects, .*estimators\.base\.Estimator"):
        purepg.PolicyGradient(TASK, purepg.NoCritic())  # type: ignore


@dataclass(frozen=True)
class Narrow:
    """A network that forgets an output."""

    def init(self, key, inputs, num_outputs):
        return {}

    def apply(self, params, observation, inputs, num_outputs):
        return jnp.zeros((*observation.shape, num_outputs - 1))


@dataclass(frozen=True)
class Odd(Policy):
    """A policy, by the log-probabilities that it gives."""

    log_prob: Any = None

    def bind(self, env, *, with_value=False):
        policy = purepg.Softmax(purepg.Table()).bind(env, with_value=with_value)
        if self.log_prob is None:
            return policy.outputs

        def outputs(params, observation):
            given = policy.outputs(params, observation)
            return given._replace(distribution=Wide(*given.distribution))

        return policy._replace(outputs=outputs)


class Wide(Categorical):
    """A log-probability for each action where one number is asked for."""

    def log_prob(self, action):
        return self.logits


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (purepg.Softmax(Narrow()), "Narrow gave shape (2, 1) for observations (2,), expected (2, 2)"),
        (Odd(), "bind of Odd = <function"),
        (Odd("wide"), "log_prob of Odd has shape (2, 2); two observations asks for (2,)"),
    ],
)
def test_what_policies_and_networks_give_back_is_checked_at_once(policy, words):
    method = purepg.PolicyGradient(replace(TASK, policy=policy), estimators.make("reinforce"))
    assert words in refusal(lambda: purepg.init(method, HYPER, jax.random.key(0)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: purepg.PolicyGradient(TASK, estimators.make("reinforce"), "sgd"), "optimizer = 'sgd': give"),  # type: ignore
        (lambda: purepg.ScoreFunction(critic=purepg.SharedCritic), "critic = <class"),  # type: ignore
        (lambda: purepg.Softmax(3), "network = 3: give a record that has apply, init"),  # type: ignore
        (lambda: replace(TASK, backend=3), "backend = 3: give purepg.Backend"),  # type: ignore
        (lambda: purepg.Backend(-4), "rows_per_chunk = -4"),
    ],
)
def test_what_is_no_part_is_refused_when_it_is_given(make, words):
    assert words in refusal(make)
