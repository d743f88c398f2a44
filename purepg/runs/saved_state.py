"""The state of all seeds as one file of arrays, each under the path that it has in the state.

Typed keys are kept as the integers that they stand for. What is read must have the structure, shapes and types that
today's code makes: where the user's network, method or environment has changed since, the difference is named, and the
file stays as it is.
"""

import pathlib
from collections.abc import Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg.errors import InvalidInput
from purepg.machines import files

_FILE = "arrays.npz"


def write(folder: pathlib.Path, state: Any) -> None:
    """Writes a state of arrays, or of the numbers that `as_numbers` makes of it, to a folder that is made.

    Raises:
      InvalidInput: parts of it are missing, as where it was read from a run of an earlier format.
    """
    arrays = by_path(as_numbers(state))
    for name in (name for name, x in arrays.items() if _is_missing(x)):
        raise InvalidInput(
            f"the state cannot be saved: it has no {name.lstrip('.')}, which the earlier version of purepg that wrote "
            "its run kept in another form; copy the run's folder instead"
        )
    folder.mkdir()
    files.write_arrays(folder / _FILE, arrays)


def read(folder: pathlib.Path, template: Any) -> Any:
    """The state that `write` wrote, as JAX arrays.

    Args:
      template: shapes and types of the state.

    Raises:
      files.Damaged: it cannot be read.
      FileNotFoundError: there is none.
      InvalidInput: the file cannot be reached, or is of another structure than the template.
    """
    return matched(read_arrays(folder), template, folder)


def read_arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """What `write` wrote, by path; raises as `read`."""
    return files.read_arrays(folder / _FILE)


def matched(
    arrays: dict[str, np.ndarray], template: Any, folder: pathlib.Path, needed: Set[str] | None = None
) -> Any:
    """Arrays by path as the state that `template` describes.

    Args:
      arrays: by path.
      template: shapes and types of the state.
      folder: where they come from, for the message.
      needed: the paths that must be there; none: all, and no others. What is not there, or of another kind, stands in
        the state as its shape and type.

    Raises:
      InvalidInput: they are others.
    """
    expected = by_path(as_numbers(template))
    found = {}
    for name, like in expected.items():
        array = arrays.get(name)
        if array is not None and like.dtype.kind == "V" and array.dtype.itemsize == like.dtype.itemsize:
            array = array.view(like.dtype)  # numpy has no name for bfloat16 and its kin
        fits = array is not None and array.shape == like.shape and array.dtype == like.dtype
        if not fits and (needed is None or name in needed):
            raise _changed(folder, name, "missing" if array is None else _kind(array), _kind(like))
        found[name] = array if fits else like
    for name in arrays.keys() - expected.keys() if needed is None else ():
        raise _changed(folder, name, _kind(arrays[name]), "missing")
    leaves = [found[name] for name in expected]
    return from_numbers(jax.tree.unflatten(jax.tree.structure(template), leaves), template)


def filled(state: Any) -> Any:
    """A state with zeros for what it lacks: for who reads the rest alone."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype) if _is_missing(x) else x, state)


def as_numbers(state: Any) -> Any:
    """Arrays and numbers, or their shapes and types, in which typed keys are the integers that they stand for."""

    def plain(x):
        if _is_missing(x):
            return jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x
        return np.asarray(jax.random.key_data(x) if _is_key(x) else x)

    return jax.tree.map(plain, state)


def from_numbers(numbers: Any, like: Any) -> Any:
    """The state that `as_numbers` took apart; `like` has its types."""

    def whole(x, like):
        if _is_missing(x):
            return like
        if not _is_key(like):
            return jnp.asarray(x)
        return jax.random.wrap_key_data(jnp.asarray(x), impl=_implementation(like))

    return jax.tree.map(whole, numbers, like)


def _implementation(keys: Any) -> Any:
    """Of the generator that keys are for, also where they are shapes and types alone."""
    found = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), keys)
    return found[0]


def _is_missing(x: Any) -> bool:
    """Whether it is a shape and type alone."""
    return isinstance(x, jax.ShapeDtypeStruct)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)


def by_path(tree: Any, **style: Any) -> dict[str, Any]:
    """Leaves by their paths, written as `jax.tree_util.keystr` does in this style."""
    return {jax.tree_util.keystr(p, **style): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _changed(folder: pathlib.Path, name: str, saved: str, made: str) -> InvalidInput:
    return InvalidInput(
        f"the state in {folder} is of another program: {name.lstrip('.')} is {saved} there and {made} here; network, "
        "method, environment or JAX's settings (jax_enable_x64) have changed since: give back what it was trained with"
    )
