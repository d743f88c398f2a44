"""Policies: observation → distribution over actions, and where wanted the value of the observation beside it.

A policy is a frozen record; `bind` joins it with an environment's spaces into pure functions. The stochastic policy
π_θ(a|s) is the distribution, the deterministic one its mode: arg max of a softmax, μ_θ(s) of a Gaussian.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from purepg import distributions, environments
from purepg.distributions import Categorical, Distribution, TanhGaussian
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.networks import MLP, Network, Params


class Outputs(NamedTuple):
    """What a policy's network says of observations `[...]`."""

    distribution: Distribution  # [...]
    value: Any = None  # [...] V, of a policy bound with a value


class BoundPolicy(NamedTuple):
    """A policy for one environment."""

    init: Callable[[jax.Array], Params]  # key → params
    outputs: Callable[[Params, jax.Array], Outputs]  # params, observation [..., *shape] → [...]
    play: Callable[[jax.Array], jax.Array] = lambda action: action  # as sampled → as the environment takes it
    see: Callable[[Params, jax.Array], jax.Array] = lambda params, observation: (
        observation
    )  # what a network sees

    def distribution(self, params: Params, observation: jax.Array) -> Distribution:
        return self.outputs(params, observation).distribution


class Policy(Protocol):
    """The record of a policy: static, hashes by value."""

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        """The policy's functions; `with_value` gives its network one more output, V."""
        ...


@dataclass(frozen=True)
class Softmax:
    """π(a|s) ∝ exp f_θ(s)_a over finite actions, with f a network, a table or your own functions.

    Raises:
      InvalidInput: when bound to an environment whose actions are not finite.
    """

    network: Network = MLP()

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        inputs, num_actions = environments.inputs(env), environments.num_actions(env)
        num_outputs = num_actions + with_value

        def outputs(params: Params, observation: jax.Array) -> Outputs:
            out = self.network.apply(params, observation, inputs, num_outputs)
            return Outputs(Categorical(out[..., :num_actions]), out[..., -1] if with_value else None)

        return BoundPolicy(lambda key: self.network.init(key, inputs, num_outputs), outputs)


@dataclass(frozen=True)
class Gaussian:
    """π(a|s) = N(μ_θ(s), σ²) over continuous actions, each component on its own.

    Where the environment bounds its actions, one unit is half the width of the bounds and 0 their middle. An action
    outside them is clipped before it is played, which makes the bounds part of the environment: the log-probability
    is that of the action as sampled. With `squash` tanh takes the place of clipping.

    Raises:
      InvalidInput: when bound to an environment whose actions are not one vector of numbers, or, with `squash`,
        not bounded.
    """

    network: Network = MLP()
    std: Literal["fixed", "learned", "state"] = "learned"
    """σ: fixed at initial_std, a parameter of its own for each component, or an output of the network."""
    initial_std: float = 0.5
    """σ at the start, in half-widths of bounded actions."""
    squash: bool = False
    """Squash actions into their bounds by tanh."""

    def __post_init__(self):
        if self.std not in ("fixed", "learned", "state"):
            raise InvalidInput(f"std = {self.std!r} is not one of fixed, learned, state")
        if not self.initial_std > 0 and not (self.std == "fixed" and self.initial_std == 0):
            raise InvalidInput(
                f"initial_std = {self.initial_std}: must be positive (0 only where std is fixed)"
            )

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        inputs, space = environments.inputs(env), environments.continuous_actions(env)
        if self.squash and not space.bounded:
            raise InvalidInput(
                f"{env.name!r} has unbounded actions: tanh cannot squash into them; leave squash off"
            )
        size = int(np.prod(space.shape))
        num_means = size * (2 if self.std == "state" else 1)
        num_outputs = num_means + with_value
        initial_log_std = float(np.log(self.initial_std)) if self.initial_std else -np.inf
        make = TanhGaussian if self.squash else distributions.Gaussian

        def init(key: jax.Array) -> Params:
            params = {"network": self.network.init(key, inputs, num_outputs)}
            if self.std == "learned":
                params["log_std"] = jnp.full(size, initial_log_std)
            return params

        def outputs(params: Params, observation: jax.Array) -> Outputs:
            out = self.network.apply(params["network"], observation, inputs, num_outputs)
            mean = out[..., :size]
            if self.std == "state":
                std = self.initial_std * jnp.exp(out[..., size:num_means])
            elif self.std == "learned":
                std = jnp.exp(params["log_std"])
            else:
                std = jnp.asarray(self.initial_std)
            std = jnp.broadcast_to(std, mean.shape)
            return Outputs(make(mean, std), out[..., -1] if with_value else None)

        def play(action: jax.Array) -> jax.Array:
            if space.bounded:
                action = jnp.tanh(action) if self.squash else jnp.clip(action, -1.0, 1.0)
            action = action.reshape((*action.shape[:-1], *space.shape))
            middle, half_width = (jnp.broadcast_to(x, action.shape) for x in (space.middle, space.half_width))
            return middle + half_width * action

        return BoundPolicy(init, outputs, play)
