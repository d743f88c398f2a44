"""Branches that stay branches under `vmap`.

Where a predicate is mapped, `lax.cond` becomes a select: both branches are computed, for all, always. If a branch may
as well be taken by all as soon as one needs it, its predicate can be the same for all, and the branch stays.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_batching.custom_vmap
def _any_mapped(predicate: jax.Array) -> jax.Array:
    return predicate


@_any_mapped.def_vmap
def _(axis_size: int, in_batched: list[bool], predicate: jax.Array) -> tuple[jax.Array, bool]:
    return _any_mapped(predicate.any(0) if in_batched[0] else predicate), False


def any_mapped(predicate: jax.Array) -> jax.Array:
    """Whether a predicate holds for any of those that it is mapped over: one answer for all of them.

    No axis is named: it holds under a caller's own or nested `vmap`, `lax.map(batch_size=)`, and in exported programs.
    Across devices (`shard_map`) each answers for itself. No gradient flows through it.

    Args:
      predicate: [] bool.

    Returns:
      [] bool, the same for all along mapped axes: `lax.cond` on it is a branch.
    """
    return _any_mapped(jax.lax.stop_gradient(jnp.asarray(predicate)))


def cond(predicate: jax.Array, if_true: Callable, if_false: Callable, *operands: Any) -> Any:
    """`jax.lax.cond` for a rare or costly `if_true`: where it is mapped, it is computed if any needs it, else for none.

    Each still gets its own side.

    Args:
      predicate: [] bool.
      if_true: function of the operands; `if_false` gives the same structure.
      if_false: the cheap side.
      *operands: pytrees of arrays.
    """

    def mine(*operands: Any) -> Any:
        return jax.lax.cond(predicate, if_true, if_false, *operands)  # a select where it is mapped

    return jax.lax.cond(any_mapped(predicate), mine, if_false, *operands)
