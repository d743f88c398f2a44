"""Playing by action values: how often to explore, which action to choose, what the next state is worth.

    π_ε(a|s) = ε / A + (1 − ε) [a = argmax Q(s, ·)]

The values come from a table (`q_learning`) or a network (`dqn`); here they are arrays `[N, A]`.

There are no gradients: actions are integers.

Reference: Sutton and Barto (2018), sections 2.2 and 6.4 to 6.6.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from purepg import environments
from purepg.errors import InvalidInput
from purepg.policies import Softmax
from purepg.policies.distributions import Categorical
from purepg.policies.networks import Network, Params
from purepg.task import Segments, Task

__all__ = ["ActionValues", "Exploration", "action_value_network", "epsilon_greedy", "greedy", "next_value"]


@dataclass(frozen=True)
class Exploration:
    """ε over the updates: linear from `initial` to `final` within `horizon` updates, then constant.

    Attributes:
      initial: ε of the first update, in [0, 1].
      final: ε in the end, in [0, 1].
      horizon: Updates until ε is `final`; apart from the number of updates, so that a run can be continued.
    """

    initial: float = 1.0
    final: float = 0.05
    horizon: int = 100

    def __post_init__(self):
        if not (0 <= self.initial <= 1 and 0 <= self.final <= 1):
            raise InvalidInput(f"epsilon from {self.initial} to {self.final}: probabilities lie in [0, 1]")
        if self.horizon < 1:
            raise InvalidInput(f"epsilon's horizon = {self.horizon}: give at least 1 update")

    def epsilon(self, updates: jax.Array) -> jax.Array:
        """ε, [], for the update that follows.

        Args:
          updates: [], how many updates have been made.
        """
        progress = jnp.clip(updates / self.horizon, 0.0, 1.0)
        return jnp.float32(self.initial) + (self.final - self.initial) * progress


class ActionValues(NamedTuple):
    """What ε-greedy play needs.

    Attributes:
      network: Parameters of Q: a table {"table": [O, A]}, or those of a network.
      epsilon: [], the ε that the last update played with.
    """

    network: Params
    epsilon: jax.Array


def next_value(q: jax.Array, epsilon: jax.Array, action: jax.Array | None, target: str) -> jax.Array:
    """What the next state is worth, `[N]`, by each kind of target.

    Args:
      q: `[N, A]`, the action values of the next state.
      epsilon: [], of the policy that is played.
      action: `[N]`, the actions that are played next, for SARSA alone.
      target: "q_learning", "sarsa" or "expected_sarsa".
    """
    if target == "sarsa":
        assert action is not None
        return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]
    best = q.max(axis=-1)
    if target == "q_learning":
        return best
    return (1.0 - epsilon) * best + epsilon * q.mean(axis=-1)


def greedy(q: jax.Array) -> jax.Array:
    """The best actions `[N]`; among equals, the first.

    Args:
      q: `[N, A]`, action values.
    """
    return Categorical(q).mode()


def epsilon_greedy(key: jax.Array, q: jax.Array, epsilon: jax.Array) -> jax.Array:
    """The best actions `[N]`, each replaced with probability ε by a uniformly random one.

    Args:
      key: of the draws.
      q: `[N, A]`, action values.
      epsilon: [], in [0, 1].
    """
    explore_key, action_key = jax.random.split(key)
    best = greedy(q)
    explore = jax.random.bernoulli(explore_key, epsilon, best.shape)
    return jnp.where(explore, jax.random.randint(action_key, best.shape, 0, q.shape[-1]), best)


def action_value_network(task: Task) -> Network:
    """The network of a task whose policy's outputs are read as action values.

    Args:
      task: what is played; its policy is `Softmax(network)`.

    Raises:
      InvalidInput: the actions are not finite in number, or action values cannot be learned in this task.
    """
    if not environments.is_discrete(task.env):
        raise InvalidInput(
            f"{task.env.name!r} has continuous actions: Q-learning takes the best of finitely many; "
            "take a policy gradient or the cross-entropy method"
        )
    if not isinstance(task.policy, Softmax):
        raise InvalidInput(f"Q-learning reads its network off a Softmax policy, not {task.policy}")
    if not isinstance(task.collect, Segments):
        raise InvalidInput(
            "Q-learning learns while games run: give collect=purepg.Segments(num_games, num_steps), not whole games"
        )
    if task.normalize_observations:
        raise InvalidInput("Q-learning does not normalise observations: leave normalize_observations off")
    return task.policy.network
