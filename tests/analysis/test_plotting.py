"""Figures from made-up runs: what is drawn is what the statistics say, nothing is cut off, nothing warns."""

import numpy as np
import pytest
import xarray

from purepg import plotting
from purepg.analysis import drawing
from purepg.errors import InvalidInput
from purepg.statistics import learning_curve, seed_metrics

SEEDS, UPDATES = 12, 30


def make_run(scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    returns = scale * (np.arange(UPDATES) + rng.normal(size=(SEEDS, UPDATES)))
    returns[rng.random(returns.shape) < 0.2] = np.nan
    returns[:3, 0] = np.nan
    steps = rng.integers(50, 100, returns.shape)
    names = "seed", "iteration"
    dataset = xarray.Dataset(
        {"return": (names, returns), "steps": (names, steps), "frozen_at": (names[:1], np.full(SEEDS, -1))},
        {"seed": np.arange(SEEDS), "iteration": np.arange(1, UPDATES + 1)},
        {"run_seconds": 6.0, "compile_seconds": 2.0},
    )
    dataset["return"].attrs |= {"long_name": "undiscounted return per finished game", "units": "reward"}
    return dataset


RUNS = {"reinforce": make_run(), "reinforce-loo with a long name": make_run(2.0, 1), "gae": make_run(1.5, 2)}
VALUES = {name: learning_curve.final(run["return"].values, 5) for name, run in RUNS.items()}
FAILED = {**VALUES, "diverged": np.r_[np.nan, np.inf, np.arange(5.0)], "lost": np.full(3, np.nan)}
RATES = np.geomspace(1e-4, 1e-1, 7)
SWEEP = np.random.default_rng(0).normal(size=(7, SEEDS)) + np.where(np.arange(7) == 6, np.nan, 0)[:, None]
ITERATIONS = np.arange(0, 101, 10)
SNR = {"reinforce": np.exp(-ITERATIONS / 30), "gae": np.random.default_rng(0).lognormal(0, 1, (6, 11))}

FIGURES = {
    "learning curves": lambda: plotting.learning_curves(RUNS),
    "learning curves, every seed": lambda: plotting.learning_curves(
        RUNS, against="iteration", every_seed=True
    ),
    "share solved": lambda: plotting.share_solved(RUNS, 25.0),
    "share solved, seconds": lambda: plotting.share_solved(RUNS, 25.0, "seconds"),
    "never solved": lambda: plotting.share_solved(RUNS, 1e9),
    "strip": lambda: plotting.strip(VALUES),
    "strip, failed seeds": lambda: plotting.strip(FAILED),
    "profiles": lambda: plotting.profiles(VALUES),
    "profiles, failed seeds": lambda: plotting.profiles(FAILED),
    "profiles, one seed": lambda: plotting.profiles({"one": np.array([3.0])}),
    "sensitivity": lambda: plotting.sensitivity(RATES, SWEEP, "learning rate"),
    "sensitivity, one value": lambda: plotting.sensitivity(RATES[:1], SWEEP[:1, :1], "learning rate"),
    "sensitivity, several": lambda: plotting.sensitivities(
        {"games=8": (RATES, SWEEP), "games=32": (RATES, SWEEP + 1)}, "learning rate"
    ),
    "signal to noise": lambda: plotting.signal_to_noise(ITERATIONS, SNR),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_with_named_axes_and_nothing_cut_off(name, tmp_path):
    figure = FIGURES[name]()
    figure.savefig(tmp_path / "figure.png", dpi=figure.dpi)
    (axes,) = figure.axes
    assert axes.get_ylabel()
    assert axes.get_xlabel() or "strip" in name
    texts = [
        *axes.get_xticklabels(),
        *axes.get_yticklabels(),
        axes.xaxis.label,
        axes.yaxis.label,
        *axes.texts,
    ]
    for artist in (*(text for text in texts if text.get_text()), *figure.legends):
        box = artist.get_window_extent()
        inside = (
            box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        )
        assert inside or not _shown(artist, axes), artist
    for legend in figure.legends:
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def _shown(artist, axes):
    """A tick label beyond the limits is made but not drawn."""
    x, y = getattr(artist, "get_position", lambda: (0, 0))()
    if artist in axes.get_xticklabels():
        return axes.get_xlim()[0] <= x <= axes.get_xlim()[1]
    return artist not in axes.get_yticklabels() or axes.get_ylim()[0] <= y <= axes.get_ylim()[1]


def test_configurations_differ_without_colour():
    axes = plotting.learning_curves({str(i): make_run(seed=i) for i in range(6)}).axes[0]
    looks = [(line.get_linestyle(), line._dash_pattern, line.get_marker()) for line in axes.lines]
    assert len({str(look[:2]) for look in looks}) == 6
    assert len({look[2] for look in looks}) == 6


def test_a_curve_is_the_mean_over_seeds_that_ended_a_game():
    line = plotting.learning_curves(RUNS, against="iteration").axes[0].lines[0]
    curves = learning_curve.carried(RUNS["reinforce"]["return"].values)
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, UPDATES + 1))
    np.testing.assert_allclose(line.get_ydata(), np.nanmean(curves, axis=0))


def test_against_steps_each_seed_is_read_at_the_same_number_of_steps():
    """Seeds of 10 and of 20 steps an update: at 20 steps the first has done two updates and the second one."""
    steps = np.array([[10, 10, 10, 10], [20, 20, 20, 20]])
    returns = np.array([[1.0, 2, 3, 4], [10.0, 20, 30, 40]])
    names = "seed", "iteration"
    run = xarray.Dataset(
        {"return": (names, returns), "steps": (names, steps)}, {"iteration": np.arange(1, 5)}
    )
    line = plotting.learning_curves({"run": run}).axes[0].lines[0]
    x, y = line.get_xdata(), line.get_ydata()
    assert (x[0], x[-1]) == (10, 60)  # the median of 40 and 80
    for at, value in ((15.0, 1.0), (25.0, (2 + 10) / 2), (45.0, (4 + 20) / 2), (60.0, (4 + 30) / 2)):
        assert y[np.searchsorted(x, at, side="right") - 1] == value


def test_share_solved_ends_at_the_share_of_seeds_that_have_solved_it():
    axes = plotting.share_solved(RUNS, 28.0).axes[0]
    for line, run in zip(axes.lines, RUNS.values(), strict=True):
        expected = (seed_metrics.final(run) >= 28).mean()
        assert line.get_ydata()[0] == 0
        assert line.get_ydata()[-1] == expected
    seconds = plotting.share_solved(RUNS, 28.0, "seconds").axes[0].lines[0].get_xdata()
    assert seconds[-1] == 8
    assert seconds[1:].min() > 2


def test_a_strip_shows_every_finite_seed_and_counts_the_others():
    axes = plotting.strip(FAILED).axes[0]
    dots = [c for c in axes.collections if len(c.get_offsets()) and hasattr(c, "get_sizes")]
    assert sum(len(c.get_offsets()) for c in dots) == 3 * SEEDS + 5
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks[0] == "reinforce\n12 seeds"
    assert ticks[3] == "diverged\n7 seeds\n2 not finite, no mean"


def test_a_sweep_over_decades_has_a_logarithmic_axis_and_counts_failures():
    axes = plotting.sensitivity(RATES, SWEEP, "learning rate").axes[0]
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.texts] == ["12 not\nfinite"]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.geomspace(1e-4, 1e-2, 5), True),
        ([1, 3, 10, 30], True),
        ([0.001, 1], True),
        (np.linspace(1, 30, 5), False),
        ([0.9, 0.95, 0.99, 1.0], False),
        ([0, 0.01, 1], False),
        ([1.0], False),
    ],
)
def test_when_an_axis_is_logarithmic(x, expected):
    assert drawing.is_logarithmic(np.asarray(x, float)) is expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.learning_curves({}), "nothing to draw"),
        (lambda: plotting.learning_curves(RUNS, "lenght"), "it has: return, steps"),
        (lambda: plotting.learning_curves(RUNS, against="seconds"), "steps, iteration"),
        (lambda: plotting.share_solved(RUNS, 1.0, "iteration"), "steps, seconds"),
        (lambda: plotting.strip({}), "nothing to draw"),
        (lambda: plotting.strip({"a": np.ones((2, 3))}), "one number per seed"),
        (lambda: plotting.profiles({"a": np.full(3, np.nan)}), "no seed has a finite number"),
        (lambda: plotting.sensitivity(RATES, SWEEP.T, "rate"), r"give \[C\] and \[C, S\]"),
        (lambda: plotting.signal_to_noise(ITERATIONS, {"a": np.ones(3)}), r"give \[K\] or \[S, K\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_a_signal_to_noise_ratio_that_is_not_finite_is_said():
    figure = plotting.signal_to_noise(np.arange(4), {"a": np.array([1.0, 0.0, np.nan, 2.0])})
    assert [text.get_text() for text in figure.axes[0].texts] == ["not\nfinite"]


def test_names_are_shown_as_they_are(tmp_path):
    figure = plotting.learning_curves({"_hidden": make_run(), r"$x\_$ (b": make_run(2.0)})
    figure.savefig(tmp_path / "figure.png")
    (legend,) = figure.legends
    shown = [text.get_text().strip().replace(r"\$", "$") for text in legend.get_texts()]
    assert shown == ["_hidden (12 seeds)", r"$x\_$ (b (12 seeds)"]
