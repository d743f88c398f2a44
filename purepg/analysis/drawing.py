"""How figures look: lines that can be told apart without colour, bands, bars, dots and legends.

Reference for the colours, which the colour-blind tell apart too: Okabe and Ito, Color Universal Design (2008).
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from purepg.statistics import MeanInterval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "above",
    "bar",
    "bars",
    "color",
    "half_width",
    "is_logarithmic",
    "line",
    "new_figure",
    "plain_logarithm",
    "short_numbers",
    "sideways",
    "with_legend",
]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
_LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_BAND = 0.18  # opacity


def color(i: int) -> str:
    """Colour of the i-th configuration, the same in every figure.

    Args:
      i: from 0.
    """
    return _COLORS[i % len(_COLORS)]


def new_figure(width: float = 6.4) -> "tuple[Figure, Axes]":
    """A figure with one panel.

    Args:
      width: in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def line(
    axes: "Axes", i: int, x: Any, y: Any, low: Any, high: Any, *, label: str, drawstyle: Any = "default"
) -> None:
    """The i-th configuration's curve with its band.

    Args:
      axes: to draw on.
      i: from 0.
      x, y, low, high: `[K]`, the curve and the ends of its band.
      label: in the legend.
      drawstyle: as of matplotlib's lines.
    """
    own, few = color(i), len(x) <= 10
    axes.plot(
        x,
        y,
        color=own,
        linestyle=_LINES[i % len(_LINES)],
        linewidth=1.6,
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=5,
        markevery=1 if few else (0.03 + 0.02 * (i % 5), 0.13),
        drawstyle=drawstyle,
        label=_literal(label),
    )
    step = drawstyle.removeprefix("steps-") if drawstyle != "default" else None
    axes.fill_between(x, low, high, step=step, color=own, alpha=_BAND, linewidth=0)


def _literal(label: str | None) -> str | None:
    """Names are free text: a leading "_" would hide them, and "$" make them formulas."""
    label = label and label.replace("$", r"\$")
    return f" {label}" if label and label.startswith("_") else label


def short_numbers(axes: "Axes") -> None:
    """0, 200 k, 1.2 M along x, not a power of ten in a corner.

    Args:
      axes: whose x axis is meant.
    """
    from matplotlib.ticker import EngFormatter

    axes.xaxis.set_major_formatter(EngFormatter())


def plain_logarithm(axes: "Axes") -> None:
    """0.2, 0.5, 1, 2, 5, … along a logarithmic y, not powers of ten.

    Args:
      axes: whose y axis is meant.
    """
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:g}" if f"{y:.0e}"[0] in "25" else ""))


def with_legend(figure: "Figure", axes: "Axes") -> "Figure":
    """The figure with a legend above the axes, in as many columns as fit; the figure grows with a long one.

    Args:
      figure: of the axes.
      axes: whose curves have labels.
    """
    axes.grid(alpha=0.3)
    labels = axes.get_legend_handles_labels()[1]
    columns = max(1, min(len(labels), int(75 / (max(map(len, labels)) + 8))))
    rows = -(-len(labels) // columns)
    width, height = figure.get_size_inches()
    # A long legend does not press the axes flat.
    figure.set_size_inches(width, height + 0.25 * max(rows - 4, 0))
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, handlelength=3.5)
    return figure


def bar(axes: "Axes", x: float, mean: MeanInterval) -> None:
    """A mean with its interval.

    Args:
      axes: to draw on.
      x: where.
      mean: of scalars.
    """
    axes.errorbar(x, mean.mean, half_width(mean), color="black", marker="D", markersize=5, capsize=4)


def bars(axes: "Axes", i: int, x: np.ndarray, means: MeanInterval, *, label: str) -> None:
    """The i-th configuration's means with their intervals, joined by a line.

    Args:
      axes: to draw on.
      i: from 0.
      x: `[C]`, where.
      means: of `[C]`.
      label: in the legend; "" for a configuration that is the only one, drawn in black.
    """
    axes.errorbar(
        x,
        means.mean,
        half_width(means),
        color=color(i) if label else "black",
        linestyle=_LINES[i % len(_LINES)],
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=5,
        capsize=3,
        linewidth=1.2,
        label=_literal(label),
    )


def above(axes: "Axes", i: int, x: float, text: str) -> None:
    """A note above the axes, in the i-th configuration's row.

    Args:
      axes: to draw on.
      i: from 0.
      x: where.
      text: the note.
    """
    place = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "fontsize": 8}
    axes.annotate(text, (x, 1.01 + 0.09 * i), color=color(i) if i else "black", **place)


def half_width(mean: MeanInterval) -> np.ndarray:
    """Half the interval's width; 0 where there is no interval, so that the mean is still drawn.

    Args:
      mean: of `[...]`.
    """
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(mean.high - mean.mean)


def sideways(values: np.ndarray) -> np.ndarray:
    """Horizontal offsets of the dots, `[S]` in (−0.25, 0.25): alternating by rank, so that neighbours stand apart.

    Args:
      values: `[S]`.
    """
    golden = (np.sqrt(5) - 1) / 2
    return (np.argsort(np.argsort(values, kind="stable")) * golden % 1 - 0.5) / 2


def is_logarithmic(x: np.ndarray) -> bool:
    """Whether numbers span a decade or more in steps that are more even as factors than as differences.

    Args:
      x: `[C]`, ascending.
    """
    if (x <= 0).any() or x[-1] < 10 * x[0]:
        return False
    ratios, gaps = np.diff(np.log(x)), np.diff(x)
    return bool(np.ptp(ratios) / ratios.mean() < np.ptp(gaps) / gaps.mean() or len(x) == 2)
