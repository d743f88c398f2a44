"""Checks of numbers: the one place that says what a number may be.

A number is finite, unless its field's default is infinite; it is never NaN, a string or None; it is whole where its
field counts something. Anything else is refused, with its name, before anything is computed.
"""

import dataclasses
import math
import typing
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from purepg.errors.invalid_input import InvalidInput, whole_number


def array(name: str, value: Any, like: Any = 0.0, *, replicates: bool = False) -> Any:
    """A value as an array of the type and shape of `like`; a traced value is returned as it is.

    Args:
      name: of the value, for the message.
      value: what was given.
      like: the field's default, []: float, int or bool, or an array of them.
      replicates: whether it may have one more axis, `[R, ...]`.

    Raises:
      InvalidInput: it is not such a number, not finite though `like` is, not whole, or of another shape.
    """
    if isinstance(value, Tracer):
        return value
    like, given = np.asarray(like), _as_array(value)
    wanted = {"b": "true or false", "i": "a whole number", "u": "a whole number"}.get(
        like.dtype.kind, "a number"
    )
    wanted = wanted if like.ndim == 0 else f"{wanted} for each of {list(like.shape)}"
    if given is None or not _fits(given, like):
        finite = "finite " if like.dtype.kind == "f" and np.isfinite(like).all() else ""
        raise InvalidInput(
            f"{name} = {_shown(value)}: give {wanted.replace('a number', f'a {finite}number')}"
        )
    if given.shape != like.shape and not (
        replicates and given.shape[1:] == like.shape and given.ndim > like.ndim
    ):
        also = ", or one for each replicate" if replicates else ""
        raise InvalidInput(f"{name} = {_shown(value)}: give {wanted}{also}, not an array {list(given.shape)}")
    return given.astype(like.dtype)


def number(name: str, value: Any, like: float = 0.0) -> Any:
    """The value, if it is one number like the field's default.

    Raises:
      InvalidInput: it is none.
    """
    array(name, value, like)
    return value


def sizes(name: str, value: Any, wanted: str) -> tuple[int, ...]:
    """Several sizes of at least 1, from any sequence.

    Raises:
      InvalidInput: it is none, or one of them is no such size.
    """
    try:
        found = tuple(whole_number(name, size, 1) for size in value)
    except (TypeError, InvalidInput):
        found = None
    if found is None or not isinstance(value, list | tuple | np.ndarray):
        raise InvalidInput(f"{name} = {_shown(value)}: {wanted}")
    return found


def kind(name: str, value: Any, fits: bool, wanted: str) -> None:  # noqa: FBT001 (a question, as in assert)
    """Refuses something of another kind than what is wanted.

    Raises:
      InvalidInput: it does not fit.
    """
    if not fits:
        raise InvalidInput(f"{name} = {_shown(value)}: give {wanted}")


def conforms(name: str, value: Any, protocol: Any) -> None:
    """Refuses what lacks a member of a protocol.

    Raises:
      InvalidInput: names what it lacks.
    """
    members = [name for name in (*protocol.__annotations__, *dir(protocol)) if not name.startswith("_")]
    lacks = [member for member in members if not hasattr(value, member)]
    kind(
        name,
        value,
        not lacks and not isinstance(value, type),
        f"a record that has {', '.join(lacks or members)}: {protocol.__module__}.{protocol.__name__} says what each is",
    )


def same_arrays(name: str, tree: Any, of: str, like: Any) -> None:
    """Refuses a pytree whose arrays differ in structure or shape from those of `like`, which messages call `of`.

    Raises:
      InvalidInput: names the first array that differs.
    """
    found, wanted = (
        {jax.tree_util.keystr(path): np.shape(x) for path, x in jax.tree_util.tree_leaves_with_path(one)}
        for one in (tree, like)
    )
    for path in wanted | found:
        shape, right = found.get(path, "missing"), wanted.get(path, "none")
        if shape != right:
            raise InvalidInput(f"{name}: {path or 'it'} is {shape}, {of} have {right} there")


def field(of: dataclasses.Field, value: Any) -> Any:
    """The value of a frozen record's field: numbers as Python's own, lists as tuples, anything else as it is.

    Raises:
      InvalidInput: the field is annotated as a number, and the value is none.
    """
    kinds = typing.get_args(of.type) or (of.type,)
    if value is None and (type(None) in kinds or of.default is None):
        return None
    if isinstance(value, list | tuple):
        return tuple(_number(of.name, x, kinds, 0) for x in value)
    return _number(of.name, value, kinds, of.default)


def record(value: Any) -> None:
    """Refuses a frozen record that has something else in place of a number, in it or in a record inside it.

    Raises:
      InvalidInput: as `field`.
    """
    for of in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        inner = getattr(value, of.name)
        field(of, inner)
        for one in inner if isinstance(inner, tuple) else (inner,):
            record(one)


def _number(name: str, value: Any, kinds: tuple, default: Any) -> Any:
    """Checked by the field's annotation; where that names no number, anything passes."""
    for kind in (bool, int, float):
        if kind in kinds and not (isinstance(value, str) and str in kinds):
            whole = kind is int and np.asarray(value).dtype.kind not in "iu"  # a size is no 2.0
            like = default if kind is float and default == math.inf else kind()
            return array(name, str(value) if whole else value, like).item()
    return value


def _as_array(value: Any) -> np.ndarray | None:
    """The numbers of an array or of nested sequences; None where there is anything else."""
    try:
        given = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return given if given.dtype.kind in "biuf" or given.dtype.name == "bfloat16" else None


def _fits(given: np.ndarray, like: np.ndarray) -> bool:
    if like.dtype.kind == "b":
        return bool(np.isin(given, (0, 1)).all())
    if given.dtype.kind == "b":
        return False
    if like.dtype.kind in "iu":
        limits = np.iinfo(like.dtype)
        return bool((np.isfinite(given) & (given == np.floor(given))).all()) and bool(
            ((given >= limits.min) & (given <= limits.max)).all()
        )
    with np.errstate(over="ignore"):
        rounded = given.astype(np.float32)
    return not np.isnan(given).any() and bool(np.isfinite(rounded).all() or np.isinf(like).any())


def _shown(value: Any) -> str:
    """On one line; of long text, the beginning."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
