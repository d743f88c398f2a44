"""Evaluation: fresh games of a trained policy, apart from training."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purepg.hyperparams import Hyperparams
from purepg.rollout import collection
from purepg.rollout.trajectory import ActionOutput, Trajectory
from purepg.task import Games
from purepg.training import Method, fitted

__all__ = ["Evaluation", "evaluate", "play"]


class Evaluation(NamedTuple):
    """The outcome of each game.

    Attributes:
      returns: [num_games], undiscounted and unscaled.
      lengths: [num_games] int32.
    """

    returns: jax.Array
    lengths: jax.Array


def evaluate(
    method: Method,
    hyper: Hyperparams,
    params: Any,
    key: jax.Array,
    num_games: int,
    *,
    deterministic: bool = True,
) -> Evaluation:
    """Returns and lengths of fresh games, played with the parameters of one seed. Pure.

    Args:
      method: the record that trained them; its `act` chooses actions.
      hyper: its numbers, scalars; `env` holds the parameters of the environment that is played.
      params: of one seed, as `method.params` gives them.
      key: one typed key.
      num_games: fresh games, at least 1.
      deterministic: by the policy's mode, or sampled from it.
    """
    trajectory = play(method, hyper, params, key, num_games, deterministic=deterministic)
    return Evaluation(collection.episode_returns(trajectory), trajectory.mask.sum(axis=0, dtype=jnp.int32))


def play(
    method: Method, hyper: Hyperparams, params: Any, key: jax.Array, num_games: int, *, deterministic: bool
) -> Trajectory:
    """The games of `evaluate` step by step, with the actions as the environment took them. Pure.

    Args:
      method, hyper, params, key, num_games, deterministic: as for `evaluate`.

    Returns:
      A trajectory `[T, num_games]`, T the longest game allowed.
    """
    method, hyper = fitted(method, hyper)
    task = dataclasses.replace(method.task, collect=Games(num_games, method.task.max_steps))
    choose = method.act(params, deterministic=deterministic, env_params=hyper.env)

    def act(key: jax.Array, observation: jax.Array) -> ActionOutput:
        choice = choose(key, observation)
        return choice._replace(action=choice.env_action)

    return collection.collect(task, hyper, act, (), key)[1]
