"""The cross-entropy method's arithmetic: who is best, and a distribution fitted to them.

Elites are the k best. Candidates that tie with the k-th share the places that are left, as in the mean over all ways to
break the tie. NaN is below every number and never an elite. Where all candidates are equal nothing is learned: there is
`nothing_to_choose`, and a fit to all of them would only lose what the search knows.

A fit by maximum likelihood has a closed form for a diagonal Gaussian (mean and variance of the elites) and for a table
of probabilities (shares of the elites' actions). Both are smoothed, by ρ, towards the previous distribution, and
a noise floor σ₀ keeps them from becoming certain.

Gradients flow through returns and candidates except where these are compared; the method takes none.

Reference: Rubinstein and Kroese, The Cross-Entropy Method (2004), chapter 2; Szita and Lőrincz, Learning Tetris using
the noisy cross-entropy method (2006), for the added variance.
"""

import jax
import jax.numpy as jnp

__all__ = ["elites", "fit_table", "nothing_to_choose", "refit"]


def elites(returns: jax.Array, fraction: float, *, least: int = 1) -> tuple[jax.Array, jax.Array]:
    """Weights `[C]` of the k = fraction · C best returns, and the k-th best return, [].

    A weight is 1 for a return above the k-th best, 0 below; those equal to it share the places that are left. Where
    fewer than k returns are numbers, these are the elites and the k-th best return is −inf.

    Args:
      returns: `[C]`, of the candidates.
      fraction: share of the candidates that are elites, in (0, 1].
      least: k is at least this.
    """
    count = max(least, round(fraction * returns.shape[0]))
    ranked = _ranked(returns)
    threshold = jax.lax.top_k(ranked, count)[0][-1]
    above, equal = ranked > threshold, ranked == threshold
    places_left = (count - above.sum()).astype(jnp.float32)
    weight = jnp.where(above, 1.0, jnp.where(equal, places_left / equal.sum().astype(jnp.float32), 0.0))
    return jnp.where(jnp.isnan(returns), 0.0, weight), threshold


def nothing_to_choose(returns: jax.Array, *, least: int = 1) -> jax.Array:
    """Whether there is nothing to learn from the returns, [] bool: all are equal, or too few are numbers.

    Args:
      returns: `[C]`, of the candidates.
      least: how many have to be numbers.
    """
    ranked = _ranked(returns)
    return (ranked.min() == ranked.max()) | (jnp.sum(~jnp.isnan(returns)) < least)


def refit(
    mean: jax.Array,
    std: jax.Array,
    candidates: jax.Array,
    weight: jax.Array,
    *,
    smoothing: float,
    noise_floor: float,
) -> tuple[jax.Array, jax.Array]:
    """μ and σ, each `[D]`, moved to those of the elites, to whose variance the square of the floor is added.

    Args:
      mean: `[D]`, μ before.
      std: `[D]`, σ before.
      candidates: `[C, D]`.
      weight: `[C]`, as `elites` gives them.
      smoothing: ρ in [0, 1), how much of μ and σ before is kept.
      noise_floor: σ₀, at least 0.
    """
    share = (weight / weight.sum())[:, None]
    elite_mean = (share * candidates).sum(axis=0)
    variance = (share * (candidates - elite_mean[None, :]) ** 2).sum(axis=0)
    elite_std = jnp.sqrt(variance + noise_floor**2)
    return smoothing * mean + (1 - smoothing) * elite_mean, smoothing * std + (1 - smoothing) * elite_std


def fit_table(
    logits: jax.Array,
    observation: jax.Array,
    action: jax.Array,
    weight: jax.Array,
    *,
    smoothing: float,
    noise_floor: float,
) -> jax.Array:
    """log π `[O, A]` after the maximum-likelihood fit to weighted rows; an observation without weight keeps its π.

    Args:
      logits: `[O, A]`, of π before.
      observation: `[T, N]` int, from 0 to O − 1.
      action: `[T, N]` int, from 0 to A − 1.
      weight: `[T, N]`, at least 0.
      smoothing: ρ in [0, 1), how much of π before is kept.
      noise_floor: σ₀ in [0, 1], the share of uniform actions.
    """
    old = jax.nn.softmax(logits)
    count = jnp.zeros_like(old).at[observation, action].add(weight.astype(old.dtype))
    seen = count.sum(axis=-1, keepdims=True)
    share = jnp.where(seen > 0, count / jnp.where(seen > 0, seen, 1.0), old)
    new = smoothing * old + (1 - smoothing) * share
    new = (1 - noise_floor) * new + noise_floor / new.shape[-1]
    return jnp.log(jnp.maximum(new, jnp.finfo(new.dtype).tiny))


def _ranked(returns: jax.Array) -> jax.Array:
    """−inf for NaN, which sorts above all numbers as it is."""
    return jnp.where(jnp.isnan(returns), -jnp.inf, returns)
