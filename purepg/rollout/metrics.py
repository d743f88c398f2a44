"""Metrics of an update: a few named sums with their counts, never one entry per row."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purepg.rollout.trajectory import Trajectory

__all__ = ["Average", "Metrics", "of_games", "once", "over"]


class Average(NamedTuple):
    """A mean kept as its sum and count; count 0 means that there was nothing to average.

    Attributes:
      sum: [].
      count: [].
    """

    sum: jax.Array
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]


Metrics = dict[str, Average]


def once(value: jax.Array) -> Average:
    """A number of which an update has exactly one.

    Args:
      value: [].
    """
    return Average(jnp.asarray(value, jnp.float32), jnp.float32(1))


def over(values: jax.Array, where: jax.Array) -> Average:
    """The average of `values` where `where` holds.

    Args:
      values: [...].
      where: [...] bool.
    """
    return Average(jnp.sum(jnp.where(where, values, 0.0)), jnp.sum(where, dtype=jnp.float32))


def of_games(trajectory: Trajectory) -> Metrics:
    """Undiscounted return and length per ended episode, and the number of steps played.

    Args:
      trajectory: [T, N].

    Returns:
      "return", "length" and "steps".
    """
    ended = trajectory.terminated | trajectory.truncated
    return {
        "return": over(trajectory.return_so_far, ended),
        "length": over((trajectory.time + 1).astype(jnp.float32), ended),
        "steps": once(jnp.sum(trajectory.mask)),
    }
