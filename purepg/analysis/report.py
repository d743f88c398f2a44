"""What several configurations say, from their runs' datasets: summaries, comparisons, tables, figures."""

import contextlib
import csv
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from purepg import diagnostics, environments, hyperparams, statistics
from purepg.analysis import plotting
from purepg.environments import labels
from purepg.errors import InvalidInput
from purepg.machines import files, seeds
from purepg.names import lookup
from purepg.runs import results
from purepg.statistics import Share, Summary, comparisons, seed_metrics
from purepg.statistics.comparisons import Comparison
from purepg.studies import study as studies
from purepg.studies import swept

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "Datasets",
    "Line",
    "Options",
    "Report",
    "figure",
    "read",
    "report",
    "signal_to_noise",
    "standard_figures",
    "unequal_steps",
    "write_tables",
]

Datasets = Mapping[str, "xarray.Dataset"]

_ALIKE = 1.05  # numbers of steps that differ by less than this factor are called the same


class Line(NamedTuple):
    """One configuration.

    Attributes:
      summary: Of its seeds.
      solved: `seed_metrics.solved`, if the environment has a return that counts as solved.
      overshoot: Steps beyond the budget, if there is one.
      steps, seconds: Environment steps per seed, mean; seconds of training, its share where it ran with others.
    """

    summary: Summary
    solved: Share | None
    steps: float
    overshoot: seed_metrics.Overshoot | None
    seconds: float


class Report(NamedTuple):
    """Every configuration, and every pair of them.

    Attributes:
      seed_metric, environment: One of `purepg.statistics.seed_metrics.LABELS`, and what was played.
      values: Configuration → `[S]`, one number per seed.
      lines: Configuration → what its seeds say.
      pairs: Every pair compared.
    """

    seed_metric: str
    environment: str
    values: dict[str, np.ndarray]
    lines: dict[str, Line]
    pairs: list[Comparison]


def read(folders: Sequence[str | os.PathLike]) -> "dict[str, xarray.Dataset]":
    """The datasets of saved runs and studies, by configuration; a name that appears again is preceded by its folder.

    Args:
      folders: of runs and studies.

    Raises:
      InvalidInput: a folder holds neither, or the environments differ.
    """
    found: dict[str, xarray.Dataset] = {}
    for folder in map(files.path, folders):
        dataset = results.load_dataset(folder)
        datasets = studies.split(dataset) if "config" in dataset.dims else {folder.resolve().name: dataset}
        for name, dataset in datasets.items():
            name = f"{folder}: {name}" if name in found else name
            found[name] = dataset
    played = sorted({labels.name_of(dataset.attrs["environment"]) for dataset in found.values()})
    if len(played) != 1:
        raise InvalidInput(f"runs on {', '.join(played) or 'nothing'}: give runs on one environment")
    return found


def report(datasets: Datasets, seed_metric: str = "greedy") -> Report:
    """What the seeds say about every configuration and every pair.

    Args:
      datasets: of runs on one environment, by configuration.
      seed_metric: one of `purepg.statistics.seed_metrics.LABELS`.

    Raises:
      InvalidInput: the seed metric is unknown, or a dataset has nothing for it.
    """
    values = {name: seed_metrics.seed_metric(dataset, seed_metric) for name, dataset in datasets.items()}
    numbers = {name: dataset["seed"].values for name, dataset in datasets.items()}
    environment = _environment(datasets)
    threshold = environments.SOLVED_AT.get(environment)
    lines = {
        name: Line(
            statistics.summarize(values[name], frozen_at=dataset["frozen_at"].values),
            None
            if threshold is None
            else statistics.share_solved(seed_metrics.solved(dataset, threshold), 1.0),
            float(dataset["steps"].sum("iteration").mean()),
            seed_metrics.overshoot(dataset),
            float(dataset.attrs["run_seconds"]),
        )
        for name, dataset in datasets.items()
    }
    return Report(seed_metric, environment, values, lines, comparisons.compare_all(values, numbers))


def unequal_steps(given: Report) -> str:
    """A line that says so if configurations played different numbers of environment steps, else "".

    Args:
      given: the report.
    """
    steps = {name: line.steps for name, line in given.lines.items()}
    least, most = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
    if steps[most] <= _ALIKE * steps[least]:
        return ""
    over = given.lines[least].overshoot
    if over is None:
        cure = "--steps N gives all the same budget"
    else:
        cure = "leave --updates out" if over.short else "a larger budget or smaller updates bring them closer"
    return (
        f"not the same experience: a seed of {most} played {steps[most]:,.0f} environment steps, "
        f"one of {least} {steps[least]:,.0f}; each is compared at its own end; {cure}"
    )


def write_tables(given: Report, folder: pathlib.Path) -> None:
    """Writes summary.csv, one line per configuration, and comparisons.csv, one line per pair.

    Args:
      given: the report.
      folder: an existing one.
    """
    rows = [
        {"configuration": name, "seed_metric": given.seed_metric}
        | _flat(line.summary._asdict())
        | ({} if line.solved is None else _flat({"solved": line.solved}))
        | {"steps": line.steps, "seconds": line.seconds}
        | ({} if line.overshoot is None else _flat({"overshoot": line.overshoot}))
        for name, line in given.lines.items()
    ]
    _write_csv(rows, folder / "summary.csv")
    _write_csv([pair._asdict() for pair in given.pairs], folder / "comparisons.csv")


class Options(NamedTuple):
    """The choices that figures leave open.

    Attributes:
      seed_metric: One number per seed, for figures of these.
      metric, every_seed: Of learning curves, and whether each seed is drawn behind them.
      threshold: The return that counts as solved; none: the environment's own.
      over: The swept field of a sensitivity; none: the only one.
    """

    seed_metric: str = "greedy"
    metric: str = "return"
    every_seed: bool = False
    threshold: float | None = None
    over: str | None = None


def figure(kind: str, datasets: Datasets, options: Options) -> "Figure":
    """One of `FIGURES`.

    Args:
      kind, options: its name, and the choices that it leaves open.
      datasets: of runs on one environment, by configuration.

    Raises:
      InvalidInput: the figure is unknown, or cannot be drawn of these runs.
    """
    return lookup("figure", kind, FIGURES)(datasets, options)


def signal_to_noise(folders: Sequence[str | os.PathLike]) -> "Figure":
    """Gradient signal-to-noise ratio over training of each run's first seed, which is trained again for it.

    Args:
      folders: of saved runs.

    Raises:
      InvalidInput: a folder holds no run, or one of another method than a policy gradient.
    """
    ratios, at = {}, np.empty(0)
    for folder in map(files.path, folders):
        result = results.load(folder)
        hyper = hyperparams.over_seeds(result.hyper, result.method.task.env, len(result.seeds))
        hyper = jax.tree.map(lambda x: x[0], hyper)
        key = seeds.keys(result.seeds[:1])[0]
        length = int(seed_metrics.num_updates(result.dataset)[0])
        own, snr = diagnostics.signal_to_noise_over_training(result.method, hyper, key, length)
        if ratios and not np.array_equal(own, at):
            raise InvalidInput("runs of different lengths: draw the signal-to-noise ratio of each alone")
        at, ratios[f"{folder.name}, seed {result.seeds[0]}"] = own, snr
    return plotting.signal_to_noise(at, ratios)


def standard_figures(datasets: Datasets, seed_metric: str = "greedy") -> "dict[str, Figure]":
    """The figures that can be drawn of these runs, by name.

    Args:
      datasets: of runs on one environment, by configuration.
      seed_metric: one of `purepg.statistics.seed_metrics.LABELS`.
    """
    wanted = {kind: (kind, Options(seed_metric)) for kind in FIGURES if kind != "sensitivity"}
    for field in swept.settings(datasets):
        wanted[f"sensitivity-{field}"] = "sensitivity", Options(seed_metric, over=field)
    found = {}
    for name, (kind, options) in wanted.items():
        with contextlib.suppress(InvalidInput):  # what these runs have nothing for
            found[name] = figure(kind, datasets, options)
    return found


def _sensitivity(datasets: Datasets, options: Options) -> "Figure":
    settings = swept.settings(datasets)
    over = options.over or (next(iter(settings)) if len(settings) == 1 else None)
    if over not in settings:
        known = ", ".join(settings) or "nothing"
        raise InvalidInput(f"these runs were swept over {known}: name one of these, not {over!r}")
    curves = swept.curves(datasets, over, _seed_metrics(datasets, options))
    return plotting.sensitivities(curves, over, seed_metrics.LABELS[options.seed_metric])


def _solved(datasets: Datasets, options: Options, against: Any) -> "Figure":
    threshold = seed_metrics.solved_at(_environment(datasets), options.threshold)
    return plotting.share_solved(datasets, threshold, against)


def _environment(datasets: Datasets) -> str:
    """The label that all of them share."""
    return labels.shared_label(str(dataset.attrs["environment"]) for dataset in datasets.values())


def _seed_metrics(datasets: Datasets, options: Options) -> dict[str, np.ndarray]:
    return {
        name: seed_metrics.seed_metric(d, options.seed_metric, options.threshold)
        for name, d in datasets.items()
    }


FIGURES: dict[str, Callable[[Datasets, Options], "Figure"]] = {
    "curves": lambda d, o: plotting.learning_curves(d, o.metric, every_seed=o.every_seed),
    "seed-metrics": lambda d, o: plotting.strip(_seed_metrics(d, o), seed_metrics.LABELS[o.seed_metric]),
    "profile": lambda d, o: plotting.profiles(_seed_metrics(d, o), seed_metrics.LABELS[o.seed_metric]),
    "solved": lambda d, o: _solved(d, o, "steps"),
    "solved-seconds": lambda d, o: _solved(d, o, "seconds"),
    "sensitivity": _sensitivity,
}


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Nested records as separate columns."""
    found = {}
    for name, value in fields.items():
        if hasattr(value, "_asdict"):
            found |= {f"{name}_{key}": x for key, x in value._asdict().items()}
        elif name == "quantiles":
            found |= {f"quantile_{q:g}": x for q, x in zip(statistics.QUANTILES, value, strict=True)}
        else:
            found[name] = value
    return found


def _write_csv(rows: list[dict[str, Any]], target: pathlib.Path) -> None:
    if not rows:
        return
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
