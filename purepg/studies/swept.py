"""What a sweep changed, and a seed metric over one of the fields: one curve for each setting of the others.

The seed is the replicate. Runs that differ in a field other than the one along x are not further seeds: they are
another curve, and too many curves are refused rather than pooled.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from purepg.errors import InvalidInput

if TYPE_CHECKING:
    import xarray

__all__ = ["curves", "settings"]

_MOST_CURVES = 6  # more cannot be told apart in a figure
_DEFAULT = "nothing else changed"
_NO_FIELDS = ("config", "seed", "iteration")


def settings(datasets: "Mapping[str, xarray.Dataset]") -> dict[str, list[Any]]:
    """The fields that all of these runs were swept over, each with its value in every run.

    Args:
      datasets: of runs, by configuration.
    """
    shared = [name for name in _fields(datasets) if all(name in d.coords for d in datasets.values())]
    return {name: [dataset.coords[name].item() for dataset in datasets.values()] for name in shared}


def curves(
    datasets: "Mapping[str, xarray.Dataset]", over: str, seed_metrics: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Setting of the other fields ("" where there is only one) → values [C] of `over` and seed metrics [C, S].

    Args:
      datasets: of runs, by configuration.
      over: a field of `settings`.
      seed_metrics: configuration → [S].

    Raises:
      InvalidInput: the values are not numbers or all the same, there are too many settings, a seed appears twice, or
        values have different numbers of seeds.
    """
    at = settings(datasets)[over]
    if not _are_numbers(at):
        raise InvalidInput(f"{over} has values that are no numbers: compare them by the figure seed-metrics")
    others = [name for name in _fields(datasets) if name != over]
    found: dict[str, dict[float, dict[int, float]]] = {}
    for x, (name, dataset) in zip(at, datasets.items(), strict=True):
        setting = ", ".join(f"{o}={dataset.coords[o].item()}" for o in others if o in dataset.coords)
        seeds = found.setdefault(setting, {}).setdefault(float(x), {})
        for seed, seed_metric in zip(dataset["seed"].values.tolist(), seed_metrics[name], strict=True):
            if seed in seeds:
                raise InvalidInput(
                    f"seed {seed} is there twice at {over}={x:g}, the second time in {name!r}, and a seed counts once: "
                    "give runs that differ in their swept fields or their seeds"
                )
            seeds[seed] = seed_metric
    if len(found) > _MOST_CURVES or all(len(curve) == 1 for curve in found.values()):
        raise InvalidInput(
            f"{len(found)} settings of the fields other than {over}: a sensitivity is a curve for each, at most "
            f"{_MOST_CURVES}, and one needs two values of {over}; compare these runs by the figure seed-metrics"
        )
    counts = sorted({len(seeds) for curve in found.values() for seeds in curve.values()})
    if len(counts) > 1:
        raise InvalidInput(f"values of {over} have {counts} seeds: a sensitivity needs as many for each")
    return {
        (setting or _DEFAULT) if len(found) > 1 else "": (
            np.array(list(curve)),
            np.array([list(seeds.values()) for seeds in curve.values()]),
        )
        for setting, curve in found.items()
    }


def _fields(datasets: "Mapping[str, xarray.Dataset]") -> list[str]:
    """Those that any of the runs was swept over."""
    every = {str(name): None for dataset in datasets.values() for name in dataset.coords}
    return [name for name in every if name not in _NO_FIELDS]


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values) and len(set(values)) > 1
