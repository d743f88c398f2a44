"""Running normalisation of observations: each component shifted and scaled by what has been observed so far.

The statistics live in the parameters, beside the network's, so that they are saved and played with them. They are no
subject of learning: gradients stop at them, the method updates them after each step from the rows just used, and a
rollout and its gradient see the same ones. Before the first update nothing is known of their scale, and observations
pass as they are: a bound of so many deviations means nothing then, and would make large ones all alike. The merge of
means and squared deviations is Chan, Golub and LeVeque's (1983).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purepg.networks import Params
from purepg.policies import BoundPolicy

_LARGEST = 10.0  # normalised components are clipped there
_LEAST_VARIANCE = 1e-8


class Moments(NamedTuple):
    """Count, mean and squared deviations of observations."""

    count: jax.Array  # []
    mean: jax.Array  # [*shape]
    deviation: jax.Array  # [*shape], Σ (x − mean)²


class Normalized(NamedTuple):
    """Parameters of a policy that sees normalised observations."""

    policy: Params
    observed: Moments


def normalized(policy: BoundPolicy, shape: tuple[int, ...]) -> BoundPolicy:
    """The policy on observations normalised by the moments in its parameters."""

    def init(key: jax.Array) -> Normalized:
        return Normalized(policy.init(key), Moments(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape)))

    def see(params: Normalized, observation: jax.Array) -> jax.Array:
        count, mean, deviation = jax.lax.stop_gradient(params.observed)
        variance = jnp.where(count > 1, deviation / jnp.maximum(count, 1.0), 1.0)
        mean, variance = (jnp.broadcast_to(x, observation.shape) for x in (mean, variance))
        scaled = (observation - mean) * jax.lax.rsqrt(jnp.maximum(variance, _LEAST_VARIANCE))
        largest = jnp.where(count > 1, _LARGEST, jnp.inf)
        return jnp.clip(scaled, -largest, largest)

    return policy._replace(
        init=init,
        see=see,
        outputs=lambda params, observation: policy.outputs(params.policy, see(params, observation)),
    )


def moments(observation: jax.Array, where: jax.Array) -> Moments:
    """Of the observations `[T, N, *shape]` in the rows `[T, N]` that count."""
    observation = observation.astype(jnp.float32)
    mask = where.reshape(where.shape + (1,) * (observation.ndim - where.ndim))
    count = jnp.sum(where, dtype=jnp.float32)
    mean = jnp.sum(jnp.where(mask, observation, 0.0), axis=(0, 1)) / jnp.maximum(count, 1.0)
    centred = observation - jnp.broadcast_to(mean, observation.shape)
    deviation = jnp.sum(jnp.where(mask, centred**2, 0.0), axis=(0, 1))
    return Moments(count, mean, deviation)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of observations together."""
    count = a.count + b.count
    difference, share = b.mean - a.mean, b.count / jnp.maximum(count, 1.0)
    mean = a.mean + difference * share
    return Moments(count, mean, a.deviation + b.deviation + difference**2 * a.count * share)
