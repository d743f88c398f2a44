"""A test of a whole gradient at once: is the mean of B batch estimates ∇J, but for noise?

The largest of thousands of |z| reaches 4 without any bias, and many components of a policy's gradient are rare events,
whose z is not normal at all. So the difference d is looked at along K random directions instead: sums of components
with random signs, one over all of them and eight within each leaf of the parameters, so that a leaf with much noise
does not hide one with little. Such a sum is nearly normal, and how the sums vary together is measured: correlated
components count for what they are. With S the covariance of d along the directions and r its rank, Hotelling's

    T² = dᵀ S⁻¹ d,      T² (B − r) / (r (B − 1)) ~ F(r, B − r)      without a bias

A bias is found if its length ‖d‖ within a leaf is not small beside the noise √(Σ s²/B) there. One of a single component
among many with more noise may stay unseen: its own z says more. Fewer batches allow fewer directions, a quarter of B.

Reference: Hotelling (1931), The Generalization of Student's Ratio.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg.networks import Params

_EACH = 8  # directions within a leaf
_ROUNDING = 1e-6  # relative, of sums in float32


def signs(like: Params) -> list[jax.Array]:
    """Of each leaf, [1 + 8, size]: its part in the direction over all leaves, and those within it."""
    leaves = jax.tree.leaves(like)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return [
        jax.random.rademacher(k, (1 + _EACH, x.size), jnp.float32) for k, x in zip(keys, leaves, strict=True)
    ]


def along(directions: Any, tree: Params) -> Any:
    """A gradient along the directions of `signs`, [K]: over all leaves, then the first within each leaf, and so on."""
    parts = [sign @ x.reshape(-1) for sign, x in zip(directions, jax.tree.leaves(tree), strict=True)]
    xp = jnp if isinstance(parts[0], jax.Array) else np
    parts = xp.stack(parts, axis=1)  # [9, leaves]
    return xp.concatenate([parts[:1].sum(axis=1), parts[1:].reshape(-1)])


def covariance_of(error: Params) -> np.ndarray:
    """[K, K] along the directions, of components that vary independently with these standard errors."""
    leaves, directions = jax.tree.leaves(error), [np.asarray(sign, np.float64) for sign in signs(error)]
    num = len(leaves)
    found = np.zeros((1 + _EACH * num,) * 2)
    for i, (sign, x) in enumerate(zip(directions, leaves, strict=True)):
        weighted = sign * np.asarray(x, np.float64).reshape(1, -1)
        at = np.r_[0, 1 + i : len(found) : num]
        found[np.ix_(at, at)] += weighted @ weighted.T
    return found


def p_value(difference: Params, size: Params, covariance: np.ndarray, num_batches: int) -> float:
    """Chance of a difference at least as large, in the sense of T², without a bias; NaN where numbers are.

    Args:
      difference: of the mean and ∇J.
      size: of the numbers it is a difference of, which is what rounding is relative to.
      covariance: of the difference along the directions, [K, K].
      num_batches: B.
    """
    from scipy import stats

    directions = [np.asarray(sign, np.float64) for sign in signs(difference)]
    num = max(1, min(len(covariance), num_batches // 4))
    d, covariance = along(directions, difference)[:num], covariance[:num, :num]
    if not (np.isfinite(d).all() and np.isfinite(covariance).all()):
        return float("nan")
    rounding = _ROUNDING * np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(size)))
    deviation = np.sqrt(np.diagonal(covariance))
    varies = deviation > rounding
    if (np.abs(d[~varies]) > 5 * rounding).any():
        return 0.0  # certain, and another number
    if not varies.any():
        return 1.0
    scale = deviation[varies]
    values, vectors = np.linalg.eigh(covariance[np.ix_(varies, varies)] / np.outer(scale, scale))
    kept = values > 1e-4  # what is below is rounding: a softmax's components depend on each other
    along_each = vectors[:, kept].T @ (d[varies] / scale)
    t_squared, rank = np.sum(along_each**2 / values[kept]), kept.sum()
    return float(
        stats.f.sf(t_squared * (num_batches - rank) / (rank * (num_batches - 1)), rank, num_batches - rank)
    )
