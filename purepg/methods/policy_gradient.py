"""Policy gradients: estimate ∇J, clip it, take one optimiser step uphill."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purepg.errors import checks
from purepg.estimators import differentiable_steps
from purepg.estimators.base import Estimator, EstimatorState, check_estimate, check_state
from purepg.hyperparams import Hyperparams
from purepg.methods.optimizer import Optimizer
from purepg.policies import running_moments
from purepg.policies.networks import Params
from purepg.rollout import collection, metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act
from purepg.task import Task
from purepg.training import Method

__all__ = ["PolicyGradient", "PolicyGradientState"]


class PolicyGradientState(NamedTuple):
    """What an update changes."""

    params: Params
    optimizer: Any  # optax state
    estimator: EstimatorState


@dataclass(frozen=True)
class PolicyGradient(Method):
    """A policy-gradient method: a task, an estimator of ∇J, an optimiser. Static.

    Attributes:
      task: What is played, and by which policy.
      estimator: Of ∇J, as `purepg.estimators.make(name)` makes it.
      optimizer: Takes the step up the estimate.
    """

    task: Task
    estimator: Estimator
    optimizer: Optimizer = Optimizer()

    def __post_init__(self):
        checks.conforms("estimator", self.estimator, Estimator)
        wanted = "a record, as purepg.Optimizer('sgd')"
        checks.kind("optimizer", self.optimizer, isinstance(self.optimizer, Optimizer), wanted)

    def check_numbers(self, hyper: Hyperparams) -> None:
        self.estimator.check(self.task)
        self.estimator.check_numbers(self.task, hyper)

    def init(self, hyper: Hyperparams, key: jax.Array) -> PolicyGradientState:
        self.estimator.check(self.task)
        params_key, estimator_key = jax.random.split(key)
        params = self.estimator.bind(self.task).init(params_key)
        optimizer = self.optimizer.transformation(hyper).init(params)
        estimator = self.estimator.init(self.task, hyper, params, estimator_key)
        check_state(self.estimator, estimator)
        return PolicyGradientState(params, optimizer, estimator)

    def update(
        self, hyper: Hyperparams, state: PolicyGradientState, key: jax.Array
    ) -> tuple[PolicyGradientState, Metrics]:
        estimate = self.estimator.estimate(self.task, hyper, state.params, state.estimator, key)
        check_estimate(self.estimator, estimate, state.params, state.estimator)
        descent = jax.tree.map(jnp.negative, estimate.gradient)
        step, optimizer = self.optimizer.transformation(hyper).update(descent, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, step)
        if self.task.normalize_observations:
            params = params._replace(observed=running_moments.merge(params.observed, estimate.observed))
        numbers = estimate.metrics | {"gradient_norm": metrics.once(differentiable_steps.norm(descent))}
        return PolicyGradientState(params, optimizer, estimate.state), numbers

    def params(self, state: PolicyGradientState) -> Params:
        """What `act` needs of the state."""
        return state.params

    def act(self, params: Params, *, deterministic: bool, env_params: Any = None) -> Act:
        """How this method plays: sampled from its policy, or the policy's mode."""
        policy = self.estimator.bind(self.task)
        return collection.by_policy(policy, params, deterministic=deterministic, env_params=env_params)
