"""Arguments of a linear-quadratic regulator: which are allowed, in which precision, and when the cost is infinite.

As everywhere in `purepg.exact` (see `precision.py`), concrete arguments are checked, computed with in float64, and the
results returned as NumPy arrays; as soon as one is traced they are ordinary JAX code, and only shapes are checked.

Without end, Σ_t γ^t M^t S (Mᵀ)^t is finite for every S exactly if the spectral radius of √γ M is below 1 (Lyapunov).
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

__all__ = ["exact_lqr"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_SHAPES = {  # by name, n states and m actions
    "A": ("nn",),
    "B": ("nm",),
    "Q": ("nn",),
    "R": ("mm",),
    "gain": ("mn",),
    "initial_second_moment": ("nn",),
    "noise_covariance": ("nn",),
    "discount": ("",),
    "action_std": ("", "m"),
}
_COSTS = ("Q", "R")
_MOMENTS = ("initial_second_moment", "noise_covariance")


def exact_lqr(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorator that does what this module says.

    Args:
      function: of the arguments of `lqr_cost`, by these names.
    """
    signature = inspect.signature(function)
    compiled = jax.jit(function, static_argnames="horizon")

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        horizon = _horizon(bound.arguments.pop("horizon"))
        arrays = {name: x for name, x in bound.arguments.items() if x is not None}
        _check_shapes(arrays)
        # "highest": no TF32 for float32 products on a GPU.
        with jax.default_matmul_precision("highest"):
            if any(isinstance(x, Tracer) for x in arrays.values()):
                dtype = jnp.result_type(float)
                arrays = {name: jnp.asarray(x, dtype) for name, x in arrays.items()}
                return function(**arrays, horizon=horizon)  # pyright: ignore[reportCallIssue]
            arrays = _checked(arrays)
            if horizon is None:
                _refuse_unstable(arrays)
            # Concrete arguments inside a caller's trace are computed at once, not staged out.
            with jax.enable_x64(True), jax.ensure_compile_time_eval():
                result = np.array(compiled(**arrays, horizon=horizon))  # pyright: ignore
        _refuse_infinite(result, arrays, horizon)
        return result  # pyright: ignore[reportReturnType]

    return wrapper


def _horizon(value: Any) -> int | None:
    if value is None:
        return None
    try:
        steps = operator.index(value)
    except TypeError:
        steps = 0
    if steps < 1 or isinstance(value, bool):
        raise InvalidInput(f"horizon is {value!r}; give a whole number of at least 1, not traced, or None")
    return steps


def _check_shapes(arrays: dict[str, Any]) -> None:
    shape = np.shape(arrays["B"])
    if len(shape) != 2 or 0 in shape:
        raise InvalidInput(f"B has shape {shape}; give [n, m], n states and m actions")
    size = dict(zip("nm", shape, strict=True))
    for name, array in arrays.items():
        allowed = [tuple(size[axis] for axis in axes) for axes in _SHAPES[name]]
        if np.shape(array) not in allowed:
            raise InvalidInput(
                f"{name} has shape {np.shape(array)}; beside B {shape} give " + " or ".join(map(str, allowed))
            )


def _checked(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in float64; or an error."""
    checked = {name: _numbers(name, array) for name, array in arrays.items()}
    if not 0 <= checked["discount"] <= 1:
        raise InvalidInput(f"discount is {checked['discount']:g}; give a number in [0, 1]")
    if (checked["action_std"] < 0).any():
        raise InvalidInput(f"action_std is {checked['action_std']}; a standard deviation is at least 0")
    for name in (*_COSTS, *_MOMENTS):
        if name not in checked:
            continue
        matrix = checked[name]
        slack = ROUNDING * np.abs(matrix).max()
        if name in _MOMENTS and np.abs(matrix - matrix.T).max() > slack:
            raise InvalidInput(f"{name} is not symmetric; give E x xᵀ")
        smallest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
        if smallest < -slack:
            raise InvalidInput(f"{name} has the eigenvalue {smallest:g}; give a positive semidefinite matrix")
    return checked


def _numbers(name: str, array: Any) -> np.ndarray:
    array = np.asarray(array)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InvalidInput(f"{name} holds {array.dtype}; give real numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InvalidInput(f"{name} holds NaN or infinity; give finite numbers")
    return array


def _refuse_unstable(arrays: dict[str, np.ndarray]) -> None:
    radius = np.abs(np.linalg.eigvals(arrays["A"] - arrays["B"] @ arrays["gain"])).max()
    radius = np.sqrt(arrays["discount"]) * radius
    if radius >= 1 - 1e-13:  # closer than that float64 cannot tell
        raise InvalidInput(
            f"the gain does not stabilise: √discount (A − B gain) has spectral radius {radius:.6g}, so the cost is "
            "infinite; give a gain that brings it below 1, a smaller discount, or a horizon"
        )


def _refuse_infinite(result: np.ndarray, arrays: dict[str, np.ndarray], horizon: int | None) -> None:
    if np.isfinite(result).all():
        return
    if horizon is None and arrays["discount"] == 1:
        raise InvalidInput(
            "discount is 1 and noise (action_std, noise_covariance) costs something for ever, at this gain and "
            "action_std or at those next to it, so the cost or its derivative is infinite; give a discount below 1 "
            "or a horizon, or no noise"
        )
    raise InvalidInput(
        "the result overflows float64: states or costs are too large; give a smaller horizon or gain"
    )
