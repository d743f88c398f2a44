"""One number for each seed of a run's dataset: what statistics and comparisons take. Larger is better.

Every seed is measured over its own updates: where it has used up a budget of steps, nothing after that counts.

greedy   mean return of the fresh greedy games after training
final    mean return of the training games that ended in the last tenth of the updates
best     highest mean training return over a tenth of the updates
area     mean training return over all steps played, the area under the learning curve
speed    minus the environment steps until solved; −inf where a seed does not solve its environment

A seed has *solved* its environment if what training left of it does: its metric `greedy`, or `final` where no greedy
games were played, is at least the environment's number. It has done so since its training return, averaged over a
tenth of the updates, first reached that number (at the latest at the end of training). A seed that was there and
collapsed has not.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from purepg import environments
from purepg.errors import InvalidInput, checks
from purepg.names import lookup
from purepg.statistics import learning_curve

if TYPE_CHECKING:
    import xarray

LABELS = {
    "greedy": "mean return of greedy games",
    "final": "mean return at the end of training",
    "best": "best mean return during training",
    "area": "mean return over all of training",
    "speed": "− environment steps until solved",
}


def seed_metric(
    dataset: "xarray.Dataset", kind: str = "greedy", threshold: float | None = None
) -> np.ndarray:
    """One number a seed, [S]; NaN where no episode ended or a return was not a number.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      kind: one of `LABELS`.
      threshold: the return that counts as solved; none: the environment's own, where it has one.

    Raises:
      InvalidInput: an unknown kind, or one that this dataset has nothing for.
    """
    lookup("seed metric", kind, LABELS)
    if kind == "greedy":
        if "evaluation_return" not in dataset:
            raise InvalidInput(
                "no greedy games were played after training: take the seed metric final, best or area"
            )
        return dataset["evaluation_return"].values
    if kind == "final":
        return final(dataset)
    if kind == "speed":
        return -steps_until_solved(dataset, threshold)
    if kind == "best":
        return _of_each(dataset, lambda curve, count: learning_curve.best(curve, _tenth(len(curve)), count))
    steps = steps_so_far(dataset)
    return _of_each(dataset, lambda curve, count, n: learning_curve.area_under_curve(curve, n, count), steps)


def mean_of_games(dataset: "xarray.Dataset", last: int) -> np.ndarray:
    """Mean return of the training games that ended in a seed's `last` updates, [S], each game with the same weight.

    NaN where none did, or one's return was NaN.

    Raises:
      InvalidInput: there are not so many updates.
    """
    updates = dataset["return"].shape[1]
    if not 1 <= last <= updates:
        raise InvalidInput(f"last = {last}: give 1 to {updates}, the number of updates in the curve")
    return _mean_since(dataset, num_updates(dataset) - last)


def final(dataset: "xarray.Dataset") -> np.ndarray:
    """`mean_of_games` of the last tenth of a seed's updates, [S]; where no game ended then, of the newest with one."""
    there, made = counts(dataset) > 0, num_updates(dataset)
    newest = np.where(there, np.arange(there.shape[1]), 0).max(axis=1)
    return _mean_since(dataset, np.minimum(newest, made - _tenth(made)))


def num_updates(dataset: "xarray.Dataset") -> np.ndarray:
    """How many updates each seed made, [S]: all, or those until its budget of steps was used up."""
    if "updates" in dataset:
        return dataset["updates"].values
    return np.full(dataset.sizes["seed"], dataset.sizes["iteration"])


def steps_so_far(dataset: "xarray.Dataset") -> np.ndarray:
    """Environment steps of each seed up to the end of each update, [S, U]."""
    return np.nancumsum(dataset["steps"].values, axis=1, dtype=np.float64)


class Overshoot(NamedTuple):
    """What seeds played beyond their budget of environment steps, up to an update each."""

    mean: float  # steps
    most: float  # steps
    short: int  # seeds whose updates ended before the budget was used up; negative in the mean


def overshoot(dataset: "xarray.Dataset") -> Overshoot | None:
    """What the seeds played beyond their budget, if they have one."""
    if "num_steps" not in dataset.attrs:
        return None
    beyond = steps_so_far(dataset)[:, -1] - float(dataset.attrs["num_steps"])
    return Overshoot(float(beyond.mean()), float(beyond.max()), int((beyond < 0).sum()))


def counts(dataset: "xarray.Dataset", metric: str = "return") -> np.ndarray:
    """How many numbers each value of a metric is the mean of, [S, U].

    Where a dataset does not say it is 1, and 0 for NaN; runs say where it is not (in a study it may be some of them).
    """
    one = (~np.isnan(dataset[metric].values)).astype(np.float64)
    count = dataset[f"{metric}_count"].values if f"{metric}_count" in dataset else one
    return np.where(np.isnan(count), one, count)


def solved(dataset: "xarray.Dataset", threshold: float | None = None) -> np.ndarray:
    """Which seeds have solved the environment, [S] bool.

    Raises:
      InvalidInput: no threshold, and the environment has none of its own.
    """
    threshold = solved_at(_environment(dataset), threshold)
    return seed_metric(dataset, "greedy" if "evaluation_return" in dataset else "final") >= threshold


def steps_until_solved(dataset: "xarray.Dataset", threshold: float | None = None) -> np.ndarray:
    """Environment steps that each seed took to solve the environment, [S]; inf where it has not.

    Raises:
      InvalidInput: no threshold, and the environment has none of its own.
    """
    return solved_since(dataset, steps_so_far(dataset), threshold)


def solved_since(dataset: "xarray.Dataset", x: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Where on a growing axis `x` [U] or [S, U] each seed solved the environment, [S]; inf where it has not.

    Raises:
      InvalidInput: no threshold, and the environment has none of its own.
    """
    threshold = solved_at(_environment(dataset), threshold)

    def since(curve: np.ndarray, count: np.ndarray, x: np.ndarray) -> Any:
        window = _tenth(len(curve))
        return min(learning_curve.steps_to_threshold(curve, x, threshold, count, window=window), x[-1])

    return np.where(solved(dataset, threshold), _of_each(dataset, since, x), np.inf)


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


def _mean_since(dataset: "xarray.Dataset", first: np.ndarray) -> np.ndarray:
    """Mean return of the games that ended from update `first`, [S] or [1], on; [S]."""
    returns, count = dataset["return"].values, counts(dataset)
    count = np.where(np.arange(returns.shape[1]) >= first[:, None], count, 0.0)
    total, number = np.where(count > 0, returns * count, 0.0).sum(axis=1), count.sum(axis=1)
    return np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)


def _of_each(dataset: "xarray.Dataset", number: Callable[..., Any], *along: np.ndarray) -> np.ndarray:
    """The number, [S], of each seed's returns and counts, and what else there is `along` its updates, [U] or [S, U]."""
    curves = dataset["return"].values, counts(dataset), *along
    rows = zip(*(np.broadcast_to(x, curves[0].shape) for x in curves), strict=True)
    return np.array(
        [number(*(x[:n] for x in row)) for row, n in zip(rows, num_updates(dataset), strict=True)]
    )


def _tenth(updates: Any) -> Any:
    """A tenth of so many updates, at least one."""
    return np.maximum(1, updates // 10)


def _environment(dataset: "xarray.Dataset") -> str:
    return str(dataset.attrs.get("environment", "this environment"))
