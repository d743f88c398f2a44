"""Live progress of a run: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from purepg.runs.run_options import Progress

_SECONDS_BETWEEN_LINES = 5.0


@contextlib.contextmanager
def reporter(unit: str = "update") -> Iterator[Callable[[Progress], None]]:
    """A function to give to `purepg.run` as `report`; `unit` is what it counts."""
    if sys.stderr.isatty():
        with _bar(unit) as report:
            yield report
    else:
        yield _lines(unit)


@contextlib.contextmanager
def _bar(unit: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling", total=None, text="")

        def report(progress: Progress) -> None:
            bar.update(
                task,
                description=unit,
                total=progress.num_updates,
                completed=progress.iteration,
                text=_text(progress),
            )

        yield report


def _lines(unit: str) -> Callable[[Progress], None]:
    last = [-_SECONDS_BETWEEN_LINES]

    def report(progress: Progress) -> None:
        now = time.monotonic()
        if now - last[0] >= _SECONDS_BETWEEN_LINES or progress.iteration == progress.num_updates:
            last[0] = now
            line = f"{unit} {progress.iteration}/{progress.num_updates}  {_text(progress)}"
            print(line, file=sys.stderr, flush=True)

    return report


def _text(progress: Progress) -> str:
    return (
        f"mean return {progress.mean_return:.1f}  {progress.steps_per_second:,.0f} steps/s  "
        f"{progress.seconds_left:.0f} s left"
    )
