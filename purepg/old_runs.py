"""Runs of purepg 0.1 (format 4), which kept states by orbax: they are read, and not gone on with."""

import logging
import pathlib
from typing import Any

import jax
import numpy as np

from purepg import checkpoint, files, saved_state
from purepg.checkpoint import Reached
from purepg.errors import InvalidInput

FORMATS = (4,)


def read_state(folder: pathlib.Path, template: Any) -> Any:
    """The state of a run; what states have got since is zero.

    Raises:
      files.Damaged: it cannot be read.
      InvalidInput: it is of another structure than the template.
    """
    saved = _arrays(folder)
    arrays = {}
    for path, like in jax.tree_util.tree_leaves_with_path(saved_state.as_numbers(template)):
        old = saved.pop(jax.tree_util.keystr(path, simple=True, separator="/"), None)
        arrays[jax.tree_util.keystr(path)] = np.zeros(like.shape, like.dtype) if old is None else old
    return saved_state.matched(arrays | saved, template, folder)


def read_newest(folder: pathlib.Path, template: Any) -> Reached | None:
    """The newest whole checkpoint of a run that was cut off, none if there is none."""
    return checkpoint.newest(
        folder, template, lambda state, template: read_state(state / "default", template)
    )


def _arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """What orbax finds in a folder, by path."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # it logs that it misses a file of later versions
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree: Any = checkpointer.metadata(folder.resolve()).item_metadata.tree  # pyright: ignore
            plain = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            found = checkpointer.restore(folder.resolve(), restore_args=plain)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a reader makes of half a file
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise files.Damaged(f"{folder.name}: {type(error).__name__}: {line}") from error
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(x)
        for path, x in jax.tree_util.tree_leaves_with_path(found)
    }
