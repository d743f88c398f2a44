"""What is remembered of games: the steps that were made, the games that go on, and what chooses their actions.

Two kinds play: `act`, the same from one step to the next, and a learner, which changes with every step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class ActionOutput(NamedTuple):
    """What `act` chooses for each game."""

    action: jax.Array  # [N, *action] as remembered: log-probabilities are of it
    env_action: jax.Array  # [N, *action] as the environment takes it
    value: Any = None  # [N] V of the observation, or None


Act = Callable[[jax.Array, jax.Array], ActionOutput]  # key, observations [N, *shape] → ActionOutput
Value = Callable[[jax.Array], jax.Array]  # observations [N, *shape] → [N]


class Trajectory(NamedTuple):
    """Steps of N games, time first."""

    observation: jax.Array  # [T, N, *shape]
    action: jax.Array  # [T, N, *action]
    reward: jax.Array  # [T, N], 0 in dead rows
    terminated: jax.Array  # [T, N] bool, nothing follows
    truncated: jax.Array  # [T, N] bool, cut by a limit; never together with terminated
    mask: jax.Array  # [T, N] bool, false after the game's end
    time: jax.Array  # [T, N] int32, steps since the game's start
    return_so_far: jax.Array  # [T, N] undiscounted return of the episode up to this row, its reward included
    value: Any = None  # [T, N] V of the observation, where `act` gives it
    bootstrap_value: Any = None  # [T, N] V of the true next observation where the episode is cut, 0 elsewhere
    # [T, N, *shape] the true next observation, before any reset; where it is asked for
    next_observation: Any = None


class ActiveGames(NamedTuple):
    """Games between two steps."""

    observation: jax.Array  # [N, *shape]
    state: Any  # the environment's, [N, ...]
    time: jax.Array  # [N] int32, steps since the game's start
    return_so_far: jax.Array  # [N] undiscounted return so far
    carry: Any = ()  # [N, ...] the policy's memory; () where it has none


class Learner(NamedTuple):
    """Plays, and learns from every step before it plays the next.

    `learn` takes the state, a key, the step's row `[N]` with its true next observation, and the observations `[N]` that
    are acted on next, a fresh game's where one has ended. It gives the new state, and what is kept of the row.
    """

    state: Any  # what it has learned before the first step
    act: Callable[
        [Any, jax.Array, jax.Array], ActionOutput
    ]  # state, key, observations [N, *shape] → ActionOutput
    learn: Callable[[Any, jax.Array, Trajectory, jax.Array], tuple[Any, Any]]
