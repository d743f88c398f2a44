"""Shapes at public boundaries: a message names the array that does not fit, what was given and what is allowed."""

from typing import Any

import chex
import numpy as np

from purepg.errors.invalid_input import InvalidInput


def check_shapes(like: str, shape: tuple[Any, ...], **arrays: Any) -> None:
    """Refuses arrays of another shape.

    Args:
      like: what has the shape, for the message.
      shape: the shape; None in it is any size, ... any axes.
      **arrays: name → array.

    Raises:
      InvalidInput: names the first that does not fit.
    """
    for name, array in arrays.items():
        array = array if hasattr(array, "shape") else np.asarray(array)
        try:
            chex.assert_shape(array, shape)
        except AssertionError:
            allowed = str(shape).replace("Ellipsis", "...").replace("None", "any")
            raise InvalidInput(f"{name} has shape {array.shape}; {like} asks for {allowed}") from None
