"""What a player sees of the states of an exact model: a policy is given observations, never states.

States may share an observation (o(s) = o(s') though s ≠ s'); a policy cannot tell them apart then, and J and its
gradient are those of π(a|o(s)). A class that adds noise or memory to what is seen, or to the dynamics, may still carry
the model of the class that it extends. That is found out by playing: what is seen must be what the state says, and no
transition may be one that the model rules out.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from purepg import environments
from purepg.dtypes import in_types_of
from purepg.environments import EnvironmentSpec

_GAMES, _STEPS = 64, 16  # played to find out


@runtime_checkable
class FiniteModel(Protocol):
    """An environment with finitely many states, the field `index` of its state."""

    observation_index: Any  # [S] int, o(s)

    def exact_model(self, params: Any) -> Any:
        """The arrays (transition `[S, A, S]`, reward, initial `[S]`)."""
        ...


@runtime_checkable
class LinearModel(Protocol):
    """An environment with linear dynamics and quadratic cost, whose state has the field `x`, which is seen."""

    def exact_lqr(self, params: Any) -> Any:
        """A, B, Q, R, initial_second_moment, noise_covariance."""
        ...


def of_finite_model(spec: EnvironmentSpec, params: Any) -> np.ndarray | None:
    """o(s) `[S]` of the environment's exact model; None where it has none, or plays otherwise than this says."""
    env = environments.resolve(spec)
    if not isinstance(env, FiniteModel):
        return None
    observed, transition = np.asarray(env.observation_index), np.asarray(env.exact_model(params)[0])
    before, action, after, seen = _played(spec, params)
    if not hasattr(after, "index") or seen.shape != after.index.shape:
        return None
    possible = transition[before.index, action, after.index] > 0
    return observed if possible.all() and (seen == observed[after.index]).all() else None


def is_linear_model(spec: EnvironmentSpec, params: Any) -> bool:
    """Whether the environment is a linear one, takes every action as it is and shows its state."""
    if not isinstance(environments.resolve(spec), LinearModel):
        return False
    _, below, above = environments.continuous_actions(spec)
    _, _, after, seen = _played(spec, params)
    return not any(below + above) and hasattr(after, "x") and np.array_equal(seen, after.x)


def _played(spec: EnvironmentSpec, params: Any) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """(state, action, state after it, what is seen there) of random play up to each game's end, `[rows, ...]`."""
    env = environments.resolve(spec)

    def choose(key):
        if environments.is_discrete(spec):
            return env.action_space(params).sample(key)
        return jax.random.normal(key, environments.continuous_actions(spec).shape)

    def play(key):
        start_key, key = jax.random.split(key)
        state = environments.reset(env, start_key, params)[1]

        def step(state, key):
            action_key, key = jax.random.split(key)
            action = choose(action_key)
            seen, after, _, terminated, _ = environments.step(env, key, state, action, params)
            return after, ((state, action, after, seen), terminated)

        like = jax.eval_shape(step, state, key)[0]
        return jax.lax.scan(step, in_types_of(state, like), jax.random.split(key, _STEPS))[1]

    keys = jax.random.split(jax.random.key(0), _GAMES)
    rows, terminated = jax.device_get(jax.jit(jax.vmap(play))(keys))
    live = np.cumsum(terminated, axis=1) - terminated == 0  # [games, steps]
    return jax.tree.map(lambda x: x[live], rows)
