"""Logs that are written while a run goes on: reporters to give to `purepg.run` as `report`.

A row is written out before the reporter returns, so that a killed run leaves files that can be read. A resumed run goes
on in the same place: what it does anew replaces what was logged of it.
"""

import contextlib
import csv
import math
import os
import pathlib
import time
import uuid
import weakref
from collections.abc import Callable, Iterator

from purepg.errors import InvalidInput
from purepg.machines import files
from purepg.runs.run_options import Progress

Reporter = Callable[[Progress], None]


def csv_writer(path: str | os.PathLike) -> Reporter:
    """Appends one row a report to a CSV file whose columns are the fields of `Progress`.

    The file and its folder are made at the first report, when the run's own folder is there.

    Raises:
      InvalidInput: from the first report; the file cannot be written, or holds something else.
    """
    target = files.path(path)
    started = False

    def report(progress: Progress) -> None:
        nonlocal started
        if not started:
            _start_csv(target, progress.iteration)
            started = True
        _append(target, progress)

    return report


def tensorboard_writer(folder: str | os.PathLike) -> Reporter:
    """Writes mean return and environment steps per second over the updates done, for TensorBoard to show.

    Each run and each resumption has an event file of its own in `folder`, made at the first report; TensorBoard hides
    what a resumption does anew. A mean return that is not finite is left out.

    Raises:
      InvalidInput: tensorboardX is not installed; from the first report, the folder cannot be written.
    """
    try:
        from tensorboardX import summary  # pyright: ignore[reportMissingImports]
        from tensorboardX.event_file_writer import EventsWriter  # pyright: ignore[reportMissingImports]
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore
    except ImportError as error:
        raise InvalidInput(
            "a log for TensorBoard needs tensorboardX: pip install 'purepg[tensorboard]'"
        ) from error
    writer = None

    def report(progress: Progress) -> None:
        nonlocal writer
        with _writing(folder):
            if writer is None:
                # SummaryWriter writes from a thread that a killed run takes along; this one writes at once. The name
                # has the second in it: two files of one second must not be one.
                pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
                writer = EventsWriter(str(pathlib.Path(folder) / "events"), f".{uuid.uuid4().hex[:8]}")
                weakref.finalize(report, writer.close)
                begins = SessionLog(status=SessionLog.START)
                writer.write_event(Event(wall_time=time.time(), step=progress.iteration, session_log=begins))
            for name in ("mean_return", "steps_per_second"):
                value = getattr(progress, name)
                if math.isfinite(value):
                    values = summary.scalar(name, value)
                    writer.write_event(Event(wall_time=time.time(), step=progress.iteration, summary=values))
            writer.flush()

    return report


def combined(*reporters: Reporter) -> Reporter:
    """One reporter that calls each in turn."""

    def report(progress: Progress) -> None:
        for reporter in reporters:
            reporter(progress)

    return report


_HEADER = ",".join(Progress._fields)


def _start_csv(target: pathlib.Path, iteration: int) -> None:
    """A file of the header and those rows that it already had from before this iteration; whole at every moment."""
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        text = target.read_text(errors="replace") if target.exists() else ""
        header, *rows = text.splitlines() or [_HEADER]
        if header != _HEADER:
            raise InvalidInput(f"{target} is not a log of purepg: give the log a file of its own")
        if not text.endswith("\n"):
            rows = rows[:-1]  # cut off by what ended the run
        kept = [
            row
            for row in rows
            if row.partition(",")[0].isdecimal() and int(row.partition(",")[0]) < iteration
        ]
        files.write(target, "".join(f"{line}\n" for line in (_HEADER, *kept)).encode())


def _append(target: pathlib.Path, progress: Progress) -> None:
    with _writing(target), target.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(progress)


@contextlib.contextmanager
def _writing(target: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"cannot write the log {target}: {error}") from error
