"""A finite Markov decision process from its arrays.

    s_0 ~ ρ,   s_{t+1} ~ P(· | s_t, a_t),   r_t = r(s_t, a_t)  or  r(s_t, a_t, s_{t+1}),   plus σ ε_t

States and actions are the integers 0..S−1 and 0..A−1. A game ends ("terminated") on entering a terminal
state, and is cut ("truncated") after `max_steps` steps; the environment keeps the two apart. What the player
sees is o(s): the state itself, or a coarser observation when several states share one ("aliasing").

The next state is drawn by inverting the distribution function: the first s′ with u < Σ_{k ≤ s′} P(k | s, a)
for u uniform on [0, 1), among those with P(s′ | s, a) > 0: rounding in the sum never leads to an impossible
state.

P, r, ρ and σ live in the params, which are a pytree: they can be traced, swept under `vmap`, and replaced
(`params.replace(transition=...)`) without checks. Since all is known, `exact_model` hands out the arrays from
which values and gradients can be computed in closed form.

Gradients: the reward is differentiable in the params' rewards and noise; states and observations are integers
and carry none.

Reference: Sutton & Barto, Reinforcement Learning (2018), chapter 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from numpy.typing import ArrayLike

from . import _checks


@struct.dataclass
class FiniteMDPState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    index: jax.Array  # [] int32, the state, 0..S-1


@struct.dataclass(kw_only=True)
class FiniteMDPParams(environment.EnvParams):
    """The numbers of the process."""

    max_steps_in_episode: int = 1000
    transition: jax.Array  # [S, A, S] float32, P(s′ | s, a)
    reward: jax.Array  # [S, A] or [S, A, S] float32
    initial: jax.Array  # [S] float32, ρ
    terminal: jax.Array  # [S] bool
    reward_noise: jax.Array | None = None  # [] float32, σ; None draws no noise, which is faster than σ = 0


class ExactModel(NamedTuple):
    """The process as arrays, terminal states absorbing and without reward."""

    transition: jax.Array  # [S, A, S] float32, rows sum to 1
    reward: jax.Array  # [S, A] or [S, A, S] float32, without noise
    initial: jax.Array  # [S] float32


class FiniteMDP(environment.Environment[FiniteMDPState, FiniteMDPParams]):
    """Finite MDP; observations are int32 scalars in `Discrete(num_observations)`.

    Args:
        transition: P(s′ | s, a), [S, A, S]; entries ≥ 0, rows sum to 1 within 1e-5 (and are then made exact).
        reward: [S, A], or [S, A, S] where it depends on the next state.
        initial: [S], distribution of the first state; default: state 0.
        terminal: [S] bool; default: the states that keep themselves under every action and pay nothing. What
            a terminal state's own rows say is not used: nothing follows it.
        observation: [S] ints ≥ 0, what is seen in each state; default: the state.
        reward_noise: standard deviation σ ≥ 0 of Gaussian noise on every reward.
        max_steps: a game is truncated after so many steps.

    Arrays may be nested tuples or lists, so that the arguments can be hashed.

    Attributes:
        num_states, num_observations: S, O.
        observation_index: [S] int32, state → observation.

    Raises:
        ValueError: in one line, whatever is wrong with an argument.
    """

    def __init__(
        self,
        transition: ArrayLike,
        reward: ArrayLike,
        initial: ArrayLike | None = None,
        *,
        terminal: ArrayLike | None = None,
        observation: ArrayLike | None = None,
        reward_noise: float = 0.0,
        max_steps: int = 1000,
    ):
        super().__init__()
        table = _checked_transition(transition)  # [S, A, S]
        self.num_states, self._num_actions = table.shape[:2]
        payment = _checks.finite_array("reward", reward, "[S, A] or [S, A, S]")
        _checks.shape("reward", payment, "[S, A] or [S, A, S]", table.shape[:2], table.shape)
        ends = _checked_terminal(terminal, table, payment)  # [S]
        seen = _checked_observation(observation, self.num_states)  # [S]

        self.observation_index = seen
        self.num_observations = int(seen.max()) + 1
        self._transition = table.astype(np.float32)
        self._reward = payment.astype(np.float32)
        self._initial = _checked_initial(initial, ends).astype(np.float32)
        self._terminal = ends
        self._reward_noise = _checks.real("reward_noise", reward_noise, low=0.0)
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)

    @property
    def default_params(self) -> FiniteMDPParams:
        """The numbers given to the constructor."""
        return FiniteMDPParams(
            max_steps_in_episode=self._max_steps,
            transition=jnp.asarray(self._transition),
            reward=jnp.asarray(self._reward),
            initial=jnp.asarray(self._initial),
            terminal=jnp.asarray(self._terminal),
            reward_noise=jnp.float32(self._reward_noise) if self._reward_noise else None,
        )

    @property
    def num_actions(self) -> int:
        """A."""
        return self._num_actions

    def action_space(self, params: FiniteMDPParams | None = None) -> spaces.Discrete:
        """The actions 0..A−1; another number is not checked (it would be costly), and not meaningful."""
        del params
        return spaces.Discrete(self._num_actions)

    def observation_space(self, params: FiniteMDPParams | None = None) -> spaces.Discrete:
        """The observations 0..O−1."""
        del params
        return spaces.Discrete(self.num_observations)

    def reset_env(self, key: jax.Array, params: FiniteMDPParams) -> tuple[jax.Array, FiniteMDPState]:
        """Draw s_0 ~ ρ."""
        state = FiniteMDPState(time=jnp.int32(0), index=draw(key, params.initial))
        return self._observation(state), state

    def step_env(
        self,
        key: jax.Array,
        state: FiniteMDPState,
        action: int | float | jax.Array,
        params: FiniteMDPParams,
    ) -> tuple[jax.Array, FiniteMDPState, jax.Array, jax.Array, dict[Any, Any]]:
        """One step of the raw dynamics, no reset: observation, state, reward, terminated, {}.

        A step from a terminal state stays there, pays nothing and is terminated again.
        """
        chosen = jnp.asarray(action, jnp.int32)
        sigma = params.reward_noise
        key_next, key_noise = (key, key) if sigma is None else jax.random.split(key)

        ended = params.terminal[state.index]
        drawn = draw(key_next, params.transition[state.index, chosen])
        following = jnp.where(ended, state.index, drawn)

        reward = params.reward[state.index, chosen]
        if params.reward.ndim == 3:
            reward = reward[following]
        if sigma is not None:
            reward = reward + sigma * jax.random.normal(key_noise, (), jnp.float32)
        reward = jnp.where(ended, jnp.zeros_like(reward), reward)

        next_state = FiniteMDPState(time=state.time + 1, index=following)
        return self._observation(next_state), next_state, reward, params.terminal[following], {}

    def observe(
        self,
        key: jax.Array,
        state: FiniteMDPState,
        action: int | float | jax.Array | None,
        params: FiniteMDPParams,
    ) -> jax.Array:
        """o(s), int32."""
        del key, action, params
        return self._observation(state)

    def is_terminated(self, state: FiniteMDPState, params: FiniteMDPParams) -> jax.Array:
        """Whether the state is terminal; the time limit is `is_truncated`'s business."""
        return params.terminal[state.index]

    def exact_model(self, params: FiniteMDPParams | None = None) -> ExactModel:
        """P, r and ρ as arrays (default: of `default_params`), terminal states absorbing and without reward.

        The states are the true ones; a policy that sees observations acts in state s as in
        `observation_index[s]`. The time limit is not part of the model.
        """
        params = self.default_params if params is None else params
        itself = jnp.eye(self.num_states, dtype=params.transition.dtype)[:, None, :]  # [S, 1, S]
        ends = params.terminal.reshape(-1, 1, 1)  # [S, 1, 1]
        pays_nothing = params.terminal.reshape((-1,) + (1,) * (params.reward.ndim - 1))
        return ExactModel(
            transition=jnp.where(ends, itself, params.transition),
            reward=jnp.where(pays_nothing, 0.0, params.reward),
            initial=params.initial,
        )

    def _observation(self, state: FiniteMDPState) -> jax.Array:
        return jnp.asarray(self.observation_index)[state.index]


def draw(key: jax.Array, probability: jax.Array) -> jax.Array:
    """One index with the given probabilities, [K] → [] int32."""
    return invert(jax.random.uniform(key, (), probability.dtype), probability)


def invert(u: jax.Array, probability: jax.Array) -> jax.Array:
    """First possible index k with u < Σ_{j ≤ k} p_j, u [] in [0, 1), p [K] → [] int32.

    Where rounding leaves u above the whole sum, it is the last possible index. "Possible" is tested, not left
    to the sum: XLA adds long rows in blocks, and such a sum can rise where nothing is added.
    """
    index = jnp.arange(probability.shape[0], dtype=jnp.int32)  # [K]
    possible = probability > 0
    reached = possible & (u < jnp.cumsum(probability))
    last = jnp.max(jnp.where(possible, index, 0))
    return jnp.min(jnp.where(reached, index, last))


def _checked_transition(transition: ArrayLike) -> np.ndarray:
    table = _checks.finite_array("transition", transition, "[S, A, S]")
    if table.ndim != 3 or 0 in table.shape or table.shape[0] != table.shape[2]:
        raise ValueError(
            f"transition has shape {list(table.shape)}: give P(s′ | s, a) as [S, A, S], "
            "with at least one state and one action"
        )
    return _checks.distributions("transition", table)


def _checked_initial(initial: ArrayLike | None, terminal: np.ndarray) -> np.ndarray:
    size = terminal.shape[0]
    given = np.eye(size)[0] if initial is None else _checks.finite_array("initial", initial, "[S]")
    _checks.shape("initial", given, "[S]", (size,))
    start = _checks.distributions("initial", given)
    if (start[terminal] > 0).any():
        state = int(np.flatnonzero((start > 0) & terminal)[0])
        raise ValueError(
            f"initial gives probability {start[state]:g} to state {state}, which is terminal: a game needs a "
            "first step; start elsewhere (initial=...) or say which states end the game (terminal=...)"
        )
    return start


def _checked_terminal(terminal: ArrayLike | None, table: np.ndarray, reward: np.ndarray) -> np.ndarray:
    if terminal is None:
        stays = np.einsum("sas->sa", table) == 1.0  # [S, A]
        pays = (reward if reward.ndim == 2 else np.einsum("sas->sa", reward)) != 0.0  # [S, A]
        return (stays & ~pays).all(axis=1)
    ends = _checks.finite_array("terminal", terminal, "[S] booleans")
    _checks.shape("terminal", ends, "[S] booleans", table.shape[:1])
    if not np.isin(ends, (0.0, 1.0)).all():
        raise ValueError(f"terminal is {ends.tolist()}: give one boolean for each state")
    return ends.astype(bool)


def _checked_observation(observation: ArrayLike | None, size: int) -> np.ndarray:
    if observation is None:
        return np.arange(size, dtype=np.int32)
    seen = _checks.finite_array("observation", observation, "[S] whole numbers")
    _checks.shape("observation", seen, "[S] whole numbers", (size,))
    if (seen < 0).any() or (seen != np.floor(seen)).any() or (seen >= 2**31 - 1).any():
        raise ValueError(f"observation is {seen.tolist()}: give a whole number, at least 0, for each state")
    return seen.astype(np.int32)
