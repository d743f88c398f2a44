"""The one error that users can fix themselves, and the check that most arguments need."""

import operator
import re
from typing import Any


class InvalidInput(ValueError):
    """What was given cannot work; the message says what was given, what is allowed and what to do.

    The command line prints the message as one line and exits with code 2; a library user sees a
    `ValueError`. Any other exception is a defect of purepg.
    """

    def __init__(self, message: str):
        super().__init__(re.sub(r"\s*\n\s*", " ", message))  # a quoted value may span several lines


def whole_number(name: str, value: Any, least: int, most: float = float("inf")) -> int:
    """The value as an integer, which numpy's integers are too; booleans and floats are not.

    Args:
      name: of the argument, for the message.
      value: what was given.
      least: the smallest value allowed.
      most: the largest value allowed.

    Raises:
      InvalidInput: it is not an integer, or lies outside [least, most].
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not least <= number <= most:
        limit = f"of at least {least}" if most == float("inf") else f"from {least} to {most}"
        raise InvalidInput(f"{name} = {value!r}: give a whole number {limit}")
    return number
