"""Distributions over actions: what a policy gives for an observation.

Each is a pytree of its parameters with leading batch axes; `sample` and `log_prob` treat every batch element on its
own. Gradients flow through `log_prob`, `entropy` and, where the distribution is reparameterizable, `sample`.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp


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
