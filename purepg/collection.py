"""Collection: the rows that an update learns from, in the way that the task asks for."""

from typing import Any

import jax
import jax.numpy as jnp

from purepg import environments, rollout, running_moments
from purepg.hyperparams import Hyperparams
from purepg.networks import Params
from purepg.policies import BoundPolicy
from purepg.shapes import check_shapes
from purepg.task import Games, Task
from purepg.trajectory import Act, Choice, Rows, Value


def start(task: Task, hyper: Hyperparams, act: Act, key: jax.Array) -> Any:
    """What is carried from update to update: the running games of segments, nothing for whole games."""
    if isinstance(task.collect, Games):
        return ()
    env, params = environments.resolve(task.env), environments.parameters(task.env, hyper.env)
    return rollout.staggered_games(
        env, params, act, key, num_games=task.collect.num_games, max_steps=task.max_steps
    )


def by_policy(policy: BoundPolicy, params: Params, *, deterministic: bool, env_params: Any = None) -> Act:
    """Play by a policy: sampled from it, or its mode; `env_params` say in which bounds, none: the defaults."""

    def choose(key, observation):
        distribution = policy.distribution(params, observation)
        action = distribution.mode() if deterministic else distribution.sample(key)
        return Choice(action, policy.play(action, env_params))

    return choose


def collect(
    task: Task,
    hyper: Hyperparams,
    act: Act,
    running: Any,
    key: jax.Array,
    value: Value | None,
    *,
    differentiable: bool = False,
) -> tuple[Any, Rows]:
    """Plays one update's rows `[T, N]` by `act`: what is carried on, and the rows; `value` is for `cut_value`.

    Gradients flow through transitions where `differentiable` asks for it.
    """
    env = environments.differentiable(task.env) if differentiable else environments.resolve(task.env)
    params = environments.parameters(task.env, hyper.env)
    options = {"max_steps": task.max_steps, "value": value}
    if isinstance(task.collect, Games):
        return (), rollout.play_games(env, params, act, key, num_games=task.collect.num_games, **options)
    return rollout.play_segment(env, params, act, key, running, num_steps=task.collect.num_steps, **options)


def check_rows(rows: Rows) -> None:
    """Refuses rows `[T, N, ...]` whose fields are not of one length and as many games."""
    of_games, values = rows.live.shape, {"value": rows.value, "cut_value": rows.cut_value}
    fields = {name: getattr(rows, name) for name in ("reward", "terminated", "truncated", "time", "score")}
    check_shapes("live", of_games, **fields, **{name: x for name, x in values.items() if x is not None})
    check_shapes("live", (*of_games, ...), observation=rows.observation, action=rows.action)


def row_scale(task: Task, rows: Rows) -> jax.Array:
    """What every sum over rows is scaled by, `[T, N]`: 1/N for games, 1/(N·T) for segments, 0 in dead rows."""
    num_steps, num_games = rows.live.shape
    return rows.live.astype(jnp.float32) / (num_games * (1 if isinstance(task.collect, Games) else num_steps))


def observed(task: Task, rows: Rows) -> Any:
    """The moments of the observations, where the task normalises by them."""
    return running_moments.of(rows.observation, rows.live) if task.normalize_observations else ()


def ends(rows: Rows, time_limit: str) -> tuple[jax.Array, jax.Array]:
    """(terminated, truncated) `[T, N]`: where the limit is part of the objective, nothing follows a truncation."""
    if time_limit == "objective":
        return rows.terminated | rows.truncated, jnp.zeros_like(rows.truncated)
    return rows.terminated, rows.truncated


def next_values(rows: Rows) -> jax.Array:
    """V of the true next observation, `[T, N]`, of rows that carry values; not to be read where terminated."""
    later = jnp.concatenate([rows.value[1:], rows.cut_value[-1:]])
    # A dead row's value may be anything, and a recursion would meet it as 0 · NaN.
    return jnp.where(rows.live, jnp.where(rows.truncated, rows.cut_value, later), 0.0)
