"""From words to records: tyro's parser with one-line complaints, and the flags of a whole method."""

import ast
import contextlib
import io
import re
from typing import Any

import tyro

from purepg.errors import InvalidInput


def parse(record: type, arguments: list[str], command: str, **options: Any) -> Any:
    """tyro's parser, its boxed complaint folded into the one line of an `InvalidInput`."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                record,
                args=arguments,
                prog=f"purepg {command}",
                config=(tyro.conf.SuppressFixed,),
                **options,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = [re.sub(r"[╭╮╰╯│─]+", " ", line).strip() for line in complaint.getvalue().splitlines()]
        text = " ".join(line for line in lines[1:] if line).partition(" For full helptext")[0]
        text = re.sub(r" Perhaps you meant: (--\S+).*", r"; perhaps you meant \1", text)
        text = text.partition(" Argument helptext:")[0].rstrip(". ")
        raise InvalidInput(f"{text}; `purepg {command} --help` shows every flag") from None


def pair(text: str) -> tuple[str, Any]:
    """name=value, the value read as a Python literal where it is one."""
    name, equals, value = text.partition("=")
    if not equals or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInput(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value.replace("\\n", "\n")


def several(values: Any) -> Any:
    """The values of a swept field as `pair` read them: low..high is a range, commas part a list."""
    from purepg.sweeps import Range

    if isinstance(values, str):
        low, dots, high = values.partition("..")
        if dots:
            try:
                return Range(float(low), float(high))
            except ValueError:
                raise InvalidInput(f"{values!r} is not of the form low..high with two numbers") from None
        return tuple(values.split(","))
    return values if isinstance(values, tuple) else (values,)
