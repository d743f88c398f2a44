"""Running normalisation of observations: each component shifted and scaled by what has been observed so far.

The statistics live in the parameters, beside the network's, so that they are saved and used with them. They are not
learned: gradients stop at them, the method updates them after each step from the rows just used, and a rollout and its
gradient see the same ones. Before the first update nothing is known about the scale of observations, which then pass
unchanged: clipping at a number of deviations would be meaningless, and would make all large ones alike.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purepg.policies.networks import Params
from purepg.policies.policies import BoundPolicy, not_linear
from purepg.policies.running_moments import Moments, zero

__all__ = ["Normalized", "normalized"]

_LARGEST = 10.0  # normalised components are clipped there
_LEAST_VARIANCE = 1e-8


class Normalized(NamedTuple):
    """Parameters of a policy that sees normalised observations."""

    policy: Params
    observed: Moments


def normalized(policy: BoundPolicy, shape: tuple[int, ...]) -> BoundPolicy:
    """The policy on observations normalised by the moments in its parameters.

    Args:
      policy: bound to the environment.
      shape: of one observation.
    """

    def init(key: jax.Array) -> Normalized:
        return Normalized(policy.init(key), zero(jnp.zeros(shape)))

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
        linear=not_linear,
    )
