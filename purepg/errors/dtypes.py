"""The types of state are fixed when it is made: what an update computes in wider types is rounded back.

Under JAX's 64-bit mode, beside bfloat16 parameters, or in an environment that computes in another type than it resets
to, a sum takes the wider type of the two; what a scan carries must stay what it was.

Under strict promotion this package's own code spells out every conversion; other packages' code does not, and runs
under JAX's usual rules.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp


def in_types_of(tree: Any, like: Any) -> Any:
    """The arrays and numbers of `tree` in the types of those of `like`, a tree of the same structure."""

    def cast(x, like):
        x = jnp.asarray(x)
        return x if x.dtype == like.dtype else x.astype(like.dtype)

    return jax.tree.map(cast, tree, like)


@contextlib.contextmanager
def usual_promotions() -> Iterator[None]:
    """JAX's usual promotions of types and ranks, for other packages' code that relies on them."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
