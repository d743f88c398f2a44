"""Rollouts: one scan over time, N games side by side.

Row t of game n holds the observation, the action taken on it, and what came of it. Games are fresh, each with its own
randomness, and run to their end or the limit; rows after a game's end are masked by `live` and repeat its last
observation, so that nothing in them can be NaN. Once all games are over, the remaining rows cost nothing (where the
scan is not under `vmap`).

Gradients flow through rewards and observations as far as the environment and `act` let them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purepg.environments import Environment

_BLOCK = (
    8  # steps between two looks at whether any game still runs: each look costs about as much as a small step
)

Act = Callable[[jax.Array, jax.Array], jax.Array]  # key, observations [N, *shape] → actions [N, *action]


class Rows(NamedTuple):
    """Steps of N games, time first."""

    observation: jax.Array  # [T, N, *shape]
    action: jax.Array  # [T, N, *action]
    reward: jax.Array  # [T, N], 0 in dead rows
    terminated: jax.Array  # [T, N] bool, nothing follows
    truncated: jax.Array  # [T, N] bool, cut by a limit; never together with terminated
    live: jax.Array  # [T, N] bool, false after the game's end
    time: jax.Array  # [T, N] int32, steps since the game's start


class _Games(NamedTuple):
    observation: jax.Array  # [N, *shape]
    state: Any  # the environment's, [N, ...]
    live: jax.Array  # [N] bool


def play_games(
    env: Environment, params: Any, act: Act, key: jax.Array, *, num_games: int, max_steps: int
) -> Rows:
    """Plays `num_games` fresh games of at most `max_steps` steps; a game that still runs then is truncated.

    Args:
      env: a gymnax environment; its auto-reset is not used.
      params: the environment's parameters.
      act: what chooses the actions of all games at once.
      key: every game and every step draws its own noise from it.
    """
    reset_key, play_key = jax.random.split(key)
    start = _reset(env, params, jax.random.split(reset_key, num_games))

    def step(games: _Games, time: jax.Array) -> tuple[_Games, Rows]:
        act_key, step_key = jax.random.split(jax.random.fold_in(play_key, time))
        action = act(act_key, games.observation)
        after, reward, terminated, truncated = _step(env, params, step_key, games.state, action)
        truncated = (truncated | (time == max_steps - 1)) & ~terminated
        live = games.live
        rows = Rows(
            games.observation,
            action,
            jnp.where(live, reward, 0.0),
            terminated & live,
            truncated & live,
            live,
            jnp.full((num_games,), time),
        )
        goes_on = live & ~terminated & ~truncated
        return _where(goes_on, after, games)._replace(live=goes_on), rows

    games_like, rows_like = jax.eval_shape(step, start, 0)
    start = jax.tree.map(lambda x, like: x.astype(like.dtype), start, games_like)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), rows_like)

    def skip(games: _Games, times: jax.Array) -> tuple[_Games, Rows]:
        rows = blank._replace(observation=games.observation)
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (_BLOCK, *x.shape)), rows)
        return games, rows._replace(time=jnp.broadcast_to(times[:, None], rows.time.shape))

    def block(games: _Games, times: jax.Array) -> tuple[_Games, Rows]:
        return jax.lax.cond(games.live.any(), lambda g, t: jax.lax.scan(step, g, t), skip, games, times)

    num_blocks = -(-max_steps // _BLOCK)
    times = jnp.arange(num_blocks * _BLOCK, dtype=jnp.int32).reshape(num_blocks, _BLOCK)
    rows = jax.lax.scan(block, start, times)[1]
    return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:]))[:max_steps], rows)


def episode_returns(rows: Rows) -> jax.Array:
    """The undiscounted return of each game, [N]."""
    return rows.reward.sum(axis=0)


def _reset(env: Environment, params: Any, keys: jax.Array) -> _Games:
    observation, state = jax.vmap(env.reset_env, (0, None))(keys, params)
    # Python numbers in a fresh state become arrays here; the caller gives them the type that a step returns.
    state = jax.tree.map(jnp.asarray, state)
    return _Games(observation, state, jnp.ones(keys.shape[0], bool))


def _step(env: Environment, params: Any, key: jax.Array, state: Any, action: jax.Array):
    """One step of each game: the games after it (`live` unset), reward, terminated, truncated, all [N]."""

    def one_game(key, state, action):
        observation, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = jnp.asarray(env.is_truncated(state, params), bool)
        return observation, state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated, bool), truncated

    keys = jax.random.split(key, action.shape[0])
    observation, state, reward, terminated, truncated = jax.vmap(one_game)(keys, state, action)
    return _Games(observation, state, jnp.ones_like(terminated)), reward, terminated, truncated


def _where(condition: jax.Array, x: Any, y: Any) -> Any:
    """Game by game, over any structure of arrays `[N, ...]`."""

    def select(x, y):
        return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(select, x, y)
