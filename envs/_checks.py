"""Checks of constructor arguments: one clear line that says what was given, what is allowed, what to do."""

import math
import operator

import numpy as np
from numpy.typing import ArrayLike


def integer(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high]."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = low - 1
    if number < low or (high is not None and number > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}: give a whole number, {allowed}")
    return number


def real(name: str, value: object, *, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite float in [low, high]."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        bounds = [f"at least {low:g}"] * (low > -math.inf) + [f"at most {high:g}"] * (high < math.inf)
        raise ValueError(f"{name} is {value!r}: give a finite number{', ' * bool(bounds)}{', '.join(bounds)}")
    return number


def finite_array(name: str, value: ArrayLike, layout: str) -> np.ndarray:
    """`value` (nested sequences or an array) as float64, every entry finite; `layout` names its axes."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} is not a rectangular array of numbers: give numbers nested as {layout}"
        ) from None
    beyond = ~(np.abs(array) <= np.finfo(np.float32).max)  # NaN too
    if beyond.any():
        where = _first(beyond)
        raise ValueError(
            f"{name}{list(where)} is {array[where]}: every entry must be finite in float32; correct it"
        )
    return array


def shape(name: str, array: np.ndarray, layout: str, *allowed: tuple[int, ...]) -> None:
    """`array` has one of the `allowed` shapes."""
    if array.shape not in allowed:
        sizes = " or ".join(str(list(size)) for size in allowed)
        raise ValueError(f"{name} has shape {list(array.shape)}: give it as {layout}, here {sizes}")


def distributions(name: str, table: np.ndarray) -> np.ndarray:
    """Rows (last axis) as probabilities: entries ≥ 0, sums 1 within 1e-5, which are then made exact."""
    if (table < 0).any():
        where = _first(table < 0)
        raise ValueError(f"{name}{list(where)} is {table[where]:g}: a probability is at least 0; correct it")
    total = table.sum(axis=-1)
    off = np.abs(total - 1.0) > 1e-5
    if off.any():
        where = _first(off)
        row = f"{name}{list(where)}" if where else name
        raise ValueError(
            f"{row} sums to {total[where]:.7g}: probabilities sum to 1 within 1e-5; divide by the sum"
        )
    return table / total[..., None]


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    """Index of the first True."""
    return tuple(int(i) for i in np.argwhere(wrong)[0])
