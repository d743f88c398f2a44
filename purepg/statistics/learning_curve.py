"""From the curve of a seed to one number, which the statistics take.

    final   mean of the last updates                 area under curve     Σ_u G_u (n_u − n_{u−1}) / n_U
    best    highest mean of consecutive updates      steps to threshold   min n_u with G_u ≥ threshold, else ∞

G_u is the mean return of the games that ended in update u, and n_u the environment steps up to its end. Where their
number, `count`, is 0, no episode ended and the last known value is carried on. NaN with a positive count is a failure:
it is not carried over, whatever reads it is NaN, and it reaches no threshold. Without counts, NaN means "none ended".
Everything takes one curve `[U]` or many, `[..., U]`, and counts of the same shape.
"""

import numpy as np

from purepg.errors import InvalidInput

__all__ = ["area_under_curve", "best", "carried", "check_window", "final", "known", "steps_to_threshold"]


def final(curve: np.ndarray, last: int, count: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last updates of curves, `[...]`; NaN where no episode ever ended.

    Args:
      curve: `[..., U]`, a number per update.
      last: how many updates, 1 to U.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.
    """
    check_window(curve, last, "last")
    return carried(curve, count)[..., -last:].mean(axis=-1)


def best(curve: np.ndarray, window: int, count: np.ndarray | None = None) -> np.ndarray:
    """Highest mean over consecutive updates of curves, `[...]`; NaN where there is none.

    A curve that failed anywhere has none. A maximum over noise lies above what the best policy is worth, the more so
    the shorter the window.

    Args:
      curve: `[..., U]`, a number per update.
      window: how many consecutive updates, 1 to U.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.
    """
    means = _moving_mean(curve, window, count)
    highest = np.where(np.isnan(means), -np.inf, means).max(axis=-1)
    failed = (known(curve, count) & np.isnan(curve)).any(axis=-1)
    return np.where(failed | np.isnan(means).all(axis=-1), np.nan, highest)


def area_under_curve(curve: np.ndarray, steps: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Area under curves over steps, divided by the steps: the mean of the curve, in its units, `[...]`.

    An update's value holds for the steps that it played; before the first known value, that one holds.

    Args:
      curve: `[..., U]`, a number per update.
      steps: `[U]` or `[..., U]`, environment steps up to the end of each update.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.

    Raises:
      InvalidInput: the steps have another shape, or do not grow.
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
    """Steps until curves first reach a threshold, `[...]`; inf where they never do.

    Args:
      curve: `[..., U]`, a number per update.
      steps: `[U]` or `[..., U]`, environment steps up to the end of each update.
      threshold: to be reached, not NaN.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.
      window: the mean over this many updates, 1 to U, has to reach it.

    Raises:
      InvalidInput: the steps have another shape or do not grow, or the threshold is NaN.
    """
    if np.isnan(threshold):
        raise InvalidInput("threshold is NaN, which nothing reaches: give a number")
    means, steps = _moving_mean(curve, window, count), _check_steps(curve, steps)
    reached = means >= threshold
    steps = np.broadcast_to(steps, np.shape(curve))[..., window - 1 :]
    first = np.take_along_axis(steps, reached.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(reached.any(axis=-1), first, np.inf)


def carried(curve: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Curves `[..., U]` with the last known value where no episode ended; NaN before the first one.

    Args:
      curve: `[..., U]`, a number per update.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.
    """
    curve, there = np.asarray(curve, np.float64), known(curve, count)
    last = np.maximum.accumulate(np.where(there, np.arange(curve.shape[-1]), 0), axis=-1)
    return np.take_along_axis(np.where(there, curve, np.nan), last, axis=-1)


def known(curve: np.ndarray, count: np.ndarray | None = None) -> np.ndarray:
    """Where curves have a value, be it a failure: `[..., U]` bool.

    Args:
      curve: `[..., U]`, a number per update.
      count: `[..., U]`, episodes that ended in each update; none: NaN means that none did.
    """
    return ~np.isnan(curve) if count is None else np.broadcast_to(np.asarray(count) != 0, np.shape(curve))


def _moving_mean(curve: np.ndarray, window: int, count: np.ndarray | None) -> np.ndarray:
    """Means [..., U − window + 1]."""
    check_window(curve, window, "window")
    return np.lib.stride_tricks.sliding_window_view(carried(curve, count), window, axis=-1).mean(axis=-1)


def check_window(curve: np.ndarray, window: int, name: str) -> None:
    """Refuses a number of updates that a curve does not have.

    Args:
      curve: `[..., U]`, a number per update.
      window: a number of updates.
      name: of the argument, for the message.

    Raises:
      InvalidInput: `window` is not in 1 … U.
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
