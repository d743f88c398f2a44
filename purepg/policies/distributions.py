"""Distributions over actions: what a policy returns for an observation.

Each is a pytree of its parameters with leading batch axes; `sample`, `log_prob` and `entropy` treat each batch element
independently. Gradients flow through `log_prob`, `entropy` and, where the distribution is reparameterizable (the
Gaussian ones), `sample`.

Bounded actions are made from u ~ N(μ, σ²), component by component. Bounds lie at −1 and 1, on the sides that have one:

                  both sides          from below                from above                none
    clip          clip(u, −1, 1)      max(u, −1)                min(u, 1)                 u
    squash        tanh(u)             softplus(u + c) − 1       1 − softplus(c − u)       u          c = log(e − 1)

so that u = 0 is the middle, or one unit inside a single bound.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = [
    "Categorical",
    "ClippedGaussian",
    "Distribution",
    "Gaussian",
    "Sides",
    "SquashedGaussian",
    "TanhGaussian",
    "squash",
]


class Distribution(Protocol):
    """What the rest of purepg asks of a distribution over one action; `[...]` are its batch axes."""

    def sample(self, key: jax.Array) -> jax.Array:
        """One action for each batch element, `[..., *action]`, from one typed key."""
        ...

    def log_prob(self, action: jax.Array) -> jax.Array:
        """log π `[...]` of actions `[..., *action]` as `sample` gives them."""
        ...

    def entropy(self) -> jax.Array:
        """[...], in nats."""
        ...

    def mode(self) -> jax.Array:
        """The most likely action, `[..., *action]`."""
        ...


class Categorical(NamedTuple):
    """Softmax over finite actions: P(a) ∝ exp(logits_a). A logit of −inf forbids its action.

    Attributes:
      logits: [..., A].
    """

    logits: jax.Array

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
        """The most likely action, the first among equals."""
        return jnp.argmax(self.logits, axis=-1)


class Gaussian(NamedTuple):
    """Independent normal components: a = μ + σ ε with ε ~ N(0, 1).

    Attributes:
      mean: [..., A].
      std: [..., A], positive; 0 for a deterministic policy, whose log-probability is not finite.
    """

    mean: jax.Array
    std: jax.Array

    @property
    def no_score(self) -> str:
        return _without_density(self.std)

    def sample(self, key: jax.Array) -> jax.Array:
        return self.mean + self.std * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: jax.Array) -> jax.Array:
        log_density = -0.5 * ((action - self.mean) / self.std) ** 2 - jnp.log(self.std) - _HALF_LOG_2PI
        return jnp.sum(log_density, axis=-1)

    def entropy(self) -> jax.Array:
        return jnp.sum(jnp.broadcast_to(jnp.log(self.std), self.mean.shape) + 0.5 + _HALF_LOG_2PI, axis=-1)

    def mode(self) -> jax.Array:
        return self.mean


class Sides(NamedTuple):
    """Which sides of each component of an action have a bound; static.

    Attributes:
      below: [A].
      above: [A].
    """

    below: tuple[bool, ...]
    above: tuple[bool, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClippedGaussian:
    """u ~ N(μ, σ²), clipped into its bounds when it is played, which makes the bounds part of the environment.

    An action is its u: `sample`, `mode` and `log_prob` are those of the Gaussian. So is its entropy, except for a cap:
    in a component with bounds on both sides it counts σ only up to 1, half their distance. A wider u is clipped more
    often without being played more variedly, and a bonus on log σ would widen it for ever.

    Attributes:
      mean: [..., A] of u.
      std: [..., A] of u.
    """

    mean: jax.Array
    std: jax.Array
    sides: Sides = dataclasses.field(metadata={"static": True})

    @property
    def no_score(self) -> str:
        return _without_density(self.std)

    def sample(self, key: jax.Array) -> jax.Array:
        return Gaussian(self.mean, self.std).sample(key)

    def log_prob(self, action: jax.Array) -> jax.Array:
        return Gaussian(self.mean, self.std).log_prob(action)

    def entropy(self) -> jax.Array:
        cap = np.where(np.logical_and(*self.sides), np.float32(1), np.float32(np.inf))
        return Gaussian(self.mean, jnp.minimum(self.std, jnp.broadcast_to(cap, self.std.shape))).entropy()

    def mode(self) -> jax.Array:
        return self.mean


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SquashedGaussian:
    """The distribution of squash(u), u ~ N(μ, σ²), inside its bounds; without `sides`, tanh(u) on (−1, 1).

    An action is stored as its u: tanh rounds to ±1 from |u| = 9 on and could not be inverted. `sample` and `mode`
    return u and `log_prob` takes it; the mode is that of u, and squash(μ) is the median of the action.

    Attributes:
      mean: [..., A] of u.
      std: [..., A] of u.
    """

    mean: jax.Array
    std: jax.Array
    sides: Sides | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def no_score(self) -> str:
        return _without_density(self.std)

    def sample(self, key: jax.Array) -> jax.Array:
        return Gaussian(self.mean, self.std).sample(key)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """The log-density of squash(u) at u = `action`."""
        log_slope = _by_side(self.sides, action, _log_slope_of_tanh, _log_slope_of_softplus, jnp.zeros_like)
        return Gaussian(self.mean, self.std).log_prob(action) - jnp.sum(log_slope, axis=-1)

    def entropy(self) -> jax.Array:
        """H(u) + E log(d squash(u)/du), of the action as played: it falls again at wide σ where both sides are bounded.

        Accurate to 1e-4 nats at any μ and σ.
        """

        def tanh(mean):
            return 2 * _LOG_2 + sum(_mean_log_sigmoid(sign * 2 * mean, 2 * self.std) for sign in (1, -1))

        def softplus(mean):
            return _mean_log_sigmoid(mean + _SHIFT, self.std)

        log_slope = _by_side(self.sides, self.mean, tanh, softplus, jnp.zeros_like)
        return Gaussian(self.mean, self.std).entropy() + jnp.sum(log_slope, axis=-1)

    def mode(self) -> jax.Array:
        return self.mean


TanhGaussian = SquashedGaussian  # the older name, from when both sides of every component had bounds


def squash(u: jax.Array, sides: Sides) -> jax.Array:
    """u moved inside the bounds at −1 and 1, [..., A].

    Args:
      u: [..., A], unbounded.
      sides: which sides of each component have a bound, [A] each.
    """
    return _by_side(sides, u, jnp.tanh, lambda u: jax.nn.softplus(u + _SHIFT) - 1, lambda u: u, odd=True)


_HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))
_LOG_2 = float(np.log(2.0))
_SHIFT = float(np.log(np.expm1(1.0)))  # softplus of it is 1
_NODES, _WEIGHTS = (np.asarray(x, np.float32) for x in np.polynomial.hermite_e.hermegauss(32))
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_PLACES, _LENGTHS = (np.asarray(10 * x, np.float32) for x in np.polynomial.legendre.leggauss(32))
_PLACES = np.asarray(_PLACES + 10, np.float32)  # on [0, 20]


def _without_density(std: jax.Array) -> str:
    """Why a spread of 0 has no score, or "" if it is positive or traced."""
    if isinstance(std, Tracer) or not (np.asarray(std) == 0).any():
        return ""
    return "its std is 0, so that a sample has no density; give a positive std"


def _by_side(sides: Sides | None, x: jax.Array, both, below, free, *, odd: bool = False) -> jax.Array:
    """A function of each component `[..., A]`, by its bounds; bounded only from above, it is `below` mirrored."""
    if sides is None or all(map(all, sides)):
        return both(x)
    low, high = (jnp.broadcast_to(np.array(side), x.shape) for side in sides)
    mirrored = -below(-x) if odd else below(-x)
    one_side = jnp.where(low, below(x), jnp.where(high, mirrored, free(x)))
    return jnp.where(low & high, both(x), one_side)


def _log_slope_of_tanh(u: jax.Array) -> jax.Array:
    """log(1 − tanh²u) without cancellation: finite, with finite gradients, at any magnitude."""
    return 2.0 * (_LOG_2 - jnp.abs(u) - jax.nn.softplus(-2.0 * jnp.abs(u)))


def _log_slope_of_softplus(u: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(u + _SHIFT)


def _mean_log_sigmoid(mean: jax.Array, std: jax.Array) -> jax.Array:
    """E log sigmoid(x), x ~ N(mean, std²).

    A narrow x by Gauss–Hermite quadrature. A wide one by parts, log sigmoid(x) = (x − |x|)/2 − log(1 + e^−|x|): a kink,
    whose mean is known, and a bump at 0, narrow beside x and integrated over |x| up to 20.
    """
    narrow = std < 2.0
    x = mean[..., None] + jnp.where(narrow, std, 1.0)[..., None] * _along(_NODES, mean)
    by_nodes = jax.nn.log_sigmoid(x) @ _WEIGHTS
    wide = jnp.where(narrow, 2.0, std)
    z = mean / wide
    folded = wide * jnp.sqrt(2 / jnp.pi) * jnp.exp(-0.5 * z**2) + mean * jax.lax.erf(z / jnp.sqrt(2.0))
    places, half = _along(_PLACES, mean), wide[..., None]
    density = sum(jnp.exp(-0.5 * ((places - s * mean[..., None]) / half) ** 2) for s in (1, -1))
    bump = jnp.sum(density * jnp.log1p(jnp.exp(-places)) * _along(_LENGTHS, mean), axis=-1)
    by_parts = 0.5 * (mean - folded) - bump / (wide * jnp.sqrt(2 * jnp.pi))
    return jnp.where(narrow, by_nodes, by_parts)


def _along(values: np.ndarray, like: jax.Array) -> jax.Array:
    """Values `[K]` beside each element, [..., K]."""
    return jnp.broadcast_to(values, (*like.shape, values.size))
