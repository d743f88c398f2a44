"""Rollouts: one scan over time, N games side by side.

Row t of game n holds the observation, the action taken on it, and what followed. There are three ways to play:

    whole games   `play_games`: fresh games, each to its end or the limit. Rows after a game's end are masked and repeat
                  its last observation, so that nothing in them can be NaN. Once all games (of all mapped seeds) are
                  over, the remaining rows cost nothing.
    segments      `play_segment`: T steps of games that go on from segment to segment. A game that ends is followed at
                  once by a fresh one with a state of its own; every row counts.
    learning      `play_and_learn`: a segment by a learner, which changes with every step of all games.

Where an episode is cut, by the limit or by the last row of a segment, the value of the true next observation is needed,
the one before any reset. It is computed in steps where a game is cut, so that observations are not kept twice.

Gradients flow through rewards and observations as far as the environment and `act` let them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purepg import environments
from purepg.environments import Environment
from purepg.errors.dtypes import in_types_of
from purepg.machines.branches import any_mapped
from purepg.rollout.trajectory import Act, ActiveGames, Learner, Trajectory, Value

__all__ = ["Step", "fresh_games", "play_and_learn", "play_games", "play_segment", "staggered_games"]

# Steps between checks whether any game still runs: each check costs about as much as a small step.
_BLOCK = 8

# Games are staggered over at most this many steps; longer ones drift apart by themselves.
_LONGEST_STAGGER = 1000

_Games = tuple[ActiveGames, jax.Array]  # and which of them still run, [N] bool


def play_games(
    env: Environment,
    params: Any,
    act: Act,
    key: jax.Array,
    *,
    num_games: int,
    max_steps: int,
    value: Value | None = None,
    keep_next: bool = False,
) -> Trajectory:
    """Plays `num_games` fresh games of at most `max_steps` steps; a game that still runs then is truncated.

    Args:
      env: a gymnax environment; its auto-reset is not used.
      params: the environment's parameters.
      act: chooses the actions of all games at once.
      key: every game and every step draws its own noise from it.
      num_games: N, at least 1.
      max_steps: T, at least 1.
      value: V, to fill in `bootstrap_value`.
      keep_next: whether rows hold `next_observation` as well.

    Returns:
      A trajectory `[max_steps, num_games]`.
    """
    start_key, play_key = jax.random.split(key)
    step = stepper(env, params, act, max_steps, value, keep_next=keep_next)
    start = _ready(step, fresh_games(env, params, start_key, num_games))

    def masked_step(games: _Games, time: jax.Array) -> tuple[_Games, Trajectory]:
        running, mask = games
        after, rows = step(running, jax.random.fold_in(play_key, time))
        rows = rows._replace(
            reward=jnp.where(mask, rows.reward, 0.0),
            terminated=rows.terminated & mask,
            truncated=rows.truncated & mask,
            mask=mask,
            time=jnp.full_like(rows.time, time),
            return_so_far=jnp.where(mask, rows.return_so_far, running.return_so_far),
            bootstrap_value=None if value is None else jnp.where(mask, rows.bootstrap_value, 0.0),
            next_observation=_where(mask, rows.next_observation, rows.observation) if keep_next else None,
        )
        goes_on = mask & ~rows.terminated & ~rows.truncated
        after = _where(goes_on, after, running)._replace(return_so_far=rows.return_so_far)
        return (after, goes_on), rows

    start = start, jnp.ones(num_games, bool)
    rows_like = jax.eval_shape(masked_step, start, jnp.int32(0))[1]
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), rows_like)

    def skip(games: _Games, times: jax.Array) -> tuple[_Games, Trajectory]:
        rows = blank._replace(observation=games[0].observation, return_so_far=games[0].return_so_far)
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (_BLOCK, *x.shape)), rows)
        return games, rows._replace(time=jnp.broadcast_to(times[:, None], rows.time.shape))

    def block(games: _Games, times: jax.Array) -> tuple[_Games, Trajectory]:
        play = functools.partial(jax.lax.scan, masked_step)
        return jax.lax.cond(any_mapped(games[1].any()), play, skip, games, times)

    num_blocks = -(-max_steps // _BLOCK)
    times = jnp.arange(num_blocks * _BLOCK, dtype=jnp.int32).reshape(num_blocks, _BLOCK)
    rows = jax.lax.scan(block, start, times)[1]
    return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:]))[:max_steps], rows)


def play_segment(
    env: Environment,
    params: Any,
    act: Act,
    key: jax.Array,
    running: ActiveGames,
    *,
    num_steps: int,
    max_steps: int,
    value: Value | None = None,
    keep_next: bool = False,
) -> tuple[ActiveGames, Trajectory]:
    """Plays `num_steps` steps of running games, each followed by a fresh one when it ends.

    Args:
      env, params, act, key: as for `play_games`.
      running: from `staggered_games` or the segment before.
      num_steps: T.
      max_steps: a game that has run for this many steps is truncated.
      value: V, to fill in `bootstrap_value`; games that still run in the last row are cut there.
      keep_next: whether rows hold `next_observation` as well.

    Returns:
      The games after the segment, and rows `[num_steps, N]`.
    """
    step = with_resets(stepper(env, params, act, max_steps, value, keep_next=keep_next), env, params)
    running, rows = jax.lax.scan(step, running, jax.random.split(key, num_steps))
    if value is not None:
        ended = rows.terminated[-1] | rows.truncated[-1]
        last = jnp.where(ended, rows.bootstrap_value[-1], value(running.observation))
        rows = rows._replace(
            bootstrap_value=rows.bootstrap_value.at[-1].set(last.astype(rows.bootstrap_value.dtype))
        )
    return running, rows


def play_and_learn(
    env: Environment,
    params: Any,
    learner: Learner,
    key: jax.Array,
    running: ActiveGames,
    *,
    num_steps: int,
    max_steps: int,
) -> tuple[ActiveGames, Any, Any]:
    """Plays `num_steps` steps of running games as `play_segment` does; the learner learns from each before the next.

    Args:
      env, params, key: as for `play_games`.
      learner: acts and learns; its state has the types that its `learn` returns.
      running: from `staggered_games` or the segment before.
      num_steps: T.
      max_steps: a game that has run for this many steps is truncated.

    Returns:
      The games after the segment, the learner's state after it, and what it kept of the rows, `[num_steps, ...]`.
    """

    def one_step(carried: tuple[ActiveGames, Any], keys: tuple[jax.Array, jax.Array]):
        (running, state), (play_key, learn_key) = carried, keys
        act = functools.partial(learner.act, state)
        step = with_resets(stepper(env, params, act, max_steps, None, keep_next=True), env, params)
        running, rows = step(running, play_key)
        state, kept = learner.learn(state, learn_key, rows, running.observation)
        return (running, state), kept

    keys = tuple(jax.random.split(key, (2, num_steps)))
    (running, state), kept = jax.lax.scan(one_step, (running, learner.state), keys)
    return running, state, kept


def staggered_games(
    env: Environment, params: Any, act: Act, key: jax.Array, *, num_games: int, max_steps: int
) -> ActiveGames:
    """Games at ages spread evenly from 0 to `max_steps`, each played to its age by `act`.

    Games started together would stay in phase where only the limit ends them: every segment would see a single phase of
    the game, and all games would be cut in the same row.

    Args:
      env, params, act, key: as for `play_games`.
      num_games: N.
      max_steps: the longest game.
    """
    start_key, play_key = jax.random.split(key)
    step = stepper(env, params, act, max_steps, None)
    start = _ready(step, fresh_games(env, params, start_key, num_games))
    step = with_resets(step, env, params)
    num_steps = min(max_steps, _LONGEST_STAGGER)
    waits = num_steps - (jnp.arange(num_games) * num_steps) // num_games

    def one_step(running: ActiveGames, time: jax.Array) -> tuple[ActiveGames, None]:
        after, _ = step(running, jax.random.fold_in(play_key, time))
        return _where(time >= waits, after, running), None

    return jax.lax.scan(one_step, start, jnp.arange(num_steps))[0]


def fresh_games(env: Environment, params: Any, key: jax.Array, num_games: int) -> ActiveGames:
    """Games before their first step, each reset with a key of its own.

    Args:
      env: a gymnax environment.
      params: the environment's parameters.
      key: one typed key.
      num_games: N.
    """
    fresh = functools.partial(environments.reset, env)
    observation, state = jax.vmap(fresh, (0, None))(jax.random.split(key, num_games), params)
    # Python numbers in a fresh state become arrays here; later they get the types that a step returns.
    state = jax.tree.map(jnp.asarray, state)
    return ActiveGames(observation, state, jnp.zeros(num_games, jnp.int32), jnp.zeros(num_games, jnp.float32))


Step = Callable[[ActiveGames, jax.Array], tuple[ActiveGames, Trajectory]]


def stepper(
    env: Environment, params: Any, act: Act, max_steps: int, value: Value | None, *, keep_next: bool = False
) -> Step:
    """One step of every game: the games after it, before any reset, and its row `[N]`."""

    def one_game(key, state, action):
        return environments.step(env, key, state, action, params)

    def step(running: ActiveGames, key: jax.Array) -> tuple[ActiveGames, Trajectory]:
        act_key, step_key = jax.random.split(key)
        choice = act(act_key, running.observation)
        keys = jax.random.split(step_key, running.time.shape[0])
        observation, state, reward, terminated, truncated = jax.vmap(one_game)(
            keys, running.state, choice.env_action
        )
        truncated = (truncated | (running.time + 1 >= max_steps)) & ~terminated
        return_so_far = running.return_so_far + reward
        after = ActiveGames(observation, state, running.time + 1, return_so_far, running.carry)
        rows = Trajectory(
            running.observation,
            choice.action,
            reward,
            terminated,
            truncated,
            jnp.ones_like(terminated),
            running.time,
            after.return_so_far,
            choice.value,
            None if value is None else _value_where(truncated, value, observation),
            observation if keep_next else None,
        )
        return after, rows

    return step


def with_resets(step: Step, env: Environment, params: Any) -> Step:
    """The step, with fresh games in place of those that ended in it; a step without an end computes no reset."""

    def step_and_reset(running: ActiveGames, key: jax.Array) -> tuple[ActiveGames, Trajectory]:
        step_key, reset_key = jax.random.split(key)
        after, rows = step(running, step_key)
        ended = rows.terminated | rows.truncated

        def reset(after: ActiveGames) -> ActiveGames:
            return _where(ended, fresh_games(env, params, reset_key, ended.shape[0]), after)

        return jax.lax.cond(ended.any(), reset, lambda after: after, after), rows

    return step_and_reset


def _ready(step: Step, fresh: ActiveGames) -> ActiveGames:
    """Fresh games in the types that a step returns."""
    like = jax.eval_shape(step, fresh, jax.random.key(0))[0]
    return in_types_of(fresh, like)


def _value_where(cut: jax.Array, value: Value, observation: jax.Array) -> jax.Array:
    def read(observation):
        return jnp.where(cut, value(observation), 0.0)

    def none(observation):
        return jnp.zeros(cut.shape, jax.eval_shape(read, observation).dtype)

    return jax.lax.cond(any_mapped(cut.any()), read, none, observation)


def _where(condition: jax.Array, x: Any, y: Any) -> Any:
    """Game by game, over any structure of arrays `[N, ...]`, in y's types."""

    def select(x, y):
        return jnp.where(condition.reshape(condition.shape + (1,) * (y.ndim - 1)), x, y)

    return jax.tree.map(select, in_types_of(x, y), y)
