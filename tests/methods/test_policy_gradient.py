"""One update: the optimiser against optax applied by hand, schedules, clipping, and ascent."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purepg
from purepg import estimators
from purepg.errors import InvalidInput
from purepg.estimators import Estimate, Estimator, EstimatorState
from purepg.methods.optimizer import Optimizer
from purepg.methods.policy_gradient import PolicyGradient, PolicyGradientState

BANDIT = purepg.Task("Bandit", purepg.Softmax(purepg.Table()), purepg.Games(8))
START = {"table": jnp.array([[0.5, -1.0]])}
GRADIENTS = [
    np.array([[3.0, -4.0]]),
    np.array([[0.1, 0.2]]),
    np.array([[-30.0, 40.0]]),
    np.array([[1.0, 0.0]]),
]


@dataclass(frozen=True)
class Known(Estimator):
    """An estimator whose estimates are given: (ascent) gradient i in update i."""

    policy_gradient: float = 0.0

    def init(self, task, hyper, params, key):
        return EstimatorState(learned=jnp.int32(0))

    def estimate(self, task, hyper, params, state, key):
        gradient = {"table": jnp.asarray(np.array(GRADIENTS), jnp.float32)[state.learned]}
        alone = jax.tree.map(lambda g: jnp.full_like(g, self.policy_gradient), gradient)
        return Estimate(alone, gradient, EstimatorState(learned=state.learned + 1), {})


def known_state(optimizer):
    optimizer_state = optimizer.transformation(purepg.Hyperparams()).init(START)
    return PolicyGradientState(START, optimizer_state, EstimatorState(learned=jnp.int32(0)))


def steps(optimizer, count=4, **numbers):
    """What each of `count` updates adds to the parameters, [count, 1, 2], and the reported gradient norms."""
    method, hyper = PolicyGradient(BANDIT, Known(), optimizer), purepg.Hyperparams(**numbers)
    state = known_state(optimizer)
    params, norms = [START["table"]], []
    for _ in range(count):
        state, metrics = method.update(hyper, state, jax.random.key(0))
        params.append(state.params["table"])
        norms.append(float(metrics["gradient_norm"].sum))
    return np.diff(np.array(params), axis=0), norms


# The optimiser


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_updates_are_those_of_optax_up_the_gradient(name):
    by_hand = getattr(optax, name)(0.03)
    state, params, expected = by_hand.init(START), START, []
    for gradient in GRADIENTS:
        step, state = by_hand.update({"table": -jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, step)
        expected.append(step["table"])
    np.testing.assert_allclose(steps(Optimizer(name), learning_rate=0.03)[0], expected, rtol=1e-4, atol=1e-6)


def test_gradient_descent_with_a_sign():
    """+ learning rate × gradient: up, not down."""
    actual, _ = steps(Optimizer("sgd"), learning_rate=0.5)
    np.testing.assert_allclose(actual, 0.5 * np.array(GRADIENTS), rtol=1e-5)


def test_the_update_follows_the_whole_gradient_not_the_policys_alone():
    """The entropy bonus is in `gradient`; `policy_gradient` is for diagnostics."""
    method = PolicyGradient(BANDIT, Known(99.0), Optimizer("sgd"))
    after, _ = method.update(
        purepg.Hyperparams(learning_rate=1.0), known_state(method.optimizer), jax.random.key(0)
    )
    np.testing.assert_allclose(after.params["table"] - START["table"], GRADIENTS[0], rtol=1e-6)


# Schedules

HALVES = [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("schedule", "horizon", "factors"),
    [
        ("constant", 0, [1.0, 1.0, 1.0, 1.0]),
        ("constant", 2, [1.0, 1.0, 1.0, 1.0]),
        ("linear", 2, HALVES),
        ("cosine", 2, HALVES),
        ("linear", 4, [1.0, 0.75, 0.5, 0.25]),
        ("cosine", 4, [1.0, (1 + np.sqrt(0.5)) / 2, 0.5, (1 - np.sqrt(0.5)) / 2]),
        ("linear", 1, [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_learning_rate_falls_and_then_stays(schedule, horizon, factors):
    actual, _ = steps(Optimizer("sgd", schedule, horizon), learning_rate=0.5)
    expected = 0.5 * np.array(factors)[:, None, None] * np.array(GRADIENTS)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "adamw"}, "optimizer name = 'adamw' is not one of sgd, adam, rmsprop"),
        ({"schedule": "step"}, "optimizer schedule = 'step' is not one of constant, linear, cosine"),
        ({"schedule": "linear"}, "linear schedule needs horizon >= 1 updates, not 0"),
        ({"schedule": "cosine", "horizon": -5}, "cosine schedule needs horizon >= 1 updates, not -5"),
    ],
)
def test_what_makes_no_optimizer_is_refused(fields, message):
    with pytest.raises(InvalidInput, match=message):
        Optimizer(**fields)


# Clipping


def test_a_long_gradient_is_scaled_to_the_norm_and_keeps_its_direction():
    """[3, −4] to norm 2 is [1.2, −1.6]; element by element it would be [2, −2]."""
    actual, _ = steps(Optimizer("sgd"), learning_rate=1.0, max_gradient_norm=2.0)
    np.testing.assert_allclose(actual[0], [[1.2, -1.6]], rtol=1e-5)


def test_a_short_gradient_is_left_as_it_is():
    actual, _ = steps(Optimizer("sgd"), learning_rate=1.0, max_gradient_norm=2.0)
    np.testing.assert_allclose(actual[1], GRADIENTS[1], rtol=1e-4)


def test_infinity_is_no_clipping():
    actual, _ = steps(Optimizer("sgd"), learning_rate=1.0, max_gradient_norm=np.inf)
    np.testing.assert_allclose(actual, GRADIENTS, rtol=1e-4, atol=1e-5)


def test_the_norm_is_that_of_all_parameters_together():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": {"c": jnp.array([[-4.0]])}}
    transformation = Optimizer("sgd").transformation(
        purepg.Hyperparams(learning_rate=1.0, max_gradient_norm=1.0)
    )
    step, _ = transformation.update(gradient, transformation.init(gradient))
    np.testing.assert_allclose(step["a"], [-0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(step["b"]["c"], [[0.8]], rtol=1e-6)


def test_the_reported_norm_is_that_before_clipping():
    _, norms = steps(Optimizer("sgd"), learning_rate=1.0, max_gradient_norm=2.0)
    np.testing.assert_allclose(norms, [np.linalg.norm(g) for g in GRADIENTS], rtol=1e-5)


# Numbers are traced


def test_numbers_change_without_compiling_again():
    traces = []
    method = PolicyGradient(BANDIT, Known(), Optimizer("sgd"))

    def update(hyper, state):
        traces.append(1)
        return method.update(hyper, state, jax.random.key(0))[0].params["table"] - START["table"]

    jitted = jax.jit(update)
    state = known_state(method.optimizer)
    for rate, norm in ((1.0, np.inf), (0.1, np.inf), (1.0, 2.0)):
        expected = rate * min(1.0, norm / 5.0) * GRADIENTS[0]
        hyper = purepg.Hyperparams(learning_rate=rate, max_gradient_norm=norm)
        np.testing.assert_allclose(jitted(hyper, state), expected, rtol=1e-5)
    assert len(traces) == 1


def test_learning_rates_along_an_axis():
    rates = jnp.array([0.1, 1.0])
    method = PolicyGradient(BANDIT, Known(), Optimizer("sgd"))

    def update(rate):
        hyper = purepg.Hyperparams(learning_rate=rate)
        after, _ = method.update(hyper, known_state(method.optimizer), jax.random.key(0))
        return after.params["table"] - START["table"]

    expected = np.asarray(rates)[:, None, None] * GRADIENTS[0]
    np.testing.assert_allclose(jax.jit(jax.vmap(update))(rates), expected, rtol=1e-5)


# The method


class Ascent(NamedTuple):
    change: np.ndarray  # of the logits, one for each key
    better: np.ndarray  # probability of the better arm afterwards


@pytest.fixture(scope="module")
def ascent():
    """One update from the uniform policy on the bandit that pays (1, 0), for many keys; learning rate 1/2."""
    method = PolicyGradient(BANDIT, estimators.make("reinforce"), Optimizer("sgd"))
    hyper = purepg.Hyperparams(learning_rate=0.5, discount=1.0)
    start = method.init(hyper, jax.random.key(0))

    def one(key):
        return method.update(hyper, start, key)[0].params["table"][0]

    logits = np.asarray(
        jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(1), 2000)), np.float64
    )
    return Ascent(logits, 1 / (1 + np.exp(logits[:, 1] - logits[:, 0])))


@pytest.mark.slow
def test_the_better_arm_becomes_likelier(ascent):
    gain = ascent.better - 0.5
    assert gain.mean() > 4 * gain.std() / np.sqrt(gain.size)


def test_the_mean_step_is_the_exact_gradient(ascent):
    """∂J/∂logits = p (1 − p) (1, −1) = (1/4, −1/4); 4 standard errors."""
    error = ascent.change.std(axis=0) / np.sqrt(len(ascent.change))
    assert (np.abs(ascent.change.mean(axis=0) - 0.5 * np.array([0.25, -0.25])) < 4 * error).all()


def test_init_refuses_what_the_estimator_refuses():
    task = purepg.Task("Bandit", purepg.Softmax(purepg.Table()), purepg.Games(1))
    method = PolicyGradient(task, estimators.make("reinforce-loo"))
    with pytest.raises(InvalidInput, match="'loo' averages the other games"):
        method.init(purepg.Hyperparams(), jax.random.key(0))


@pytest.mark.slow
def test_act_is_the_mode_or_a_sample():
    method = PolicyGradient(BANDIT, Known())
    observation, params = jnp.zeros(2000, jnp.int32), {"table": jnp.array([[1.0, 0.0]])}
    mode, sample = (
        np.asarray(method.act(params, deterministic=d)(jax.random.key(0), observation).action)
        for d in (True, False)
    )
    assert not mode.any()
    share = 1 / (1 + np.e)
    assert abs(sample.mean() - share) < 4 * np.sqrt(share * (1 - share) / sample.size)


def test_params_are_what_act_plays():
    method = PolicyGradient(BANDIT, Known())
    state = method.init(purepg.Hyperparams(), jax.random.key(0))
    assert method.params(state) is state.params


def test_equal_methods_hash_equal():
    def make():
        task = purepg.Task(purepg.environment("Bandit", rewards=[1.0, 0.0]), collect=purepg.Games(8))
        return PolicyGradient(task, estimators.make("reinforce-moving"), Optimizer("sgd", "linear", 10))

    assert make() is not make()
    assert make() == make()
    assert hash(make()) == hash(make())
