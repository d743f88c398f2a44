"""The optimal values of a finite Markov decision process: value iteration and policy iteration.

    v*(s) = max_a q*(s, a),   q*(s, a) = r(s, a) + γ Σ_s' P(s'|s, a) v*(s')

Value iteration makes this an assignment, v ← T v. T is a contraction, ‖T v − T w‖∞ ≤ γ ‖v − w‖∞, hence after
a sweep that changed v by Δ, with a rounding error of δ,

    ‖v − v*‖∞ ≤ (γ Δ + δ) / (1 − γ)

Policy iteration evaluates a policy exactly and makes it greedy, until nothing changes. An action is only
replaced by one that is better by more than rounding: with ties broken afresh it could cycle for ever. At γ = 1
the ties of the first policy matter too (in a maze without costs every step is as good as any other as long as
the goal stays reachable): of equally good actions it takes the one after which the uniform policy ends soonest.
Such a policy ends, and so does every later one, unless the optimum is infinite.

Reference: Sutton & Barto (2018), sections 4.3 and 4.4; Puterman (1994), theorems 6.3.1 and 6.4.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purepg.errors import InvalidInput
from purepg.exact.finite_mdp import action_values, refuse_endless, state_values
from purepg.exact.model import Array, Model, earning, follow, make_model, policy_probabilities
from purepg.exact.precision import exact

__all__ = ["PolicyIteration", "ValueIteration", "policy_iteration", "value_iteration"]


class ValueIteration(NamedTuple):
    """The result of value iteration.

    Attributes:
      v: [S].
      q: [S, A], of the last sweep: v = max_a q.
      policy: [S] int, greedy with respect to q.
      sweeps: [] int.
      error_bound: []: ‖v − v*‖∞ and ‖q − q*‖∞ are at most this; infinity at discount 1.
      change: []: ‖v − v before the last sweep‖∞.
    """

    v: Array
    q: Array
    policy: Array
    sweeps: Array
    error_bound: Array
    change: Array


class PolicyIteration(NamedTuple):
    """The result of policy iteration.

    Attributes:
      v: [S].
      q: [S, A].
      policy: [S] int, greedy with respect to q.
      sweeps: [] int: how many policies were evaluated.
    """

    v: Array
    q: Array
    policy: Array
    sweeps: Array


def _refuse_divergence(result: ValueIteration, arguments: dict[str, Any]) -> None:
    if (
        arguments["discount"] == 1
        and result.sweeps >= arguments["max_sweeps"]
        and result.change > arguments["tolerance"]
    ):
        raise InvalidInput(
            f"discount is 1 and sweep {result.sweeps} still changed the values by {result.change:g}, so they "
            "may be infinite; give a discount below 1, or a greater tolerance or max_sweeps"
        )


@exact(verify=_refuse_divergence)
def value_iteration(
    transition: Array,
    reward: Array,
    discount: float | Array,
    tolerance: float | Array,
    *,
    max_sweeps: int = 1_000_000,
) -> ValueIteration:
    """Optimal values within ‖v − v*‖∞ ≤ tolerance for discount < 1, and a greedy policy.

    Starts from v = 0. Stops when the bound is met; when rounding prevents it from being met (below about 1e-16 ·
    S · ‖v‖ / (1 − discount)); or after max_sweeps. `error_bound` says what was reached. At discount = 1 nothing
    can be guaranteed, and it stops when a sweep changes v by no more than the tolerance.

    Args:
      transition: [S, A, S]; reward: [S, A] or [S, A, S]; discount: in [0, 1]: as `policy_evaluation`.
      tolerance: above 0.
      max_sweeps: at least 1.

    Raises:
      InvalidInput: bad arguments, or discount = 1 and still no convergence after max_sweeps (traced: as it
        is).
    """
    model = make_model(transition, reward)
    num_states = model.reward.shape[0]

    def sweep(state):
        result, _ = state
        q = action_values(model, result.v, discount)
        v = q.max(1)
        change = jnp.abs(v - result.v).max()
        rounding = _rounding(model, v)
        bound = jnp.where(discount < 1, (discount * change + rounding) / (1 - discount), jnp.inf)
        missing = jnp.where(discount < 1, bound, change)
        policy = _better(q, result.policy, rounding)
        result = ValueIteration(v, q, policy, result.sweeps + 1, bound, change)
        return result, (missing > tolerance) & (discount * change > rounding) & (result.sweeps < max_sweeps)

    infinity = jnp.full((), jnp.inf, model.reward.dtype)
    start = ValueIteration(
        v=jnp.zeros_like(model.reward[:, 0]),
        q=jnp.zeros_like(model.reward),
        policy=jnp.zeros(num_states, int),
        sweeps=jnp.zeros((), int),
        error_bound=infinity,
        change=infinity,
    )
    return lax.while_loop(lambda state: state[1], sweep, (start, jnp.array(True)))[0]


@exact(verify=refuse_endless)
def policy_iteration(
    transition: Array, reward: Array, discount: float | Array, *, max_sweeps: int = 1_000
) -> PolicyIteration:
    """The optimal policy and its values, exactly; at discount = 1 the best among policies that end.

    Starts from the policy that is greedy with respect to the values of the uniform one.

    Args:
      transition: [S, A, S]; reward: [S, A] or [S, A, S]; discount: in [0, 1]: as `policy_evaluation`.
      max_sweeps: at least 1; a safeguard, since a handful of sweeps is usual.

    Raises:
      InvalidInput: bad arguments; or discount = 1 and rewards that never cease, under the uniform policy or
        under one that is better than all those that end (traced: NaN).
    """
    model = make_model(transition, reward)

    def improve(state):
        result, policy = state
        chain = follow(model, policy_probabilities(model, policy))
        v = state_values(model, chain, discount)
        q = action_values(model, v, discount)
        result = PolicyIteration(v, q, policy, result.sweeps + 1)
        return result, _better(q, policy, _rounding(model, v))

    def goes_on(state):
        result, policy = state
        return (policy != result.policy).any() & (result.sweeps < max_sweeps)

    first = _first_policy(model, discount)
    start = PolicyIteration(
        v=jnp.zeros_like(model.reward[:, 0]),
        q=jnp.zeros_like(model.reward),
        policy=jnp.full_like(first, -1),
        sweeps=jnp.zeros((), int),
    )
    return lax.while_loop(goes_on, improve, (start, first))[0]


def _first_policy(model: Model, discount: float | Array) -> jax.Array:
    """[S] int: greedy with respect to the uniform policy's values; ties go to the action that ends soonest."""
    chain = follow(model, jnp.full_like(model.reward, 1 / model.reward.shape[1]))  # uniform
    v = state_values(model, chain, discount)
    q = action_values(model, v, discount)
    # The clock pays 1 per step for as long as rewards can come.
    clock = jnp.where(earning(chain), 1.0, jnp.zeros_like(v))
    time_left = state_values(model, chain._replace(reward=clock), discount)
    time_left = action_values(model._replace(reward=jnp.zeros_like(q)), time_left, discount)  # [S, A]
    is_best = q >= q.max(1)[:, None] - 10 * _rounding(model, v)
    return jnp.where(is_best, time_left, jnp.inf).argmin(1)


def _better(q: jax.Array, policy: jax.Array, rounding: jax.Array) -> jax.Array:
    """[S] int: the greedy action where it is better than that of policy [S] by more than rounding, else the latter."""
    current = jnp.take_along_axis(q, policy[:, None], axis=1)[:, 0]
    return jnp.where(q.max(1) > current + 10 * rounding, q.argmax(1), policy)


def _rounding(model: Model, v: jax.Array) -> jax.Array:
    """[]: the largest possible rounding error of one sweep."""
    size = jnp.abs(model.reward).max() + jnp.abs(jnp.where(jnp.isfinite(v), v, 0.0)).max()
    return (v.shape[0] + 3) * jnp.finfo(v.dtype).eps * size
