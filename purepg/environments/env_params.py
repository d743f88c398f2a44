"""An environment's parameters in use: which differ from the defaults, which have an effect, which must not change.

A parameter has an effect if reset, step, time limit or spaces depend on it. This is decided not by trying values, but
by what their programs (jaxprs) read, inner loops and branches included; in doubt a parameter counts as having one. A
constant that was derived from others and saved beside them (CartPole's total mass) is a parameter in its own right: it
does not follow when those others change.

What a policy is built for must not change: the kind and number of actions, shapes, which sides of a box have a bound.

Parameters here are single values, or have an axis of replicates `[R, ...]` where they differ. Traced ones pass.
"""

import functools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.interpreters import partial_eval

from purepg.environments import spaces
from purepg.environments import specs as environments
from purepg.environments.specs import EnvironmentSpec
from purepg.errors import InvalidInput, checks
from purepg.names import did_you_mean

__all__ = [
    "changed",
    "check",
    "check_structure",
    "distinct",
    "leaves",
    "refuse_without_effect",
    "with_fields",
    "without_effect",
]

# Known constants that are saved beside the parameters they derive from, and do not follow them.
_DERIVED = {
    "CartPole-v1": {"total_mass": ("masscart", "masspole"), "polemass_length": ("masspole", "length")},
    "LogisticMap": {"target": ("growth",)},
}


def leaves(params: Any) -> dict[str, Any]:
    """The numbers of parameters by name; names of nested ones have a dot.

    Args:
      params: a pytree of numbers.
    """
    found = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in found}


def with_fields(spec: EnvironmentSpec, changes: dict[str, Any], *, replicates: bool, base: Any = None) -> Any:
    """The environment's parameters with some of their numbers changed.

    Args:
      spec: the environment.
      changes: name, as `leaves` has it → value.
      replicates: whether a number may have one more axis, with a value for each replicate.
      base: the parameters to change; None: the defaults.

    Raises:
      InvalidInput: the environment has no such parameter, or this is no value for it.
    """
    defaults = _defaults(spec)
    known = leaves(defaults)
    arrays = leaves(defaults if base is None else base)
    for name, value in changes.items():
        if name in known:
            # NumPy arrays stay concrete inside a jit.
            arrays[name] = _checked(name, value, known[name], replicates=replicates)
        elif not hasattr(defaults, name):
            close = did_you_mean(name, known)
            raise InvalidInput(f"{spec.name!r} has no parameter {name!r}{close}; it has {', '.join(known)}")
        elif getattr(defaults, name) is not value:
            stays = getattr(defaults, name)
            raise InvalidInput(
                f"{name} is {'none' if stays is None else stays} in {spec.name!r}, which decides how it is traced: "
                "give it to the constructor, or a number in it by its name and a dot"
            )
    return jax.tree.unflatten(jax.tree.structure(defaults if base is None else base), list(arrays.values()))


def check(spec: EnvironmentSpec, params: Any) -> None:
    """Refuses parameters of another kind, or that change the spaces that a policy is built for.

    Warns of parameters that differ from the defaults and have no effect.

    Args:
      spec: the environment.
      params: its parameters, single ones or with an axis `[R]`.

    Raises:
      InvalidInput: names the parameter, or the spaces that differ.
    """
    check_structure(spec, params)
    defaults = _defaults(spec)
    given = leaves(params)
    for name, like in leaves(defaults).items():
        _checked(name, given[name], like, replicates=True)
    differ = changed(spec, params)
    if words := _complaint(spec, differ) or _stale(spec, differ):
        warnings.warn(words, stacklevel=3)
    if differ and not any(isinstance(x, Tracer) for x in jax.tree.leaves(params)):
        built_for = _outline(spec, defaults)
        for one in distinct(spec, params):
            if (found := _outline(spec, one)) != built_for:
                raise InvalidInput(
                    f"{spec.name!r} with other {', '.join(differ)} has spaces {found}, its defaults have {built_for}: "
                    "what a policy is built for must stay; give it to the constructor, where that takes it"
                )


def check_structure(spec: EnvironmentSpec, params: Any) -> None:
    """Refuses parameters with other fields than the environment's own.

    Args:
      spec: the environment.
      params: its parameters.

    Raises:
      InvalidInput: they differ from the environment's own in more than their numbers.
    """
    defaults = _defaults(spec)
    own = leaves(defaults)
    if leaves(params).keys() != own.keys():
        raise InvalidInput(
            f"env = {params!r} are no parameters of {spec.name!r}: give its own, with {', '.join(own)}"
        )
    if jax.tree.structure(params) != jax.tree.structure(defaults):
        raise InvalidInput(
            f"env = {params!r} differs from the defaults of {spec.name!r} in a field that is no number, which "
            "decides how it is traced: make what differs an argument of its constructor"
        )


def refuse_without_effect(spec: EnvironmentSpec, names: Iterable[str]) -> None:
    """Refuses parameters that change nothing.

    Args:
      spec: the environment.
      names: of parameters, as `leaves` has them.

    Raises:
      InvalidInput: one of the parameters has no effect.
    """
    if words := _complaint(spec, names):
        raise InvalidInput(words)


@functools.cache
def without_effect(spec: EnvironmentSpec) -> tuple[str, ...]:
    """The names of the parameters that change nothing about its games.

    Args:
      spec: the environment.
    """
    env, defaults, key = environments.resolve(spec), _defaults(spec), jax.random.key(0)

    def everything(params, key, state, action):
        played = environments.step(env, key, state, action, params)
        spaces = env.action_space(params), env.observation_space(params)
        bounds = [getattr(space, name, ()) for space in spaces for name in ("n", "low", "high")]
        return environments.reset(env, key, params), played, bounds

    try:
        state = jax.eval_shape(functools.partial(environments.reset, env), key, defaults)[1]
        action = jax.eval_shape(env.action_space(defaults).sample, key)
        jaxpr = jax.make_jaxpr(everything)(defaults, key, state, action).jaxpr
    # Whatever an environment raises when traced, training will raise too, at the right place.
    except Exception:
        return ()
    read = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    # The parameters are the first of what the program reads.
    return tuple(name for name, used in zip(leaves(defaults), read, strict=False) if not used)


def changed(spec: EnvironmentSpec, params: Any) -> dict[str, Any]:
    """The parameters that differ from the defaults, by name.

    Args:
      spec: the environment.
      params: its parameters.
    """
    defaults = leaves(_defaults(spec))
    return {name: value for name, value in leaves(params).items() if not _same(value, defaults[name])}


def distinct(spec: EnvironmentSpec, params: Any) -> Iterator[Any]:
    """The parameters of each replicate, equal ones only once.

    Args:
      spec: the environment.
      params: its parameters, single ones or with an axis `[R]`; None: the defaults.
    """
    defaults, params = _defaults(spec), environments.parameters(spec, params)
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    varies = [x.ndim > np.ndim(like) for x, like in zip(leaves, jax.tree.leaves(defaults), strict=True)]
    lengths = {len(x) for x, more in zip(leaves, varies, strict=True) if more} or {1}
    if len(lengths) > 1:
        raise InvalidInput(
            f"parameters for {' and '.join(map(str, sorted(lengths)))} replicates: give as many of each"
        )
    (count,) = lengths
    rows = [[x[i] if more else x for x, more in zip(leaves, varies, strict=True)] for i in range(count)]
    for row in {tuple(x.tobytes() for x in row): row for row in rows}.values():
        yield jax.tree.unflatten(structure, row)


def _defaults(spec: EnvironmentSpec) -> Any:
    with jax.ensure_compile_time_eval():  # also inside a caller's jit
        return environments.parameters(spec, None)


def _checked(name: str, value: Any, like: Any, *, replicates: bool) -> Any:
    like = np.asarray(like, jnp.result_type(like))
    if isinstance(value, Tracer):
        return jnp.asarray(value, like.dtype)
    return checks.array(name, value, like, replicates=replicates)


def _complaint(spec: EnvironmentSpec, names: Iterable[str]) -> str:
    dead = [name for name in names if name in without_effect(spec)]
    if not dead:
        return ""
    others = [name for name in leaves(_defaults(spec)) if name not in without_effect(spec)]
    made = [name for name, parts in _DERIVED.get(spec.name, {}).items() if set(parts) & set(dead)]
    instead = f"; {' and '.join(made)}, made from it, is a parameter of its own" if made else ""
    return (
        f"{', '.join(dead)} has no effect in {spec.name!r}: neither reset nor step, limit or spaces read it{instead}. "
        f"Those with an effect: {', '.join(others)}"
    )


def _stale(spec: EnvironmentSpec, differ: Iterable[str]) -> str:
    """The warning for constants that have stayed although the parameters they derive from have changed."""
    stays = {
        name: parts
        for name, parts in _DERIVED.get(spec.name, {}).items()
        if name not in differ and set(parts) & set(differ)
    }
    made = [f"{name} (made from {' and '.join(parts)})" for name, parts in stays.items()]
    return (
        f"{', '.join(made)} is a parameter of its own in {spec.name!r} and has stayed: set it too"
        if made
        else ""
    )


def _outline(spec: EnvironmentSpec, params: Any) -> tuple:
    """The static part of the spaces."""
    with jax.ensure_compile_time_eval():
        inputs, space = spaces.inputs(spec, params), environments.resolve(spec).action_space(params)
        if type(space).__name__ != "Box":
            return inputs, type(space).__name__, getattr(space, "n", None)
        low, high = map(np.asarray, spaces.action_bounds(spec, params))
        if (low > high).any():
            raise InvalidInput(
                f"{spec.name!r} has actions from {low} to {high}: the bounds are the wrong way round"
            )
        return inputs, *spaces.sides(low, high)


def _same(value: Any, default: Any) -> bool:
    """Whether a parameter is its default, in the type that is traced."""
    if isinstance(value, Tracer):
        return True
    value, default = (np.asarray(x, jnp.result_type(default)) for x in (value, default))
    return bool((value == default).all())
