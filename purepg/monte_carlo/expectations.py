"""What the estimators of ∇_θ E_{x~p_θ}[f(x)] require of f, the distribution and params, and how they check it.

A path from θ to f(g_θ(ε)) can be cut in three ways: x is a whole number; a parameter moves the probabilities but not x
(the weights of a mixture); f is a step. An estimator that differentiates along the path would then silently return 0.
JAX knows which derivatives are 0 by construction rather than by value (symbolic zeros), so that programs can be checked
without being run. A step inside an f that has other derivatives too cannot be detected.

Nothing here is differentiated.
"""

import operator
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from purepg.errors import InvalidInput
from purepg.errors.shapes import check_shapes

__all__ = ["Params", "Samplable", "Sample", "as_float", "check_path", "checked", "joint_log_prob"]

Params = Any  # pytree of float arrays
Sample = Any  # pytree of arrays


class Samplable(Protocol):
    """What the estimators require of a distribution."""

    def sample(self, key: jax.Array) -> Sample:
        """x, from one typed key."""
        ...

    def log_prob(self, x: Any, /) -> jax.Array:
        """log p(x) [...]; the estimators sum it over its axes."""
        ...


def joint_log_prob(distribution: Callable[[Params], Samplable]) -> Callable[[Params, Sample], jax.Array]:
    """(params, x) → log p_θ(x) [] of the whole sample.

    Args:
      distribution: params → distribution.
    """
    return lambda params, x: jnp.sum(distribution(params).log_prob(x))


def as_float(value: Any) -> jax.Array:
    """The same numbers as floats, since f may return a count.

    Args:
      value: [...], numbers.
    """
    value = jnp.asarray(value)
    return value if _is_float(value) else value.astype(jnp.result_type(float))


def checked(
    f, distribution, params: Params, key, num_samples: int, smallest: int = 1, why: str = "an estimate"
) -> tuple[Params, int]:
    """Params as arrays and num_samples as an int, all arguments checked.

    Args:
      f: x → [].
      distribution: params → distribution.
      params: pytree of float arrays.
      key: one typed key.
      num_samples: N.
      smallest: the least N allowed.
      why: what needs as many, for the message.
    """
    try:
        num_samples = operator.index(num_samples)
    except TypeError:
        raise InvalidInput(f"num_samples is {num_samples!r}; give a whole number, not traced") from None
    if num_samples < smallest:
        raise InvalidInput(f"num_samples is {num_samples}; {why} needs at least {smallest}")
    key = jnp.asarray(key)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    check_shapes("one draw", () if typed else jax.random.key_data(jax.random.key(0)).shape, key=key)
    params = jax.tree.map(jnp.asarray, params)
    for path, leaf in jax.tree.leaves_with_path(params):
        if not _is_float(leaf):
            at = jax.tree_util.keystr(path)
            raise InvalidInput(f"params{at} holds {leaf.dtype}; give floats, the gradient is taken by them")
    value = jax.eval_shape(lambda params: f(distribution(params).sample(key)), params)
    if getattr(value, "shape", None) != () or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise InvalidInput(f"f gives {value}; give a function of one sample whose value is one real number")
    return params, num_samples


def check_path(f, distribution, params: Params, key: jax.Array) -> None:
    """Refuses a path θ → x → f that is cut, as far as the structure of the programs shows it.

    Args:
      f: x → [].
      distribution: params → distribution.
      params: pytree of float arrays.
      key: one typed key.
    """
    x = jax.eval_shape(lambda params: distribution(params).sample(key), params)
    name = type(distribution(params)).__name__
    if not any(map(_is_float, jax.tree.leaves(x))):
        kinds = ", ".join(str(leaf.dtype) for leaf in jax.tree.leaves(x))
        raise InvalidInput(
            f"{name} gives samples of {kinds}: whole numbers do not move with the parameters, so there is no path; "
            "take score_function (or, for finitely many, enumerate_gradient)"
        )
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)
    leaves, structure = jax.tree.flatten(params)
    for i, (path, leaf) in enumerate(jax.tree.leaves_with_path(params)):

        def at(value, i=i):
            return distribution(structure.unflatten([*leaves[:i], value, *leaves[i + 1 :]]))

        moves = _has_derivative(lambda value, at=at: at(value).sample(key), leaf)
        if not moves and _has_derivative(lambda value, at=at: at(value).log_prob(zero), leaf):
            raise InvalidInput(
                f"params{jax.tree_util.keystr(path)} moves the probabilities of {name} but not its samples, so "
                "there is no path; take score_function"
            )
    if not any(_has_derivative(partial, leaf) for partial, leaf in _partials(f, zero)):
        raise InvalidInput(
            "the derivative of f by its sample is 0 by construction (a comparison, a sign, a cast to whole "
            "numbers), so pathwise would give 0; take score_function"
        )


def _partials(f, x: Sample) -> list[tuple[Callable[[jax.Array], Any], jax.Array]]:
    """f as a function of each float leaf of x alone, and that leaf."""
    leaves, structure = jax.tree.flatten(x)

    def partial(i):
        return lambda value: f(structure.unflatten([*leaves[:i], value, *leaves[i + 1 :]]))

    return [(partial(i), leaf) for i, leaf in enumerate(leaves) if _is_float(leaf)]


def _has_derivative(function: Callable[[Any], Any], at: jax.Array) -> bool:
    """Whether any output depends differentiably on the input, judged from the program's structure; nothing is run."""
    seen = []

    @jax.custom_jvp
    def watch(x):
        return x

    def rule(primals, tangents):
        seen.append(not isinstance(tangents[0], SymbolicZero))
        return primals[0], tangents[0]

    watch.defjvp(rule, symbolic_zeros=True)

    def watched(x):
        return [watch(leaf) for leaf in map(jnp.asarray, jax.tree.leaves(function(x))) if _is_float(leaf)]

    jax.eval_shape(lambda x: jax.jvp(watched, (x,), (x,)), at)
    return any(seen)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)
