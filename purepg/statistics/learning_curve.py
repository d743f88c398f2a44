"""From the curve of a seed to one number, which statistics takes.

    final   mean of the last updates                 area under curve     Σ_u G_u (n_u − n_{u−1}) / n_U
    best    highest mean of consecutive updates      steps to threshold   min n_u with G_u ≥ threshold, else ∞

G_u is the return of the games that ended in update u and n_u the environment steps up to its end. Where their number,
`count`, is 0 no episode ended: the last known value is carried on. NaN with a count is a failure, not carried over but
shown: whatever reads it is NaN, and reaches no threshold. Without counts every NaN is taken for "none ended".
Everything takes one curve `[U]` or many, `[..., U]`, and counts of the same shape.
"""

import numpy as np

from purepg.errors import InvalidInput


def final(curve: np.ndarray, last: int, count: np.ndarray | None = None) -> np.ndarray:
    """Mean over the `last` updates of curves [..., U]; NaN where no episode ever ended. Returns [...]."""
    check_window(curve, last, "last")
    return carried(curve, count)[..., -last:].mean(axis=-1)


def best(curve: np.ndarray, window: int, count: np.ndarray | None = None) -> np.ndarray:
    """Highest mean over `window` consecutive updates of curves [..., U]; NaN where there is none. Returns [...].

    A curve that failed anywhere has none. A maximum over noise lies above what the best policy is worth, the more so
    the shorter the window.
    """
    means = _moving_mean(curve, window, count)
    highest = np.where(np.isnan(means), -np.inf, means).max(axis=-1)
    failed = (known(curve, count) & np.isnan(curve)).any(axis=-1)
    return np.where(failed | np.isnan(means).all(axis=-1), np.nan, highest)


def area_under_curve(curve: np.ndarray, steps: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Area under curves [..., U] over steps, divided by the steps: the mean of the curve, in its units. Returns [...].

    `steps` [U] or [..., U] count the environment steps up to each update's end. An update's value holds for the steps
    that it played; before the first known value that value holds.
    """
    steps, begun = _check_steps(curve, steps), np.maximum.accumulate(known(curve, count), axis=-1)
    curve = carried(curve, count)
    first = np.take_along_axis(curve, begun.argmax(axis=-1)[..., None], axis=-1)
    played = np.diff(steps, axis=-1, prepend=0)
    return (np.where(begun, curve, first) * played).sum(axis=-1) / steps[..., -1]


def steps_to_threshold(
    curve: np.ndarray,
    steps: np.ndarray,
    threshold: float,
    count: np.ndarray | None = None,
    *,
    window: int = 1,
) -> np.ndarray:
    """Steps until curves [..., U] first reach the threshold, inf where they never do. Returns [...].

    `steps` are as for `area_under_curve`; with `window` the mean over so many updates has to reach it.
    """
    if np.isnan(threshold):
        raise InvalidInput("threshold is NaN, which nothing reaches: give a number")
    means, steps = _moving_mean(curve, window, count), _check_steps(curve, steps)
    reached = means >= threshold
    steps = np.broadcast_to(steps, np.shape(curve))[..., window - 1 :]
    first = np.take_along_axis(steps, reached.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), first, np.inf)


def carried(curve: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Curves [..., U] with the last known value where no episode ended; NaN before the first."""
    curve, there = np.asarray(curve, np.float64), known(curve, count)
    last = np.maximum.accumulate(np.where(there, np.arange(curve.shape[-1]), 0), axis=-1)
    return np.take_along_axis(np.where(there, curve, np.nan), last, axis=-1)


def known(curve: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Where curves [..., U] have a value, a failure among them."""
    return ~np.isnan(curve) if count is None else np.broadcast_to(np.asarray(count) != 0, np.shape(curve))


def _moving_mean(curve: np.ndarray, window: int, count: np.ndarray | None) -> np.ndarray:
    """Means [..., U − window + 1]."""
    check_window(curve, window, "window")
    return np.lib.stride_tricks.sliding_window_view(carried(curve, count), window, axis=-1).mean(axis=-1)


def check_window(curve: np.ndarray, window: int, name: str) -> None:
    """Refuses a number of updates that curves [..., U] do not have.

    Raises:
      InvalidInput: `window`, called `name`, is not in 1 … U.
    """
    updates = np.shape(curve)[-1]
    if not 1 <= window <= updates:
        raise InvalidInput(f"{name} = {window}: give 1 to {updates}, the number of updates in the curve")


def _check_steps(curve: np.ndarray, steps: np.ndarray) -> np.ndarray:
    steps = np.asarray(steps, np.float64)
    if steps.shape not in (np.shape(curve), np.shape(curve)[-1:]):
        raise InvalidInput(
            f"steps of shape {steps.shape} for curves {np.shape(curve)}: give the same, or [U] for all"
        )
    if (np.diff(steps) < 0).any() or (steps.shape[-1] > 1 and (steps[..., -1] == steps[..., 0]).any()):
        raise InvalidInput(
            "steps do not grow along the updates: give the steps so far, dataset['steps'].cumsum('iteration')"
        )
    return steps
