"""Training differentiated by its numbers: against finite differences; values are optax's to the bit."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purepg
from purepg import estimators
from purepg.estimators import Estimate, Estimator, EstimatorState, differentiable_steps

TASK = purepg.Task("Bandit", purepg.Softmax(purepg.Table()), purepg.Games(4))
HYPER = purepg.Hyperparams(learning_rate=0.03, entropy_coefficient=0.2, value_coefficient=0.7)


@dataclasses.dataclass(frozen=True)
class Smooth(Estimator):
    """An estimator without noise whose gradient is a smooth function of parameters and numbers."""

    start: float = 0.5  # 0: the first gradient is 0 everywhere

    def bind(self, task):
        return task.bind_policy()._replace(
            init=lambda key: {"x": jnp.array([self.start, 0.0, -2 * self.start])}
        )

    def init(self, task, hyper, params, key):
        return EstimatorState(learned=jnp.int32(0))

    def estimate(self, task, hyper, params, state, key):
        x = params["x"]
        factor = hyper.reward_scale + hyper.entropy_coefficient * x + hyper.value_coefficient * hyper.discount
        gradient = {"x": jnp.where(self.start == 0, 0.0, factor) * x * jnp.array([1.0, 0.0, 3.0])}
        return Estimate(gradient, gradient, EstimatorState(learned=state.learned + 1), {})


def moved(optimizer, field, largest, start=0.5):
    """A number in which the parameters and norms after three updates end, as a function of one field."""
    method = purepg.PolicyGradient(TASK, Smooth(start), purepg.Optimizer(optimizer))

    def total(value):
        hyper = dataclasses.replace(HYPER, **({"max_gradient_norm": largest} | {field: value}))
        state, numbers = purepg.train(method, hyper, purepg.init(method, hyper, jax.random.key(0)), 3)
        weights = jnp.array([1.0, 2.0, 3.0])
        return jnp.vdot(weights, state.learner.params["x"]) + numbers["gradient_norm"].sum.sum()

    return jax.jit(total)


FIELDS = ("learning_rate", "entropy_coefficient", "value_coefficient", "discount", "reward_scale")


@pytest.mark.slow
@pytest.mark.parametrize("largest", [math.inf, 0.8])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_training_has_the_derivatives_of_finite_differences(optimizer, largest):
    fields = FIELDS if largest == math.inf else (*FIELDS, "max_gradient_norm")
    for field in fields:
        total = moved(optimizer, field, largest)
        at = largest if field == "max_gradient_norm" else float(getattr(HYPER, field))
        with jax.enable_x64(True):
            derivative = jax.jit(jax.grad(total))(jnp.float64(at))
            ahead, behind = total(jnp.float64(at + 1e-3 * at)), total(jnp.float64(at - 1e-3 * at))
        expected = float(ahead - behind) / (2e-3 * at)
        np.testing.assert_allclose(derivative, expected, rtol=0.02, atol=2e-3, err_msg=field)


@pytest.mark.slow
@pytest.mark.parametrize("largest", [math.inf, 0.8])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_gradient_of_zero_moves_nothing_and_neither_does_its_derivative(optimizer, largest):
    for field in FIELDS:
        assert jax.grad(moved(optimizer, field, largest, start=0.0))(0.1) == 0
    assert jax.grad(moved(optimizer, "max_gradient_norm", largest, start=0.0))(largest) == 0


@pytest.mark.slow
def test_reinforce_and_a_critic_of_its_own_are_differentiated_through():
    """Real estimators: two games that see no state of many, so that most of a table is never moved."""
    chosen = dataclasses.replace(estimators.make("gae"), critic=purepg.OwnCritic(purepg.Table()))  # pyright: ignore
    task = purepg.Task("Chain", purepg.Softmax(purepg.Table()), purepg.Segments(2, 3))
    method = purepg.PolicyGradient(task, chosen)

    def total(hyper):
        state, _ = purepg.train(method, hyper, purepg.init(method, hyper, jax.random.key(0)), 2)
        return sum((x**2).sum() for x in jax.tree.leaves(state.learner.params))

    gradient = jax.jit(jax.grad(total))(jax.tree.map(jnp.float32, HYPER))
    assert all(np.isfinite(x) for x in jax.tree.leaves(gradient))
    assert gradient.learning_rate != 0


@pytest.mark.slow
@pytest.mark.parametrize("largest", [math.inf, 1e-3, 5.0, 0.0])
def test_values_are_optaxs_to_the_bit(largest):
    tree = {"a": jax.random.normal(jax.random.key(0), (5, 3)), "b": jnp.array([0.0, 2.0])}
    ours = optax.chain(differentiable_steps.clip_by_global_norm(largest), differentiable_steps.adam(0.1))
    theirs = optax.chain(optax.clip_by_global_norm(largest), optax.adam(0.1))
    states = ours.init(tree), theirs.init(tree)
    for i in range(3):
        given = jax.tree.map(lambda x, i=i: (i + 1) * x, tree)
        (a, x), (b, y) = ours.update(given, states[0]), theirs.update(given, states[1])
        jax.tree.map(np.testing.assert_array_equal, (a, x), (b, y))
        states = x, y
