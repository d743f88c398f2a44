"""Numbers that may change without recompiling: traced, so they can be swept and mapped over."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg import environments
from purepg.environments import EnvironmentSpec, env_params
from purepg.errors import InvalidInput, checks

__all__ = [
    "Hyperparams",
    "check",
    "check_one",
    "decode",
    "encode",
    "over_seeds",
    "resolved",
    "some",
    "varies",
    "with_env_params",
]


def _number(default: float, low: float = 0.0, high: float = math.inf) -> Any:
    """A field with its default and the closed range of its values."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hyperparams:
    """Numbers of a method: floats, scalar arrays or, one per seed, arrays `[S]`. A neutral value switches a term off.

    Attributes:
      learning_rate: Step size of the optimiser, at the start of its schedule.
      discount: γ in [0, 1]: the worth of a reward one step later.
      trace_decay: λ in [0, 1] of the λ-return: 0 trusts the critic, 1 the rewards.
      entropy_coefficient: Weight of the entropy bonus; 0 is none.
      value_coefficient: Weight of a shared critic's squared error.
      critic_learning_rate: Step size of a critic with a network of its own.
      max_gradient_norm: The gradient is scaled down to this global norm; inf is no clipping.
      reward_scale: Factor on rewards in estimates; reported returns are unscaled.
      env: The environment's parameters (a pytree); none: its defaults, which `resolved` puts here.
    """

    learning_rate: float = _number(1e-2)
    discount: float = _number(0.99, high=1.0)
    trace_decay: float = _number(0.95, high=1.0)
    entropy_coefficient: float = _number(0.0)
    value_coefficient: float = _number(0.5)
    critic_learning_rate: float = _number(1e-2)
    max_gradient_norm: float = _number(math.inf)
    reward_scale: float = _number(1.0, low=-math.inf)
    env: Any = None


_RANGES: dict[str, tuple[float, float]] = {
    field.name: field.metadata["range"] for field in dataclasses.fields(Hyperparams) if field.metadata
}


def resolved(hyper: Hyperparams, spec: EnvironmentSpec) -> Hyperparams:
    """The numbers, with the environment's default parameters where `hyper.env` is None.

    Args:
      hyper: the numbers; those with an `env` come back as they are.
      spec: the environment whose defaults are taken.
    """
    return (
        hyper
        if hyper.env is not None
        else dataclasses.replace(hyper, env=environments.parameters(spec, None))
    )


def check(hyper: Hyperparams) -> None:
    """Refuses concrete values outside their range; traced ones pass.

    Args:
      hyper: floats, scalar arrays or arrays `[S]`; traced values are not looked at.

    Raises:
      InvalidInput: a value is not a number, or lies outside its range.
    """
    checks.kind("hyper", hyper, isinstance(hyper, Hyperparams), "purepg.Hyperparams(…)")
    for name in _RANGES:
        check_one(name, getattr(hyper, name), replicates=True)


def check_one(name: str, value: Any, *, replicates: bool = False) -> None:
    """Refuses a concrete value of one field that is not allowed; traced ones pass.

    Args:
      name: a field of `Hyperparams` other than env.
      value: a number, an array or, with `replicates`, values `[R]`.
      replicates: whether one value per replicate is allowed.

    Raises:
      InvalidInput: it is not a number, lies outside its range, or is infinite where the field's default is finite.
    """
    if isinstance(value, Tracer):
        return
    (low, high), default = _RANGES[name], getattr(Hyperparams, name)
    given = checks.array(name, value, default, replicates=replicates)
    if not ((given >= low) & (given <= high)).all():
        raise InvalidInput(f"{name} = {given}: must lie in [{low:g}, {high:g}]")


def over_seeds(hyper: Hyperparams, spec: EnvironmentSpec, num_replicates: int) -> Hyperparams:
    """Numbers for every replicate, as arrays `[R, ...]`: these keep their types, so that new numbers never recompile.

    Args:
      hyper: scalars, tiled here, or arrays `[R]`.
      spec: the environment; its parameters in `hyper` may have a leading axis `[R]` that its defaults lack.
      num_replicates: R, at least 1.
    """
    hyper, like = _beside_defaults(hyper, spec)

    def tile(x, like):
        x = np.asarray(x, jnp.result_type(like))
        if x.ndim == jnp.ndim(like):
            return np.broadcast_to(x[None], (num_replicates, *x.shape))
        if x.shape[:1] != (num_replicates,):
            raise InvalidInput(f"a hyper-parameter has {x.shape[0]} values for {num_replicates} replicates")
        return x

    return jax.tree.map(tile, hyper, like)


def varies(hyper: Hyperparams, spec: EnvironmentSpec) -> bool:
    """Whether any number differs from replicate to replicate.

    Args:
      hyper: scalars, or arrays `[R]`.
      spec: the environment, which tells an axis of replicates from one of a parameter's own.
    """
    hyper, like = _beside_defaults(hyper, spec)
    return any(jax.tree.leaves(jax.tree.map(lambda x, like: np.ndim(x) > np.ndim(like), hyper, like)))


def some(hyper: Hyperparams, spec: EnvironmentSpec, which: slice | int) -> Hyperparams:
    """The numbers of some of the replicates, or of one.

    Args:
      hyper: scalars, or arrays `[R]`.
      spec: the environment, as for `varies`.
      which: index or slice of the replicates; an index takes the axis away.
    """
    hyper, like = _beside_defaults(hyper, spec)
    return jax.tree.map(lambda x, like: x[which] if np.ndim(x) > np.ndim(like) else x, hyper, like)


def _beside_defaults(hyper: Hyperparams, spec: EnvironmentSpec) -> tuple[Hyperparams, Hyperparams]:
    """The numbers, with lists as arrays, and default numbers that have the shapes of a single replicate."""
    lists = {name: np.asarray(x) for name in _RANGES if isinstance(x := getattr(hyper, name), list | tuple)}
    return resolved(dataclasses.replace(hyper, **lists), spec), resolved(Hyperparams(), spec)


def encode(hyper: Hyperparams, spec: EnvironmentSpec) -> dict[str, Any]:
    """Numbers as data for JSON, the environment's parameters by name if any of them differs from its default.

    Args:
      hyper: concrete numbers, scalars or arrays `[R]`.
      spec: the environment they belong to.

    Returns:
      field → number or nested lists; "env" is None where all parameters are the defaults.

    Raises:
      InvalidInput: the parameters differ from the environment's defaults in more than their numbers.
    """
    fields = [f.name for f in dataclasses.fields(Hyperparams) if f.name != "env"]
    data: dict[str, Any] = {name: np.asarray(getattr(hyper, name)).tolist() for name in fields}
    hyper = resolved(hyper, spec)
    env_params.check_structure(spec, hyper.env)
    if not env_params.changed(spec, hyper.env):
        return data | {"env": None}
    return data | {"env": {name: np.asarray(x).tolist() for name, x in env_params.leaves(hyper.env).items()}}


def decode(data: dict[str, Any], spec: EnvironmentSpec) -> Hyperparams:
    """The numbers that `encode` wrote.

    Args:
      data: what `encode` returned, perhaps read back from JSON.
      spec: the environment the numbers belong to.

    Raises:
      InvalidInput: the code has gained or lost numbers or parameters since; they are named.
    """
    numbers: Any = {name: np.asarray(x) if isinstance(x, list) else x for name, x in data.items()}
    _same_names("hyper-parameters", data, {f.name for f in dataclasses.fields(Hyperparams)})
    env = _decoded_env(data["env"], spec) if data["env"] else None
    return resolved(Hyperparams(**(numbers | {"env": env})), spec)


def _decoded_env(data: dict[str, Any], spec: EnvironmentSpec) -> Any:
    defaults = environments.parameters(spec, None)
    _same_names(f"parameters of {spec.name!r}", data, set(env_params.leaves(defaults)))
    leaves = [
        jnp.asarray(data[name], jnp.result_type(like)) for name, like in env_params.leaves(defaults).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(defaults), leaves)


def _same_names(what: str, saved: dict[str, Any], known: set[str]) -> None:
    if gone := sorted(saved.keys() - known):
        raise InvalidInput(
            f"the {what} have no {', '.join(gone)}, which was saved: the code has changed since"
        )
    if new := sorted(known - saved.keys()):
        raise InvalidInput(
            f"the {what} have {', '.join(new)}, which was not saved: the code has changed since"
        )


def with_env_params(spec: EnvironmentSpec, changes: dict[str, Any]) -> Any:
    """The environment's default parameters with some changed; arrays `[R, ...]` hold one value per replicate.

    Args:
      spec: the environment.
      changes: parameter → value; for a nested one the name has a dot.

    Raises:
      InvalidInput: the environment has no such parameter, or the value does not fit it.
    """
    return env_params.with_fields(spec, changes, replicates=True)
