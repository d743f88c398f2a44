"""From the curve of a seed to one number, which statistics takes.

    final   mean of the last updates                 area under curve     Σ_u G_u (n_u − n_{u−1}) / n_U
    best    highest mean of consecutive updates      steps to threshold   min n_u with G_u ≥ threshold, else ∞

G_u is the return of the games that ended in update u and n_u the environment steps up to its end. NaN means that no
episode ended: the last known value is carried on. Everything takes one curve `[U]` or many, `[..., U]`.
"""

import numpy as np

from purepg.errors import InvalidInput


def final(curve: np.ndarray, last: int) -> np.ndarray:
    """Mean over the `last` updates of curves [..., U]; NaN where no episode ever ended. Returns [...]."""
    _check_window(curve, last, "last")
    return carried(curve)[..., -last:].mean(axis=-1)


def best(curve: np.ndarray, window: int) -> np.ndarray:
    """Highest mean over `window` consecutive updates of curves [..., U]; NaN where there is none. Returns [...].

    A maximum over noise lies above what the best policy is worth, the more so the shorter the window.
    """
    means = _moving_mean(curve, window)
    highest = np.where(np.isnan(means), -np.inf, means).max(axis=-1)
    return np.where(np.isnan(means).all(axis=-1), np.nan, highest)


def area_under_curve(curve: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Area under curves [..., U] over steps, divided by the steps: the mean of the curve, in its units. Returns [...].

    `steps` [U] or [..., U] count the environment steps up to each update's end. An update's value holds for the steps
    that it played; before the first known value that value holds.
    """
    curve, steps = carried(curve), _check_steps(curve, steps)
    known = np.argmax(~np.isnan(curve), axis=-1)
    first = np.take_along_axis(curve, known[..., None], axis=-1)
    played = np.diff(steps, axis=-1, prepend=0)
    return (np.where(np.isnan(curve), first, curve) * played).sum(axis=-1) / steps[..., -1]


def steps_to_threshold(
    curve: np.ndarray, steps: np.ndarray, threshold: float, *, window: int = 1
) -> np.ndarray:
    """Steps until curves [..., U] first reach the threshold, inf where they never do. Returns [...].

    `steps` are as for `area_under_curve`; with `window` the mean over so many updates has to reach it.
    """
    means, steps = _moving_mean(curve, window), _check_steps(curve, steps)
    reached = means >= threshold
    steps = np.broadcast_to(steps, np.shape(curve))[..., window - 1 :]
    first = np.take_along_axis(steps, reached.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), first, np.inf)


def carried(curve: np.ndarray) -> np.ndarray:
    """Curves [..., U] with the last known value in place of NaN; NaN before the first."""
    curve = np.asarray(curve, np.float64)
    known = np.where(np.isnan(curve), 0, np.arange(curve.shape[-1]))
    return np.take_along_axis(curve, np.maximum.accumulate(known, axis=-1), axis=-1)


def _moving_mean(curve: np.ndarray, window: int) -> np.ndarray:
    """Means [..., U − window + 1]."""
    _check_window(curve, window, "window")
    return np.lib.stride_tricks.sliding_window_view(carried(curve), window, axis=-1).mean(axis=-1)


def _check_window(curve: np.ndarray, window: int, name: str) -> None:
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
