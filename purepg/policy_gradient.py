"""The method: estimate the gradient, clip it, take one optimiser step up it."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purepg import collection, derivable, metrics, normalization
from purepg.errors import InvalidInput, whole_number
from purepg.estimators.base import ChecksNumbers, Estimator
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.networks import Params
from purepg.rollout import Act
from purepg.task import Task

_OPTIMIZERS = {"sgd": optax.sgd, "adam": derivable.adam, "rmsprop": optax.rmsprop}


@dataclass(frozen=True)
class Optimizer:
    """An optax optimiser and the course of its learning rate."""

    name: Literal["adam", "sgd", "rmsprop"] = "adam"
    """The update rule."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls from its start to 0 over `horizon` updates."""
    horizon: int = 0
    """Updates until the schedule ends; apart from the number of updates, so that a run can be continued."""

    def __post_init__(self):
        for field, allowed in (("name", _OPTIMIZERS), ("schedule", ("constant", "linear", "cosine"))):
            if getattr(self, field) not in allowed:
                raise InvalidInput(
                    f"optimizer {field} = {getattr(self, field)!r} is not one of {', '.join(allowed)}"
                )
        if self.schedule != "constant" and self.horizon < 1:
            raise InvalidInput(f"a {self.schedule} schedule needs horizon >= 1 updates, not {self.horizon}")
        if isinstance(self.horizon, int):  # other kinds are refused where numbers are checked
            whole_number("optimizer horizon", self.horizon, 0, 2**31 - 1)

    def transformation(self, hyper: Hyperparams, steps_per_update: int = 1) -> optax.GradientTransformation:
        """Clips by the global norm of the whole gradient, then steps; learning rate and norm are traced."""
        horizon = max(self.horizon * steps_per_update, 1)

        def learning_rate(count):
            progress = jnp.clip(count / horizon, 0.0, 1.0)
            falls = {
                "constant": 1.0,
                "linear": 1.0 - progress,
                "cosine": (1.0 + jnp.cos(jnp.pi * progress)) / 2.0,
            }
            return hyper.learning_rate * falls[self.schedule]

        clip = derivable.clip_by_global_norm(hyper.max_gradient_norm)
        return optax.chain(clip, _OPTIMIZERS[self.name](learning_rate))


class PolicyGradientState(NamedTuple):
    params: Params
    optimizer: Any  # optax state
    estimator: Any  # the estimator's state


@dataclass(frozen=True)
class PolicyGradient:
    """A policy-gradient method: a task, an estimator of ∇J, an optimiser. Static."""

    task: Task
    estimator: Estimator
    optimizer: Optimizer = Optimizer()

    def check_numbers(self, hyper: Hyperparams) -> None:
        self.estimator.check(self.task)
        if isinstance(self.estimator, ChecksNumbers):
            self.estimator.check_numbers(self.task, hyper)

    def init(self, hyper: Hyperparams, key: jax.Array) -> PolicyGradientState:
        self.estimator.check(self.task)
        params_key, estimator_key = jax.random.split(key)
        params = self.estimator.bind(self.task).init(params_key)
        optimizer = self.optimizer.transformation(hyper).init(params)
        return PolicyGradientState(
            params, optimizer, self.estimator.init(self.task, hyper, params, estimator_key)
        )

    def update(
        self, hyper: Hyperparams, state: PolicyGradientState, key: jax.Array
    ) -> tuple[PolicyGradientState, Metrics]:
        estimate = self.estimator.estimate(self.task, hyper, state.params, state.estimator, key)
        descent = jax.tree.map(jnp.negative, estimate.gradient)
        step, optimizer = self.optimizer.transformation(hyper).update(descent, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, step)
        if self.task.normalize_observations:
            params = params._replace(observed=normalization.merge(params.observed, estimate.observed))
        numbers = estimate.metrics | {"gradient_norm": metrics.once(derivable.norm(descent))}
        return PolicyGradientState(params, optimizer, estimate.state), numbers

    def params(self, state: PolicyGradientState) -> Params:
        """What `act` needs of the state."""
        return state.params

    def act(self, params: Params, *, deterministic: bool, env_params: Any = None) -> Act:
        """How this method plays: sampled from its policy, or the policy's mode."""
        policy = self.estimator.bind(self.task)
        return collection.by_policy(policy, params, deterministic=deterministic, env_params=env_params)
