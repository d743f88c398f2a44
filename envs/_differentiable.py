"""What the environments with continuous states and actions have in common.

    s_{t+1} = f(s_t, a_t, noise),   r_t = r(s_t, a_t): the reward is of the state before the step

Gradients flow through the reward always, and from one state to the next after `with_transition_gradients()`;
without it the next state and its observation are detached, as in gymnax. The time limit truncates; it never
terminates.

Numbers are float32, those of the params. With params in float64 (under `jax.enable_x64`) all of it is.
"""

from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from gymnax.environments import environment, spaces

from . import _checks

State = TypeVar("State", bound=environment.EnvState)
Params = TypeVar("Params", bound=environment.EnvParams)


class DifferentiableEnvironment(environment.Environment[State, Params], Generic[State, Params]):
    """A subclass says how a game starts, what a step does, what is seen; the rest is gymnax's API on top."""

    _supports_transition_gradients = True
    _action_bounds: tuple[float, float]
    _action_size: int
    _observation_size: int

    def _start(self, key: jax.Array, params: Params) -> State:
        """A state at time 0."""
        raise NotImplementedError

    def _transition(
        self, key: jax.Array, state: State, action: jax.Array, params: Params
    ) -> tuple[State, jax.Array]:
        """The state after a step and the reward [] for it; action [A]."""
        raise NotImplementedError

    def _observation(self, state: State, params: Params) -> jax.Array:
        """What is seen, [O]."""
        raise NotImplementedError

    @property
    def num_actions(self) -> int:
        """The number of components of an action."""
        return self._action_size

    def action_space(self, params: Params | None = None) -> spaces.Box:
        """The box of actions; where it has bounds, an action outside is clipped."""
        del params
        return spaces.Box(*self._action_bounds, (self._action_size,))

    def observation_space(self, params: Params | None = None) -> spaces.Box:
        """Vectors without bounds."""
        del params
        return spaces.Box(-jnp.inf, jnp.inf, (self._observation_size,))

    def reset_env(self, key: jax.Array, params: Params) -> tuple[jax.Array, State]:
        """Draw a first state."""
        state = self._start(key, params)
        return self._observation(state, params), state

    def step_env(
        self, key: jax.Array, state: State, action: int | float | jax.Array, params: Params
    ) -> tuple[jax.Array, State, jax.Array, jax.Array, dict[Any, Any]]:
        """One step of the raw dynamics, no reset: observation, state, reward, terminated, {}."""
        # Clipping to infinite bounds would change nothing but the gradient's cost.
        played = jnp.asarray(action)
        if self._action_bounds != (-jnp.inf, jnp.inf):
            played = jnp.clip(played, *self._action_bounds)
        after, reward = self._transition(key, state, played, params)
        terminated = self.is_terminated(after, params)
        seen, after = self._apply_transition_gradient_policy(self._observation(after, params), after)
        return seen, after, reward, terminated, {}

    def observe(
        self,
        key: jax.Array,
        state: State,
        action: int | float | jax.Array | None,
        params: Params,
    ) -> jax.Array:
        """What is seen of a state, [O]."""
        del key, action
        return self._observation(state, params)

    def is_terminated(self, state: State, params: Params) -> jax.Array:
        """Never, where a class does not say otherwise; the time limit is `is_truncated`'s business."""
        del state, params
        return jnp.bool_(False)


def positive(name: str, value: object) -> float:
    """A constructor argument that is divided by, as a finite float."""
    return _checks.real(name, value, low=1e-6)
