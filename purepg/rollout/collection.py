"""Collection: games played the way the task asks for. Everything that plays in an environment plays through here.

`collect` plays an update's trajectory, `collect_and_learn` that of a learner that changes with every step; the other
functions read results off a trajectory.
"""

from typing import Any

import jax
import jax.numpy as jnp

from purepg import environments
from purepg.environments import Environment
from purepg.errors.shapes import check_shapes
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy, running_moments
from purepg.policies.networks import Params
from purepg.rollout import rollout
from purepg.rollout.trajectory import Act, ActionOutput, ActiveGames, Learner, Trajectory, Value
from purepg.task import Games, Segments, Task

__all__ = [
    "by_policy",
    "check_rows",
    "collect",
    "collect_and_learn",
    "ends",
    "episode_returns",
    "next_values",
    "observed",
    "row_scale",
    "start",
]


def start(task: Task, hyper: Hyperparams, act: Act, key: jax.Array) -> Any:
    """What is carried from update to update: the running games of segments, nothing for whole games.

    Args:
      task: what is played.
      hyper: numbers, traced; scalars.
      act: chooses the actions by which segments' games are played to their ages.
      key: one typed key.

    Returns:
      `ActiveGames` for segments, `()` for whole games.
    """
    if isinstance(task.collect, Games):
        return ()
    options = {"num_games": task.collect.num_games, "max_steps": task.max_steps}
    return rollout.staggered_games(*_environment(task, hyper), act, key, **options)


def by_policy(policy: BoundPolicy, params: Params, *, deterministic: bool, env_params: Any = None) -> Act:
    """Play by a policy, as an `Act`.

    Args:
      policy: bound to the environment.
      params: its parameters.
      deterministic: by the distribution's mode, or sampled from it.
      env_params: the environment's parameters, whose action bounds hold; None: the defaults.
    """

    def choose(key, observation):
        distribution = policy.distribution(params, observation)
        action = distribution.mode() if deterministic else distribution.sample(key)
        return ActionOutput(action, policy.play(action, env_params))

    return choose


def collect(
    task: Task,
    hyper: Hyperparams,
    act: Act,
    running: Any,
    key: jax.Array,
    value: Value | None = None,
    *,
    keep_next: bool = False,
    differentiable: bool = False,
) -> tuple[Any, Trajectory]:
    """Plays one update's trajectory `[T, N]`.

    Args:
      task: what is played; T is `max_steps` for whole games, `num_steps` for segments.
      hyper: numbers, traced; `env` holds the environment's parameters.
      act: chooses the actions of all games at once.
      running: from `start` or the update before; `()` where the task asks for whole games.
      key: one typed key.
      value: V, to fill in `bootstrap_value`; None: it stays None.
      keep_next: whether to fill in `next_observation` as well.
      differentiable: whether gradients flow through transitions.

    Returns:
      The running games to pass to the next update, and the trajectory.
    """
    env, params = _environment(task, hyper, differentiable=differentiable)
    options: Any = {"max_steps": task.max_steps, "value": value, "keep_next": keep_next}
    if isinstance(task.collect, Games):
        return (), rollout.play_games(env, params, act, key, num_games=task.collect.num_games, **options)
    return rollout.play_segment(env, params, act, key, running, num_steps=task.collect.num_steps, **options)


def collect_and_learn(
    task: Task, hyper: Hyperparams, learner: Learner, running: ActiveGames, key: jax.Array
) -> tuple[ActiveGames, Any, Any]:
    """Plays one segment by a learner: the running games, the learner's state after it, and what it kept, `[T, ...]`.

    Args:
      task: what is played.
      hyper: numbers, traced; scalars.
      learner: acts, and learns from each step before the next.
      running: from `start` or the update before.
      key: one typed key.
    """
    # Methods that learn from each step refuse whole games with a message of their own.
    assert isinstance(task.collect, Segments)
    options = {"num_steps": task.collect.num_steps, "max_steps": task.max_steps}
    return rollout.play_and_learn(*_environment(task, hyper), learner, key, running, **options)


def check_rows(trajectory: Trajectory) -> None:
    """Refuses a trajectory whose fields differ in their leading axes `[T, N]`.

    Args:
      trajectory: [T, N].
    """
    of_games, values = (
        trajectory.mask.shape,
        {"value": trajectory.value, "bootstrap_value": trajectory.bootstrap_value},
    )
    fields = {
        name: getattr(trajectory, name)
        for name in ("reward", "terminated", "truncated", "time", "return_so_far")
    }
    check_shapes("mask", of_games, **fields, **{name: x for name, x in values.items() if x is not None})
    check_shapes("mask", (*of_games, ...), observation=trajectory.observation, action=trajectory.action)


def row_scale(task: Task, trajectory: Trajectory) -> jax.Array:
    """The factor of each row in every sum over rows, `[T, N]`: 1/N for games, 1/(N·T) for segments, 0 in dead rows.

    Args:
      task: what is played.
      trajectory: [T, N].
    """
    num_steps, num_games = trajectory.mask.shape
    return trajectory.mask.astype(jnp.float32) / (
        num_games * (1 if isinstance(task.collect, Games) else num_steps)
    )


def observed(task: Task, trajectory: Trajectory) -> Any:
    """The moments of the observations, where the task normalises by them.

    Args:
      task: what is played.
      trajectory: [T, N].

    Returns:
      `running_moments.Moments` of the observations in live rows; `()` where the task does not normalise.
    """
    return running_moments.of(trajectory.observation, trajectory.mask) if task.normalize_observations else ()


def ends(trajectory: Trajectory, time_limit: str) -> tuple[jax.Array, jax.Array]:
    """(terminated, truncated) `[T, N]`: where the limit is part of the objective, nothing follows a truncation.

    Args:
      trajectory: [T, N].
      time_limit: "objective" or "bootstrap".
    """
    if time_limit == "objective":
        return trajectory.terminated | trajectory.truncated, jnp.zeros_like(trajectory.truncated)
    return trajectory.terminated, trajectory.truncated


def episode_returns(trajectory: Trajectory) -> jax.Array:
    """The undiscounted return of each game, `[N]`.

    Args:
      trajectory: of whole games, [T, N].
    """
    return trajectory.return_so_far[-1]


def next_values(trajectory: Trajectory) -> jax.Array:
    """V of each row's true next observation, `[T, N]`; meaningless where terminated.

    Args:
      trajectory: [T, N], with `value` and `bootstrap_value`.
    """
    later = jnp.concatenate([trajectory.value[1:], trajectory.bootstrap_value[-1:]])
    # A dead row's value may be anything, and would enter a recursion as 0 · NaN.
    return jnp.where(trajectory.mask, jnp.where(trajectory.truncated, trajectory.bootstrap_value, later), 0.0)


def _environment(task: Task, hyper: Hyperparams, *, differentiable: bool = False) -> tuple[Environment, Any]:
    """The task's environment and its parameters in use."""
    resolve = environments.differentiable if differentiable else environments.resolve
    return resolve(task.env), environments.parameters(task.env, hyper.env)
