"""The cross-entropy method's arithmetic: who is best, and a distribution fitted to them.

Elites are the k best. Of those as good as the k-th none is preferred: they share the places left, as in the mean over
all ways to break the tie. NaN is below every number and never an elite. Where all are equal nothing is learned: there
is `nothing_to_choose`, and a fit to all of them would only lose what the search knows.

A fit by maximum likelihood has a closed form for a diagonal Gaussian (mean and variance of the elites) and for a table
of probabilities (shares of the elites' actions). Both are smoothed towards the distribution before, by ρ, and kept from
becoming certain by a noise floor σ₀.

Gradients flow through returns and candidates as far as they are not compared; the method asks for none.

Reference: Rubinstein and Kroese, The Cross-Entropy Method (2004), chapter 2; Szita and Lőrincz, Learning Tetris using
the noisy cross-entropy method (2006), for the added variance.
"""

import jax
import jax.numpy as jnp


def elites(returns: jax.Array, fraction: float, *, least: int = 1) -> tuple[jax.Array, jax.Array]:
    """Weights `[C]` of the k = fraction · C (at least `least`) best of the returns `[C]`, and the k-th best return, [].

    1 for a return above the k-th best, 0 below; those equal to it share the places that are left. Where fewer than k
    returns are numbers, these are the elites and the k-th best return is −inf.
    """
    count = max(least, round(fraction * returns.shape[0]))
    ranked = _ranked(returns)
    threshold = jax.lax.top_k(ranked, count)[0][-1]
    above, equal = ranked > threshold, ranked == threshold
    places_left = (count - above.sum()).astype(jnp.float32)
    weight = jnp.where(above, 1.0, jnp.where(equal, places_left / equal.sum().astype(jnp.float32), 0.0))
    return jnp.where(jnp.isnan(returns), 0.0, weight), threshold


def nothing_to_choose(returns: jax.Array, *, least: int = 1) -> jax.Array:
    """Whether all of the returns `[C]` are equal, or fewer than `least` of them are numbers, []."""
    ranked = _ranked(returns)
    return (ranked.min() == ranked.max()) | (jnp.sum(~jnp.isnan(returns)) < least)


def refit(
    mean: jax.Array,  # [D]
    std: jax.Array,  # [D]
    candidates: jax.Array,  # [C, D]
    weight: jax.Array,  # [C]
    *,
    smoothing: float,
    noise_floor: float,
) -> tuple[jax.Array, jax.Array]:
    """μ and σ moved to those of the elites, each `[D]`; their variance gets the square of the floor on top."""
    share = (weight / weight.sum())[:, None]
    elite_mean = (share * candidates).sum(axis=0)
    variance = (share * (candidates - elite_mean[None, :]) ** 2).sum(axis=0)
    elite_std = jnp.sqrt(variance + noise_floor**2)
    return smoothing * mean + (1 - smoothing) * elite_mean, smoothing * std + (1 - smoothing) * elite_std


def fit_table(
    logits: jax.Array,  # [O, A]
    observation: jax.Array,  # [T, N] int
    action: jax.Array,  # [T, N] int
    weight: jax.Array,  # [T, N]
    *,
    smoothing: float,
    noise_floor: float,
) -> jax.Array:  # [O, A]
    """log π after the maximum-likelihood fit to weighted rows; observations without any weight keep their π."""
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
