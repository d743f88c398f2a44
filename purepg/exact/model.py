"""A finite Markov decision process, the Markov chain that it becomes under a policy, and where that chain ends.

    P(s'|s, a) [S, A, S],   r(s, a) = Σ_s' P(s'|s, a) r(s, a, s')
    P_π(s'|s) = Σ_a π(a|s) P(s'|s, a),   r_π(s) = Σ_a π(a|s) r(s, a)

An episode ends in two ways: in a terminal state, which is absorbing under every action and pays nothing, or
with the probability by which a row of P falls short of 1. At γ = 1 a chain may also stop mattering: a state is
*earning* while some reward can still come, and a chain that has left the earning states is as good as ended.

Which states these are is a question about graphs (what can be reached along edges of positive probability),
answered here without arithmetic; no gradient flows through the answers.

Reference: Puterman (1994), Markov Decision Processes, section 7.1 and appendix A.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = [
    "ROUNDING",
    "Array",
    "Chain",
    "Model",
    "can_reach",
    "earning",
    "follow",
    "make_model",
    "policy_probabilities",
    "reachable",
    "transient",
]

Array = jax.Array | np.ndarray  # as callers may give it
ROUNDING = 1e-6  # a probability within this of 1 is taken to be 1, rounded in float32


class Model(NamedTuple):
    """A finite Markov decision process.

    Attributes:
      transition: [S, A, S].
      reward: [S, A], expected over the next state.
      leaks: [S, A] bool: the action may end the episode here and now.
      terminal: [S] bool.
    """

    transition: jax.Array
    reward: jax.Array
    leaks: jax.Array
    terminal: jax.Array


class Chain(NamedTuple):
    """The Markov chain of a model under a policy.

    Attributes:
      transition: [S, S].
      reward: [S].
      reaches: [S, S] bool: a path of zero or more steps leads from the row's state to the column's.
      leaks: [S] bool: the episode may end here and now.
      pays: [S] bool: some action that is taken here has a reward.
    """

    transition: jax.Array
    reward: jax.Array
    reaches: jax.Array
    leaks: jax.Array
    pays: jax.Array


def make_model(transition: Array, reward: Array | None) -> Model:
    """The model with these transitions and rewards.

    Args:
      transition: [S, A, S], rows that sum to at most 1.
      reward: [S, A], or [S, A, S] by the next state; None: no reward anywhere.
    """
    transition = jnp.asarray(transition)
    reward = jnp.zeros_like(transition[:, :, 0]) if reward is None else jnp.asarray(reward)
    if reward.ndim == 3:
        reward = (transition * reward).sum(2)
    total = transition.sum(2)  # [S, A]
    stays = jnp.diagonal(transition, axis1=0, axis2=2).T  # [S, A]
    absorbing = (stays >= 1 - ROUNDING) & (stays == total)
    return Model(
        transition=transition,
        reward=reward,
        leaks=total < 1 - ROUNDING,
        terminal=(absorbing & (reward == 0)).all(1),
    )


def policy_probabilities(model: Model, policy: Array) -> jax.Array:
    """[S, A] probabilities of a policy in either form.

    Args:
      model: the MDP.
      policy: [S, A] probabilities, or [S] integer actions.
    """
    if policy.ndim == 2:
        return jnp.asarray(policy)
    return jax.nn.one_hot(policy, model.reward.shape[1], dtype=model.reward.dtype)


def follow(model: Model, policy: jax.Array) -> Chain:
    """The chain of the model under a policy.

    Args:
      model: the MDP.
      policy: [S, A] probabilities.
    """
    taken = policy > 0
    transition = jnp.einsum("sa,sat->st", policy, model.transition)
    return Chain(
        transition=transition,
        reward=(policy * model.reward).sum(1),
        reaches=_closure(transition > 0),
        leaks=(taken & model.leaks).any(1),
        pays=(taken & (model.reward != 0)).any(1),
    )


def can_reach(chain: Chain, target: jax.Array) -> jax.Array:
    """[S] bool: the states from which the chain can come to a target state, including the targets themselves.

    Args:
      chain: of a policy.
      target: [S] bool.
    """
    return (chain.reaches & target[None, :]).any(1)


def reachable(chain: Chain, start: jax.Array) -> jax.Array:
    """[S] bool: the states to which the chain can come from a start state, including the starts themselves.

    Args:
      chain: of a policy.
      start: [S] bool.
    """
    return (chain.reaches & start[:, None]).any(0)


def earning(chain: Chain) -> jax.Array:
    """[S] bool: the states from which some reward can still come.

    Args:
      chain: of a policy.
    """
    return can_reach(chain, chain.pays)


def transient(chain: Chain, counted: jax.Array) -> jax.Array:
    """[S] bool: the counted states from which the chain can leave the counted states, or end.

    Provided that no counted state is entered from outside, a finite chain visits these states finitely often, and
    stays in the other counted states for ever.

    Args:
      chain: of a policy.
      counted: [S] bool.
    """
    exits = chain.leaks | can_reach(chain, ~counted)
    return counted & can_reach(chain, exits)


def _closure(edges: jax.Array) -> jax.Array:
    """[S, S] bool: whether a path of zero or more edges [S, S] leads from the row's state to the column's."""

    def double(_, reaches):
        paths = reaches.astype(jnp.float32)
        return paths @ paths > 0

    size = edges.shape[0]
    return lax.fori_loop(0, size.bit_length(), double, edges | jnp.eye(size, dtype=bool))
