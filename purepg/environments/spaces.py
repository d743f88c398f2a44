"""Observations and actions of an environment, as far as they do not depend on its parameters."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg.environments.specs import EnvironmentSpec, parameters, reset, resolve
from purepg.errors import InvalidInput

__all__ = [
    "ContinuousActions",
    "Inputs",
    "action_bounds",
    "continuous_actions",
    "inputs",
    "is_discrete",
    "num_actions",
    "sides",
]


class _Seen(NamedTuple):
    shape: tuple[int, ...]  # of one observation
    num_categories: int | None  # where observations are integers 0 … num_categories − 1


class Inputs(_Seen):
    """What a network sees, (shape, num_categories), and the dtype of the environment's observations.

    Attributes:
      shape: of one observation.
      num_categories: n where observations are integers 0 … n − 1; None for numbers.
      dtype: of observations; no part of the value, so that equal shapes are equal.
    """

    dtype: Any  # no part of its value

    def __new__(cls, shape: tuple[int, ...], num_categories: int | None, dtype: Any = None) -> "Inputs":
        made = super().__new__(cls, shape, num_categories)
        made.dtype = dtype or (jnp.float32 if num_categories is None else jnp.int32)
        return made


def inputs(spec: EnvironmentSpec, params: Any = None) -> Inputs:
    """Shape, kind and type of observations. They are read off a reset: some environments leave their declared space.

    Args:
      spec: the environment.
      params: its parameters; None: the defaults.
    """
    env, params = resolve(spec), parameters(spec, params)
    observation, _ = jax.eval_shape(functools.partial(reset, env), jax.random.key(0), params)
    if not hasattr(observation, "shape"):
        raise InvalidInput(f"{spec.name!r} observes a structure of arrays; only single arrays are supported")
    if not observation.size:
        raise InvalidInput(
            f"{spec.name!r} observes nothing, an array of shape {observation.shape}: let it observe a constant"
        )
    space = env.observation_space(params)
    num_categories = int(space.n) if _is_a(space, "Discrete") else None
    return Inputs(observation.shape, num_categories, observation.dtype)


def num_actions(spec: EnvironmentSpec) -> int:
    """The number of actions.

    Args:
      spec: the environment.

    Raises:
      InvalidInput: there are not finitely many actions.
    """
    env = resolve(spec)
    space = env.action_space(env.default_params)
    if not is_discrete(spec):
        raise InvalidInput(
            f"{spec.name!r} has actions {space}: a softmax policy needs a finite set (Discrete) of them"
            f"{_instead('a Gaussian policy', helps=_is_real(space))}"
        )
    return int(space.n)


class ContinuousActions(NamedTuple):
    """A box of actions, as far as it does not depend on the parameters.

    Attributes:
      shape: of one action.
      below: for each component, flattened: whether it is bounded from below.
      above: likewise from above.
    """

    shape: tuple[int, ...]
    below: tuple[bool, ...]
    above: tuple[bool, ...]


def is_discrete(spec: EnvironmentSpec) -> bool:
    """Whether there are finitely many actions.

    Args:
      spec: the environment.
    """
    env = resolve(spec)
    return _is_a(env.action_space(env.default_params), "Discrete")


def _is_a(space: Any, kind: str) -> bool:
    """Judged by the names of its class and base classes: not every space is of gymnax's own classes."""
    return any(one.__name__ == kind for one in type(space).__mro__)


def _is_real(space: Any) -> bool:
    return _is_a(space, "Box") and bool(jnp.issubdtype(space.dtype, jnp.floating))


def _instead(policy: str, *, helps: bool) -> str:
    """What to do about actions that a policy cannot choose: take the other policy, where that helps."""
    if helps:
        return f"; take {policy}"
    return "; no policy here chooses such actions, wrap the environment so that they are a Discrete or a Box of reals"


@functools.cache
def continuous_actions(spec: EnvironmentSpec) -> ContinuousActions:
    """The box of actions.

    Args:
      spec: the environment.

    Raises:
      InvalidInput: the actions are not one array of numbers.
    """
    with jax.ensure_compile_time_eval():  # spaces compute their bounds on access, also inside a caller's jit
        env = resolve(spec)
        space = env.action_space(env.default_params)
        if not _is_real(space):
            raise InvalidInput(
                f"{spec.name!r} has actions {space}: a Gaussian policy needs continuous ones (a Box of reals)"
                f"{_instead('a softmax policy', helps=_is_a(space, 'Discrete'))}"
            )
        low, high = map(np.asarray, action_bounds(spec))
    return sides(low, high)


def sides(low: np.ndarray, high: np.ndarray) -> ContinuousActions:
    """The box between bounds `[*shape]`.

    Args:
      low, high: bounds of one action, [*shape]; ±1e30 and beyond means none.
    """
    # Some spaces write "unbounded" as the largest float.
    below, above = (tuple((np.abs(x) < 1e30).ravel().tolist()) for x in (low, high))
    return ContinuousActions(low.shape, below, above)


def action_bounds(spec: EnvironmentSpec, params: Any = None) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest action, `[*shape]` each; traced where `params` are.

    Args:
      spec: the environment.
      params: its parameters; None: the defaults.
    """
    space = resolve(spec).action_space(parameters(spec, params))
    low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
    return low, high
