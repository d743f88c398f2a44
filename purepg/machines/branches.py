"""Branches that stay branches under `vmap`.

Where a predicate is mapped, `lax.cond` becomes a select: both branches are computed, for all, always. If a branch may
as well be taken by all as soon as one needs it, its predicate can be the same for all, and the branch stays.
"""

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
