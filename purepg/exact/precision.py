"""Float64 for concrete arguments, the ambient precision for traced ones; and which arguments are allowed.

The functions of `purepg.exact` are the truth that estimators are measured against, so their own rounding
must not show. Called with plain arrays, they check them, compute in float64 whether or not the caller has
enabled it, and return NumPy arrays. Called from within other JAX code (any argument is a tracer: `jit`, `vmap`,
`grad`), they are ordinary JAX functions: only shapes are checked, since the values are not known yet.
"""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg.errors import InvalidInput
from purepg.exact.model import ROUNDING

__all__ = ["exact"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_SHAPES = {  # every array argument of the package, by name
    "transition": ("SAS",),
    "reward": ("SA", "SAS"),
    "initial": ("S",),
    "policy": ("SA", "S"),
    "logits": ("SA",),
    "discount": ("",),
    "tolerance": ("",),
}
_COUNTS = ("horizon", "max_sweeps")
_STATIC = (*_COUNTS, "discount_weighting")


def exact(
    verify: Callable[[Any, dict[str, Any]], None],
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorator that does what this module says.

    Args:
      verify: called as `verify(result, arguments)` with a concrete result; raises where that is no answer.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(function)
        # One compilation per shape: called plainly, the loops inside would compile anew each time.
        compiled = jax.jit(function, static_argnames=[n for n in signature.parameters if n in _STATIC])

        @functools.wraps(function)
        def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = {name: _static(name, value) for name, value in bound.arguments.items()}
            arrays = {n: x for n, x in arguments.items() if n in _SHAPES and x is not None}
            _check_shapes(arrays)
            # "highest": no TF32 for float32 products on a GPU.
            with jax.default_matmul_precision("highest"):
                if any(isinstance(x, Tracer) for x in arrays.values()):
                    arguments |= {n: _ambient(n, x) for n, x in arrays.items()}
                    return function(**arguments)  # pyright: ignore[reportCallIssue]
                arguments |= _checked(arrays)
                # Concrete arguments inside a caller's trace are computed at once, not staged out.
                with jax.enable_x64(True), jax.ensure_compile_time_eval():
                    result = jax.tree.map(np.array, compiled(**arguments))  # pyright: ignore
            verify(result, arguments)
            return result

        return wrapper

    return decorate


def _static(name: str, value: Any) -> Any:
    if name == "discount_weighting" and not isinstance(value, bool):
        raise InvalidInput(f"discount_weighting is {value!r}; give True or False")
    if name not in _COUNTS or value is None:
        return value
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1 or isinstance(value, bool):
        raise InvalidInput(f"{name} is {value!r}; give a whole number of at least 1, not traced")
    return count


def _check_shapes(arrays: dict[str, Any]) -> None:
    shape = np.shape(arrays["transition"])
    if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
        raise InvalidInput(f"transition has shape {shape}; give [S, A, S], S states and A actions")
    size = {"S": shape[0], "A": shape[1]}
    for name, array in arrays.items():
        allowed = [tuple(size[axis] for axis in axes) for axes in _SHAPES[name]]
        if np.shape(array) not in allowed:
            raise InvalidInput(
                f"{name} has shape {np.shape(array)}; beside transition {shape} give "
                + " or ".join(map(str, allowed))
            )
    policy = arrays.get("policy")
    if policy is None or np.ndim(policy) == 2:
        return
    dtype = policy.dtype if hasattr(policy, "dtype") else np.asarray(policy).dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise InvalidInput(
            "policy of shape [S] holds no integers; give integer actions, or probabilities [S, A]"
        )


def _ambient(name: str, array: Any) -> jax.Array:
    is_actions = name == "policy" and np.ndim(array) == 1
    return jnp.asarray(array) if is_actions else jnp.asarray(array, dtype=jnp.result_type(float))


def _checked(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in float64 (actions: int64), with rows of probabilities freed of float32 rounding; or an error."""
    checked = {name: _numbers(name, array) for name, array in arrays.items()}
    num_actions = checked["transition"].shape[1]
    for name, array in checked.items():
        if name == "discount" and not 0 <= array <= 1:
            raise InvalidInput(f"discount is {array:g}; give a number in [0, 1]")
        if name == "tolerance" and not array > 0:
            raise InvalidInput(f"tolerance is {array:g}; give a number above 0")
        if name == "policy" and array.ndim == 1:
            if (array < 0).any() or (array >= num_actions).any():
                raise InvalidInput(
                    f"policy holds actions from {array.min()} to {array.max()}; "
                    f"give actions from 0 to {num_actions - 1}"
                )
        elif name in ("transition", "initial", "policy"):
            checked[name] = _probabilities(name, array)
    return checked


def _numbers(name: str, array: Any) -> np.ndarray:
    is_actions = name == "policy" and np.ndim(array) == 1
    array = np.asarray(array)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InvalidInput(f"{name} holds {array.dtype}; give real numbers")
    array = array.astype(np.int64 if is_actions else np.float64)
    if not np.isfinite(array).all():
        raise InvalidInput(f"{name} holds NaN or infinity; give finite numbers")
    return array


def _probabilities(name: str, array: np.ndarray) -> np.ndarray:
    total = array.sum(-1)
    if (array < 0).any() or (total > 1 + ROUNDING).any():
        raise InvalidInput(
            f"{name} has entries down to {array.min():g} and rows that sum to up to {total.max():g}; give "
            "probabilities: at least 0, sums of at most 1"
        )
    if name != "transition" and (total < 1 - ROUNDING).any():
        raise InvalidInput(
            f"{name} has rows that sum to only {total.min():g}; give probabilities that sum to 1"
        )
    is_rounding = np.abs(total - 1) <= ROUNDING
    return array / np.where(is_rounding, total, 1.0)[..., None]
