"""An environment's parameters in use: which differ from the defaults, which have an effect, which must stay.

A parameter has an effect if reset, step, time limit or spaces depend on it: not by trying values, but by what their
programs (jaxprs) read, inner loops and branches included. Where that cannot be told it is taken to have one. A constant
that was derived from others and saved beside them (CartPole's total mass) is a parameter of its own: a change of those
that it was made from does not reach it.

What a policy is built for must stay: the kind and number of actions, shapes, which sides of a box have a bound.

Parameters are single ones here, or have an axis of replicates `[R, ...]` where they differ. What is traced passes.
"""

import functools
import math
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
    "label",
    "leaves",
    "name_of",
    "refuse_without_effect",
    "shared_label",
    "with_fields",
    "without_effect",
]

# Constants saved beside what they are made from, where an environment is known for it: they do not follow.
_DERIVED = {
    "CartPole-v1": {"total_mass": ("masscart", "masspole"), "polemass_length": ("masspole", "length")},
    "LogisticMap": {"target": ("growth",)},
}


def leaves(params: Any) -> dict[str, Any]:
    """The numbers of parameters by their names; of those in a record, or a tuple in it, with a dot."""
    found = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in found}


def with_fields(spec: EnvironmentSpec, changes: dict[str, Any], *, replicates: bool, base: Any = None) -> Any:
    """The environment's parameters with some of their numbers changed.

    Args:
      replicates: whether a number may have an axis more, one value for each replicate.
      base: the parameters that are changed; none: the defaults.

    Raises:
      InvalidInput: the environment has no such parameter, or this is no value for it.
    """
    defaults = _defaults(spec)
    known = leaves(defaults)
    arrays = leaves(defaults if base is None else base)
    for name, value in changes.items():
        if name in known:
            arrays[name] = _checked(
                name, value, known[name], replicates
            )  # NumPy's stay concrete inside a jit
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
    """Refuses parameters that are no numbers of their kind, or for which spaces are others than a policy is built for;
    warns of those that differ from the defaults and have no effect.

    Raises:
      InvalidInput: as said.
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
    """
    Raises:
      InvalidInput: the parameters differ from the environment's own in more than their numbers.
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
        played = environments.step(env, key, state, action, params)
        spaces = env.action_space(params), env.observation_space(params)
        bounds = [getattr(space, name, ()) for space in spaces for name in ("n", "low", "high")]
        return environments.reset(env, key, params), played, bounds

    try:
        state = jax.eval_shape(functools.partial(environments.reset, env), key, defaults)[1]
        action = jax.eval_shape(env.action_space(defaults).sample, key)
        jaxpr = jax.make_jaxpr(everything)(defaults, key, state, action).jaxpr
    except (
        Exception
    ):  # whatever an environment says to being traced: training says it too, at the right place
        return ()
    read = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    return tuple(
        name for name, used in zip(leaves(defaults), read, strict=False) if not used
    )  # they come first


def changed(spec: EnvironmentSpec, params: Any) -> dict[str, Any]:
    """The parameters that differ from the defaults, by name, as far as they are concrete."""
    defaults = leaves(_defaults(spec))
    return {name: value for name, value in leaves(params).items() if not _same(value, defaults[name])}


def distinct(spec: EnvironmentSpec, params: Any) -> Iterator[Any]:
    """The parameters of each replicate, equal ones once; none: the defaults."""
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


def label(spec: EnvironmentSpec, params: Any = None, max_steps: int | None = None) -> str:
    """What an environment is called in results: its name, and what of it is not as the name alone makes it.

    What is known of a name, such as the return that counts as solved, holds for no other label.
    """
    changes = dict(spec.arguments) | changed(spec, environments.parameters(spec, params))
    own_limit = getattr(_defaults(spec), "max_steps_in_episode", math.inf)
    if spec.name in environments.SOLVED_AT and max_steps is not None and max_steps < own_limit:
        changes |= {"max_steps": max_steps}  # fewer steps are another return
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


def _checked(name: str, value: Any, like: Any, replicates: bool) -> Any:
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
    """What to say of constants that were made from parameters which differ, and have stayed."""
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
    """What of the spaces is static."""
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


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        numbers = np.unique(np.asarray(value, float))
    except (TypeError, ValueError):
        return "…"
    return f"{numbers[0]:g}" if numbers.size == 1 else "…"
