"""Policies: observation → distribution over actions.

A policy is a frozen record; `bind` joins it with an environment's spaces into two pure functions. The stochastic policy
π_θ(a|s) is the distribution, the deterministic one its mode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax

from purepg import environments
from purepg.distributions import Categorical, Distribution
from purepg.environments import EnvironmentSpec
from purepg.networks import MLP, Network, Params


class BoundPolicy(NamedTuple):
    """A policy for one environment."""

    init: Callable[[jax.Array], Params]  # key → params
    distribution: Callable[[Params, jax.Array], Distribution]  # params, observation [..., *shape] → [...]


class Policy(Protocol):
    """The record of a policy: static, hashes by value."""

    def bind(self, env: EnvironmentSpec) -> BoundPolicy: ...


@dataclass(frozen=True)
class Softmax:
    """π(a|s) ∝ exp f_θ(s)_a over finite actions, with f a network, a table or your own functions.

    Raises:
      InvalidInput: when bound to an environment whose actions are not finite.
    """

    network: Network = MLP()

    def bind(self, env: EnvironmentSpec) -> BoundPolicy:
        inputs, num_actions = environments.inputs(env), environments.num_actions(env)
        return BoundPolicy(
            init=lambda key: self.network.init(key, inputs, num_actions),
            distribution=lambda params, observation: Categorical(
                self.network.apply(params, observation, inputs, num_actions)
            ),
        )
