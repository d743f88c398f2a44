"""Your own flax or equinox module as a network.

A module sees a batch of observations in float32: vectors `[B, O]`, integers as one-hot vectors, and observations of two
or more axes with their shape, `[B, *shape]`. It returns `[B, num_outputs]`.

    linen    the parameters are its variables' "params"
    nnx      built from rngs, split by `nnx.split`; its `nnx.Param`s are trained
    pytree   any callable pytree, such as equinox's modules, built from a key; it takes one observation and is mapped
             over the batch; its float arrays are trained

Anything else that a module would carry from call to call (batch statistics, a dropout's random stream) is refused: a
network is a function of its parameters and the observation alone.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from purepg.environments import Inputs
from purepg.errors import InvalidInput
from purepg.names import import_object
from purepg.policies.networks import Params, encode

__all__ = ["Flax"]

_Call = Callable[[Params, jax.Array], jax.Array]  # params, x [B, ...] → [B, num_outputs]


@dataclass(frozen=True)
class Flax:
    """A flax module, linen or nnx, or an equinox module, in place of purepg's networks.

    Equal records compile once and are saved by name: a linen module by its class and fields, a class or function as
    "module:name". A field of a linen module whose value has no name (such as an initialiser made on the spot) is saved
    only where it is the default of its class.

    Attributes:
      module: A linen module, `Flax(MyNet(width=32))`; or a class or function that makes a linen, nnx or equinox
        module, or "module:name" of one. It is called with those of these that its signature names: `num_outputs` (a
        shared critic needs one more than there are actions), `num_inputs` (numbers in an observation), `rngs`
        (`flax.nnx.Rngs`), `key` (a typed one).

    Raises:
      InvalidInput: it is none of these, it already holds weights, or it does not hash; when it is initialised: it keeps
        more than parameters, or returns another number of outputs than the policy needs.
    """

    module: nn.Module | Callable[..., Any] | str

    def __post_init__(self):
        module = self.module
        if not (callable(module) or isinstance(module, str)):
            raise self._refused(
                "cannot be called: a flax module with a `__call__`, or a class or function that makes one, is expected"
            )
        if not jax.tree_util.all_leaves([module]):
            raise self._refused(
                "has its weights already, and every seed makes its own: give its class, or a function of `rngs` (nnx) "
                "or `key` (equinox) that makes it"
            )
        try:
            hash(module)
        except TypeError as error:
            raise self._refused(
                "does not hash: give its fields tuples in place of lists and arrays, and bind no variables to it"
            ) from error
        parts = [id(part) for part in _linen_modules(module)]
        if len(set(parts)) < len(parts):
            raise self._refused(
                "holds the same module twice, which share their weights but are equal to two that do not: give a "
                "function that makes it"
            )

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        x = jnp.zeros((2, *_shape(inputs)))
        try:
            params, call = self._take_apart(key, inputs, num_outputs)
            outputs = jax.eval_shape(call, params, x)
        except InvalidInput:
            raise
        except Exception as error:  # whatever a user's module raises, such as dropout without a random stream
            raise self._refused(
                f"fails for observations {x.shape}: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        if getattr(outputs, "shape", None) != (2, num_outputs):
            raise self._refused(
                f"gives outputs {jax.tree.map(jnp.shape, outputs)} for observations {x.shape}, "
                f"expected {(2, num_outputs)}: for a number of outputs that follows, give its class or a function that "
                "makes it, with an argument `num_outputs`"
            )
        return params

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        call = self._structure(inputs, num_outputs)
        batch = observation.shape[: observation.ndim - len(inputs.shape)]
        return call(params, _batch(observation, inputs)).reshape((*batch, num_outputs))

    def _structure(self, inputs: Inputs, num_outputs: int) -> _Call:
        """The module without its parameters."""
        found: list[_Call] = []

        def make() -> Params:
            params, call = self._take_apart(jax.random.key(0), inputs, num_outputs)
            found.append(call)
            return params

        jax.eval_shape(make)
        return found[0]

    def _take_apart(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> tuple[Params, _Call]:
        make_key, init_key = jax.random.split(key)
        module = self.module
        if not isinstance(module, nn.Module):
            module = self._make(make_key, inputs, num_outputs)
        if isinstance(module, nn.Module):
            return _linen(module, init_key, jnp.zeros((1, *_shape(inputs))))
        from flax import nnx  # a slow import

        if isinstance(module, nnx.Module):
            return _nnx(module)
        if callable(module) and not jax.tree_util.all_leaves([module]):
            params, rebuild = _arrays(module, _title(module))
            return params, lambda params, x: jax.vmap(rebuild(params))(x)
        raise self._refused(f"makes {_title(module)}, expected a linen, nnx or equinox module")

    def _make(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Any:
        maker: Any = import_object(self.module) if isinstance(self.module, str) else self.module
        signature = inspect.signature(maker.__init__ if isinstance(maker, type) else maker).parameters
        key, rngs_key = jax.random.split(key)
        known = {"num_outputs": num_outputs, "num_inputs": math.prod(_shape(inputs)), "key": key}
        if "rngs" in signature:
            from flax import nnx

            known["rngs"] = nnx.Rngs(rngs_key)
        any_number = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        needed = [p.name for p in signature.values() if p.default is p.empty and p.kind not in any_number]
        others = [name for name in needed if name not in {"self", *known}]
        if others:
            raise self._refused(
                f"needs {', '.join(others)}, and is given num_outputs, num_inputs, rngs and key where it names them: "
                "write a function that gives the rest"
            )
        return maker(**{name: value for name, value in known.items() if name in signature})

    def _refused(self, why: str) -> InvalidInput:
        return InvalidInput(f"purepg.Flax({_title(self.module)}) {why}")


def _linen_modules(value: Any) -> Iterator[nn.Module]:
    """The linen modules in a value and in their fields."""
    for part in jax.tree.leaves(value):
        if isinstance(part, nn.Module):
            yield part
            yield from _linen_modules([getattr(part, f.name) for f in fields(part) if f.name != "parent"])


def _linen(module: nn.Module, key: jax.Array, example: jax.Array) -> tuple[Params, _Call]:
    variables = dict(module.init(key, example))
    params = variables.pop("params", {})
    if variables:
        raise InvalidInput(_only_params(module, ", ".join(variables)))
    return params, lambda params, x: module.apply({"params": params}, x)  # pyright: ignore


def _nnx(module: Any) -> tuple[Params, _Call]:
    from flax import nnx

    structure, state = nnx.split(module)
    others = [
        f"{'.'.join(map(str, path))} ({type(x).__name__})"
        for path, x in nnx.to_flat_state(state)
        if not isinstance(x, nnx.Param)
    ]
    if others:
        raise InvalidInput(_only_params(module, ", ".join(others)))
    params, rebuild = _arrays(nnx.to_pure_dict(state), _title(module))
    return params, lambda params, x: nnx.merge(structure, rebuild(params))(x)


def _arrays(tree: Any, title: str) -> tuple[Params, Callable[[Params], Any]]:
    """A pytree's float arrays as nested dicts, and a function that rebuilds the tree around other arrays."""
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [tuple(jax.tree_util.keystr((part,), simple=True) for part in path) for path, _ in flat]
    leaves = dict(zip(names, (leaf for _, leaf in flat), strict=True))
    arrays = {name: x for name, x in leaves.items() if isinstance(x, np.ndarray | jax.Array)}
    fixed = {name: x for name, x in leaves.items() if name not in arrays}
    others = [
        f"{'.'.join(k)} ({x.dtype})" for k, x in arrays.items() if not jnp.issubdtype(x.dtype, jnp.inexact)
    ]
    if others:
        raise InvalidInput(_only_params(title, ", ".join(others)))

    def rebuild(params: Params) -> Any:
        given = fixed | flatten_dict(params)
        return jax.tree.unflatten(structure, [given[name] for name in names])

    return unflatten_dict({name: jnp.asarray(x) for name, x in arrays.items()}), rebuild


def _only_params(module: Any, others: str) -> str:
    return (
        f"purepg.Flax: {_title(module)} keeps {others} beside its parameters, and a network has parameters alone: "
        "leave batch statistics, dropout and the like out"
    )


def _shape(inputs: Inputs) -> tuple[int, ...]:
    """The shape of one observation as a module sees it."""
    if inputs.num_categories is not None:
        return (math.prod(inputs.shape) * inputs.num_categories,)
    return inputs.shape if len(inputs.shape) > 1 else (math.prod(inputs.shape),)


def _batch(observation: jax.Array, inputs: Inputs) -> jax.Array:
    """Observations `[..., *shape]` as a module sees them, `[B, ...]`."""
    batch = observation.shape[: observation.ndim - len(inputs.shape)]
    return encode(observation, inputs).reshape((math.prod(batch), *_shape(inputs)))


def _title(module: Any) -> str:
    """A module's or function's name."""
    if isinstance(module, str):
        return module
    return getattr(module, "__name__", None) or type(module).__name__
