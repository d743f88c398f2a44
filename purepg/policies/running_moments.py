"""Running moments: mean and spread of samples that arrive one at a time or many at once.

Only the count n, the mean m and the squared deviations D = Σ (x − m)² are kept, component by component:

    one more, d = x − m             n' = n + 1        m' = m + d / n'            D' = D + d (x − m')
    those of two sets, d = m_b − m_a    n = n_a + n_b    m = m_a + d n_b / n    D = D_a + D_b + d² n_a n_b / n

Σ x² − n m² would be a small difference of large numbers; these are not. A sample is an array or a pytree of them, in
NumPy or JAX.

Reference: Welford (1962); Chan, Golub and LeVeque (1983).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Moments", "add", "merge", "of", "zero"]


class Moments(NamedTuple):
    """The moments of n samples.

    Attributes:
      count: [], n.
      mean: like a sample.
      deviation: like a sample, Σ (x − mean)².
    """

    count: Any
    mean: Any
    deviation: Any


def zero(like: Any) -> Moments:
    """The moments of no samples.

    Args:
      like: a sample, a pytree of arrays, for its structure and shapes.
    """
    zeros = jax.tree.map(jnp.zeros_like, like)
    return Moments(jnp.zeros(()), zeros, zeros)


def of(samples: jax.Array, where: jax.Array) -> Moments:
    """The moments of the samples where `where` holds, in float32; the others may be anything.

    Args:
      samples: [*rows, *shape].
      where: [*rows] bool.
    """
    samples, axes = samples.astype(jnp.float32), tuple(range(where.ndim))
    mask = where.reshape(where.shape + (1,) * (samples.ndim - where.ndim))
    count = jnp.sum(where, dtype=jnp.float32)
    mean = jnp.sum(jnp.where(mask, samples, 0.0), axis=axes) / jnp.maximum(count, 1.0)
    centred = samples - jnp.broadcast_to(mean, samples.shape)
    deviation = jnp.sum(jnp.where(mask, centred**2, 0.0), axis=axes)
    return Moments(count, mean, deviation)


def add(moments: Moments, sample: Any) -> Moments:
    """The moments with one more sample.

    Args:
      moments: of n samples.
      sample: one more, in the structure of the mean.
    """
    count = moments.count + 1.0
    before = jax.tree.map(lambda x, m: x - m, sample, moments.mean)
    mean = jax.tree.map(lambda m, d: m + d / count, moments.mean, before)
    deviation = jax.tree.map(lambda s, d, x, m: s + d * (x - m), moments.deviation, before, sample, mean)
    return Moments(count, mean, deviation)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of samples together; either may be empty.

    Args:
      a, b: moments of samples of the same structure.
    """
    count = a.count + b.count
    share = b.count / (count + (count == 0).astype(count.dtype))
    apart = jax.tree.map(lambda x, y: y - x, a.mean, b.mean)
    mean = jax.tree.map(lambda m, d: m + d * share, a.mean, apart)
    deviation = jax.tree.map(lambda u, v, d: u + v + d**2 * a.count * share, a.deviation, b.deviation, apart)
    return Moments(count, mean, deviation)
