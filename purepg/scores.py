"""One number for each seed of a run's dataset: what statistics and comparisons take. Larger is better.

greedy   mean return of the fresh greedy games after training
final    mean training return over the last tenth of the updates
best     highest mean training return over a tenth of the updates
area     mean training return over all steps played, the area under the learning curve
speed    minus the environment steps until the training return, averaged over a tenth of the updates, reaches the
         number at which the environment counts as solved; −inf where it never does
"""

from typing import TYPE_CHECKING

import numpy as np

from purepg import checks, environments, learning_curve
from purepg.errors import InvalidInput

if TYPE_CHECKING:
    import xarray

LABELS = {
    "greedy": "mean return of greedy games",
    "final": "mean return at the end of training",
    "best": "best mean return during training",
    "area": "mean return over all of training",
    "speed": "− environment steps until solved",
}


def score(dataset: "xarray.Dataset", kind: str = "greedy", threshold: float | None = None) -> np.ndarray:
    """One number a seed, [S]; NaN where no episode ended.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      kind: one of `LABELS`.
      threshold: the return that counts as solved; none: the environment's own, where it has one.

    Raises:
      InvalidInput: an unknown kind, or one that this dataset has nothing for.
    """
    environments.look_up("score", kind, LABELS)
    if kind == "greedy":
        if "evaluation_return" not in dataset:
            raise InvalidInput(
                "no greedy games were played after training: take the score final, best or area"
            )
        return dataset["evaluation_return"].values
    curve = dataset["return"].values
    steps = np.cumsum(dataset["steps"].values, axis=1)
    window = max(1, curve.shape[1] // 10)
    if kind == "final":
        return learning_curve.final(curve, window)
    if kind == "best":
        return learning_curve.best(curve, window)
    if kind == "area":
        return learning_curve.area_under_curve(curve, steps)
    return -steps_until_solved(dataset, threshold)


def steps_until_solved(dataset: "xarray.Dataset", threshold: float | None = None) -> np.ndarray:
    """Environment steps of each seed until its training return reaches the threshold, [S]; inf where it never does.

    Raises:
      InvalidInput: no threshold, and the environment has none of its own.
    """
    threshold = solved_at(str(dataset.attrs["environment"]), threshold)
    curve = dataset["return"].values
    steps = np.cumsum(dataset["steps"].values, axis=1)
    window = max(1, curve.shape[1] // 10)
    return learning_curve.steps_to_threshold(curve, steps, threshold, window=window)


def solved_at(environment: str, threshold: float | None = None) -> float:
    """The return that counts as solved: the one given, or the environment's own.

    Raises:
      InvalidInput: there is neither.
    """
    checks.number("threshold", 0.0 if threshold is None else threshold)
    found = environments.SOLVED_AT.get(environment) if threshold is None else threshold
    if found is None:
        raise InvalidInput(f"{environment} has no return that counts as solved: give one")
    return found
