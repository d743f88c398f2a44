"""Action values in play: how often to explore, what to choose, what the next state is worth.

    π_ε(a|s) = ε / A + (1 − ε) [a = argmax Q(s, ·)]

The values come from a table (`q_learning`) or a network (`dqn`); here they are arrays `[N, A]`.

No gradients are asked for: choices are integers.

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


@dataclass(frozen=True)
class Exploration:
    """ε by updates: from `initial` linearly to `final` within `horizon` updates, constant from then on."""

    initial: float = 1.0
    """ε of the first update, in [0, 1]."""
    final: float = 0.05
    """ε in the end, in [0, 1]."""
    horizon: int = 100
    """Updates until ε is `final`; apart from the number of updates, so that a run can be continued."""

    def __post_init__(self):
        if not (0 <= self.initial <= 1 and 0 <= self.final <= 1):
            raise InvalidInput(f"epsilon from {self.initial} to {self.final}: probabilities lie in [0, 1]")
        if self.horizon < 1:
            raise InvalidInput(f"epsilon's horizon = {self.horizon}: give at least 1 update")

    def epsilon(self, updates: jax.Array) -> jax.Array:
        """ε after so many updates, []."""
        progress = jnp.clip(updates / self.horizon, 0.0, 1.0)
        return jnp.float32(self.initial) + (self.final - self.initial) * progress


class ActionValues(NamedTuple):
    """What ε-greedy play needs."""

    network: Params  # of Q: a table {"table": [O, A]}, or a network's parameters
    epsilon: jax.Array  # [], what the last update played with


def next_value(q: jax.Array, epsilon: jax.Array, action: jax.Array | None, target: str) -> jax.Array:
    """What each target says the next state is worth, `[N]`, from its action values `[N, A]`.

    Args:
      epsilon: [], of the policy that is played.
      action: [N], what is played next, for SARSA.
    """
    if target == "sarsa":
        assert action is not None
        return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]
    best = q.max(axis=-1)
    if target == "q_learning":
        return best
    return (1.0 - epsilon) * best + epsilon * q.mean(axis=-1)


def greedy(q: jax.Array) -> jax.Array:
    """The best action by values `[N, A]`, the first one among equals: [N]."""
    return Categorical(q).mode()


def epsilon_greedy(key: jax.Array, q: jax.Array, epsilon: jax.Array) -> jax.Array:
    """The best action by values `[N, A]`, or with probability ε any one: [N]."""
    explore_key, action_key = jax.random.split(key)
    best = greedy(q)
    explore = jax.random.bernoulli(explore_key, epsilon, best.shape)
    return jnp.where(explore, jax.random.randint(action_key, best.shape, 0, q.shape[-1]), best)


def action_value_network(task: Task) -> Network:
    """The network of a task whose policy's outputs are read as action values.

    Raises:
      InvalidInput: the actions are not finite in number, or the task asks for what action values cannot be learned in.
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
