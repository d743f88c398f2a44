"""Optimiser steps that have a derivative wherever they have a value, so that training itself can be differentiated.

The derivative of optax's clipping is NaN at an infinite norm or a gradient of 0, and that of its Adam where a component
of the gradient has always been 0: √ has no derivative at 0, and the branch of a `where` that is not taken contributes
0 · ∞. Here the input of such a branch is made harmless first. The values are optax's, to the bit.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from purepg.errors.dtypes import usual_promotions

__all__ = ["adam", "clip_by_global_norm", "norm", "sqrt"]


def sqrt(x: jax.Array) -> jax.Array:
    """√x of x ≥ 0, with derivative 0 at 0.

    Args:
      x: [...], at least 0.
    """
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), x)


def norm(tree: Any) -> jax.Array:
    """The global norm, []; its derivative is 0 where the whole tree is 0.

    Args:
      tree: pytree of float arrays.
    """
    return sqrt(jnp.asarray(optax.tree.norm(tree, squared=True)))


def clip_by_global_norm(largest: jax.typing.ArrayLike) -> optax.GradientTransformation:
    """Scales updates down to the global norm `largest` where they exceed it; infinity means no clipping.

    Args:
      largest: the norm allowed, at least 0; traced or not.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        size = norm(updates)
        exceeds = size > largest
        size, limit = jnp.where(exceeds, size, 1.0), jnp.where(exceeds, largest, 1.0)
        return jax.tree.map(lambda x: jnp.where(exceeds, x / size * limit, x), updates), state

    return optax.GradientTransformation(optax.identity().init, update)


def adam(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """optax's Adam with its default numbers, and its state.

    Args:
      learning_rate: step size, or a schedule of it.
    """
    standard, epsilon = optax.scale_by_adam(), 1e-8

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with usual_promotions():
            moments: Any = standard.update(updates, state)[1]
            mean = optax.tree.bias_correction(moments.mu, 0.9, moments.count)
            square = optax.tree.bias_correction(moments.nu, 0.999, moments.count)
        return jax.tree.map(lambda m, v: m / (sqrt(v) + epsilon), mean, square), moments

    scale = optax.GradientTransformation(standard.init, update)
    return optax.chain(scale, optax.scale_by_learning_rate(learning_rate))
