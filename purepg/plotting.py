"""Figures, by matplotlib's object interface: nothing global is touched, no window is opened."""

from typing import TYPE_CHECKING

from purepg.diagnostics import GradientStatistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def variances(statistics: dict[str, GradientStatistics], title: str) -> "Figure":
    """Variance of one game's gradient by estimator, and what a given accuracy costs in environment steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 0.4 * len(statistics)), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(statistics)
    for axes, values, label in (
        (left, [s.total_variance for s in statistics.values()], "variance of one game's gradient"),
        (right, [s.cost for s in statistics.values()], "variance × environment steps"),
    ):
        axes.barh(names, values, color="0.45")
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.grid(axis="x", alpha=0.3)
    left.invert_yaxis()
    return figure
