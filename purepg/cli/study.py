"""What `compare` and `sweep` share: train the configurations, print tables, write data and figures."""

import dataclasses
import sys
import time
from typing import Any, Literal

from purepg.cli import tables
from purepg.cli.flags import seeds
from purepg.cli.job import new_folder_name


@dataclasses.dataclass(frozen=True)
class Flags:
    seed_metric: Literal["greedy", "final", "best", "area", "speed"] = "greedy"
    """What is compared, one number per seed: greedy games after training, the end of training, its best tenth, the mean
    over all of it, or minus the steps until solved."""
    out: str | None = None
    """Folder; an existing study is continued: only what is missing is trained. Default: a new one in runs/."""


def carry_out(configs: list[Any], parsed: Any, env_name: str, command: str) -> None:
    """Trains what is missing, then reports on everything."""
    from purepg.analysis import report as reports
    from purepg.cli.reporting import reporting
    from purepg.machines import files, folder_lock
    from purepg.studies import study as studies

    numbers = seeds(parsed)
    folder = files.path(new_folder_name(env_name, command) if parsed.out is None else parsed.out)
    started = time.perf_counter()
    try:
        with reporting(folder, unit="update of a seed") as report:
            study = studies.study(
                configs,
                numbers,
                directory=folder,
                report=report,
                **parsed.options(),
            )
    except KeyboardInterrupt:
        print(f"purepg: interrupted; the same command with --out {folder} continues", file=sys.stderr)
        sys.exit(130)
    seed_metric = parsed.seed_metric
    if seed_metric == "greedy" and not parsed.evaluation_games:
        seed_metric = "final"
    found = reports.report(study.datasets, seed_metric)
    tables.report(found)
    figures = reports.standard_figures(study.datasets, seed_metric)
    with folder_lock.hold(folder):
        reports.write_tables(found, folder)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150)
    print(f"{time.perf_counter() - started:.1f} s in total")
    print(
        f"Saved to {folder}: dataset.nc, summary.csv, comparisons.csv, {', '.join(f'{name}.png' for name in figures)}"
    )
