"""What the commands print."""

import math
import sys
from typing import Any


def result(result: Any, title: str, total_seconds: float) -> None:
    dataset = result.dataset
    name = result.method.task.env.name
    print(f"{title} on {name}: mean return of each seed")
    last = max(1, dataset.sizes["iteration"] // 10)  # the last segment alone may hold no game's end
    tables = {f"training, last {last} update{'s' * (last > 1)}": result.training_return(last)}
    if "evaluation_return" in dataset:
        tables[f"greedy, {dataset.attrs['evaluation_games']} fresh games"] = dataset[
            "evaluation_return"
        ].values
    summary(tables, name)
    frozen = int((dataset["frozen_at"].values >= 0).sum())
    skipped = int(dataset["skipped"].values.sum())
    if skipped:
        print(f"{skipped} updates were not finite and left out; {frozen} seeds given up after 10 in a row")
    steps = float(dataset["steps"].values.sum())
    seconds = dataset.attrs["run_seconds"]
    print(
        f"{total_seconds:.1f} s in all: {dataset.attrs['compile_seconds']:.1f} s compiling, {seconds:.1f} s training "
        f"{steps:,.0f} environment steps ({steps / seconds:,.0f} a second)"
    )


def summary(columns: dict[str, Any], env_name: str) -> None:
    """A table with a column for each title and its values [S], one a seed."""
    from rich.table import Table

    rows: dict[str, list[str]] = {}
    for values in columns.values():
        for name, text in _summary_rows(values, env_name).items():
            rows.setdefault(name, []).append(text)
    table = Table("")
    for title in columns:
        table.add_column(title, justify="right")
    for name, texts in rows.items():
        table.add_row(name, *texts)
    _print(table)


def _print(table: Any) -> None:
    """On a terminal as wide as that is, in a file wide enough for every column."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _summary_rows(values: Any, env_name: str) -> dict[str, str]:
    from purepg.environments import SOLVED_AT
    from purepg.statistics import summarize

    s = summarize(values)
    rows = {"seeds": str(s.num_seeds)}
    if env_name in SOLVED_AT:
        share = (values >= SOLVED_AT[env_name]).mean()
        rows[f"solved (≥ {SOLVED_AT[env_name]:g})"] = f"{share:.1%}"
    interval = "" if math.isnan(s.low) else f" [{s.low:.2f}, {s.high:.2f}]"
    return rows | {
        "mean [95 % interval]": f"{s.mean:.2f}{interval}",
        "interquartile mean": f"{s.interquartile_mean:.2f}",
        "median": f"{s.median:.2f}",
        "worst": f"{s.worst:.2f}",
        "best": f"{s.best:.2f}",
    }


def gradient_statistics(statistics: dict[str, Any], env_name: str) -> None:
    from rich.table import Table

    one = next(iter(statistics.values()))
    table = Table(title=f"{env_name}: {one.num_batches} batches of {one.num_games} games")
    columns = (
        "estimator",
        "variance",
        "signal/noise",
        "cosine",
        "largest |bias z|",
        "steps",
        "ms",
        "variance × steps",
    )
    for column in columns:
        named = column == "estimator"
        table.add_column(column, justify="left" if named else "right", no_wrap=named)
    for name, s in statistics.items():
        numbers = s.total_variance, s.snr, s.cosine, s.largest_bias_z, s.steps, 1000 * s.seconds, s.cost
        table.add_row(name, *(f"{x:.4g}" for x in numbers))
    _print(table)
