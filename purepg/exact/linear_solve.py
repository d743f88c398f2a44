"""Linear systems of Markov chains, without LAPACK.

    (I − γ P) x = b,    P ≥ 0,  Σ_j P_ij ≤ 1,  γ ≤ 1

The diagonal outweighs the rest of its row, so Gauss–Jordan elimination needs no pivoting: the entries off
the diagonal stay ≤ 0, and for b ≥ 0 every update of x adds non-negative numbers. It uses plain array
operations because XLA's CPU backend can hang on batched LAPACK calls inside a jitted program, and this one is
meant to be vmapped.

Gradients flow through the matrix and the right-hand side: the adjoint is a second solve, with the transpose.

Reference: Berman & Plemmons (1994), Nonnegative Matrices in the Mathematical Sciences, chapter 6.
"""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["solve"]


def solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """The solution x [S] of matrix · x = right; the matrix is I − γP or its transpose, and not singular.

    Args:
      matrix: [S, S].
      right: [S].
    """
    return lax.custom_linear_solve(
        lambda x: matrix @ x,
        right,
        solve=lambda _, b: _gauss_jordan(matrix, b),
        transpose_solve=lambda _, b: _gauss_jordan(matrix.T, b),
    )


def _gauss_jordan(matrix: jax.Array, right: jax.Array) -> jax.Array:
    def eliminate(k, table):  # table [S, S + 1]: the matrix and, as its last column, the right-hand side
        row = table[k] / table[k, k]
        return (table - table[:, k, None] * row[None, :]).at[k].set(row)

    table = jnp.concatenate([matrix, right[:, None]], axis=1)
    return lax.fori_loop(0, matrix.shape[0], eliminate, table)[:, -1]
