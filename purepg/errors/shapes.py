"""Shapes at the public boundaries: an array that does not fit is named, beside what was given and what is allowed."""

from typing import Any

import chex
import numpy as np

from purepg.errors.invalid_input import InvalidInput


def check_shapes(like: str, shape: tuple[Any, ...], **arrays: Any) -> None:
    """Refuses arrays of another shape than `shape` (None in it is any size, ... any axes), which is that of `like`.

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
