"""The types of a rollout: the steps that were played, the games that still run, and what chooses their actions.

Two kinds of player exist: an `act`, the same from one step to the next, and a learner, which changes with every step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

__all__ = ["Act", "ActionOutput", "ActiveGames", "Learner", "Trajectory", "Value"]


class ActionOutput(NamedTuple):
    """What `act` chooses for each game.

    Attributes:
      action: [N, *action] as sampled, the one of which log-probabilities are taken.
      env_action: [N, *action] as the environment takes it, within its bounds.
      value: [N] V of the observation, or None.
    """

    action: jax.Array
    env_action: jax.Array
    value: Any = None


Act = Callable[[jax.Array, jax.Array], ActionOutput]  # key, observations [N, *shape] → ActionOutput
Value = Callable[[jax.Array], jax.Array]  # observations [N, *shape] → [N]


class Trajectory(NamedTuple):
    """Steps of N games, time first.

    Attributes:
      observation: [T, N, *shape], before the action.
      action: [T, N, *action], as sampled.
      reward: [T, N], 0 in dead rows.
      terminated: [T, N] bool, nothing follows.
      truncated: [T, N] bool, cut by a limit; never together with terminated.
      mask: [T, N] bool, false after the game's end.
      time: [T, N] int32, steps since the game's start.
      return_so_far: [T, N] undiscounted return of the episode up to this row, its reward included.
      value: [T, N] V of the observation; None where `act` gives no V.
      bootstrap_value: [T, N] V of the true next observation where the episode is cut, 0 elsewhere; None without a V.
      next_observation: [T, N, *shape] the true next observation, before any reset; None unless asked for.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    mask: jax.Array
    time: jax.Array
    return_so_far: jax.Array
    value: Any = None
    bootstrap_value: Any = None
    next_observation: Any = None


class ActiveGames(NamedTuple):
    """Games between two steps.

    Attributes:
      observation: [N, *shape].
      state: the environment's, [N, ...].
      time: [N] int32, steps since the game's start.
      return_so_far: [N] undiscounted return so far.
      carry: [N, ...] the policy's memory; () where it has none.
    """

    observation: jax.Array
    state: Any
    time: jax.Array
    return_so_far: jax.Array
    carry: Any = ()


class Learner(NamedTuple):
    """Plays, and learns from every step before it plays the next.

    `learn` takes the state, a key, the step's row `[N]` with its true next observation, and the observations `[N]` that
    are acted on next, a fresh game's where one has ended. It returns the new state and what is kept of the row.

    Attributes:
      state: what it has learned before the first step, a pytree of arrays.
      act: state, key, observations [N, *shape] → ActionOutput.
    """

    state: Any
    act: Callable[[Any, jax.Array, jax.Array], ActionOutput]
    learn: Callable[[Any, jax.Array, Trajectory, jax.Array], tuple[Any, Any]]
