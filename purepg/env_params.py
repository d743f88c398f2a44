"""An environment's parameters in use: which differ from the defaults, which have an effect, which must stay.

A parameter has an effect if reset, step, time limit or spaces depend on it: not by trying values, but by what their
programs (jaxprs) read, inner loops and branches included. Where that cannot be told it is taken to have one. A constant
that was derived from others and saved beside them (CartPole's total mass) is a parameter of its own: a change of those
that it was made from does not reach it.

What a policy is built for must stay: the kind and number of actions, shapes, which sides of a box have a bound.

Parameters are single ones here, or have an axis of replicates `[R, ...]` where they differ. What is traced passes.
"""

import dataclasses
import functools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.interpreters import partial_eval

from purepg import checks, environments
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput


def with_fields(spec: EnvironmentSpec, changes: dict[str, Any], *, replicates: bool) -> Any:
    """The environment's default parameters with some fields changed.

    Args:
      replicates: whether a field may have an axis more, one value for each replicate.

    Raises:
      InvalidInput: the environment has no such parameter, or this is no value for it.
    """
    defaults = _defaults(spec)
    known = [f.name for f in dataclasses.fields(defaults)]
    arrays = {}
    for name, value in changes.items():
        if name not in known:
            raise InvalidInput(
                f"{spec.name!r} has no parameter {name!r}{environments.closest(name, known)}; it has {', '.join(known)}"
            )
        if (like := getattr(defaults, name)) is not None or value is not None:
            arrays[name] = jnp.asarray(_checked(spec, name, value, like, replicates))
    return dataclasses.replace(defaults, **arrays)


def check(spec: EnvironmentSpec, params: Any) -> None:
    """Refuses parameters that are no numbers of their kind, or for which spaces are others than a policy is built for;
    warns of those that differ from the defaults and have no effect.

    Raises:
      InvalidInput: as said.
    """
    defaults = _defaults(spec)
    for name in (f.name for f in dataclasses.fields(defaults)):
        like, value = getattr(defaults, name), getattr(params, name)
        if jax.tree.structure(like) != jax.tree.structure(value):
            raise InvalidInput(f"{name} = {value!r}: a value like {spec.name!r}'s own {like!r} is needed")
        for x, y in zip(jax.tree.leaves(value), jax.tree.leaves(like), strict=True):
            _checked(spec, name, x, y, replicates=True)
    differ = changed(spec, params)
    if words := _complaint(spec, differ):
        warnings.warn(words, stacklevel=3)
    if differ and not any(isinstance(x, Tracer) for x in jax.tree.leaves(params)):
        built_for = _outline(spec, defaults)
        for one in distinct(spec, params):
            if (found := _outline(spec, one)) != built_for:
                raise InvalidInput(
                    f"{spec.name!r} with other {', '.join(differ)} has spaces {found}, its defaults have {built_for}: "
                    "what a policy is built for must stay; give it to the constructor, where that takes it"
                )


def refuse_without_effect(spec: EnvironmentSpec, names: Iterable[str]) -> None:
    """
    Raises:
      InvalidInput: one of the parameters has no effect.
    """
    if words := _complaint(spec, names):
        raise InvalidInput(words)


@functools.cache
def without_effect(spec: EnvironmentSpec) -> tuple[str, ...]:
    """The names of the parameters on which nothing depends that is played."""
    env, defaults, key = environments.resolve(spec), _defaults(spec), jax.random.key(0)

    def everything(params, key, state, action):
        played = env.step_env(key, state, action, params)[:4]
        spaces = env.action_space(params), env.observation_space(params)
        bounds = [getattr(space, name, ()) for space in spaces for name in ("n", "low", "high")]
        return env.reset_env(key, params), played, env.is_truncated(state, params), bounds

    try:
        state = jax.eval_shape(env.reset_env, key, defaults)[1]
        action = jax.eval_shape(env.action_space(defaults).sample, key)
        jaxpr = jax.make_jaxpr(everything)(defaults, key, state, action).jaxpr
    except (
        Exception
    ):  # whatever an environment says to being traced: training says it too, at the right place
        return ()
    read = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    names = [path[0].name for path, _ in jax.tree_util.tree_flatten_with_path(defaults)[0]]  # pyright: ignore
    found = {name for name, used in zip(names, read, strict=False) if used}  # parameters come first
    return tuple(name for name in dict.fromkeys(names) if name not in found)


def changed(spec: EnvironmentSpec, params: Any) -> dict[str, Any]:
    """The parameters that differ from the defaults, by name, as far as they are concrete."""
    if params is None:
        return {}
    defaults = _defaults(spec)
    names = [f.name for f in dataclasses.fields(defaults)]
    pairs = {name: (getattr(params, name), getattr(defaults, name)) for name in names}
    return {name: value for name, (value, default) in pairs.items() if not _same(value, default)}


def distinct(spec: EnvironmentSpec, params: Any) -> Iterator[Any]:
    """The parameters of each replicate, equal ones once; none: the defaults."""
    defaults = _defaults(spec)
    params = defaults if params is None else params
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    varies = [x.ndim > np.ndim(like) for x, like in zip(leaves, jax.tree.leaves(defaults), strict=True)]
    count = max((len(x) for x, more in zip(leaves, varies, strict=True) if more), default=1)
    rows = [[x[i] if more else x for x, more in zip(leaves, varies, strict=True)] for i in range(count)]
    for row in {tuple(x.tobytes() for x in row): row for row in rows}.values():
        yield jax.tree.unflatten(structure, row)


def label(spec: EnvironmentSpec, params: Any = None) -> str:
    """What an environment is called in results: its name, and what of it is not as the name alone makes it.

    What is known of a name, such as the return that counts as solved, holds for no other label.
    """
    changes = dict(spec.arguments) | changed(spec, params)
    return (
        f"{spec.name} ({', '.join(f'{k}={_brief(v)}' for k, v in changes.items())})" if changes else spec.name
    )


def shared_label(labels: Iterable[str]) -> str:
    """One label for results that may have different ones; their environments have one name."""
    found = sorted(set(labels))
    return found[0] if len(found) == 1 else f"{name_of(found[0])} (parameters vary)"


def name_of(label: str) -> str:
    """The environment's name in a label."""
    return label.partition(" (")[0]


def _defaults(spec: EnvironmentSpec) -> Any:
    with jax.ensure_compile_time_eval():  # also inside a caller's jit
        return environments.parameters(spec, None)


def _checked(spec: EnvironmentSpec, name: str, value: Any, like: Any, replicates: bool) -> Any:
    if not jax.tree.leaves(like):
        raise InvalidInput(
            f"{name} is none in {spec.name!r}, which decides how it is traced: give it to the constructor"
        )
    like = np.asarray(like, jnp.result_type(like))
    return checks.array(name, value, like, replicates=replicates)


def _complaint(spec: EnvironmentSpec, names: Iterable[str]) -> str:
    dead = [name for name in names if name in without_effect(spec)]
    if not dead:
        return ""
    fields = [f.name for f in dataclasses.fields(_defaults(spec))]
    return (
        f"{', '.join(dead)} has no effect in {spec.name!r}: neither reset nor step, limit or spaces read it (constants "
        "derived from it are parameters of their own). Those with an effect: "
        f"{', '.join(name for name in fields if name not in without_effect(spec))}"
    )


def _outline(spec: EnvironmentSpec, params: Any) -> tuple:
    """What of the spaces is static."""
    with jax.ensure_compile_time_eval():
        inputs, space = environments.inputs(spec, params), environments.resolve(spec).action_space(params)
        if type(space).__name__ != "Box":
            return inputs, type(space).__name__, getattr(space, "n", None)
        low, high = map(np.asarray, environments.action_bounds(spec, params))
        if (low > high).any():
            raise InvalidInput(
                f"{spec.name!r} has actions from {low} to {high}: the bounds are the wrong way round"
            )
        return inputs, *environments.sides(low, high)


def _same(value: Any, default: Any) -> bool:
    """Whether a parameter is its default, in the type that is traced."""
    values, defaults = jax.tree.leaves(value), jax.tree.leaves(default)
    if len(values) != len(defaults):
        return False
    pairs = [
        [np.asarray(x, jnp.result_type(y)) for x in (x, y)]
        for x, y in zip(values, defaults, strict=True)
        if not isinstance(x, Tracer)
    ]
    return all((x == y).all() for x, y in pairs)


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        numbers = np.unique(np.asarray(value, float))
    except (TypeError, ValueError):
        return "…"
    return f"{numbers[0]:g}" if numbers.size == 1 else "…"
