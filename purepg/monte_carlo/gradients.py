"""The gradient of an expectation, ∇_θ E_{x~p_θ}[f(x)], from samples: for any pure f, one gradient per sample.

    estimator        per sample                                   needs            unbiased
    score_function   (f(x) − b) ∇log p_θ(x)                       log p_θ          yes
    pathwise         ∇_θ f(g_θ(ε)),  x = g_θ(ε)                   f', g_θ          yes
    mixed            w pathwise + (1 − w) score function          both             yes

The score function needs nothing of f and allows discrete x; the path needs f' and mostly repays it with less variance:
E_{N(θ,1)}[x²] at θ = 2 has gradient 4 and variances of 87 (b = 0), 42 (b = E f = 5), 38 (the best b, 7) and 4 (path).
For finitely many x there are the exact sum, `enumerate_gradient`, and two biased shortcuts, `gumbel_softmax` and
`straight_through`; they live in `purepg.monte_carlo.relaxed_discrete`.

`distribution` maps params to an object with `sample(key)` → x and `log_prob(x)`: those of `purepg.distributions` and
`purepg.families`, or your own. x is what `sample` gives (for TanhGaussian the u before tanh, so let f apply it); where
`log_prob` has axes they are summed. A score function is refused to a distribution with the optional attribute
`moving_support = True`, or with a reason in `no_score`.
Everything can be jitted and vmapped; f, distribution, num_samples and a baseline by name are static.

Inside, gradients flow through log p_θ at a given x (score function) or through x alone (pathwise); the estimates
themselves are not meant to be differentiated.

Reference: Mohamed, Rosca, Figurnov and Mnih (2020), Monte Carlo Gradient Estimation in Machine Learning; Greensmith,
Bartlett and Baxter (2004) for the best constant baseline.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg.errors import InvalidInput
from purepg.monte_carlo.expectations import (
    Params,
    Samplable,
    Sample,
    as_float,
    check_path,
    checked,
    joint_log_prob,
)
from purepg.monte_carlo.leave_one_out import sum_of_others
from purepg.monte_carlo.relaxed_discrete import enumerate_gradient, gumbel_softmax, straight_through

__all__ = [
    "enumerate_gradient",
    "gumbel_softmax",
    "mixed",
    "pathwise",
    "score_function",
    "straight_through",
]

Baseline = Literal["none", "loo", "optimal"] | float | jax.Array


def score_function(
    f: Callable[[Sample], jax.Array],
    distribution: Callable[[Params], Samplable],
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    baseline: Baseline = "none",
) -> Params:
    """(f(x_i) − b_i) ∇log p_θ(x_i) for N draws x_i: like params, with a leading axis [N]; its mean is the estimate.

    Args:
      f: x → []; need not be differentiable.
      distribution: params → distribution; the set where its density is positive must not depend on params.
      params: pytree of float arrays.
      key: one typed key.
      num_samples: N, at least 1; at least 2 for "loo" and "optimal".
      baseline: b, which does not change the mean, as E ∇log p = 0, as long as b_i does not depend on x_i:
        "none"     0
        a number   that constant
        "loo"      the mean of f over the other N − 1 draws
        "optimal"  for each component of params, E[s² f] / E[s²] with s its score, the constant of least variance,
                   estimated from the other N − 1 draws

    Raises:
      InvalidInput: f is not a real scalar, the support moves, there is no score in this precision, params are not
        floats, or key, num_samples or baseline are not allowed.
    """
    smallest = 2 if isinstance(baseline, str) and baseline in ("loo", "optimal") else 1
    params, num_samples = checked(
        f, distribution, params, key, num_samples, smallest, f"baseline {baseline!r}"
    )
    dist = distribution(params)
    if getattr(dist, "moving_support", False):
        raise InvalidInput(
            f"the support of {type(dist).__name__} moves with its parameters, so the score function lacks "
            "the boundary's part of the gradient; take pathwise"
        )
    if reason := getattr(dist, "no_score", ""):
        raise InvalidInput(f"{type(dist).__name__} has no score function here: {reason}, or take pathwise")
    x = jax.vmap(dist.sample)(jax.random.split(key, num_samples))  # [N, ...]
    value = jax.vmap(lambda x: as_float(f(x)))(x)  # [N]
    score = jax.vmap(jax.grad(joint_log_prob(distribution)), in_axes=(None, 0))(params, x)
    b = _baseline(baseline, value)

    def weighted(s):  # [N, ...]
        f_i = value.reshape(-1, *[1] * (s.ndim - 1))
        if b is None:
            return s * (f_i - _optimal_baseline(f_i, s))
        return s * (f_i - jnp.reshape(b, (-1, *[1] * (s.ndim - 1))))

    return jax.tree.map(weighted, score)


def pathwise(
    f: Callable[[Sample], jax.Array],
    distribution: Callable[[Params], Samplable],
    params: Params,
    key: jax.Array,
    num_samples: int,
) -> Params:
    """∇_θ f(g_θ(ε_i)) for N draws of the noise: like params, with a leading axis [N]; its mean is the estimate.

    f must be continuous (a jump would need an extra term) and differentiable almost everywhere. What can be detected
    without numbers is refused: whole-number samples, an f whose derivative is 0 by construction (a comparison, a
    sign), and parameters that move the probabilities but not the samples. A step hidden in an f with other
    derivatives cannot be detected.

    Args:
      f: x → [].
      distribution: params → distribution whose `sample` is differentiable; `log_prob` only serves the check.
      params: pytree of float arrays.
      key: one typed key.
      num_samples: N, at least 1.

    Raises:
      InvalidInput: there is no path from params through x to f, f is not a real scalar, or params are not floats.
    """
    params, num_samples = checked(f, distribution, params, key, num_samples)
    check_path(f, distribution, params, key)

    def along(params, key):
        return f(distribution(params).sample(key))

    return jax.vmap(jax.grad(along), in_axes=(None, 0))(params, jax.random.split(key, num_samples))


def mixed(
    f: Callable[[Sample], jax.Array],
    distribution: Callable[[Params], Samplable],
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    baseline: Baseline = "loo",
) -> Params:
    """w · pathwise + (1 − w) · score function, each component weighted inversely to its two variances.

    w = v_score / (v_score + v_path) is the mix of least variance, v_score v_path / (v_score + v_path), since the two
    estimators use separate draws: f is evaluated 2N times. It stays unbiased because no draw affects its own weight:
    each half of the draws is weighted by the sample variances of the other half, and baselines are taken within a
    half. With few draws the weights are noisy, and so is the gain; where both variances are 0, w = ½.

    Args:
      f, distribution, params, key, baseline: as for `score_function`; f and the samples as for `pathwise` too.
      num_samples: N, at least 4.

    Returns:
      Like params, with a leading axis [N]; its mean is the estimate.

    Raises:
      InvalidInput: where score_function or pathwise would.
    """
    params, num_samples = checked(f, distribution, params, key, num_samples, 4, "a mix of two halves")
    check_path(f, distribution, params, key)  # before any work
    halves = []
    for half, size in enumerate((num_samples // 2, num_samples - num_samples // 2)):
        score_key, path_key = jax.random.split(jax.random.fold_in(key, half))
        score = score_function(f, distribution, params, score_key, size, baseline=baseline)
        halves.append((score, pathwise(f, distribution, params, path_key, size)))

    def mix(own, other):  # ([n, ...], [n, ...]): score function, pathwise
        score_variance, path_variance = (jnp.var(x, axis=0, ddof=1, keepdims=True) for x in other)
        total = score_variance + path_variance
        w = jnp.where(total > 0, score_variance / jnp.where(total > 0, total, 1.0), 0.5)
        return w * own[1] + (1 - w) * own[0]

    def both(score_a, path_a, score_b, path_b):
        a, b = (score_a, path_a), (score_b, path_b)
        return jnp.concatenate([mix(a, b), mix(b, a)])

    return jax.tree.map(both, *halves[0], *halves[1])


def _baseline(baseline: Baseline, value: jax.Array) -> jax.Array | None:
    """[N] or []; None for the optimal one, which depends on the scores."""
    if not isinstance(baseline, str):
        if jnp.shape(baseline) != ():
            raise InvalidInput(f"baseline has shape {jnp.shape(baseline)}; give one number")
        if not isinstance(baseline, Tracer) and not np.isfinite(np.asarray(baseline)):
            raise InvalidInput(f"baseline is {baseline}; give a finite number")
        return jnp.asarray(baseline, value.dtype)
    if baseline == "none":
        return jnp.zeros((), value.dtype)
    if baseline == "loo":
        return sum_of_others(value) / (len(value) - 1)
    if baseline == "optimal":
        return None
    raise InvalidInput(f"baseline is {baseline!r}; give a number or one of none, loo, optimal")


def _optimal_baseline(value: jax.Array, score: jax.Array) -> jax.Array:
    """Σ_{k≠i} s_k² f_k / Σ_{k≠i} s_k² [N, ...] from f [N, 1...] and s [N, ...]; 0 where the others' s are 0."""
    weight = sum_of_others(score**2)
    return sum_of_others(score**2 * value) / jnp.where(weight > 0, weight, 1.0)
