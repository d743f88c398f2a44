"""Policies: observation → distribution over actions and, where wanted, the value of the observation.

A policy is a frozen record; `bind` turns it into pure functions for an environment's spaces. The stochastic policy
π_θ(a|s) is the distribution, the deterministic one its mode: arg max of a softmax, μ_θ(s) of a Gaussian.
"""

import functools
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from purepg import environments
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput, checks
from purepg.errors.shapes import check_shapes
from purepg.policies import distributions, networks
from purepg.policies.distributions import Categorical, ClippedGaussian, Distribution, Sides, SquashedGaussian
from purepg.policies.networks import MLP, Affine, Network, Params, outputs_of

__all__ = [
    "BoundPolicy",
    "Gaussian",
    "Linear",
    "Outputs",
    "Policy",
    "Softmax",
    "check",
    "not_linear",
    "refuse_without_score",
]


class Outputs(NamedTuple):
    """What a policy says of observations with batch axes `[...]`.

    Attributes:
      distribution: over actions, batch axes [...].
      value: V [...]; None unless the policy was bound with a value.
    """

    distribution: Distribution
    value: Any = None


class Linear(NamedTuple):
    """A linear Gaussian policy: the action is K o + c + σ ε for an observation o `[O]`.

    Attributes:
      gain: K [A, O].
      offset: c [A].
      std: σ [A], or [] for all components.
    """

    gain: Any
    offset: Any
    std: Any


def not_linear(params: Params) -> Linear | None:
    """The `BoundPolicy.linear` of a policy that is not a linear Gaussian: None.

    Args:
      params: of any policy; not read.
    """
    del params


class BoundPolicy(NamedTuple):
    """A policy for one environment.

    Attributes:
      init: key → params.
      outputs: params, observation [..., *shape] → `Outputs` with batch axes [...].
      play: action as sampled, env_params=None → action as the environment with these parameters takes it.
      see: params, observation → the observation as the network sees it.
      linear: params → `Linear`, differentiable, for closed forms; None where the policy is not linear. Whoever replaces
        `outputs` must replace this too.
    """

    init: Callable[[jax.Array], Params]
    outputs: Callable[[Params, jax.Array], Outputs]
    play: Callable[..., jax.Array] = lambda action, env_params=None: action
    see: Callable[[Params, jax.Array], jax.Array] = lambda params, observation: observation
    linear: Callable[[Params], Linear | None] = not_linear

    def distribution(self, params: Params, observation: jax.Array) -> Distribution:
        """The distribution over actions alone, with batch axes [...].

        Args:
          params: of this policy.
          observation: [..., *shape].
        """
        return self.outputs(params, observation).distribution


@runtime_checkable
class Policy(Protocol):
    """The record of a policy: static, it hashes by value."""

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        """The policy's functions for one environment.

        Args:
          env: the environment, whose spaces decide the sizes.
          with_value: whether the network has one more output, V.
        """
        ...


@dataclass(frozen=True)
class Softmax:
    """π(a|s) ∝ exp f_θ(s)_a over finite actions, with f a network, a table or your own functions.

    Attributes:
      network: Or its name.

    Raises:
      InvalidInput: when bound to an environment whose actions are not finite.
    """

    network: Network = MLP()

    def __post_init__(self):
        object.__setattr__(self, "network", networks.chosen(self.network))

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        inputs, num_actions = environments.inputs(env), environments.num_actions(env)
        num_outputs = num_actions + with_value

        def outputs(params: Params, observation: jax.Array) -> Outputs:
            out = outputs_of(self.network, params, observation, inputs, num_outputs)
            return Outputs(Categorical(out[..., :num_actions]), out[..., -1] if with_value else None)

        return BoundPolicy(lambda key: self.network.init(key, inputs, num_outputs), outputs)


@dataclass(frozen=True)
class Gaussian:
    """π(a|s) = N(μ_θ(s), σ²) over continuous actions, with independent components.

    Each component is held within the bounds that the environment's parameters in use give it. With bounds on both sides
    one unit is half their distance and 0 their middle; with a single bound a unit is 1 and 0 lies one unit inside it;
    with none, an action is played as it is. An action outside is clipped before it is played, which makes the bounds
    part of the environment: the log-probability is that of the action as sampled, and between two bounds the entropy
    counts σ only up to 1 (`distributions.ClippedGaussian`). With `squash`, tanh (or, at a single bound, softplus) takes
    the place of clipping, and log-probability and entropy are those of the action as played, in these units.

    Attributes:
      network: Or its name.
      std: σ: fixed at initial_std, a parameter of its own for each component, or an output of the network.
      initial_std: σ at the start, in half-widths of bounded actions.
      squash: Squash actions into their bounds by tanh or softplus.

    Raises:
      InvalidInput: when bound to an environment whose actions are not one vector of numbers, or, with `squash`,
        not bounded at all.
    """

    network: Network = MLP()
    std: Literal["fixed", "learned", "state"] = "learned"
    initial_std: float = 0.5
    squash: bool = False

    def __post_init__(self):
        object.__setattr__(self, "network", networks.chosen(self.network))
        checks.kind("initial_std", self.initial_std, isinstance(self.initial_std, numbers.Real), "a number")
        if self.std not in ("fixed", "learned", "state"):
            raise InvalidInput(f"std = {self.std!r} is not one of fixed, learned, state")
        if not self.initial_std > 0 and not (self.std == "fixed" and self.initial_std == 0):
            raise InvalidInput(
                f"initial_std = {self.initial_std}: must be positive (0 only where std is fixed)"
            )

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        inputs, space = environments.inputs(env), environments.continuous_actions(env)
        sides = Sides(space.below, space.above)
        bounded = any(map(any, sides))
        if self.squash and not bounded:
            raise InvalidInput(
                f"{env.name!r} has unbounded actions, so that there is nothing to squash into; leave squash off"
            )
        size = int(np.prod(space.shape))
        num_means = size * (2 if self.std == "state" else 1)
        num_outputs = num_means + with_value
        initial_log_std = float(np.log(self.initial_std)) if self.initial_std else -np.inf
        family = SquashedGaussian if self.squash else ClippedGaussian

        def init(key: jax.Array) -> Params:
            params = {"network": self.network.init(key, inputs, num_outputs)}
            if self.std == "learned":
                params["log_std"] = jnp.full(size, initial_log_std)
            return params

        def outputs(params: Params, observation: jax.Array) -> Outputs:
            out = outputs_of(self.network, params["network"], observation, inputs, num_outputs)
            mean, by_state = out[..., :size], out[..., size:num_means]
            std = self.initial_std * jnp.exp(by_state) if self.std == "state" else self._std(params)
            std = jnp.broadcast_to(std, mean.shape)
            distribution = family(mean, std, sides) if bounded else distributions.Gaussian(mean, std)
            return Outputs(distribution, out[..., -1] if with_value else None)

        def play(action: jax.Array, env_params: Any = None) -> jax.Array:
            if self.squash:
                action = distributions.squash(action, sides)
            action = action.reshape((*action.shape[:-1], *space.shape))
            if not bounded:
                return action
            scale, middle, low, high = (
                jnp.broadcast_to(x, action.shape) for x in _units(env, sides, env_params)
            )
            return jnp.clip(middle + scale * action, low, high)

        return BoundPolicy(init, outputs, play, linear=lambda params: self._linear(params, size))

    def _std(self, params: Params) -> jax.Array:
        """σ `[A]` or `[]`, where it does not depend on the state."""
        return jnp.exp(params["log_std"]) if self.std == "learned" else jnp.asarray(self.initial_std)

    def _linear(self, params: Params, size: int) -> Linear | None:
        layer = self.network.affine(params["network"]) if isinstance(self.network, Affine) else None
        if layer is None or self.std == "state" or self.squash:
            return None
        kernel, bias = layer  # where a critic shares the network, the last column is V's
        return Linear(kernel[:, :size].T, bias[:size], self._std(params))


@functools.cache
def check(policy: Policy, env: EnvironmentSpec, *, with_value: bool) -> None:
    """Refuses a policy whose functions return anything but what the protocol says; only shapes are computed.

    Args:
      policy: the record to check.
      env: the environment it is bound to.
      with_value: as for `bind`.

    Raises:
      InvalidInput: names what has the wrong kind or shape.
    """
    whose = f"of {type(policy).__name__}"
    bound, inputs = policy.bind(env, with_value=with_value), environments.inputs(env)
    checks.kind(f"bind {whose}", bound, isinstance(bound, BoundPolicy), "a policies.BoundPolicy(…)")

    def ask(key: jax.Array) -> dict[str, Any]:
        outputs = bound.outputs(bound.init(key), jnp.zeros((2, *inputs.shape), inputs.dtype))
        checks.kind(f"outputs {whose}", outputs, isinstance(outputs, Outputs), "policies.Outputs(…)")
        distribution, action = outputs.distribution, outputs.distribution.sample(key)
        numbers = {"log_prob": distribution.log_prob(action), "entropy": distribution.entropy()}
        return {"mode": distribution.mode(), "sample": action, "value": outputs.value} | numbers

    found = jax.eval_shape(ask, jax.random.key(0))
    actions = {f"{name} {whose}": found.pop(name) for name in ("sample", "mode")}
    value = found.pop("value")
    if with_value:
        found["value"] = value
    check_shapes("two observations", (2,), **{f"{name} {whose}": x for name, x in found.items()})
    check_shapes("two observations", (2, ...), **actions)


def refuse_without_score(policy: Policy, what: str) -> None:
    """Refuses a policy without noise where ∇log π is needed.

    Args:
      policy: the record.
      what: what needs the score, at the start of the message.

    Raises:
      InvalidInput: its std is fixed at 0, so that an action has no density.
    """
    if isinstance(policy, Gaussian) and policy.std == "fixed" and policy.initial_std == 0:
        raise InvalidInput(
            f"{what} follows ∇log π, which a policy without noise (std fixed at 0) does not have: give a positive "
            "initial_std, or take a pathwise estimator"
        )


def _units(env: EnvironmentSpec, sides: Sides, env_params: Any) -> tuple[jax.Array, ...]:
    """One unit, 0, least and greatest of each component, `[*shape]`, in the environment's units."""
    low, high = environments.action_bounds(env, env_params)
    below, above = (np.reshape(side, low.shape) for side in sides)
    low, high = jnp.where(below, low, -jnp.inf), jnp.where(above, high, jnp.inf)
    both, one = below & above, jnp.ones_like(low)
    inside = jnp.where(below, low + 1, jnp.where(above, high - 1, 0.0))
    from_, to = jnp.where(both, low, -one), jnp.where(both, high, one)
    return (to - from_) / 2, jnp.where(both, (from_ + to) / 2, inside), low, high
