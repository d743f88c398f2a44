"""The state of all seeds as one file of arrays, each under the path that it has in the state.

Typed keys are kept as the integers that they stand for. What is read must have the structure, shapes and types that
today's code makes: where the user's network, method or environment has changed since, the difference is named, and the
file stays as it is.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg import files
from purepg.errors import InvalidInput

_FILE = "arrays.npz"


def write(folder: pathlib.Path, state: Any) -> None:
    """Writes a state of arrays, or of the numbers that `as_numbers` makes of it, to a folder that is made."""
    folder.mkdir()
    files.write_arrays(folder / _FILE, _by_path(as_numbers(state)))


def read(folder: pathlib.Path, template: Any) -> Any:
    """The state that `write` wrote, as JAX arrays.

    Args:
      template: shapes and types of the state.

    Raises:
      files.Damaged: it cannot be read.
      FileNotFoundError: there is none.
      InvalidInput: the file cannot be reached, or is of another structure than the template.
    """
    return matched(files.read_arrays(folder / _FILE), template, folder)


def matched(arrays: dict[str, np.ndarray], template: Any, folder: pathlib.Path) -> Any:
    """Arrays by path as the state that `template` describes.

    Raises:
      InvalidInput: they are others.
    """
    expected = _by_path(as_numbers(template))
    found = {}
    for name, like in expected.items():
        array = arrays.get(name)
        if array is not None and like.dtype.kind == "V" and array.dtype.itemsize == like.dtype.itemsize:
            array = array.view(like.dtype)  # numpy has no name for bfloat16 and its kin
        if array is None or array.shape != like.shape or array.dtype != like.dtype:
            raise _changed(folder, name, "missing" if array is None else _kind(array), _kind(like))
        found[name] = array
    for name in arrays.keys() - expected.keys():
        raise _changed(folder, name, _kind(arrays[name]), "missing")
    leaves = [found[name] for name in expected]
    return from_numbers(jax.tree.unflatten(jax.tree.structure(template), leaves), template)


def as_numbers(state: Any) -> Any:
    """Arrays and numbers, or their shapes and types, in which typed keys are the integers that they stand for."""

    def plain(x):
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x
        return np.asarray(jax.random.key_data(x) if _is_key(x) else x)

    return jax.tree.map(plain, state)


def from_numbers(numbers: Any, like: Any) -> Any:
    """The state that `as_numbers` took apart; `like` has its types."""

    def whole(x, like):
        if not _is_key(like):
            return jnp.asarray(x)
        return jax.random.wrap_key_data(jnp.asarray(x), impl=_implementation(like))

    return jax.tree.map(whole, numbers, like)


def _implementation(keys: Any) -> Any:
    """Of the generator that keys are for, also where they are shapes and types alone."""
    found = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), keys)
    return found[0]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _changed(folder: pathlib.Path, name: str, saved: str, made: str) -> InvalidInput:
    return InvalidInput(
        f"the state in {folder} is of another program: {name.lstrip('.')} is {saved} there and {made} here; network, "
        "method, environment or JAX's settings (jax_enable_x64) have changed since: give back what it was trained with"
    )
