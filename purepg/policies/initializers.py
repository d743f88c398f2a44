"""Initial weights of networks by name, each a function (key, shape, dtype) → array."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["INITIALIZERS", "scaled"]


def scaled(weights: Callable, scale: float) -> Callable:
    """The initializer `weights` times `scale`, any float."""
    return lambda *arguments: scale * weights(*arguments)


# QR of a batch of matrices can deadlock XLA's CPU backend: one matrix at a time, also under a caller's vmap.
@jax.custom_batching.sequential_vmap
def _normal_to_orthogonal(matrix):
    q, r = jnp.linalg.qr(matrix)
    return q * jnp.sign(jnp.diagonal(r))[None, :]


def _orthogonal(key, shape, dtype=jnp.float32):
    rows, columns = shape
    q = _normal_to_orthogonal(jax.random.normal(key, (max(shape), min(shape)), dtype))
    return q if rows >= columns else q.T


INITIALIZERS = {
    "lecun_normal": nn.initializers.lecun_normal(),
    "he_normal": nn.initializers.he_normal(),
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "orthogonal": _orthogonal,
}
