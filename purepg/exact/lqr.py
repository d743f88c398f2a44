"""The linear-quadratic regulator under a linear Gaussian policy: cost and gradient, exactly.

    x' = A x + B u + w,   u = −K x + σ ε,   ε ~ N(0, I),   E w wᵀ = W;      J = E Σ_t γ^t (xᵀQ x + uᵀR u)

With the closed loop M = A − BK, only two quantities matter: the second moment S = E x xᵀ, computed forwards, and the
cost to go xᵀP x, computed backwards (P_k with k steps left, P_0 = 0):

    S_{t+1} = M S_t Mᵀ + N,   N = B diag(σ²) Bᵀ + W          P_{k+1} = C + γ Mᵀ P_k M,   C = Q + KᵀR K

    J      = Σ_{t<T} γ^t (tr(C S_t) + Σ_i σ_i² R_ii)
    ∂J/∂K  = 2 Σ_{t<T} γ^t (R K − γ Bᵀ P_{T−t−1} M) S_t
    ∂J/∂σ_i = 2 σ_i Σ_{t<T} γ^t (R + γ Bᵀ P_{T−t−1} B)_ii

Without end, P and Σ = Σ_t γ^t S_t solve P = C + γ MᵀP M and Σ = S_0 + γ/(1−γ) N + γ M Σ Mᵀ, and

    J = tr(P S_0) + (Σ_i σ_i² R_ii + γ tr(P N)) / (1−γ),   ∂J/∂K = 2 (R K − γ BᵀP M) Σ,
    ∂J/∂σ_i = 2 σ_i (R + γ BᵀP B)_ii / (1−γ)

The equations are solved by doubling, P ← P + FᵀP F, F ← F F, from F = √γ M: after k rounds 2^k terms are summed.

J is a cost: the gradient of a return −J has the other sign. Gradients flow through every array argument.

Reference: Fazel, Ge, Kakade and Mesbahi (2018), Global Convergence of Policy Gradient Methods for the Linear Quadratic
Regulator, for γ = 1 and σ = W = 0; Smith (1968), Matrix Equation XA + BX = C, for doubling.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purepg.exact.lqr_problem import exact_lqr
from purepg.exact.model import Array

__all__ = ["lqr_cost", "lqr_gradient", "lqr_std_gradient"]

_DOUBLINGS = 64  # 2^64 terms: enough for any spectral radius below 1 that float64 can tell from 1


class _Loop(NamedTuple):
    """The system with its policy."""

    matrix: jax.Array  # M [n, n]
    cost: jax.Array  # C [n, n]
    noise: jax.Array  # N [n, n]
    exploration: jax.Array  # []: Σ_i σ_i² R_ii, what the actions' noise costs at once
    symmetric_r: jax.Array  # R [m, m], made symmetric


@exact_lqr
def lqr_cost(
    A: Array,
    B: Array,
    Q: Array,
    R: Array,
    gain: Array,
    initial_second_moment: Array,
    *,
    discount: float | Array,
    action_std: float | Array,
    horizon: int | None = None,
    noise_covariance: Array | None = None,
) -> Array:
    """J [] = E Σ_t discount^t (xᵀQ x + uᵀR u), differentiable with respect to all arrays.

    Args:
      A: [n, n]; B: [n, m]: x' = A x + B u + w.
      Q: [n, n]; R: [m, m]: costs, positive semidefinite; where one is not symmetric its symmetric part counts.
      gain: K [m, n]: u = −K x + σ ε.
      initial_second_moment: E x_0 x_0ᵀ [n, n], which is mean meanᵀ + covariance, not the covariance alone.
      discount: in [0, 1].
      action_std: σ, one number or [m], at least 0.
      horizon: T, the number of actions that are paid for (rewards at t = 0 … T − 1); at least 1, None for no end.
      noise_covariance: W [n, n]; None: no noise in the state.

    Concrete arguments are computed in float64 and come back as NumPy arrays. Traced ones are computed in the ambient
    precision and unchecked; what is infinite is then not finite in the result.

    Raises:
      InvalidInput: bad arguments; or J is infinite: without horizon, if the spectral radius of √discount (A − BK)
        is 1 or more (even where no growing state is met or paid for: the gradient would meet it), or if discount = 1
        and noise costs something at every step.
    """
    loop = _close(A, B, Q, R, gain, action_std, noise_covariance)
    if horizon is not None:
        return _cost_up_to(loop, initial_second_moment, discount, horizon)
    value = _sum_of_powers(loop.matrix, loop.cost, discount)
    every_step = loop.exploration + discount * jnp.sum(value * loop.noise)
    return jnp.sum(value * initial_second_moment) + _for_ever(every_step, discount)


@exact_lqr
def lqr_gradient(
    A: Array,
    B: Array,
    Q: Array,
    R: Array,
    gain: Array,
    initial_second_moment: Array,
    *,
    discount: float | Array,
    action_std: float | Array,
    horizon: int | None = None,
    noise_covariance: Array | None = None,
) -> Array:
    """dJ/dK [m, n], in closed form; arguments, precision and errors as for `lqr_cost`.

    There is one more error: without horizon, at discount = 1, any noise in the state is refused, even where this gain
    keeps it from costing anything, since the gains next to it do not.

    Args:
      A, B, Q, R, gain, initial_second_moment: as for `lqr_cost`: [n, n], [n, m], [n, n], [m, m], [m, n], [n, n].
      discount: in [0, 1].
      action_std: σ, one number or [m], at least 0.
      horizon: T, at least 1; None for no end.
      noise_covariance: W [n, n]; None: no noise in the state.
    """
    loop = _close(A, B, Q, R, gain, action_std, noise_covariance)

    def slope(value):  # [n, n] → [m, n]: by the action of x xᵀ when value is what follows
        return 2 * (loop.symmetric_r @ gain - discount * B.T @ value @ loop.matrix)

    if horizon is None:
        value = _sum_of_powers(loop.matrix, loop.cost, discount)
        arrivals = jnp.asarray(initial_second_moment) + discount * _for_ever(loop.noise, discount)
        return slope(value) @ _sum_of_powers(loop.matrix.T, arrivals, discount)

    def forward(carry, value):
        moment, gradient = carry  # γ^t S_t [n, n], [m, n]
        weight, moment = moment
        gradient = gradient + weight * slope(value) @ moment
        return ((weight * discount, _step(loop, moment)), gradient), None

    start = (jnp.ones_like(discount), jnp.asarray(initial_second_moment)), jnp.zeros_like(gain)
    (_, gradient), _ = lax.scan(forward, start, _values(loop, discount, horizon))
    return gradient


@exact_lqr
def lqr_std_gradient(
    A: Array,
    B: Array,
    Q: Array,
    R: Array,
    gain: Array,
    initial_second_moment: Array,
    *,
    discount: float | Array,
    action_std: float | Array,
    horizon: int | None = None,
    noise_covariance: Array | None = None,
) -> Array:
    """dJ/dσ, [] or [m] like action_std, in closed form; arguments, precision and errors as for `lqr_cost`.

    One number for σ stands for all m: its derivative is the sum of theirs. Without horizon, at discount = 1, it is
    refused even at σ = 0, unless noise costs nothing: J is finite there and infinite at any other σ.

    Args:
      A, B, Q, R, gain, initial_second_moment: as for `lqr_cost`: [n, n], [n, m], [n, n], [m, m], [m, n], [n, n].
      discount: in [0, 1].
      action_std: σ, one number or [m], at least 0.
      horizon: T, at least 1; None for no end.
      noise_covariance: W [n, n]; None: no noise in the state.
    """
    loop = _close(A, B, Q, R, gain, action_std, noise_covariance)

    def price(value):  # [n, n] → [m]: what ε_i² costs, at once and later
        return jnp.diagonal(loop.symmetric_r + discount * B.T @ value @ B)

    if horizon is None:
        total = _for_ever(price(_sum_of_powers(loop.matrix, loop.cost, discount)), discount)
    else:
        prices = jax.vmap(price)(_values(loop, discount, horizon))  # [T, m]
        total, _ = lax.scan(
            lambda later, p: (p + discount * later, None), 0 * prices[0], prices, reverse=True
        )
    gradient = 2 * action_std * total
    return gradient if jnp.ndim(action_std) else gradient.sum()


def _close(A, B, Q, R, gain, action_std, noise_covariance) -> _Loop:
    """The closed loop."""
    Q, R = (Q + Q.T) / 2, (R + R.T) / 2
    variance = jnp.broadcast_to(jnp.asarray(action_std) ** 2, R.shape[:1])  # [m]
    noise = B * variance[None, :] @ B.T
    return _Loop(
        matrix=A - B @ gain,
        cost=Q + gain.T @ R @ gain,
        noise=noise if noise_covariance is None else noise + noise_covariance,
        exploration=jnp.sum(variance * jnp.diagonal(R)),
        symmetric_r=R,
    )


def _step(loop: _Loop, moment: jax.Array) -> jax.Array:
    """S_{t+1} [n, n]."""
    return loop.matrix @ moment @ loop.matrix.T + loop.noise


def _cost_up_to(loop: _Loop, initial: Array, discount: float | Array, horizon: int) -> jax.Array:
    def forward(carry, _):
        weight, moment, total = carry  # γ^t [], S_t [n, n], []
        total = total + weight * (jnp.sum(loop.cost * moment) + loop.exploration)
        return (weight * discount, _step(loop, moment), total), None

    start = jnp.ones_like(discount), jnp.asarray(initial), jnp.zeros_like(loop.exploration)
    (_, _, total), _ = lax.scan(forward, start, length=horizon)
    return total


def _values(loop: _Loop, discount: float | Array, horizon: int) -> jax.Array:
    """P_{T−t−1} [T, n, n]: the value of the state that the action at time t leads to."""

    def back(value, _):
        return loop.cost + discount * loop.matrix.T @ value @ loop.matrix, value

    return lax.scan(back, jnp.zeros_like(loop.cost), length=horizon, reverse=True)[1]


def _sum_of_powers(matrix: jax.Array, start: jax.Array, discount: float | Array) -> jax.Array:
    """Σ_k γ^k (Mᵀ)^k X M^k [n, n] for X = start; NaN where the powers do not fade.

    The loop has a fixed length, so that it can be differentiated in both modes, and uses no LAPACK, whose batched calls
    can hang XLA's CPU backend.
    """

    def double(_, state):
        total, power = state
        return total + power.T @ total @ power, power @ power

    # The first round by hand: it needs γ, while the loop would start from √γ, whose derivative is infinite at 0.
    first = start + discount * matrix.T @ start @ matrix, discount * matrix @ matrix
    total, power = lax.fori_loop(0, _DOUBLINGS - 1, double, first)
    return jnp.where(jnp.abs(power).max() < 0.5, total, jnp.nan)


def _for_ever(amount: jax.Array, discount: float | Array) -> jax.Array:
    """Σ_t γ^t amount [...]; at γ = 1 infinite, or 0 where the amount is 0."""
    endless = jnp.asarray(discount) >= 1
    total = amount / jnp.where(endless, 1.0, 1 - discount)
    return jnp.where(endless & (amount != 0), jnp.inf, total)
