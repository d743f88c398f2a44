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
    seeds: int = 64
    """Seeds of each configuration, the same for all, numbered from first_seed."""
    first_seed: int = 0
    """Number of the first seed."""
    evaluation_games: int = 100
    """Fresh games of the final greedy evaluation of each seed; 0 for none."""
    evaluate_every: int = 0
    """Updates between two evaluations during training (metric greedy_return); 0: only at the end."""
    score: Literal["greedy", "final", "best", "area", "speed"] = "greedy"
    """What is compared, one number a seed: greedy games after training, the end of training, its best tenth, the mean
    over all of it, or minus the steps until solved."""
    placement: str = "auto"
    """Where the seed axis goes: sequential (one seed after another on each device), vmap (all at once), shared (several
    devices a seed), or auto, what suits the machine."""
    out: str | None = None
    """Folder; one that is there already is gone on with: only what is missing is trained. Default: a new one in
    runs/."""


def carry_out(configs: list[Any], parsed: Any, env_name: str, command: str) -> None:
    """Trains what is missing, then says what all of it says."""
    from purepg import files, folder_lock, studies
    from purepg import report as reports
    from purepg.cli.reporting import reporting

    numbers = seeds(parsed)
    folder = files.path(new_folder_name(env_name, command) if parsed.out is None else parsed.out)
    started = time.perf_counter()
    try:
        with reporting(folder, unit="update of a seed") as report:
            study = studies.study(
                configs,
                numbers,
                num_steps=parsed.steps,
                evaluation_games=parsed.evaluation_games,
                evaluate_every=parsed.evaluate_every,
                placement=parsed.placement,
                directory=folder,
                report=report,
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
