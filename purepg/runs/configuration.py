"""Frozen records as JSON and back: what a saved run consisted of.

A record (a frozen dataclass, a NamedTuple or a flax linen module) becomes {"type": "module:Class", fields…}, a
function, a class or a member of an enumeration {"function": "module:name"}, a tuple a list; inf is kept. Where a field
holds its class's own default, and that has no name, {"default": true} stands for it. What is purepg's own has its
public name, never that of the module it stands in (`purepg.names`).

What is written leads back to an equal value of equal hash, and a name to the very same object: whatever does not is
refused when it is written. Reading imports the named modules and calls nothing but constructors of records.
"""

import dataclasses
import enum
import inspect
from typing import Any, NoReturn

import flax.linen as nn
import jax
import numpy as np

from purepg.errors import InvalidInput
from purepg.names import import_object, spellings
from purepg.task import of_machine

_DEFAULT = {"default": True}


def encode(value: Any, path: str = "") -> Any:
    """A record of plain values, functions and records, nested, as JSON-ready data.

    Args:
      value: numbers, strings, None, tuples, frozen records, and what can be imported by its name.
      path: where it stands in the whole, for the message.

    Raises:
      InvalidInput: it holds something that would not be read back as what it is; the message names the field.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is tuple:
        return [encode(x, f"{path}[{i}]") for i, x in enumerate(value)]
    if isinstance(value, float) and value != value:
        _refuse(value, path, "NaN equals nothing, not even itself: give a number")
    if value is None or type(value) in (bool, int, float, str):
        return value
    return _encode_record(value, path) if _is_record(type(value)) else {"function": _name(value, path)}


def decode(data: Any) -> Any:
    """The value that `encode` wrote.

    Raises:
      InvalidInput: a name cannot be imported, or a record has other fields by now or refuses what they held.
    """
    if isinstance(data, list):
        return tuple(decode(x) for x in data)
    if not isinstance(data, dict):
        return data
    if data.keys() == {"function"}:
        return import_object(data["function"])
    if "type" not in data:
        raise InvalidInput(f"{_short(data)} is no record: a record has its class in a field `type`")
    name, given = data["type"], {k: v for k, v in data.items() if k != "type"}
    record = import_object(name)
    if not _is_record(record):
        raise InvalidInput(
            f"{name!r} is no record: a frozen dataclass, a NamedTuple or a linen module is expected"
        )
    _check_fields(name, given.keys(), _defaults(record).keys())
    try:
        return record(**{k: decode(v) for k, v in given.items() if v != _DEFAULT})
    except InvalidInput:
        raise
    except Exception as error:  # whatever a user's constructor raises
        raise InvalidInput(
            f"{name!r} refuses what was saved of it: {type(error).__name__}: {_short(error)}"
        ) from error


def paths(data: Any, prefix: str = "") -> dict[str, Any]:
    """Every plain value in what `encode` wrote, by the names that lead to it."""
    if not isinstance(data, dict):
        return {prefix: data}
    found = {}
    for name, part in data.items():
        found |= paths(part, f"{prefix}.{name}".lstrip("."))
    return found


def _encode_record(value: Any, path: str) -> dict[str, Any]:
    record: Any = type(value)
    if not (isinstance(value, tuple | nn.Module) or record.__dataclass_params__.frozen):
        _refuse(value, path, "it can change after it is made: decorate its class @dataclass(frozen=True)")
    data: dict[str, Any] = {"type": _name(record, path)}
    if "type" in _defaults(record):
        _refuse(value, path, "the file keeps `type` for its class: call that field otherwise")
    for name, default in _defaults(record).items():
        field = getattr(value, name)
        try:
            data[name] = encode(field, f"{path}.{name}".lstrip("."))
        except InvalidInput:
            if field is not default:
                raise
            data[name] = _DEFAULT
    try:
        again = decode(data)
        same = bool(again == value) and hash(again) == hash(value)
    except Exception as error:  # whatever a user's constructor, comparison or hash raises
        _refuse(value, path, f"it cannot be read back ({_short(error)})")
    if not same:
        _refuse(
            value, path, f"read back it is {_short(again)}, which is not equal or hashes to another number"
        )
    return data


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_field_defaults"))


def _defaults(record: Any) -> dict[str, Any]:
    """The arguments of a record's constructor with their defaults; a linen module's parent is not its own."""
    if issubclass(record, tuple):
        return {name: record._field_defaults.get(name, dataclasses.MISSING) for name in record._fields}  # pyright: ignore
    inherited = {"parent"} if issubclass(record, nn.Module) else set()
    own = [f for f in dataclasses.fields(record) if f.init and f.name not in inherited]
    return {f.name: f.default for f in own if not of_machine(f)}


def _check_fields(name: str, given: Any, known: Any) -> None:
    unknown, missing = sorted(given - known), sorted(known - given)
    if unknown or missing:
        words = [f"{what} {', '.join(x)}" for what, x in (("unknown", unknown), ("missing", missing)) if x]
        raise InvalidInput(
            f"{name!r} has other fields than when it was saved: {'; '.join(words)} in the file. "
            f"Give the code back as it was, it has {', '.join(known)} now"
        )


def _name(thing: Any, path: str) -> str:
    """module:name, by which this very object can be imported; of what is purepg's own the public name."""
    owner, name = thing, getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if isinstance(thing, enum.Enum):
        owner, name = type(thing), f"{type(thing).__qualname__}.{thing.name}"
    module = getattr(owner, "__module__", None)
    if not (isinstance(module, str) and isinstance(name, str)):
        _refuse(thing, path, _without_name(thing))
    if module in ("__main__", "__mp_main__"):
        _refuse(
            thing, path, "another program cannot import it from the one that was started: move it to a module"
        )
    for spelling in spellings(module, name):
        if _leads_to(spelling, thing):
            return spelling
    return _refuse(thing, path, _without_name(thing))


def _leads_to(name: str, thing: Any) -> bool:
    try:
        found = import_object(name)
    except InvalidInput:
        return False
    # A class method is made anew whenever it is looked up.
    return found is thing or (inspect.ismethod(found) and found == thing)


def _without_name(thing: Any) -> str:
    """Why a thing cannot be found again, and what to do."""
    if isinstance(thing, list):
        return "a list does not hash: give a tuple"
    if isinstance(thing, np.ndarray | jax.Array):
        return "an array does not hash: give a number or nested tuples of numbers"
    if not callable(thing):
        return f"{type(thing).__name__} is none of number, string, tuple, function and frozen record"
    if isinstance(getattr(thing, "__self__", None), nn.Module):
        return "a module's bound method has no name of its own: purepg.Flax(module) takes the module itself"
    if str(getattr(thing, "__module__", "")).partition(".")[0] == "purepg":
        return "purepg has it for itself, by no public name: put a function or class of your own in its place"
    return (
        'no "module:name" leads to it: define it with `def` or `class` at the top level of a module that can be '
        "imported (purepg.Flax takes flax modules)"
    )


def _refuse(value: Any, path: str, why: str) -> NoReturn:
    raise InvalidInput(f"{path or 'the value'} = {_short(value)} cannot be saved: {why}")


def _short(value: Any) -> str:
    """What is printed of a value, on one line."""
    text = " ".join((str(value) if isinstance(value, Exception) else repr(value)).split())
    return text if len(text) <= 300 else f"{text[:300]}…"
