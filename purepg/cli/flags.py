"""From words to records: tyro's parser with one-line complaints, and the flags of a whole method."""

import ast
import contextlib
import io
import re
from collections.abc import Iterable
from typing import Any

import tyro

from purepg.errors import InvalidInput


def parse(record: type, arguments: list[str], command: str, **options: Any) -> Any:
    """tyro's parser, its boxed complaint folded into the one line of an `InvalidInput`; numbers are numbers."""
    from purepg import checks

    given(arguments)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = tyro.cli(
                record,
                args=arguments,
                prog=f"purepg {command}",
                config=(tyro.conf.SuppressFixed,),
                **options,
            )
        checks.record(parsed)
        return parsed
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = [
            re.sub(r"[╭╮╰╯│─]+|---+|\+--|--\+", " ", line).strip(" |")
            for line in complaint.getvalue().splitlines()
        ]
        text = " ".join(line for line in lines[1:] if line).partition(" For full helptext")[0]
        text = re.sub(r" Perhaps you meant: (--\S+).*", r"; perhaps you meant \1", text)
        text = re.sub(
            r"no type matching \{None\}\|(\w+) could be instantiated from \[(.*?)\]", r"\2 is no \1", text
        )
        text = re.sub(r"^Error parsing fields\S*: ", "", text)  # a record's own refusal says its field
        text = text.partition(" Argument helptext:")[0].partition(" Got errors:")[0].rstrip("., ")
        raise InvalidInput(f"{text}; `purepg {command} --help` shows every flag") from None


def seeds(parsed: Any) -> range:
    """The numbers of the seeds that were asked for.

    Raises:
      InvalidInput: there are none, or one has no key of its own.
    """
    if parsed.seeds < 1 or parsed.first_seed < 0 or parsed.first_seed + parsed.seeds > 2**32:
        raise InvalidInput(
            f"seeds = {parsed.seeds}, first_seed = {parsed.first_seed}: give seeds >= 1, first_seed >= 0, and together "
            "at most 2**32"
        )
    return range(parsed.first_seed, parsed.first_seed + parsed.seeds)


def each_once(what: str, names: tuple[str, ...]) -> None:
    """
    Raises:
      InvalidInput: there is no name, or one is there twice.
    """
    if len(set(names)) < max(len(names), 1):
        raise InvalidInput(f"{what} = {' '.join(names)}: name at least one, each once")


def given(arguments: list[str]) -> dict[str, list[str]]:
    """The flags of a command line, each with the words that follow it; `--flag=value` like `--flag value`.

    Raises:
      InvalidInput: a flag is given twice, or with its opposite.
    """
    found: dict[str, list[str]] = {}
    words: list[str] = []  # what comes before the first flag belongs to none
    for word in arguments:
        if not word.startswith("--"):
            words.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = re.sub(r"(^--|\.)no-", r"\1", flag.replace("_", "-"))
        if flag in found:
            raise InvalidInput(f"{flag} is given twice: give it once, with all of its values")
        words = found[flag] = [value] if equals else []
    return found


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Several of the form name=value.

    Raises:
      InvalidInput: one is not of this form, or a name is there twice.
    """
    found: dict[str, Any] = {}
    for name, value in map(pair, texts):
        if name in found:
            raise InvalidInput(f"{name} is given twice: give it once")
        found[name] = value
    return found


def changes_of(env_params: Iterable[str], fields: Iterable[str] = ()) -> dict[str, Any]:
    """Fields of the method and of its numbers with their new values; the environment's parameters as env.name.

    Raises:
      InvalidInput: as `pairs`, or a parameter is given in both ways.
    """
    found = pairs(fields)
    for name, value in pairs(env_params).items():
        if f"env.{name}" in found:
            raise InvalidInput(f"{name} is given twice: give it once")
        found[f"env.{name}"] = value
    return found


def refuse_without_effect(spec: Any, fields: Iterable[str]) -> None:
    """
    Raises:
      InvalidInput: one of the fields is a parameter of the environment, env.…, that has no effect.
    """
    from purepg import env_params

    names = (field.partition(".") for field in fields)
    env_params.refuse_without_effect(spec, [name for head, _, name in names if head == "env"])


def pair(text: str) -> tuple[str, Any]:
    """name=value, the value read as a Python literal where it is one."""
    name, equals, value = text.partition("=")
    if not equals or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInput(f"{text!r} is not of the form name=value")
    if not value.strip():
        raise InvalidInput(f"{text!r} has no value: give {name}=value")
    return name, _literal(value)


def several(name: str, values: Any) -> Any:
    """The values of a swept field as `pair` read them: low..high is a range, commas part a list.

    Raises:
      InvalidInput: it is a range of something else than two finite numbers, the smaller first.
    """
    from purepg.sweeps import Range

    if isinstance(values, str):
        low, dots, high = values.partition("..")
        if dots:
            try:
                return Range(float(low), float(high))
            except ValueError as error:  # also what a range itself refuses
                why = error if isinstance(error, InvalidInput) else "it is not low..high with two numbers"
                raise InvalidInput(f"{name}={values}: {why}") from None
        return tuple(map(_literal, values.split(",")))
    return values if isinstance(values, tuple) else (values,)


def _literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    if text.strip().lower() in ("inf", "-inf", "nan"):  # numbers, though Python has no literals for them
        return float(text)
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.replace("\\n", "\n")
