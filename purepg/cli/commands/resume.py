"""`purepg resume`: continues a run that was interrupted."""

import dataclasses
import time

import tyro

from purepg.cli import machine, tables
from purepg.cli.commands.train import tell_where
from purepg.cli.flags import parse
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Flags:
    run: tyro.conf.Positional[str]
    """Folder of the run."""
    tensorboard: bool = False
    """A live log for TensorBoard; a run that already has one continues it in any case."""


def main(arguments: list[str]) -> None:
    """Continues an interrupted run, to the bit as if uninterrupted; of a finished one prints the table."""
    machine.start()
    from purepg.machines import files
    from purepg.runs import run_folder, runner

    parsed = parse(Flags, arguments, "resume")
    from purepg.cli.reporting import reporting

    if (files.path(parsed.run) / "parts").is_dir():
        raise InvalidInput(
            f"{parsed.run} is a comparison or a sweep: the same command with --out {parsed.run} continues it"
        )
    plan = run_folder.read_plan(parsed.run)
    started = time.perf_counter()
    with reporting(parsed.run, tensorboard=parsed.tensorboard) as report:
        result = runner.resume(parsed.run, report=report)
    tables.result(result, parsed.run, time.perf_counter() - started)
    tell_where(parsed.run, result, plan.num_updates)
