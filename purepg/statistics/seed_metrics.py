"""One number per seed from a run's dataset, for statistics and comparisons. Larger is better.

Every seed is measured over its own updates: nothing counts after it has used up its budget of steps.

greedy   mean return of the fresh greedy games after training
final    mean return of the training games that ended in the last tenth of the updates
best     highest mean training return over a tenth of the updates
area     mean training return over all steps played, the area under the learning curve
speed    minus the environment steps until solved; −inf where a seed does not solve its environment

A seed has *solved* its environment if it does so after training: its metric `greedy`, or `final` where no greedy games
were played, is at least the environment's threshold. It counts as solved from the update on in which its training
return, averaged over a tenth of the updates, first reached the threshold (or from the end of training). A seed that
reached the threshold and then collapsed has not solved it.
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

__all__ = [
    "LABELS",
    "Overshoot",
    "counts",
    "final",
    "mean_of_games",
    "num_updates",
    "overshoot",
    "seed_metric",
    "solved",
    "solved_at",
    "solved_since",
    "steps_so_far",
    "steps_until_solved",
]

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
    """One number per seed, `[S]`; NaN where no episode ended or a return was not a number.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      kind: one of `LABELS`.
      threshold: the return that counts as solved; none: the environment's own, if it has one.

    Raises:
      InvalidInput: the kind is unknown, or the dataset lacks what it is made from.
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
    """Mean return of the training games that ended in each seed's last updates, `[S]`, every game weighted equally.

    NaN where none did, or the return of one was NaN.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      last: how many updates, 1 to their number.

    Raises:
      InvalidInput: there are fewer updates.
    """
    updates = dataset["return"].shape[1]
    if not 1 <= last <= updates:
        raise InvalidInput(f"last = {last}: give 1 to {updates}, the number of updates in the curve")
    return _mean_since(dataset, num_updates(dataset) - last)


def final(dataset: "xarray.Dataset") -> np.ndarray:
    """`mean_of_games` over the last tenth of each seed's updates, `[S]`; where no game ended then, of
    the newest update in which one did.

    Args:
      dataset: of a run, dims ("seed", "iteration").
    """
    there, made = counts(dataset) > 0, num_updates(dataset)
    newest = np.where(there, np.arange(there.shape[1]), 0).max(axis=1)
    return _mean_since(dataset, np.minimum(newest, made - _tenth(made)))


def num_updates(dataset: "xarray.Dataset") -> np.ndarray:
    """How many updates each seed made, `[S]`: all, or those until its budget of steps was used up.

    Args:
      dataset: of a run, dims ("seed", "iteration").
    """
    if "updates" in dataset:
        return dataset["updates"].values
    return np.full(dataset.sizes["seed"], dataset.sizes["iteration"])


def steps_so_far(dataset: "xarray.Dataset") -> np.ndarray:
    """Environment steps of each seed up to the end of each update, `[S, U]`.

    Args:
      dataset: of a run, dims ("seed", "iteration").
    """
    return np.nancumsum(dataset["steps"].values, axis=1, dtype=np.float64)


class Overshoot(NamedTuple):
    """What the seeds played beyond their budget of environment steps: less than an update each.

    Attributes:
      mean: Over the seeds, in environment steps; negative for seeds that stopped short.
      most: Of any seed, in environment steps.
      short: Seeds whose updates ended before the budget was used up.
    """

    mean: float
    most: float
    short: int


def overshoot(dataset: "xarray.Dataset") -> Overshoot | None:
    """What the seeds played beyond their budget; none where they have no budget.

    Args:
      dataset: of a run, dims ("seed", "iteration").
    """
    if "num_steps" not in dataset.attrs:
        return None
    beyond = steps_so_far(dataset)[:, -1] - float(dataset.attrs["num_steps"])
    return Overshoot(float(beyond.mean()), float(beyond.max()), int((beyond < 0).sum()))


def counts(dataset: "xarray.Dataset", metric: str = "return") -> np.ndarray:
    """How many numbers each value of a metric is the mean of, `[S, U]`.

    Where the dataset has no counts they are 1, and 0 for NaN: runs store counts only where these differ, and in a study
    perhaps only some of the runs do.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      metric: a variable of those dims.
    """
    one = (~np.isnan(dataset[metric].values)).astype(np.float64)
    count = dataset[f"{metric}_count"].values if f"{metric}_count" in dataset else one
    return np.where(np.isnan(count), one, count)


def solved(dataset: "xarray.Dataset", threshold: float | None = None) -> np.ndarray:
    """Which seeds have solved the environment, `[S]` bool.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      threshold: the return that counts as solved; none: the environment's own.

    Raises:
      InvalidInput: no threshold is given, and the environment has none.
    """
    threshold = solved_at(_environment(dataset), threshold)
    return seed_metric(dataset, "greedy" if "evaluation_return" in dataset else "final") >= threshold


def steps_until_solved(dataset: "xarray.Dataset", threshold: float | None = None) -> np.ndarray:
    """Environment steps that each seed took to solve the environment, `[S]`; inf where it has not.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      threshold: the return that counts as solved; none: the environment's own.

    Raises:
      InvalidInput: no threshold is given, and the environment has none.
    """
    return solved_since(dataset, steps_so_far(dataset), threshold)


def solved_since(dataset: "xarray.Dataset", x: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Where along an axis each seed solved the environment, `[S]`; inf where it has not.

    Args:
      dataset: of a run, dims ("seed", "iteration").
      x: `[U]` or `[S, U]`, growing: steps, seconds or updates at the end of each update.
      threshold: the return that counts as solved; none: the environment's own.

    Raises:
      InvalidInput: no threshold is given, and the environment has none.
    """
    threshold = solved_at(_environment(dataset), threshold)

    def since(curve: np.ndarray, count: np.ndarray, x: np.ndarray) -> Any:
        window = _tenth(len(curve))
        return min(learning_curve.steps_to_threshold(curve, x, threshold, count, window=window), x[-1])

    return np.where(solved(dataset, threshold), _of_each(dataset, since, x), np.inf)


def solved_at(environment: str, threshold: float | None = None) -> float:
    """The return that counts as solved: the one given, or the environment's own.

    Args:
      environment: its name.
      threshold: a finite number; none: the environment's own.

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
    """A number per seed, [S], from its returns, counts and what else lies along its updates, [U] or [S, U] each."""
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
