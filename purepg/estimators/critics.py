"""Critics: V_φ(s), learned from the targets y that the estimator computes.

The loss is a squared error over the rows with the same denominator as the policy's terms,

    L(φ) = Σ_rows scale · (y − V_φ(s))²,

and its gradient a semi-gradient: y counts as a constant, even where it contains V. A shared critic is one more output
of the policy's network and its gradient one more term of the update; a separate one has its own network, optimiser and
steps.

Gradients flow through V_φ at the observed states, for a shared critic into the body that the policy uses too; never
into the targets.

Reference: Sutton and Barto (2018), chapters 9.3 and 13.5; Mnih et al. (2016) for the shared body.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from purepg import environments
from purepg.errors import InvalidInput
from purepg.estimators import chunked_gradient, differentiable_steps
from purepg.hyperparams import Hyperparams
from purepg.names import lookup
from purepg.policies import BoundPolicy, Outputs, networks
from purepg.policies.networks import MLP, Network, Params, outputs_of
from purepg.rollout.trajectory import Act, ActionOutput, Trajectory
from purepg.task import Task

__all__ = ["NAMES", "Critic", "NoCritic", "OwnCritic", "SharedCritic", "acting", "make"]


@runtime_checkable
class Critic(Protocol):
    """A static record; whatever it learns is in the policy's parameters or in its own state."""

    @property
    def has_value(self) -> bool:
        """Whether it has a V at all."""
        ...

    @property
    def shares_value(self) -> bool:
        """Whether V is an output of the policy's network."""
        ...

    def bind(self, task: Task) -> BoundPolicy:
        """The policy as this critic needs it.

        Args:
          task: what is played, and by which policy.
        """
        ...

    def init(self, task: Task, hyper: Hyperparams, key: jax.Array) -> Any:
        """The critic's own state.

        Args:
          task: what is played.
          hyper: numbers, traced; scalars.
          key: one typed key.
        """
        ...

    def outputs(self, task: Task, params: Params, state: Any, observation: jax.Array) -> Outputs:
        """The policy's distribution and V at observations `[..., *shape]`.

        Args:
          task: what is played.
          params: of the policy.
          state: the critic's own.
          observation: [..., *shape].
        """
        ...

    def update(
        self,
        task: Task,
        hyper: Hyperparams,
        params: Params,
        state: Any,
        trajectory: Trajectory,
        target: jax.Array,
        scale: jax.Array,
    ) -> Any:
        """The state after learning from these targets; called after V was used for them.

        Args:
          task: what is played.
          hyper: numbers, traced; scalars.
          params: of the policy, which acted.
          state: the critic's own.
          trajectory: the rows `[T, N]`.
          target: y `[T, N]`, 0 in dead rows.
          scale: weight of each row in the loss, `[T, N]`, as `collection.row_scale` gives it.
        """
        ...


class _InPolicy:
    """For critics without a state of their own."""

    has_value = shares_value = False

    def init(self, task: Task, hyper: Hyperparams, key: jax.Array) -> Any:
        return ()

    def outputs(self, task: Task, params: Params, state: Any, observation: jax.Array) -> Outputs:
        return self.bind(task).outputs(params, observation)  # pyright: ignore

    def update(self, task, hyper, params, state, trajectory, target, scale) -> Any:
        return state


@dataclass(frozen=True)
class NoCritic(_InPolicy):
    """No V."""

    def bind(self, task: Task) -> BoundPolicy:
        return task.bind_policy()


@dataclass(frozen=True)
class SharedCritic(_InPolicy):
    """V as one more output of the policy's network; `value_coefficient` times its loss joins the update."""

    has_value = shares_value = True

    def bind(self, task: Task) -> BoundPolicy:
        return task.bind_policy(with_value=True)


class _OwnState(NamedTuple):
    params: Params
    copy: Params  # follows `params` at the target rate; V is the copy's
    optimizer: Any  # optax state


@dataclass(frozen=True)
class OwnCritic:
    """V by a network of its own, which sees what the policy sees, trained by Adam at `critic_learning_rate`.

    Attributes:
      network: Or its name.
      steps: Gradient steps per update, each over all rows.
      target_rate: How far V moves towards the learned network after each step, in (0, 1]; 1: V is the learned
        network.
    """

    network: Network = MLP(output_scale=1.0)
    steps: int = 1
    target_rate: float = 1.0

    has_value = True
    shares_value = False

    def __post_init__(self):
        object.__setattr__(self, "network", networks.chosen(self.network))
        if self.steps < 1:
            raise InvalidInput(f"steps = {self.steps}: a critic needs at least 1 step per update")
        if not 0 < self.target_rate <= 1:
            raise InvalidInput(f"target_rate = {self.target_rate}: must lie in (0, 1]")

    def bind(self, task: Task) -> BoundPolicy:
        return task.bind_policy()

    def init(self, task: Task, hyper: Hyperparams, key: jax.Array) -> _OwnState:
        params = self.network.init(key, environments.inputs(task.env), 1)
        return _OwnState(params, params, _adam(hyper).init(params))

    def outputs(self, task: Task, params: Params, state: _OwnState, observation: jax.Array) -> Outputs:
        policy = self.bind(task)
        value = self._value(task, state.copy, policy.see(params, observation))
        return policy.outputs(params, observation)._replace(value=value)

    def update(
        self,
        task: Task,
        hyper: Hyperparams,
        params: Params,
        state: _OwnState,
        trajectory: Trajectory,
        target: jax.Array,
        scale: jax.Array,
    ) -> _OwnState:
        seen = self.bind(task).see(params, trajectory.observation)

        def loss(params, seen, target, scale):
            return jnp.vdot(scale, (target - self._value(task, params, seen)) ** 2), ()

        def step(state: _OwnState, _):
            gradient, _ = chunked_gradient.gradient(
                loss, state.params, trajectory.mask, (seen, target, scale), task.backend
            )
            change, optimizer = _adam(hyper).update(gradient, state.optimizer)
            params = optax.apply_updates(state.params, change)
            copy = optax.incremental_update(params, state.copy, self.target_rate)
            return _OwnState(params, copy, optimizer), None

        return jax.lax.scan(step, state, length=self.steps)[0]

    def _value(self, task: Task, params: Params, seen: jax.Array) -> jax.Array:
        return outputs_of(self.network, params, seen, environments.inputs(task.env), 1)[..., 0]


def _adam(hyper: Hyperparams) -> optax.GradientTransformation:
    return differentiable_steps.adam(hyper.critic_learning_rate)


def acting(critic: Critic, task: Task, params: Params, state: Any, env_params: Any = None) -> Act:
    """Play sampled from the policy, with V of each observation where there is a critic.

    Args:
      critic: gives the policy and V.
      task: what is played.
      params: of the policy.
      state: the critic's own.
      env_params: whose action bounds hold; None: the defaults.
    """
    play = critic.bind(task).play

    def act(key: jax.Array, observation: jax.Array) -> ActionOutput:
        outputs = critic.outputs(task, params, state, observation)
        action = outputs.distribution.sample(key)
        return ActionOutput(action, play(action, env_params), outputs.value)

    return act


NAMES = {"none": NoCritic, "shared": SharedCritic, "own": OwnCritic}


def make(name: str) -> Critic:
    """The critic of this name with its default fields.

    Args:
      name: a key of `NAMES`.
    """
    return lookup("critic", name, NAMES)()
