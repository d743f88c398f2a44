"""Distributions over actions: what a policy gives for an observation.

Each is a pytree of its parameters with leading batch axes; `sample`, `log_prob` and `entropy` treat every batch element
on its own. Gradients flow through `log_prob`, `entropy` and, where the distribution is reparameterizable (the Gaussian
ones), `sample`.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Distribution(Protocol):
    """What the rest of purepg asks of a distribution over one action."""

    def sample(self, key: jax.Array) -> jax.Array: ...  # [..., *action]
    def log_prob(self, action: jax.Array) -> jax.Array: ...  # [...]
    def entropy(self) -> jax.Array: ...  # [...], nats
    def mode(self) -> jax.Array: ...  # [..., *action]


class Categorical(NamedTuple):
    """Softmax over finite actions: P(a) ∝ exp(logits_a). A logit of −inf forbids its action."""

    logits: jax.Array  # [..., A]

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.categorical(key, self.logits)

    def log_prob(self, action: jax.Array) -> jax.Array:
        # A select and a sum: the gradient of an indexed read would be a scatter, slow on every backend.
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=bool)
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(self.logits), 0.0), axis=-1)

    def entropy(self) -> jax.Array:
        log_prob = jax.nn.log_softmax(self.logits)
        possible = jnp.isfinite(log_prob)
        log_prob = jnp.where(possible, log_prob, 0.0)
        return -jnp.sum(jnp.where(possible, jnp.exp(log_prob) * log_prob, 0.0), axis=-1)

    def mode(self) -> jax.Array:
        """The likeliest action, the first one among equals."""
        return jnp.argmax(self.logits, axis=-1)


class Gaussian(NamedTuple):
    """Independent normal components: a = μ + σ ε with ε ~ N(0, 1)."""

    mean: jax.Array  # [..., A]
    std: jax.Array  # [..., A], positive; 0 for a deterministic policy, whose log-probability is not finite

    def sample(self, key: jax.Array) -> jax.Array:
        return self.mean + self.std * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: jax.Array) -> jax.Array:
        log_density = -0.5 * ((action - self.mean) / self.std) ** 2 - jnp.log(self.std) - _HALF_LOG_2PI
        return jnp.sum(log_density, axis=-1)

    def entropy(self) -> jax.Array:
        return jnp.sum(jnp.broadcast_to(jnp.log(self.std), self.mean.shape) + 0.5 + _HALF_LOG_2PI, axis=-1)

    def mode(self) -> jax.Array:
        return self.mean


class TanhGaussian(NamedTuple):
    """The distribution of tanh(u), u ~ N(μ, σ²), on (−1, 1).

    An action is remembered by its u: tanh rounds to ±1 from |u| = 9 on and could not be inverted. `sample` and `mode`
    give u, `log_prob` takes it; the mode is that of u, tanh(μ) is the median of the action.
    """

    mean: jax.Array  # [..., A] of u
    std: jax.Array  # [..., A] of u

    def sample(self, key: jax.Array) -> jax.Array:
        return self._base.sample(key)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """The log-density of tanh(u) at u = `action`."""
        return self._base.log_prob(action) - jnp.sum(_log_slope_of_tanh(action), axis=-1)

    def entropy(self) -> jax.Array:
        """H(u) + E log(d tanh(u)/du), the expectation by Gauss–Hermite quadrature (to 1e-3 nats for σ up to 2)."""
        mean, std = self.mean[..., None], self.std[..., None]
        u = mean + std * jnp.broadcast_to(_NODES, (*self.mean.shape, _NODES.size))
        return self._base.entropy() + jnp.sum(_log_slope_of_tanh(u) @ _WEIGHTS, axis=-1)

    def mode(self) -> jax.Array:
        return self.mean

    @property
    def _base(self) -> Gaussian:
        return Gaussian(self.mean, self.std)


_HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))
_NODES, _WEIGHTS = (np.float32(x) for x in np.polynomial.hermite_e.hermegauss(32))
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def _log_slope_of_tanh(u: jax.Array) -> jax.Array:
    """log(1 − tanh²u) without cancellation: finite, with finite gradients, at any magnitude."""
    return 2.0 * (float(np.log(2.0)) - jnp.abs(u) - jax.nn.softplus(-2.0 * jnp.abs(u)))
