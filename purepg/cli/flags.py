"""From words to values: tyro's parser with one-line complaints, name=value, ranges."""

import ast
import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import tyro

# It has no public way to change its messages: its version is pinned.
from tyro import _errors as errors

from purepg.errors import InvalidInput
from purepg.names import did_you_mean

_RENAMED = {"score": "seed-metric"}  # flags of earlier versions: they are refused, with today's


def parse(record: type, arguments: list[str], command: str, flags: Iterable[str] = (), **options: Any) -> Any:
    """tyro's parser, whose refusals become one line, an `InvalidInput`; numbers are checked.

    Args:
      flags: all of them, without dashes, if they are not the record's own fields.
    """
    from purepg.errors import checks

    known = [name.replace("_", "-") for name in flags or (f.name for f in dataclasses.fields(record))]

    def refuse(event: errors.ParseErrorEvent) -> None:
        raise InvalidInput(f"{_refusal(event, known)}; `purepg {command} --help` shows every flag")

    arguments = _environment_first(arguments)
    given(arguments)
    with errors.on_parse_error(refuse):
        prog, config = f"purepg {command}", (tyro.conf.SuppressFixed,)
        parsed = tyro.cli(record, args=arguments, prog=prog, config=config, **options)
    checks.record(parsed)
    return parsed


def _environment_first(arguments: list[str]) -> list[str]:
    """The words, with the environment moved to the front if a flag of several values would take it."""
    flag = ""
    for i, word in enumerate(arguments):
        if word.startswith("--"):
            flag = positive(word.partition("=")[0])
        elif "=" not in word and flag in _TAKE_ALL and is_environment(word):
            return [word, *arguments[:i], *arguments[i + 1 :]]
    return arguments


def is_environment(word: str) -> bool:
    """Whether a word names an environment: an id, or module:Class."""
    from purepg import environments

    return ":" in word or word in environments.names()


def _refusal(event: errors.ParseErrorEvent, known: list[str]) -> str:
    """What tyro refuses, in words."""
    match event:
        case errors.UnrecognizedArgs(tokens=words):
            name = positive(words[0].partition("=")[0]).removeprefix("--")
            close = did_you_mean(_RENAMED.get(name, name), known).replace("'", "'--", 1)
            return f"unrecognized: {' '.join(words)}{close}"
        case errors.MissingArgs(missing_arguments=missing):
            return f"Missing {' '.join(one.arg.display_name().upper() for one in missing)}"
        case errors.InvalidChoice(argument=one, value=value, choices=choices):
            return f"{one.display_name()} {value!r} is not one of {', '.join(choices)}"
        case errors.InstantiationFailure(argument=one, message=words):
            why = words.splitlines()[-1].rpartition(">: ")[2]  # of "none, or a number": why it is no number
            return f"{one.display_name() if one else 'arguments'}: {why}"
        case errors.BadValue(argument=one):
            return f"{one.display_name()} has no value"
    return str(event)


_TAKE_ALL = ("--set", "--over", "--env-params", "--env-arguments", "--methods", "--estimators")
_ALIASES = {"--estimator": "--method", "--estimators": "--methods"}


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
      InvalidInput: there is no name, or one appears twice.
    """
    if len(set(names)) < max(len(names), 1):
        raise InvalidInput(f"{what} = {' '.join(names)}: name at least one, each once")


def positive(flag: str) -> str:
    """The flag as `--help` shows it, also for its opposite: `--policy.no_squash` is `--policy.squash`."""
    return re.sub(r"(^--|\.)no-", r"\1", flag.replace("_", "-"))


def given(arguments: list[str]) -> set[str]:
    """The flags of a command line, as `--help` shows them.

    Raises:
      InvalidInput: a flag is given twice, with its opposite, or by its other name.
    """
    found: set[str] = set()
    for word in arguments:
        if word.startswith("--"):
            flag = positive(word.partition("=")[0])
            if (one := _ALIASES.get(flag, flag)) in found:
                raise InvalidInput(f"{flag} is given twice: give it once, with all of its values")
            found.add(one)
    return found


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Several words of the form name=value, name → value.

    Raises:
      InvalidInput: one is not of this form, or a name appears twice.
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


def refuse_without_effect(method: Any, names: Iterable[str]) -> None:
    """
    Raises:
      InvalidInput: one of the fields is a parameter of the environment, env.…, that has no effect.
    """
    from purepg.environments import env_params
    from purepg.runs import records

    paths = [path for name in names for path in records.matches(method, name)[:1]]
    of_env = [path.removeprefix("env.") for path in paths if path.startswith("env.")]
    env_params.refuse_without_effect(method.task.env, of_env)


def pair(text: str) -> tuple[str, Any]:
    """name=value, the value read as a Python literal where it is one."""
    name, equals, value = text.partition("=")
    name = name.replace("-", "_")
    if not equals or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInput(f"{text!r} is not of the form name=value")
    if not value.strip():
        raise InvalidInput(f"{text!r} has no value: give {name}=value")
    return name, _literal(value)


def several(name: str, values: Any) -> Any:
    """The values of a swept field as `pair` read them: low..high is a range, commas separate a list.

    Raises:
      InvalidInput: a range is not two finite numbers, the smaller first.
    """
    from purepg.studies.sweep import Range

    if isinstance(values, str):
        low, dots, high = values.partition("..")
        if dots:
            try:
                return Range(float(low), float(high))
            except ValueError as error:  # or what the range itself refuses
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
