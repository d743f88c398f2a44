"""`purepg plot`: figures of saved runs and studies."""

import dataclasses
from typing import Literal

import tyro

from purepg.cli import machine
from purepg.cli.flags import parse
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Flags:
    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of runs, comparisons and sweeps."""
    figure: Literal[
        "curves", "seed-metrics", "profile", "solved", "solved-seconds", "sensitivity", "signal-to-noise"
    ] = "curves"
    """Learning curves, every seed's metric, its distribution, share solved over steps or seconds, a seed metric over a
    swept field, or the signal-to-noise ratio of the gradient over training, for which a seed is trained again."""
    metric: str = "return"
    """Metric of the learning curves: return, length, gradient_norm, entropy, …"""
    every_seed: bool = False
    """A thin line for each seed behind the learning curves."""
    seed_metric: Literal["greedy", "final", "best", "area", "speed"] = "greedy"
    """One number per seed, as in `purepg compare`."""
    threshold: float | None = None
    """Return that counts as solved; none: the environment's own."""
    over: str | None = None
    """Swept field of a sensitivity; none: the only one."""
    out: str = "figure.png"
    """File to write; its ending chooses the format (png, pdf, svg)."""


def main(arguments: list[str]) -> None:
    """Draws a figure of saved runs."""
    machine.start()
    parsed = parse(Flags, arguments, "plot")
    from purepg.analysis import report
    from purepg.machines import files

    if not parsed.runs:
        raise InvalidInput("no runs given: name the folder of at least one")
    if parsed.figure == "signal-to-noise":
        figure = report.signal_to_noise(parsed.runs)
    else:
        options = report.Options(
            parsed.seed_metric, parsed.metric, parsed.every_seed, parsed.threshold, parsed.over
        )
        figure = report.figure(parsed.figure, report.read(parsed.runs), options)
    try:
        figure.savefig(files.path(parsed.out), dpi=150)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot write {parsed.out}: {error}") from error
    print(f"Saved to {parsed.out}")
