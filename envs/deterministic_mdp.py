"""A finite Markov decision process in which nothing but the start is random.

    s_0 ~ ρ,   s_{t+1} = f(s_t, a_t),   r_t = r(s_t, a_t)

A `FiniteMDP` whose params hold the table f [S, A] in place of the probabilities [S, A, S]: with 500 states a step takes
a tenth of the time, and the params, of which a run keeps a copy a seed, a hundredth of the memory. `exact_model` gives
the probabilities.

Gradients: as `FiniteMDP`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from .finite_mdp import ExactModel, FiniteMDP, FiniteMDPParams, FiniteMDPState


@struct.dataclass(kw_only=True)
class DeterministicMDPParams(FiniteMDPParams):
    """The numbers of the process."""

    transition: None = None  # pyright: ignore[reportIncompatibleVariableOverride] (stands in `following`)
    following: jax.Array  # [S, A] int32, f


class DeterministicMDP(FiniteMDP):
    """Finite MDP with certain transitions; observations are the states.

    Args:
        following: f, the state after each action, [S, A] ints in 0..S−1.
        reward: r, [S, A].
        initial, terminal, max_steps: as `FiniteMDP`.
    """

    def __init__(
        self,
        following: np.ndarray,
        reward: ArrayLike,
        initial: ArrayLike | None = None,
        *,
        terminal: ArrayLike | None = None,
        max_steps: int = 1000,
    ):
        transition = np.eye(len(following))[following]  # [S, A, S]
        super().__init__(transition, reward, initial, terminal=terminal, max_steps=max_steps)
        del self._transition
        self._following = following.astype(np.int32)

    @property
    def default_params(self) -> DeterministicMDPParams:
        """The numbers given to the constructor."""
        return DeterministicMDPParams(
            max_steps_in_episode=self._max_steps,
            following=jnp.asarray(self._following),
            reward=jnp.asarray(self._reward),
            initial=jnp.asarray(self._initial),
            terminal=jnp.asarray(self._terminal),
        )

    def step_env(  # pyright: ignore[reportIncompatibleMethodOverride] (params are this class's)
        self,
        key: jax.Array,
        state: FiniteMDPState,
        action: int | float | jax.Array,
        params: DeterministicMDPParams,
    ) -> tuple[jax.Array, FiniteMDPState, jax.Array, jax.Array, dict[Any, Any]]:
        """One step of the raw dynamics, no reset: observation, state, reward, terminated, {}."""
        del key
        chosen = jnp.asarray(action, jnp.int32)
        ended = params.terminal[state.index]
        index = jnp.where(ended, state.index, params.following[state.index, chosen])
        reward = jnp.where(ended, 0.0, params.reward[state.index, chosen])
        following = FiniteMDPState(time=state.time + 1, index=index)
        return self._observation(following), following, reward, params.terminal[index], {}

    def exact_model(  # pyright: ignore[reportIncompatibleMethodOverride] (as above)
        self, params: DeterministicMDPParams | None = None
    ) -> ExactModel:
        """P, r and ρ as arrays (default: of `default_params`), terminal states absorbing and without reward."""
        params = self.default_params if params is None else params
        transition = jax.nn.one_hot(params.following, self.num_states)  # [S, A, S]
        return super().exact_model(dataclasses.replace(params, transition=transition))  # pyright: ignore
