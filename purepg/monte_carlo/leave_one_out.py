"""Σ_{k≠i} x_k: what a baseline computes from the other samples, so that it does not depend on its own.

total − x_i would lose the others behind an outlier (1e8 + 1 − 1e8 = 0 in float32), and would depend on x_i through its
rounding, or entirely where it is not finite. Adding the sums before and after i subtracts nothing.

Gradients flow through x.
"""

import jax
import jax.numpy as jnp

__all__ = ["sum_of_others"]


def sum_of_others(x: jax.Array, axis: int = 0) -> jax.Array:
    """Σ_{k≠i} x_k along an axis for each i, in the shape of x.

    Args:
      x: [...].
      axis: of the samples.
    """
    x = jnp.moveaxis(x, axis, 0)
    zero = jnp.zeros_like(x[:1])
    before = jnp.concatenate([zero, jnp.cumsum(x[:-1], axis=0)])
    behind = jnp.concatenate([jnp.cumsum(x[:0:-1], axis=0)[::-1], zero])
    return jnp.moveaxis(before + behind, 0, axis)
