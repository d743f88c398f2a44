"""Frozen records as JSON and back: what a saved run was made of.

A record becomes {"type": "module:Class", fields…}, a function "module:name", a tuple a list; inf is kept. Reading
imports the named modules and calls nothing but constructors of dataclasses.
"""

import dataclasses
from typing import Any

from purepg.environments import import_object
from purepg.errors import InvalidInput


def encode(value: Any) -> Any:
    """A frozen dataclass of plain values, nested, as JSON-ready data.

    Raises:
      InvalidInput: it holds something that has no name to be found again by, such as a lambda.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": _name(type(value))} | fields
    if isinstance(value, tuple | list):
        return [encode(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        return {"function": _name(value)}
    raise InvalidInput(f"{value!r} cannot be saved: a method is made of records, numbers, strings and tuples")


def decode(data: Any) -> Any:
    """The value that `encode` wrote."""
    if isinstance(data, list):
        return tuple(decode(v) for v in data)
    if not isinstance(data, dict):
        return data
    if "function" in data:
        return import_object(data["function"])
    record = import_object(data["type"])
    if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
        raise InvalidInput(f"{data['type']!r} is no record")
    return record(**{k: decode(v) for k, v in data.items() if k != "type"})


def paths(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every plain value in a record by the path of fields that leads to it."""
    data = encode(value) if not prefix else value
    if not isinstance(data, dict):
        return {prefix: data}
    found = {}
    for name, part in data.items():
        found |= paths(part, f"{prefix}.{name}" if prefix else name)
    return found


def _name(thing: Any) -> str:
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    if module in (None, "__main__") or "<" in name:
        raise InvalidInput(
            f"{thing!r} cannot be saved: define it at the top level of a module that can be imported"
        )
    return f"{module}:{name}"
