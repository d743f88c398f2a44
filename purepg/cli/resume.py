"""`purepg resume`: goes on with a run that was cut off."""

import dataclasses
import time

import tyro

from purepg.cli import machine, tables
from purepg.cli.flags import parse
from purepg.cli.train import tell_where


@dataclasses.dataclass(frozen=True)
class Flags:
    run: tyro.conf.Positional[str]
    """Folder of the run."""


def main(arguments: list[str]) -> None:
    """Goes on with a run that was cut off, to the bit what it would have been; of a finished one prints the table."""
    machine.start()
    from purepg import run_folder, runner

    parsed = parse(Flags, arguments, "resume")
    from purepg.cli.reporting import reporting

    plan = run_folder.read_plan(parsed.run)
    started = time.perf_counter()
    with reporting(parsed.run) as report:
        result = runner.resume(parsed.run, report=report)
    tables.result(result, parsed.run, time.perf_counter() - started)
    tell_where(parsed.run, result, plan.num_updates)
