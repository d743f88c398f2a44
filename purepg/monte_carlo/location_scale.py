"""Location-scale families, x = μ + b F⁻¹(u): any standard distribution function F makes one.

u is uniform on (0, 1), without its ends, so that every x is finite. Components are independent; `sample` and `log_prob`
broadcast location and scale. Gradients flow through both methods.

Reference: Devroye (1986), Non-Uniform Random Variate Generation, chapter II.2.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

__all__ = ["Cauchy", "Gumbel", "Laplace", "Logistic", "open_uniform"]


def open_uniform(key: jax.Array, *like: jax.Array) -> jax.Array:
    """[...] in (0, 1), symmetric about ½: the midpoints of the cells whose lower ends `jax.random.uniform` gives.

    Args:
      key: one typed key.
      *like: parameters, whose common shape and type the result has.
    """
    dtype = jnp.result_type(*like, jnp.float32)
    shape = jnp.broadcast_shapes(*map(jnp.shape, like))
    return jax.random.uniform(key, shape, dtype) + float(jnp.finfo(dtype).eps) / 2


class _Standard(Protocol):
    """A location-scale family: what location 0 and scale 1 give."""

    location: jax.Array  # [...]
    scale: jax.Array  # [...], positive

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array: ...  # F⁻¹, elementwise
    @staticmethod
    def log_density(z: jax.Array) -> jax.Array: ...  # elementwise


@dataclass(frozen=True)
class _LocationScale:
    location: jax.Array
    scale: jax.Array

    def sample(self: _Standard, key: jax.Array) -> jax.Array:
        """x [...]."""
        return self.location + self.scale * self.quantile(open_uniform(key, self.location, self.scale))

    def log_prob(self: _Standard, x: jax.Array) -> jax.Array:
        """[...], of x [...]."""
        return self.log_density((x - self.location) / self.scale) - jnp.log(self.scale)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace(_LocationScale):
    """p(x) = exp(−|z|) / 2b, z = (x − μ) / b.

    Attributes:
      location: μ, [...].
      scale: b, [...], positive.
    """

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        """F⁻¹(u) [...] at location 0 and scale 1, for u [...] in (0, 1)."""
        return -jnp.sign(u - 0.5) * jnp.log1p(-2 * jnp.abs(u - 0.5))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        """log p(z) [...] at location 0 and scale 1."""
        return -jnp.abs(z) - math.log(2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logistic(_LocationScale):
    """F(x) = 1 / (1 + exp(−z)), z = (x − μ) / s.

    Attributes:
      location: μ, [...].
      scale: s, [...], positive.
    """

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        """F⁻¹(u) [...] at location 0 and scale 1, for u [...] in (0, 1)."""
        return jnp.log(u) - jnp.log1p(-u)

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        """log p(z) [...] at location 0 and scale 1."""
        return -z - 2 * jax.nn.softplus(-z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gumbel(_LocationScale):
    """F(x) = exp(−exp(−z)), z = (x − μ) / β.

    Attributes:
      location: μ, [...].
      scale: β, [...], positive.
    """

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        """F⁻¹(u) [...] at location 0 and scale 1, for u [...] in (0, 1)."""
        return -jnp.log(-jnp.log(u))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        """log p(z) [...] at location 0 and scale 1."""
        return -z - jnp.exp(-z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cauchy(_LocationScale):
    """p(x) = 1 / (π s (1 + z²)), z = (x − μ) / s.

    It has no mean: f must be bounded for E f to exist, and for the pathwise gradient by the scale f' must fall faster
    than 1/x, since E |f'(x) z| has to exist as well. The score is bounded.

    Attributes:
      location: μ, [...].
      scale: s, [...], positive.
    """

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        """F⁻¹(u) [...] at location 0 and scale 1, for u [...] in (0, 1)."""
        return jnp.tan(math.pi * (u - 0.5))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        """log p(z) [...] at location 0 and scale 1."""
        return -jnp.log1p(z**2) - math.log(math.pi)
