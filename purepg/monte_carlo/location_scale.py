"""Location-scale families, x = μ + b F⁻¹(u): any standard distribution function F makes one.

u is uniform on (0, 1), without its ends, so that every x is finite. Components are independent; `sample` and `log_prob`
broadcast location and scale. Gradients flow through both methods.

Reference: Devroye (1986), Non-Uniform Random Variate Generation, chapter II.2.
"""

import jax
import jax.numpy as jnp

__all__ = ["LocationScale", "open_uniform"]


def open_uniform(key: jax.Array, *like: jax.Array) -> jax.Array:
    """[...] in (0, 1), symmetric about ½: the midpoints of the cells whose lower ends `jax.random.uniform` gives.

    Args:
      key: one typed key.
      *like: parameters, whose common shape and type the result has.
    """
    dtype = jnp.result_type(*like, jnp.float32)
    shape = jnp.broadcast_shapes(*map(jnp.shape, like))
    return jax.random.uniform(key, shape, dtype) + float(jnp.finfo(dtype).eps) / 2


class LocationScale:
    """What the families share: x = location + scale · F⁻¹(u). A family adds its fields, F⁻¹ and log density."""

    location: jax.Array
    scale: jax.Array

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        """F⁻¹(u) [...] at location 0 and scale 1, for u [...] in (0, 1)."""
        raise NotImplementedError

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        """log p(z) [...] at location 0 and scale 1."""
        raise NotImplementedError

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...]."""
        return self.location + self.scale * self.quantile(open_uniform(key, self.location, self.scale))

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...], of x [...]."""
        return self.log_density((x - self.location) / self.scale) - jnp.log(self.scale)
