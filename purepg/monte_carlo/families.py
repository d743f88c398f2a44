"""Families of distributions for `purepg.monte_carlo`, besides the policies' own in `purepg.distributions`.

    family               x =                               what it shows
    Laplace, Logistic,   μ + b F⁻¹(u)                      location and scale: any standard F does
    Gumbel, Cauchy
    Exponential          −log(u) / λ                       inverse of the distribution function
    Weibull              λ (−log u)^(1/k)                  the same, with a shape
    Uniform              l + (h − l) u                     support that moves: no score function
    AffineGaussian       μ + L ε                           components that are correlated
    Gamma                no closed form                    implicit differentiation of F(x; a) = u
    Poisson              whole numbers                     no path: score function only

u is uniform on (0, 1), without its ends, so that every x is finite. Components are independent unless stated otherwise;
`log_prob` is elementwise and `monte_carlo` sums it. Each family is a pytree of its parameters.

Gradients flow through `log_prob` and, except for Poisson, through `sample`. `moving_support` says that the parameters
move the set where the density is positive: ∇∫ p f then has a boundary term that ∫ p f ∇log p lacks. `no_score` says
why the parameters' precision rules out the score function: where x often underflows to 0, log x is lost.

Reference: Devroye (1986), Non-Uniform Random Variate Generation, chapter II.2; Figurnov, Mohamed and Mnih (2018),
Implicit Reparameterization Gradients, for Gamma; Mohamed, Rosca, Figurnov and Mnih (2020), Monte Carlo Gradient
Estimation in Machine Learning, for what each is good for.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.scipy.special import gammaln

from purepg.monte_carlo.location_scale import LocationScale, open_uniform

__all__ = [
    "AffineGaussian",
    "Cauchy",
    "Exponential",
    "Gamma",
    "Gumbel",
    "Laplace",
    "Logistic",
    "Poisson",
    "Uniform",
    "Weibull",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace(LocationScale):
    """p(x) = exp(−|z|) / 2b, z = (x − μ) / b, of location μ [...] and scale b > 0 [...]."""

    location: jax.Array
    scale: jax.Array

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        return -jnp.sign(u - 0.5) * jnp.log1p(-2 * jnp.abs(u - 0.5))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        return -jnp.abs(z) - math.log(2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logistic(LocationScale):
    """F(x) = 1 / (1 + exp(−z)), z = (x − μ) / s, of location μ [...] and scale s > 0 [...]."""

    location: jax.Array
    scale: jax.Array

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        return jnp.log(u) - jnp.log1p(-u)

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        return -z - 2 * jax.nn.softplus(-z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gumbel(LocationScale):
    """F(x) = exp(−exp(−z)), z = (x − μ) / β, of location μ [...] and scale β > 0 [...]."""

    location: jax.Array
    scale: jax.Array

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        return -jnp.log(-jnp.log(u))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        return -z - jnp.exp(-z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cauchy(LocationScale):
    """p(x) = 1 / (π s (1 + z²)), z = (x − μ) / s, of location μ [...] and scale s > 0 [...].

    It has no mean: f must be bounded for E f to exist, and for the pathwise gradient by the scale f' must fall faster
    than 1/x, since E |f'(x) z| has to exist as well. The score is bounded.
    """

    location: jax.Array
    scale: jax.Array

    @staticmethod
    def quantile(u: jax.Array) -> jax.Array:
        return jnp.tan(math.pi * (u - 0.5))

    @staticmethod
    def log_density(z: jax.Array) -> jax.Array:
        return -jnp.log1p(z**2) - math.log(math.pi)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform:
    """p(x) = 1 / (h − l) on (l, h).

    Attributes:
      low: [...].
      high: [...], above low.
    """

    low: jax.Array
    high: jax.Array
    moving_support: ClassVar[bool] = True

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...]."""
        return self.low + (self.high - self.low) * open_uniform(key, self.low, self.high)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...], −∞ outside."""
        return jnp.where((x >= self.low) & (x <= self.high), -jnp.log(self.high - self.low), -jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Exponential:
    """p(x) = λ exp(−λ x), x > 0.

    Attributes:
      rate: [...], positive.
    """

    rate: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...]."""
        return -jnp.log(open_uniform(key, self.rate)) / self.rate

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...]."""
        return jnp.log(self.rate) - self.rate * x


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Weibull:
    """F(x) = 1 − exp(−(x/λ)^k), x > 0.

    Attributes:
      scale: [...], positive.
      shape: [...], positive.
    """

    scale: jax.Array
    shape: jax.Array

    @property
    def no_score(self) -> str:
        return _often_zero("shape", self.shape, self.scale)

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...]."""
        return self.scale * (-jnp.log(open_uniform(key, self.scale, self.shape))) ** (1 / self.shape)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...]."""
        log_z = jnp.log(x / self.scale)
        return jnp.log(self.shape / self.scale) + (self.shape - 1) * log_z - jnp.exp(self.shape * log_z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gamma:
    """p(x) ∝ x^(a−1) exp(−λ x), x > 0.

    JAX differentiates a sample implicitly with respect to a: ∂x/∂a = −(∂F/∂a) / p.

    Attributes:
      concentration: [...], positive.
      rate: [...], positive.
    """

    concentration: jax.Array
    rate: jax.Array

    @property
    def no_score(self) -> str:
        return _often_zero("concentration", self.concentration, 1 / self.rate)

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...]."""
        shape = jnp.broadcast_shapes(jnp.shape(self.concentration), jnp.shape(self.rate))
        return jax.random.gamma(key, jnp.broadcast_to(self.concentration, shape)) / self.rate

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...]."""
        a = self.concentration
        return a * jnp.log(self.rate) + (a - 1) * jnp.log(x) - self.rate * x - gammaln(a)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Poisson:
    """P(x) = λ^x exp(−λ) / x!, x a whole number of at least 0. Needs the default (threefry) keys.

    Attributes:
      rate: [...], positive.
    """

    rate: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """x [...] int."""
        return jax.random.poisson(key, self.rate)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[...]."""
        return x * jnp.log(self.rate) - self.rate - gammaln(x + 1.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AffineGaussian:
    """N(μ, L Lᵀ): x = μ + L ε, one draw of D components.

    Attributes:
      mean: [D].
      scale: [D, D], L: lower triangular (what is above the diagonal is ignored), diagonal positive.
    """

    mean: jax.Array
    scale: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """x [D]."""
        noise = jax.random.normal(key, self.mean.shape, jnp.result_type(self.mean, self.scale))
        return self.mean + jnp.tril(self.scale) @ noise

    def log_prob(self, x: jax.Array) -> jax.Array:
        """[], of x [D]."""
        lower, diagonal = jnp.tril(self.scale, -1), jnp.diagonal(self.scale)
        noise, size = x - self.mean, len(self.mean)

        # Forward substitution by hand: XLA's CPU backend can hang on vmapped LAPACK calls.
        def solve(i, z):
            return z.at[i].set((noise[i] - lower[i] @ z) / diagonal[i])

        z = lax.fori_loop(0, size, solve, jnp.zeros_like(noise))
        return -0.5 * z @ z - jnp.sum(jnp.log(diagonal)) - 0.5 * size * math.log(2 * math.pi)


def _often_zero(name: str, power: jax.Array, scale: jax.Array) -> str:
    """Why x has no score, since it underflows to 0 too often, or ""; P(x < ε) ≈ (ε/scale)^power for small ε."""
    if isinstance(power, Tracer) or isinstance(scale, Tracer):
        return ""
    dtype = jnp.result_type(power, scale, jnp.float32)
    smallest = np.minimum(float(jnp.finfo(dtype).tiny) / np.asarray(scale, np.float64), 1.0)
    chance = (smallest ** np.asarray(power, np.float64)).max()
    if not chance > 1e-6:
        return ""
    return (
        f"with {name} {np.min(power):g} a share of {chance:.2g} of the samples is 0 in {dtype}, where log x is not "
        f"finite: give float64 or a larger {name}"
    )
