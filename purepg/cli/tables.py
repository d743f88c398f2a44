"""What the commands print."""

import math
import sys
from typing import Any


def result(result: Any, title: str, total_seconds: float) -> None:
    """What a run's seeds achieved, and how long it took."""
    from purepg import environments
    from purepg.statistics import seed_metrics

    dataset = result.dataset
    name = str(dataset.attrs["environment"])
    print(f"{title} on {name}: mean return of each seed")
    made = seed_metrics.num_updates(dataset)
    last = max(1, int(made.max()) // 10)  # no game may have ended in the last update alone
    which = f"{last} update{'s' * (last > 1)}" if (made == made[0]).all() else "tenth of a seed's updates"
    tables = {f"training, last {which}": seed_metrics.final(dataset)}
    if "evaluation_return" in dataset:
        tables[f"greedy, {dataset.attrs['evaluation_games']} fresh games"] = dataset[
            "evaluation_return"
        ].values
    summary(tables)
    threshold = environments.SOLVED_AT.get(name)
    if threshold is not None:
        solved, by = seed_metrics.solved(dataset, threshold), list(tables)[-1]
        print(f"solved (≥ {threshold:g}, {by}): {solved.sum()} of {len(solved)} seeds, {solved.mean():.1%}")
    frozen = int((dataset["frozen_at"].values >= 0).sum())
    skipped = int(dataset["skipped"].sum())
    if skipped:
        print(f"{skipped} updates were not finite and left out; {frozen} seeds given up after 10 in a row")
    if (over := seed_metrics.overshoot(dataset)) is not None:
        short = f"; {over.short} seeds stopped short of it, by their number of updates" if over.short else ""
        print(
            f"budget of {dataset.attrs['num_steps']:,} environment steps per seed: {made.min()} to {made.max()} "
            f"updates, {over.mean:,.0f} steps beyond it on average, {over.most:,.0f} at most{short}"
        )
    steps = float(seed_metrics.steps_so_far(dataset)[:, -1].sum())
    seconds = dataset.attrs["run_seconds"]
    print(
        f"{total_seconds:.1f} s in total: {dataset.attrs['compile_seconds']:.1f} s compiling, {seconds:.1f} s training "
        f"{steps:,.0f} environment steps ({steps / seconds:,.0f} per second)"
    )


def summary(columns: dict[str, Any]) -> None:
    """A table with a column for each title and its values [S], one per seed."""
    from rich.table import Table

    rows: dict[str, list[str]] = {}
    for values in columns.values():
        for name, text in _summary_rows(values).items():
            rows.setdefault(name, []).append(text)
    table = Table("")
    for title in columns:
        table.add_column(title, justify="right")
    for name, texts in rows.items():
        table.add_row(name, *texts)
    _print(table)


def _print(table: Any) -> None:
    """As wide as the terminal; in a file, wide enough for every column."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _summary_rows(values: Any) -> dict[str, str]:
    from purepg.statistics import summarize

    s = summarize(values)
    interval = "" if math.isnan(s.low) else f" [{s.low:.2f}, {s.high:.2f}]"
    return {
        "seeds": str(s.num_seeds),
        "mean [95 % interval]": f"{s.mean:.2f}{interval}",
        "IQM": f"{s.interquartile_mean:.2f}",
        "median": f"{s.median:.2f}",
        "worst": f"{s.worst:.2f}",
        "best": f"{s.best:.2f}",
    }


def report(report: Any) -> None:
    """A line for each configuration, then what the seeds say of the pairs."""
    from purepg import statistics
    from purepg.analysis import report as reports
    from purepg.statistics import seed_metrics

    _print(_configurations(report, seed_metrics.LABELS[report.seed_metric]))
    if words := reports.unequal_steps(report):
        print(words)
    if report.pairs:
        _print(_pairs(report))
    if words := statistics.caution(min(line.summary.num_seeds for line in report.lines.values())):
        print(words)


def _configurations(report: Any, label: str) -> Any:
    from rich.table import Table

    table = Table("configuration", title=f"{report.environment}: {label}, per seed")
    solved = any(line.solved for line in report.lines.values())
    titles = ["seeds", "mean [95 %]", "IQM [95 %]", "median", "tolerance interval"]
    budget = any(line.overshoot for line in report.lines.values())
    titles += ["solved"] * solved + ["diverged", "steps per seed", *["overshoot (most)"] * budget, "seconds"]
    for title in titles:
        table.add_column(title, justify="right")
    for name, line in report.lines.items():
        s = line.summary
        cells = [
            str(s.num_seeds),
            _with_interval(s.mean, s.low, s.high),
            _with_interval(s.interquartile_mean, *s.interquartile_mean_interval),
            f"{s.median:.4g}",
            _with_interval(None, *s.tolerance),
        ]
        cells += [f"{line.solved.share:.0%}"] if line.solved else []
        cells += [str(s.num_diverged), f"{line.steps:,.0f}"]
        over = line.overshoot
        cells += [f"{over.mean:,.0f} ({over.most:,.0f})" if over else ""] * budget + [f"{line.seconds:.1f}"]
        table.add_row(name, *cells)
    return table


_MANY = 15  # pairs; of more, only those with the best are shown


def _pairs(report: Any) -> Any:
    from rich.table import Table

    pairs, title = report.pairs, "the first against the second; p values with Holm's correction"
    if len(pairs) > _MANY:
        middles = {name: line.summary.interquartile_mean for name, line in report.lines.items()}
        best = max(middles, key=lambda name: (not math.isnan(middles[name]), middles[name]))
        pairs = [pair for pair in pairs if best in (pair.first, pair.second)]
        title += f" over all {len(report.pairs)} pairs; shown are those with {best}"
    table = Table("first", "second", title=title)
    for column in ("difference [95 %]", "P(improvement) [95 %]", "p", "effect size", "n for 80 % power"):
        table.add_column(column, justify="right")
    for c in pairs:
        table.add_row(
            c.first,
            c.second,
            _with_interval(c.difference, c.low, c.high),
            _with_interval(c.improvement, c.improvement_low, c.improvement_high, ".2f"),
            f"{c.adjusted_p_value:.2g}",
            f"{c.effect_size:.2f}",
            f"{c.seeds_needed:.0f}",
        )
    return table


def _with_interval(value: float | None, low: float, high: float, form: str = ".4g") -> str:
    first = "" if value is None else f"{value:{form}}"
    interval = "" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]"
    return f"{first} {interval}".strip()


def gradient_statistics(statistics: dict[str, Any], env_name: str) -> None:
    """A line for each estimator."""
    from rich.table import Table

    one = next(iter(statistics.values()))
    table = Table(title=f"{env_name}: {one.num_batches} batches of {one.num_games} games")
    table.add_column("estimator", no_wrap=True)
    for column in ("variance", "signal/noise", "cosine", "p if unbiased", "steps", "ms", "variance × steps"):
        table.add_column(column, justify="right")
    for name, s in statistics.items():
        numbers = s.total_variance, s.snr, s.cosine, s.bias_p_value, s.steps, 1000 * s.seconds, s.cost
        table.add_row(name, *(f"{x:.4g}" for x in numbers))
    _print(table)
