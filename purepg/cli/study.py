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
    score: Literal["greedy", "final", "best", "area", "speed"] = "greedy"
    """What is compared, one number a seed: greedy games after training, the end of training, its best tenth, the mean
    over all of it, or minus the steps until solved."""
    out: str | None = None
    """Folder; one that is there already is gone on with: only what is missing is trained. Default: a new one in
    runs/."""


def carry_out(configs: list[Any], parsed: Any, env_name: str, command: str) -> None:
    """Trains what is missing, then says what all of it says."""
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
        print(
            f"purepg: interrupted; the same command with --out {folder} goes on where it was", file=sys.stderr
        )
        sys.exit(130)
    score = parsed.score
    if score == "greedy" and not parsed.evaluation_games:
        score = "final"
    found = reports.report(study.datasets, score)
    tables.report(found)
    figures = reports.standard_figures(study.datasets, score)
    with folder_lock.hold(folder):
        reports.write_tables(found, folder)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150)
    print(f"{time.perf_counter() - started:.1f} s in all")
    print(
        f"Saved to {folder}: dataset.nc, summary.csv, comparisons.csv, {', '.join(f'{name}.png' for name in figures)}"
    )
