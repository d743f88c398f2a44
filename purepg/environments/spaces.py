"""What is observed and which actions there are: of both what does not depend on an environment's parameters."""

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
    """What a network sees: (shape, num_categories), and the type that the environment makes."""

    dtype: Any  # no part of its value

    def __new__(cls, shape: tuple[int, ...], num_categories: int | None, dtype: Any = None) -> "Inputs":
        made = super().__new__(cls, shape, num_categories)
        made.dtype = dtype or (jnp.float32 if num_categories is None else jnp.int32)
        return made


def inputs(spec: EnvironmentSpec, params: Any = None) -> Inputs:
    """What observations look like. The shape is read off a reset: some environments leave their declared space."""
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

    Raises:
      InvalidInput: the actions are not finite in number.
    """
    env = resolve(spec)
    space = env.action_space(env.default_params)
    if not is_discrete(spec):
        raise InvalidInput(
            f"{spec.name!r} has actions {space}: a softmax policy needs a finite set (Discrete) of them"
            f"{_instead(_is_real(space), 'a Gaussian policy')}"
        )
    return int(space.n)


class ContinuousActions(NamedTuple):
    """A box of actions: what of it does not depend on the parameters.

    Attributes:
      shape: of one action.
      below: of each component, flat: whether it is bounded from below.
      above: … and from above.
    """

    shape: tuple[int, ...]
    below: tuple[bool, ...]
    above: tuple[bool, ...]


def is_discrete(spec: EnvironmentSpec) -> bool:
    """Whether the actions are finite in number."""
    env = resolve(spec)
    return _is_a(env.action_space(env.default_params), "Discrete")


def _is_a(space: Any, kind: str) -> bool:
    """By the name of its class or of one that this is made from: not every space is of gymnax's own classes."""
    return any(one.__name__ == kind for one in type(space).__mro__)


def _is_real(space: Any) -> bool:
    return _is_a(space, "Box") and bool(jnp.issubdtype(space.dtype, jnp.floating))


def _instead(helps: bool, policy: str) -> str:
    """What to do with actions that a policy cannot choose: take the other one, where that helps."""
    if helps:
        return f"; take {policy}"
    return "; no policy here chooses such actions, wrap the environment so that they are a Discrete or a Box of reals"


@functools.cache
def continuous_actions(spec: EnvironmentSpec) -> ContinuousActions:
    """The box of actions.

    Raises:
      InvalidInput: the actions are not one array of numbers.
    """
    with jax.ensure_compile_time_eval():  # spaces make their bounds when asked, also inside a caller's jit
        env = resolve(spec)
        space = env.action_space(env.default_params)
        if not _is_real(space):
            raise InvalidInput(
                f"{spec.name!r} has actions {space}: a Gaussian policy needs continuous ones (a Box of reals)"
                f"{_instead(_is_a(space, 'Discrete'), 'a softmax policy')}"
            )
        low, high = map(np.asarray, action_bounds(spec))
    return sides(low, high)


def sides(low: np.ndarray, high: np.ndarray) -> ContinuousActions:
    """The box between bounds `[*shape]`."""
    # Some spaces write "unbounded" as the largest float.
    below, above = (tuple((np.abs(x) < 1e30).ravel().tolist()) for x in (low, high))
    return ContinuousActions(low.shape, below, above)


def action_bounds(spec: EnvironmentSpec, params: Any = None) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest action `[*shape]` by `params`, traced where they are; none: the defaults."""
    space = resolve(spec).action_space(parameters(spec, params))
    low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
    return low, high
