"""Evaluation: fresh games of a trained policy, apart from training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purepg import environments, rollout
from purepg.hyperparams import Hyperparams
from purepg.training import Method, fitted


class Evaluation(NamedTuple):
    """What came of each game."""

    returns: jax.Array  # [num_games], undiscounted and unscaled
    lengths: jax.Array  # [num_games] int32


def evaluate(
    method: Method,
    hyper: Hyperparams,
    params: Any,
    key: jax.Array,
    num_games: int,
    deterministic: bool = True,
) -> Evaluation:
    """Plays `num_games` fresh games with the parameters of one seed, by the policy's mode or sampled from it. Pure."""
    method, hyper = fitted(method, hyper)
    spec, max_steps = method.task.env, method.task.max_steps
    env_params = environments.parameters(spec, hyper.env)
    act = method.act(params, deterministic=deterministic, env_params=env_params)
    rows = rollout.play_games(
        environments.resolve(spec), env_params, act, key, num_games=num_games, max_steps=max_steps
    )
    return Evaluation(rollout.episode_returns(rows), rows.live.sum(axis=0, dtype=jnp.int32))
