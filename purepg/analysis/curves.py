"""What figures of training read from a run's dataset: curves over updates, steps or seconds."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from purepg.errors import InvalidInput

if TYPE_CHECKING:
    import xarray

__all__ = ["label", "over_steps", "seconds", "variable"]

_GRID_POINTS = 200


def over_steps(
    steps: np.ndarray, curves: np.ndarray, begun: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Curves read at the same numbers of steps for all seeds: these steps `[K]`, the curves and `begun`, `[S, K]` each.

    Args:
      steps: `[S, U]`, environment steps up to the end of each update.
      curves: `[S, U]`.
      begun: `[S, U]` bool, where a curve has a value.
    """
    grid = np.linspace(steps[:, 0].min(), np.median(steps[:, -1]), _GRID_POINTS)
    at = np.stack([np.searchsorted(own, grid, side="right") - 1 for own in steps])
    curves, begun = (np.take_along_axis(x, np.maximum(at, 0), axis=1) for x in (curves, begun))
    return grid, np.where(at < 0, np.nan, curves), begun & (at >= 0)


def seconds(dataset: "xarray.Dataset") -> np.ndarray:
    """Seconds on the clock at the end of each update, `[U]`, as if every update took equally long.

    Args:
      dataset: of a run, dims ("seed", "iteration").
    """
    updates = dataset.sizes["iteration"]
    share = np.arange(1, updates + 1) / updates
    return dataset.attrs["compile_seconds"] + dataset.attrs["run_seconds"] * share


def variable(dataset: "xarray.Dataset", metric: str, name: str) -> np.ndarray:
    """A variable as floats, `[S, U]`.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      metric: the variable.
      name: of the run, for the message.

    Raises:
      InvalidInput: the dataset has no such variable.
    """
    known = [str(v) for v in dataset.data_vars if dataset[v].dims == ("seed", "iteration")]
    if metric not in known:
        raise InvalidInput(f"{name} has no metric {metric!r} over training; it has: {', '.join(known)}")
    return dataset[metric].values.astype(np.float64)


def label(dataset: "xarray.Dataset", metric: str) -> str:
    """What an axis calls a variable, with its unit.

    Args:
      dataset: that has it.
      metric: the variable.
    """
    attributes = dataset[metric].attrs
    units = attributes.get("units", "1")
    return textwrap.fill(attributes.get("long_name", metric) + f" [{units}]" * (units != "1"), 36)
