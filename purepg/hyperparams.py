"""Numbers that may change without recompiling: traced, so they can be swept and mapped over."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg.errors import InvalidInput


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hyperparams:
    """Scalars, or arrays `[S]` with one entry a seed under a seed axis. A neutral value switches a term off."""

    learning_rate: Any = 1e-2
    """Step size of the optimiser, at the start of its schedule."""
    discount: Any = 0.99
    """γ in [0, 1]: the worth of a reward one step later."""
    entropy_coefficient: Any = 0.0
    """Weight of the entropy bonus; 0 is none."""
    max_gradient_norm: Any = math.inf
    """The gradient is scaled down to this global norm; inf is no clipping."""
    reward_scale: Any = 1.0
    """Factor on rewards in estimates; reported returns are unscaled."""
    env: Any = None
    """The environment's parameters (a pytree); none: its defaults."""


_RANGES = {
    "learning_rate": (0.0, math.inf),
    "discount": (0.0, 1.0),
    "entropy_coefficient": (0.0, math.inf),
    "max_gradient_norm": (0.0, math.inf),
    "reward_scale": (-math.inf, math.inf),
}


def check(hyper: Hyperparams) -> None:
    """Refuses concrete values outside their range; traced ones pass.

    Raises:
      InvalidInput: a value is not a number or outside its range.
    """
    for name, (low, high) in _RANGES.items():
        value = getattr(hyper, name)
        if isinstance(value, jax.core.Tracer):
            continue
        value = np.asarray(value)
        if not ((value >= low) & (value <= high)).all():
            raise InvalidInput(f"{name} = {value}: must lie in [{low:g}, {high:g}]")


def over_seeds(hyper: Hyperparams, env_params: Any, num_seeds: int) -> Hyperparams:
    """The same numbers for every seed, as arrays `[S, ...]`: arrays keep their type, so new numbers never recompile."""
    hyper = dataclasses.replace(hyper, env=env_params)

    def tile(x):
        x = jnp.asarray(x if isinstance(x, jax.Array) else np.asarray(x))
        return jnp.broadcast_to(x[None], (num_seeds, *x.shape))

    return jax.tree.map(tile, hyper)
