"""`purepg train`: many seeds of one method."""

import dataclasses
import time
from typing import Any

from purepg.cli import machine, tables
from purepg.cli.flags import seeds
from purepg.cli.job import Job, new_folder_name, parse_job


@dataclasses.dataclass(frozen=True)
class Train(Job):
    tensorboard: bool = False
    """A live log for TensorBoard in the run's folder, beside progress.csv."""


def main(arguments: list[str]) -> None:
    """Trains a policy on many independent seeds and saves the labelled result."""
    machine.start()
    from purepg.runs import run_folder

    parsed, method, hyper, _ = parse_job(arguments, "train", Train)
    from purepg.cli.reporting import reporting
    from purepg.runs.runner import run

    name = new_folder_name(method.task.env.name, parsed.method) if parsed.out is None else parsed.out
    target = run_folder.check_writable(name)
    started = time.perf_counter()
    numbers = seeds(parsed)
    with reporting(target, tensorboard=parsed.tensorboard) as report:
        options = {"directory": target, "report": report} | parsed.options()
        result = run(method, hyper, numbers, parsed.updates, **options)
    tables.result(result, parsed.method, time.perf_counter() - started)
    tell_where(target, result, parsed.updates)


def tell_where(folder: Any, result: Any, num_updates: int | None) -> None:
    """Says where a run is saved, and how to continue an interrupted one."""
    from purepg.runs.run_length import is_done

    if is_done(result.state, num_updates):
        print(f"Saved to {folder}")
    else:
        done = result.dataset.sizes["iteration"]
        of = "" if num_updates is None else f" of {num_updates}"
        print(f"Interrupted after {done}{of} updates: `purepg resume {folder}` continues it")
