"""∇_θ E_{x~p_θ}[f(x)] for finitely many x: the exact sum, and two shortcuts through a continuous x, both biased.

    enumerate_gradient   ∇ Σ_x p_θ(x) f(x)                                              exact
    gumbel_softmax       ∇ f(y),  y = softmax((log p + G) / τ),  G standard Gumbel        biased
    straight_through     f'(e_x) · ∇p_θ,  or ∇y in place of ∇p_θ                          biased

For the shortcuts f is a function of a point of the simplex, [..., A]: a corner e_x (one-hot) stands for x, and f must
be meaningful in between. gumbel_softmax differentiates E f(y), another function: it tends to the right one as τ → 0,
while its variance tends to infinity. straight_through evaluates f at a corner and differentiates as if p had been put
in: right where f is affine, otherwise wrong by its curvature. The score function of `purepg.monte_carlo` is unbiased.

Gradients flow through log p_θ (exact), y (gumbel_softmax), or p_θ or y behind a stopped corner (straight_through, by
definition).

Reference: Jang, Gu and Poole (2017), Categorical Reparameterization with Gumbel-Softmax; Maddison, Mnih and Teh (2017);
Bengio, Léonard and Courville (2013) for straight_through.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg.errors import InvalidInput
from purepg.errors.shapes import check_shapes
from purepg.monte_carlo.expectations import Params, Samplable, Sample, as_float, checked, joint_log_prob
from purepg.policies.distributions import Categorical

__all__ = ["LARGEST_SUPPORT", "enumerate_gradient", "gumbel_softmax", "straight_through"]

LARGEST_SUPPORT = 2**16


def enumerate_gradient(
    f: Callable[[Sample], jax.Array],
    distribution: Callable[[Params], Samplable],
    params: Params,
    *,
    support: Sample | None = None,
) -> Params:
    """∇ Σ_x p_θ(x) f(x), exactly: like params, no axis of samples.

    Args:
      f: x → []; need not be differentiable.
      distribution: params → distribution.
      params: pytree of float arrays.
      support: pytree like one sample with a leading axis [K], every x once. None, for a Categorical: all its joint
        actions (A^R of them for logits [..., A] with R rows).

    Raises:
      InvalidInput: there is neither a support nor a Categorical; the support is too large, or its probabilities do not
        sum to 1 (unless traced).
    """
    params = jax.tree.map(jnp.asarray, params)
    support = _joint_actions(distribution(params)) if support is None else jax.tree.map(jnp.asarray, support)
    num_samples = jnp.shape(jax.tree.leaves(support)[0])[:1] or (1,)
    for path, leaf in jax.tree.leaves_with_path(support):
        name = f"support{jax.tree_util.keystr(path)}"
        check_shapes("a list of every sample", (*num_samples, ...), **{name: leaf})
    value = jax.lax.map(lambda x: as_float(f(x)), support)  # [K]
    if value.ndim != 1:
        raise InvalidInput(f"f gives shape {value.shape[1:]}; give a function whose value is one real number")

    def expectation(params):
        probability = jnp.exp(jax.vmap(joint_log_prob(distribution), in_axes=(None, 0))(params, support))
        return probability @ value, probability.sum()

    gradient, total = jax.grad(expectation, has_aux=True)(params)
    if not isinstance(total, Tracer) and not abs(total - 1) <= 1e-3:
        raise InvalidInput(f"the probabilities of support sum to {total:g}; give every possible sample once")
    return gradient


def gumbel_softmax(
    f: Callable[[jax.Array], jax.Array],
    distribution: Callable[[Params], Categorical],
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    temperature: float | jax.Array,
) -> Params:
    """∇ f(softmax((log p_θ + G_i) / τ)) for N draws: like params, with a leading axis [N]. Biased, for any τ > 0.

    Args:
      f: y [..., A] → []; differentiable on the simplex, e_x stands for action x.
      distribution: params → Categorical, logits [..., A].
      params: pytree of float arrays.
      key: one typed key.
      num_samples: N, at least 1.
      temperature: τ, above 0. Bias falls and variance grows as it falls.

    Raises:
      InvalidInput: it is no Categorical, the temperature is not above 0, or f, params or num_samples are not allowed.
    """
    _check_temperature(temperature)
    return _relaxed(
        f, distribution, params, key, num_samples, lambda logits, key: _soft(logits, key, temperature)
    )


def straight_through(
    f: Callable[[jax.Array], jax.Array],
    distribution: Callable[[Params], Categorical],
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    temperature: float | jax.Array | None = None,
) -> Params:
    """f'(e_x) · ∇p_θ for N draws x: like params, with a leading axis [N]. Biased, unless f is affine.

    f is only evaluated at corners, as it will be used; its slope there is trusted for a step to another corner.

    Args:
      f: y [..., A] → []; differentiable at the corners, e_x stands for action x.
      distribution: params → Categorical, logits [..., A].
      params: pytree of float arrays.
      key: one typed key.
      num_samples: N, at least 1.
      temperature: τ, above 0: x is the largest entry of the Gumbel-softmax y, and ∇y takes the place of ∇p_θ, which
        is biased for an affine f too. None: ∇p_θ.

    Raises:
      InvalidInput: as for `gumbel_softmax`.
    """
    _check_temperature(temperature)

    def corner(logits, key):
        if temperature is None:
            soft = jax.nn.softmax(logits)
            x = jax.random.categorical(key, logits)
        else:
            soft = _soft(logits, key, temperature)
            x = jnp.argmax(soft, axis=-1)
        hard = jax.nn.one_hot(x, logits.shape[-1], dtype=logits.dtype)
        return hard + (soft - jax.lax.stop_gradient(soft))  # the bracket is exactly 0

    return _relaxed(f, distribution, params, key, num_samples, corner)


def _relaxed(f, distribution, params: Params, key: jax.Array, num_samples: int, point) -> Params:
    """∇ f(point(logits, key_i)), [N, ...]."""

    class Relaxed:
        def __init__(self, params: Params):
            self.logits = _logits(distribution(params))

        def sample(self, key: jax.Array) -> jax.Array:
            return point(self.logits, key)

    params, num_samples = checked(f, Relaxed, params, key, num_samples)

    def along(params, key):
        return f(Relaxed(params).sample(key))

    return jax.vmap(jax.grad(along), in_axes=(None, 0))(params, jax.random.split(key, num_samples))


def _soft(logits: jax.Array, key: jax.Array, temperature: float | jax.Array) -> jax.Array:
    return jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / temperature)


def _logits(distribution: Any) -> jax.Array:
    if not isinstance(distribution, Categorical):
        raise InvalidInput(
            f"{type(distribution).__name__} is not Categorical: only that has a relaxation; take score_function"
        )
    return distribution.logits


def _check_temperature(temperature: float | jax.Array | None) -> None:
    if temperature is None:
        return
    check_shapes("one number", (), temperature=temperature)
    if not isinstance(temperature, Tracer) and not 0 < np.asarray(temperature) < np.inf:
        raise InvalidInput(f"temperature is {temperature}; give a number above 0")


def _joint_actions(distribution: Any) -> jax.Array:
    """[K, ...] int: every combination of actions of a Categorical with logits [..., A]."""
    if not isinstance(distribution, Categorical):
        name = type(distribution).__name__
        raise InvalidInput(f"{name} does not list its samples; give support, every possible sample once")
    *rows, num_actions = distribution.logits.shape
    num_rows = int(np.prod(rows))
    count = num_actions**num_rows
    if count > LARGEST_SUPPORT:
        raise InvalidInput(f"{count} joint actions are more than {LARGEST_SUPPORT}; take score_function")
    place = num_actions ** np.arange(num_rows)
    return jnp.asarray((np.arange(count)[:, None] // place % num_actions).reshape(count, *rows))
