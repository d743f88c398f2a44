"""Values, returns and visits of a policy in a finite Markov decision process, exactly.

Bellman's equations for the values of a policy π are linear,

    v(s) = Σ_a π(a|s) q(s, a),   q(s, a) = r(s, a) + γ Σ_s' P(s'|s, a) v(s')      (I − γ P_π) v = r_π

and so are those for its occupancy, the discounted number of visits,

    d(s) = Σ_t γ^t P(s_t = s) = μ(s) + γ Σ_s' d(s') P_π(s|s')                    (I − γ P_πᵀ) d = μ

with μ the distribution of the first state. The objective is J = Σ_s μ(s) v(s) = Σ_s d(s) r_π(s). Up to a
time limit H the same recursion runs H steps backwards from zero: v_H = 0, v_t = r_π + γ P_π v_{t+1},
J = Σ_s μ(s) v_0(s).

Gradients flow through every array argument; the sets of reachable states (`model.py`) are taken as given.

Reference: Sutton & Barto (2018), Reinforcement Learning, sections 3.5 and 9.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purepg.errors import InvalidInput
from purepg.exact.linear_solve import solve
from purepg.exact.model import (
    Array,
    Chain,
    Model,
    can_reach,
    earning,
    follow,
    make_model,
    policy_probabilities,
    reachable,
    transient,
)
from purepg.exact.precision import exact

__all__ = [
    "PolicyEvaluation",
    "action_values",
    "objective",
    "occupancy",
    "policy_evaluation",
    "refuse_endless",
    "state_values",
    "values_up_to",
    "visits",
]


class PolicyEvaluation(NamedTuple):
    """The values of a policy; unpacks as (v, q).

    Attributes:
      v: [S].
      q: [S, A].
    """

    v: Array
    q: Array


def refuse_endless(result: Any, arguments: dict[str, Any]) -> None:
    """Refuses a result that is not finite: the arguments were, so the episode never ends.

    Args:
      result: an array or a tuple of arrays.
      arguments: those it was computed from, by name.
    """
    if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result)):
        return
    horizon, discount = arguments.get("horizon"), arguments["discount"]
    weighted = arguments.get("discount_weighting", True)
    if horizon is not None or (discount < 1 and weighted):
        raise InvalidInput("reward is so large that the result overflows float64; give smaller rewards")
    v = getattr(result, "v", result)
    states = np.flatnonzero(~np.isfinite(v)) if np.ndim(v) == 1 else []
    where = f" from state(s) {', '.join(map(str, states[:5]))}" if len(states) else ""
    given = f"discount is {discount:g}" + ("" if weighted else " and discount_weighting False")
    cure = "a discount below 1" + ("" if weighted else " with discount_weighting=True")
    cure += " or a horizon" if "horizon" in arguments else ""
    raise InvalidInput(
        f"{given}, but the episode never ends{where} (or too rarely for float64), so the result is infinite; "
        f"let it end (a terminal state, or rows of transition that sum to less than 1), or give {cure}"
    )


@exact(verify=refuse_endless)
def policy_evaluation(
    transition: Array, reward: Array, policy: Array, discount: float | Array
) -> PolicyEvaluation:
    """The state values v [S] and the action values q [S, A] of a policy.

    Args:
      transition: [S, A, S], rows that sum to 1, or to less: what is missing ends the episode.
      reward: [S, A], or [S, A, S] by the next state.
      policy: [S, A] probabilities, or [S] integer actions.
      discount: in [0, 1].

    Concrete arguments are computed in float64 and come back as NumPy arrays. Traced ones are computed in the
    ambient precision and unchecked; NaN then stands for a value that is infinite.

    Raises:
      InvalidInput: bad arguments, or discount = 1 and rewards that never cease from some state.
    """
    model = make_model(transition, reward)
    v = state_values(model, follow(model, policy_probabilities(model, policy)), discount)
    return PolicyEvaluation(v, action_values(model, v, discount))


@exact(verify=refuse_endless)
def objective(
    transition: Array,
    reward: Array,
    initial: Array,
    policy: Array,
    discount: float | Array,
    *,
    horizon: int | None = None,
) -> Array:
    """J [] = Σ_s initial(s) v(s), differentiable with respect to all arrays.

    Args:
      transition: [S, A, S]; reward: [S, A] or [S, A, S]; policy: [S, A] or [S]; discount: as
        `policy_evaluation`.
      initial: [S], the distribution of the first state; sums to 1.
      horizon: the number of steps after which every episode is cut; only the return up to then counts
        (`time_limit` "objective"); at least 1, None for no limit.

    Raises:
      InvalidInput: bad arguments, or no horizon, discount = 1 and rewards that never cease from a first
        state.
    """
    model = make_model(transition, reward)
    probabilities = policy_probabilities(model, policy)
    if horizon is None:
        v = state_values(model, follow(model, probabilities), discount)
        # An infinite value counts only where it is met.
        v = jnp.where((initial > 0) | jnp.isfinite(v), v, 0.0)
    else:
        v, _ = values_up_to(model, probabilities, discount, horizon)
    return (initial * v).sum()


@exact(verify=refuse_endless)
def occupancy(
    transition: Array,
    initial: Array,
    policy: Array,
    discount: float | Array,
    *,
    reward: Array | None = None,
) -> Array:
    """d(s) [S] = Σ_t discount^t P(s_t = s); 0 in terminal states.

    J = Σ_s d(s) r_π(s), and (1 − discount) d is a distribution where no episode ends.

    Args:
      transition: [S, A, S]; policy: [S, A] or [S]; discount: as `policy_evaluation`.
      initial: [S], the distribution of the first state; sums to 1.
      reward: [S, A] or [S, A, S]. Without it every absorbing state counts as terminal; with it only those
        that pay nothing do, as everywhere else.

    Raises:
      InvalidInput: bad arguments, or discount = 1 and an episode that may never end (traced: infinity).
    """
    model = make_model(transition, reward)
    chain = follow(model, policy_probabilities(model, policy))
    return visits(chain, initial, discount, ~model.terminal)


def state_values(model: Model, chain: Chain, discount: float | Array) -> jax.Array:
    """v [S] of the model's chain; NaN where discount = 1 and rewards never cease.

    Args:
      model: the MDP.
      chain: `follow(model, policy)`.
      discount: in [0, 1].
    """
    earns = earning(chain)
    endless = can_reach(chain, earns & ~transient(chain, earns)) & (discount >= 1)
    solved = jnp.where(discount < 1, ~model.terminal, earns & ~endless)
    v = solve(_balance(chain.transition, solved, discount), jnp.where(solved, chain.reward, 0.0))
    return jnp.where(endless, jnp.nan, v)


def action_values(model: Model, v: jax.Array, discount: float | Array) -> jax.Array:
    """q [S, A] = r + discount · P v; NaN only where a state without a finite value can follow.

    Args:
      model: the MDP.
      v: [S], values of the next state.
      discount: in [0, 1].
    """
    known = jnp.isfinite(v)
    follows = jnp.einsum("sat,t->sa", model.transition, jnp.where(known, v, 0.0))
    unknown = ((model.transition > 0) & ~known[None, None, :]).any(2)
    return jnp.where(unknown, jnp.nan, model.reward + discount * follows)


def values_up_to(
    model: Model, policy: jax.Array, discount: float | Array, horizon: int
) -> tuple[jax.Array, jax.Array]:
    """(v_0 [S], q [H, S, A]) with q[t] the action values when t of the H steps are over.

    Args:
      model: the MDP.
      policy: [S, A] probabilities.
      discount: in [0, 1].
      horizon: H, at least 1.
    """

    def back(v, _):
        q = action_values(model, v, discount)
        return (policy * q).sum(1), q

    return lax.scan(back, jnp.zeros_like(model.reward[:, 0]), length=horizon, reverse=True)


def visits(chain: Chain, initial: Array, discount: float | Array, counted: jax.Array) -> jax.Array:
    """Σ_t discount^t P(s_t = s) [S] over the counted states, which must not be entered from outside.

    Infinite where discount = 1 and an episode that comes there never leaves the counted states.

    Args:
      chain: of a policy.
      initial: [S], the distribution of the first state.
      discount: in [0, 1].
      counted: [S] bool.
    """
    leaves = transient(chain, counted)
    reached = reachable(chain, jnp.asarray(initial > 0))
    endless = counted & ~leaves & reached & (discount >= 1)
    solved = jnp.where(discount < 1, counted, leaves)
    d = solve(_balance(chain.transition, solved, discount).T, jnp.where(solved, initial, 0.0))
    return jnp.where(endless, jnp.inf, d)


def _balance(transition: jax.Array, solved: jax.Array, discount: float | Array) -> jax.Array:
    """I − γ P [S, S] of the solved [S] states; for the others x = right side, which the caller sets to 0."""
    inside = solved[:, None] & solved[None, :]
    return jnp.eye(solved.shape[0], dtype=transition.dtype) - discount * jnp.where(inside, transition, 0.0)
