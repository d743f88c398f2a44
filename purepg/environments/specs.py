"""Environments by name: a spec hashes by value, and the environment object it stands for is made once.

gymnax makes unequal objects for equal names, so an environment cannot be a static argument of a jitted function. A
spec can: two equal specs compile once, and `resolve` gives both the same object.

A name is a gymnax id ("CartPole-v1"; ids registered at run time and those of `envs` included) or "module:Class" for
any gymnax `Environment` that can be imported.
"""

import contextlib
import functools
import pathlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg.errors import InvalidInput
from purepg.errors.dtypes import usual_promotions
from purepg.names import did_you_mean, import_object, our_envs

__all__ = [
    "SOLVED_AT",
    "Environment",
    "EnvironmentSpec",
    "differentiable",
    "environment",
    "exact_model",
    "names",
    "parameters",
    "reset",
    "resolve",
    "step",
    "time_limit",
]

Environment = Any  # a gymnax 1.x Environment

# Mean return over 100 games from which on a task is called solved; tasks without an agreed threshold are missing.
SOLVED_AT = {
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -110.0,
    "MountainCarContinuous-v0": 90.0,
    "Catch-bsuite": 0.9,
}


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment by name and constructor arguments; hashes and compares by value.

    Attributes:
      name: a gymnax id, or module:Class.
      arguments: Keyword arguments of the constructor, as sorted pairs of name and hashable value.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()


def environment(name: str, /, **arguments: Any) -> EnvironmentSpec:
    """The spec of an environment; arrays and lists among the arguments become nested tuples, which hash by value.

    Args:
      name: a gymnax id, or "module:Class".
      **arguments: of the constructor: numbers, strings, arrays or lists of them.

    Raises:
      InvalidInput: the name is not a string, or an argument is NaN or cannot be hashed.
    """
    if not isinstance(name, str):
        raise InvalidInput(
            f"environment = {type(name).__name__} object: give a name, an id or module:Class, and its constructor's "
            "arguments beside it"
        )
    return EnvironmentSpec(name, tuple(sorted((k, _freeze(k, v)) for k, v in arguments.items())))


@functools.cache
def resolve(spec: EnvironmentSpec) -> Environment:
    """The environment a spec stands for, the same object every time.

    Args:
      spec: of the environment; equal specs give the same object.

    Raises:
      InvalidInput: no environment has this name, its constructor refuses the arguments, or it needs an extra.
    """
    make = _factory(spec.name)
    try:
        env = make(**dict(spec.arguments))
    except (Exception, SystemExit) as error:  # a wrong argument, a missing extra, a failed download
        kind = "" if isinstance(error, TypeError | ValueError | ImportError) else f"{type(error).__name__}: "
        raise InvalidInput(f"environment {spec.name!r} cannot be made: {kind}{error}") from error
    missing = [a for a in ("reset_env", "step_env", "is_truncated", "default_params") if not hasattr(env, a)]
    if missing:
        raise InvalidInput(f"{spec.name!r} is not a gymnax 1.x Environment: it lacks {', '.join(missing)}")
    return env


def reset(env: Environment, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
    """A fresh game: its observation `[*shape]` and the environment's state.

    Args:
      env: a gymnax environment, as `resolve` gives it.
      key: one typed key.
      params: its parameters.
    """
    with usual_promotions(), _named(env, "reset_env"):
        observation, state = env.reset_env(key, _in_jax(params))
        return observation, state


def step(
    env: Environment, key: jax.Array, state: Any, action: jax.Array, params: Any
) -> tuple[jax.Array, Any, jax.Array, jax.Array, jax.Array]:
    """The next observation and state, reward [] float32, terminated [] and truncated [] bool.

    Args:
      env, key, params: as for `reset`.
      state: of the game before the step.
      action: as the environment takes it.

    Raises:
      InvalidInput: reward or terminated is not one number.
    """
    with usual_promotions(), _named(env, "step_env"):
        params = _in_jax(params)
        observation, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = env.is_truncated(state, params) if _has_limit(env, params) else False
    one = functools.partial(_one_number, env)
    return (
        observation,
        state,
        one("reward", reward, jnp.float32),
        one("terminated", terminated, bool),
        one("truncated", truncated, bool),
    )


def _in_jax(params: Any) -> Any:
    """NumPy arrays as JAX arrays, which tracers can index; converted only here, to stay concrete until then."""
    if any(isinstance(x, np.ndarray) for x in jax.tree.leaves(params)):
        return jax.tree.map(jnp.asarray, params)
    return params


@contextlib.contextmanager
def _named(env: Environment, function: str) -> Iterator[None]:
    """
    Raises:
      InvalidInput: in place of whatever the function raises; it names the environment, the function and the line.
    """
    try:
        yield
    except (KeyError, AttributeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        if isinstance(error, InvalidInput):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        last = next((f for f in reversed(frames) if "/jax/" not in f.filename), frames[-1])
        where = f"{pathlib.Path(last.filename).name}, line {last.lineno}"
        raise InvalidInput(
            f"{type(env).__name__} fails in {function} ({where}): {type(error).__name__}: {error}"
        ) from error


def _has_limit(env: Environment, params: Any) -> bool:
    """Whether the environment cuts its own games: gymnax's check needs a parameter that not every environment has."""
    from gymnax.environments.environment import Environment as Base

    return hasattr(params, "max_steps_in_episode") or type(env).is_truncated is not Base.is_truncated


def _one_number(env: Environment, name: str, value: Any, dtype: Any) -> jax.Array:
    value = jnp.asarray(value)
    if value.size != 1 or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise InvalidInput(
            f"{type(env).__name__} gives {name} of shape {value.shape}, {value.dtype}: a step has one real number"
        )
    return value.reshape(()).astype(dtype)


@functools.cache
def differentiable(spec: EnvironmentSpec) -> Environment:
    """The environment with gradients of its transitions turned on, where it has them.

    Args:
      spec: the environment.
    """
    env = resolve(spec)
    return env.with_transition_gradients() if getattr(env, "supports_transition_gradients", False) else env


def names() -> list[str]:
    """Every valid id: gymnax's own, those registered at run time and those of `envs`."""
    our_envs().register()
    import gymnax

    return list(gymnax.registered_envs)


def parameters(spec: EnvironmentSpec, params: Any) -> Any:
    """The environment's parameters: those given, or its defaults where `params` is None.

    Args:
      spec: the environment.
      params: its parameters; None: the defaults.
    """
    return resolve(spec).default_params if params is None else params


def time_limit(spec: EnvironmentSpec, params: Any = None) -> int:
    """Steps after which the environment cuts an episode.

    Args:
      spec: the environment.
      params: concrete; where replicates differ in their limits, `[R]`, the largest counts. None: the defaults.

    Raises:
      InvalidInput: the environment has no limit of its own, or it is not a whole number of at least 1.
    """
    with jax.ensure_compile_time_eval():
        params = parameters(spec, params)
    if not hasattr(params, "max_steps_in_episode"):
        raise InvalidInput(
            f"{spec.name!r} has no parameter max_steps_in_episode: give max_steps, the longest game in steps"
        )
    limit = np.asarray(params.max_steps_in_episode)
    if not ((limit >= 1) & (limit == np.floor(limit)) & np.isfinite(limit)).all():
        raise InvalidInput(f"max_steps_in_episode = {limit}: give a whole number, at least 1")
    return int(limit.max())


def exact_model(spec: EnvironmentSpec, params: Any = None) -> Any:
    """The arrays (transition, reward, initial) of an environment that is a finite MDP and states them.

    Args:
      spec: the environment.
      params: its parameters; None: the defaults.

    Returns:
      P(s'|s, a) `[S, A, S]`, r `[S, A]` or `[S, A, S]`, and the distribution of the first state `[S]`.

    Raises:
      InvalidInput: the environment has no exact model.
    """
    env = resolve(spec)
    if not hasattr(env, "exact_model"):
        raise InvalidInput(f"{spec.name!r} has no exact model: finite MDPs have one (`exact_model(params)`)")
    return env.exact_model(parameters(spec, params))


def _factory(name: str) -> Callable[..., Environment]:
    if ":" in name:
        return import_object(name)
    import gymnax
    from gymnax import registration

    if name not in gymnax.registered_envs:
        our_envs().register()
        if name not in gymnax.registered_envs:
            close = did_you_mean(name, gymnax.registered_envs)
            raise InvalidInput(
                f"unknown environment {name!r}{close}; `purepg list` shows all, module:Class names your own"
            )
    return lambda **arguments: registration.make(name, **arguments)[0]


def _freeze(name: str, value: Any) -> Any:
    if isinstance(value, float) and value != value:
        raise InvalidInput(f"{name} = {value}: an argument of an environment is NaN, give a number")
    if isinstance(value, np.ndarray | jax.Array | jnp.ndarray):
        value = np.asarray(value).tolist()
    if isinstance(value, list | tuple):
        return tuple(_freeze(name, v) for v in value)
    try:
        hash(value)
    except TypeError:
        raise InvalidInput(
            f"{name} = {value!r}: arguments of an environment hash by value, give numbers, strings, or lists of them"
        ) from None
    return value
