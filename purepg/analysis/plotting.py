"""Figures, by matplotlib's object interface: nothing global is touched, no window is opened.

Every function returns a `matplotlib.figure.Figure`; `figure.savefig(path, dpi=150)` writes it. The band around a curve
and the bar through a mean are 95 % intervals over seeds, not the seeds' spread. Configurations differ in line style and
marker as well as in colour, so that a grey print can be read. The legend stands above the axes and hides nothing. Seeds
that failed are counted in the figure, never left out silently.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from purepg import statistics
from purepg.analysis import curves, drawing
from purepg.errors import InvalidInput
from purepg.statistics import learning_curve, seed_metrics

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

    from purepg.diagnostics import GradientStatistics

__all__ = [
    "learning_curves",
    "profiles",
    "sensitivities",
    "sensitivity",
    "share_solved",
    "signal_to_noise",
    "strip",
    "variances",
]


def learning_curves(
    datasets: "Mapping[str, xarray.Dataset]",
    metric: str = "return",
    against: Literal["steps", "iteration"] = "steps",
    *,
    every_seed: bool = False,
) -> "Figure":
    """Mean of a metric over training with its t interval, and every seed behind it if wanted.

    Where no episode ended, a seed keeps its last value; before its first one it is not counted. While a seed's value is
    NaN the seed has failed, and so has the mean. Against steps, all curves are read at the same numbers of steps, up to
    the median of what the seeds played; a seed that played fewer keeps its last value (where good policies play longer,
    stopping at the fewest steps would hide them all). Against updates, a seed counts until its budget is used up.

    Args:
      datasets: name → `Result.dataset`.
      metric: a variable of dims ("seed", "iteration").
      against: "steps" for environment steps of one seed, "iteration" for updates.
      every_seed: draw a thin line for each seed too.

    Raises:
      InvalidInput: nothing to draw, an unknown `against`, or a metric that a dataset does not have.
    """
    _check_choice("against", against, ("steps", "iteration"))
    figure, axes = drawing.new_figure()
    for i, (name, dataset) in enumerate(_given(datasets)):
        x, values = dataset["iteration"].values, curves.variable(dataset, metric, name)
        count = seed_metrics.counts(dataset, metric)
        begun = np.maximum.accumulate(count > 0, axis=1)
        values = learning_curve.carried(values, count)
        if against == "steps":
            x, values, begun = curves.over_steps(seed_metrics.steps_so_far(dataset), values, begun)
        else:
            made = x <= seed_metrics.num_updates(dataset)[:, None]
            values, begun = np.where(made, values, np.nan), begun & made
        mean = statistics.mean_interval(values, present=begun)
        if every_seed:
            axes.plot(x, values.T, color=drawing.color(i), linewidth=0.4, alpha=0.3, zorder=1)
        drawing.line(axes, i, x, *mean, label=f"{name} ({_seeds(len(values))})")
    label = {"steps": "environment steps per seed", "iteration": "updates"}[against]
    axes.set(xlabel=label, ylabel=curves.label(next(iter(datasets.values())), metric))
    drawing.short_numbers(axes)
    return drawing.with_legend(figure, axes)


def share_solved(
    datasets: "Mapping[str, xarray.Dataset]",
    threshold: float,
    against: Literal["steps", "seconds"] = "steps",
) -> "Figure":
    """Share of the seeds that have solved the environment so far (`seed_metrics.solved`), with Wilson's interval.

    The curve ends at the share that the tables give: a seed that reached the threshold and then collapsed never counts,
    but stays in the denominator. Seconds are those on the clock for all seeds together, compilation included: they
    compare configurations on the same machine with the same number of seeds.

    Args:
      datasets: name → `Result.dataset`.
      threshold: the return that counts as solved.
      against: "steps" for environment steps of one seed, "seconds" for the clock.

    Raises:
      InvalidInput: nothing to draw, or an unknown `against`.
    """
    _check_choice("against", against, ("steps", "seconds"))
    figure, axes = drawing.new_figure()
    for i, (name, dataset) in enumerate(_given(datasets)):
        x = seed_metrics.steps_so_far(dataset) if against == "steps" else curves.seconds(dataset)
        since = seed_metrics.solved_since(dataset, x, threshold)
        grid = np.unique(np.concatenate([[0.0, x.max()], since[np.isfinite(since)]]))
        share = (since[:, None] <= grid).mean(axis=0)
        low, high = statistics.wilson_interval(share, len(since))
        drawing.line(
            axes, i, grid, share, low, high, label=f"{name} ({_seeds(len(since))})", drawstyle="steps-post"
        )
    label = {"steps": "environment steps per seed", "seconds": "seconds, all seeds at once"}[against]
    axes.set(xlabel=label, ylabel=f"share of seeds solved (≥ {threshold:g})", ylim=(-0.02, 1.02))
    drawing.short_numbers(axes)
    return drawing.with_legend(figure, axes)


def strip(values: Mapping[str, np.ndarray], label: str = "mean return per seed [reward]") -> "Figure":
    """Every seed as a dot, with the mean and its t interval beside them; failed seeds are counted under the name.

    Args:
      values: name → `[S]`, one number per seed.
      label: of the numbers.

    Raises:
      InvalidInput: nothing to draw, or more than one number per seed.
    """
    figure, axes = drawing.new_figure(width=max(4.0, 1.4 + 1.4 * len(values)))
    ticks = []
    for i, (name, raw) in enumerate(_given(values)):
        seeds = statistics.check_seeds(raw)
        finite = seeds[np.isfinite(seeds)]
        axes.scatter(
            i + drawing.sideways(finite), finite, s=9, color=drawing.color(i), alpha=0.6, linewidths=0
        )
        mean = statistics.mean_interval(seeds)
        drawing.bar(axes, i + 0.4, mean)
        failed = len(seeds) - len(finite)
        name = "\n".join(textwrap.fill(part, 22) for part in name.split(", "))
        ticks.append(f"{name}\n{_seeds(len(seeds))}" + f"\n{failed} not finite, no mean" * (failed > 0))
    axes.set_xticks(range(len(ticks)), ticks, fontsize="small")
    axes.set(ylabel=label, xlim=(-0.5, len(ticks) - 0.4))
    axes.grid(axis="y", alpha=0.3)
    return figure


def profiles(values: Mapping[str, np.ndarray], label: str = "mean return per seed [reward]") -> "Figure":
    """Performance profile: share of the seeds at or above each number, with Wilson's interval at each.

    A curve that lies above another everywhere is better by any measure.

    Args:
      values, label: as for `strip`.

    Raises:
      InvalidInput: nothing to draw, or no seed has a finite number.
    """
    given = {name: statistics.check_seeds(x) for name, x in _given(values)}
    finite = np.concatenate([x[np.isfinite(x)] for x in given.values()])
    if len(finite) == 0:
        raise InvalidInput("no seed has a finite number: there is nothing to draw")
    margin = 0.03 * np.ptp(finite) or 1.0
    thresholds = np.linspace(finite.min() - margin, finite.max() + margin, 400)
    thresholds = np.unique(np.concatenate([thresholds, finite]))
    figure, axes = drawing.new_figure()
    for i, (name, seeds) in enumerate(given.items()):
        profile = statistics.performance_profile(seeds, thresholds)
        drawing.line(axes, i, *profile, label=f"{name} ({_seeds(len(seeds))})", drawstyle="steps-pre")
    axes.set(xlabel=label, ylabel="performance profile: share of seeds at or above", ylim=(-0.02, 1.02))
    return drawing.with_legend(figure, axes)


def sensitivity(
    x: np.ndarray, values: np.ndarray, name: str, label: str = "mean return per seed [reward]"
) -> "Figure":
    """Result over a hyper-parameter: every seed as a dot, means with t intervals, failed seeds counted on top.

    Args:
      x: `[C]`, values of the hyper-parameter; the axis is logarithmic if they grow by factors over a decade or more.
      values: `[C, S]`, one number per seed.
      name, label: of the hyper-parameter, and of the values.

    Raises:
      InvalidInput: the shapes do not fit.
    """
    return sensitivities({"": (x, values)}, name, label)


def sensitivities(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    name: str,
    label: str = "mean return per seed [reward]",
) -> "Figure":
    """`sensitivity` for several settings of whatever else was varied, one curve each.

    Args:
      curves: setting → (x `[C]`, values `[C, S]`).
      name, label: of the hyper-parameter, and of the values.

    Raises:
      InvalidInput: the shapes of a curve do not fit, or there is none.
    """
    figure, axes = drawing.new_figure()
    seeds = 0
    for i, (setting, (x, values)) in enumerate(_given(curves)):
        x, values = np.asarray(x, np.float64), np.asarray(values, np.float64)
        if values.ndim != 2 or x.shape != values.shape[:1] or values.size == 0:
            raise InvalidInput(
                f"x of shape {x.shape} and values of shape {values.shape}: give [C] and [C, S]"
            )
        order, seeds = np.argsort(x), values.shape[1]
        _sensitivity_curve(axes, i, x[order], values[order], setting)
    every_x = np.unique(np.concatenate([x for x, _ in curves.values()]))
    if drawing.is_logarithmic(every_x):
        axes.set_xscale("log")
    axes.set(xlabel=name, ylabel=f"{label}, {_seeds(seeds)}")
    axes.grid(alpha=0.3)
    return drawing.with_legend(figure, axes) if len(curves) > 1 else figure


def _sensitivity_curve(axes: Any, i: int, x: np.ndarray, values: np.ndarray, setting: str) -> None:
    """The i-th curve: means of `values` [C, S] at `x` [C]; each with failed seeds counted above the axes."""
    axes.plot(x, values, ".", color=drawing.color(i) if setting else "0.6", markersize=4, alpha=0.5, zorder=1)
    drawing.bars(axes, i, x, statistics.mean_interval(values.T), label=setting)
    failed = (~np.isfinite(values)).sum(axis=1)
    for where, count in zip(x[failed > 0], failed[failed > 0], strict=True):
        drawing.above(axes, i, where, f"{count} not\nfinite")


def signal_to_noise(iterations: np.ndarray, snr: Mapping[str, np.ndarray]) -> "Figure":
    """Gradient signal-to-noise ratio of a batch over training, ‖E ĝ‖ / √(Σ Var ĝ).

    Below the line at 1, noise is the larger part of a step. Where it hides the signal (0) the curve has a gap; where a
    ratio is NaN gradients were not finite, and a note above the axes says so.

    Args:
      iterations: `[K]`, updates made.
      snr: name → `[K]`, or `[S, K]` for the mean over seeds with its t interval.

    Raises:
      InvalidInput: nothing to draw, or the shapes do not fit.
    """
    iterations = np.asarray(iterations)
    figure, axes = drawing.new_figure()
    for i, (name, given) in enumerate(_given(snr)):
        ratios = np.asarray(given, np.float64)
        if ratios.ndim not in (1, 2) or ratios.shape[-1:] != iterations.shape:
            raise InvalidInput(
                f"{name!r}: ratios of shape {ratios.shape} at {iterations.shape} iterations: give [K] or [S, K]"
            )
        mean, *band = statistics.mean_interval(np.atleast_2d(ratios))
        for where in iterations[np.isnan(np.atleast_2d(ratios)).any(axis=0)]:
            drawing.above(axes, i, where, "not\nfinite")
        label = f"{name} ({_seeds(len(ratios))})" if ratios.ndim == 2 else name
        drawing.line(axes, i, iterations, np.where(mean > 0, mean, np.nan), *band, label=label)
    axes.axhline(1, color="0.4", linewidth=0.8)
    axes.set(xlabel="updates", ylabel="signal-to-noise ratio of a batch gradient", yscale="log")
    drawing.plain_logarithm(axes)
    return drawing.with_legend(figure, axes)


def variances(statistics: "dict[str, GradientStatistics]", title: str) -> "Figure":
    """Variance of one game's gradient by estimator, and what a given accuracy costs in environment steps.

    Args:
      statistics: estimator → its statistics, as `purepg.diagnostics.compare` gives them.
      title: of the figure.
    """
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


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _given(named: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if not named:
        raise InvalidInput("nothing to draw: give at least one name")
    return iter(named.items())


def _check_choice(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InvalidInput(f"{name} = {given!r}: give one of {', '.join(known)}")
