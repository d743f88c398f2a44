"""Checkpoints of a run: the whole state of every seed, written while the devices go on.

    states/N/         the state after N updates, the two newest
    metrics/A-B.npz   the metrics of updates A + 1 … B, [R, B − A] each, and the seconds that training took until B
    aside/            what a writer found damaged, or will write again

A checkpoint is there when it is whole: it is written beside its place and renamed. Metrics are written before the state
that they lead to, so those of the newest whole state are always there; later ones are of updates that are made again.

`newest` reads, also beside a process that trains, and changes nothing. `Checkpoints` is the writer's, who holds the run
(`purepg.machines.folder_lock`): what it finds damaged it moves aside.
"""

import concurrent.futures
import pathlib
import shutil
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from purepg.errors import InvalidInput
from purepg.machines import files
from purepg.rollout.metrics import Average, Metrics
from purepg.runs import saved_state

_KEPT = 2  # the one before the newest is what a damaged newest falls back to
_LOOKS = 100  # at a folder that changes while it is read


class RunProgress(NamedTuple):
    """How far a run has come."""

    state: Any  # of every seed, [R, ...]
    metrics: list[Metrics]  # pieces [R, updates of the piece]
    iteration: int  # updates done
    seconds: float  # that training took


def newest(
    folder: pathlib.Path, template: Any, read_state: Callable[..., Any] = saved_state.read
) -> RunProgress | None:
    """The newest whole checkpoint, or None; a damaged one is named in a warning. Changes nothing.

    Args:
      folder: the checkpoints', which a trainer may be writing to.
      template: shapes and types of the state.
      read_state: (folder of a state, template) → state.

    Raises:
      InvalidInput: a file cannot be reached, or the state is of another program.
    """
    for _ in range(_LOOKS):
        for iteration in _iterations(folder):
            try:
                return _read(folder, iteration, template, read_state)
            except (files.Damaged, FileNotFoundError) as error:
                if not _state(folder, iteration).is_dir():
                    break  # the trainer has removed it: there are newer ones, or the run is finished
                _warn(folder, iteration, error)
        else:
            return None
    raise InvalidInput(f"{folder} changes faster than it can be read: try again")


class Checkpoints:
    """The checkpoints in a folder, which is made where it is missing. For the one that holds the run."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._written = 0  # updates whose metrics are on disk
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._running: concurrent.futures.Future | None = None
        for part in ("states", "metrics"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            for remains in files.remains(folder / part):
                _delete(remains)

    def newest(self, template: Any) -> RunProgress | None:
        """As `newest` of the module, for the run to go on from; damaged ones are moved aside, with a warning.

        Raises:
          InvalidInput: a file cannot be reached, or the state is of another program: all is left as it is.
        """
        for iteration in _iterations(self._folder):
            try:
                reached = _read(self._folder, iteration, template, saved_state.read)
            except (files.Damaged, FileNotFoundError) as error:
                _warn(self._folder, iteration, error)
                self._move_aside(_state(self._folder, iteration))
                continue
            self._made_again_after(iteration)
            return reached
        self._made_again_after(0)
        return None

    def save(self, reached: RunProgress, *, now: bool = False) -> None:
        """Begins a checkpoint; waits for the one before, `now` for this one too.

        Raises:
          InvalidInput: the disk is full or the folder cannot be written.
        """
        self.wait(reached)
        state = saved_state.as_numbers(reached.state)
        self._running = self._thread.submit(self._write, reached._replace(state=state))
        if now:
            self.wait(reached)

    def wait(self, reached: RunProgress) -> None:
        """Until what was begun is written; `reached` is what to name where that fails."""
        running, self._running = self._running, None
        try:
            if running:
                running.result()
        except OSError as error:
            raise InvalidInput(
                f"cannot write a checkpoint to {self._folder}: {error.strerror or error}; the run stopped after update "
                f"{reached.iteration}: make room, then resume it, which goes on from the last whole checkpoint"
            ) from error

    def close(self) -> None:
        self._thread.shutdown()

    def remove(self) -> None:
        """Closes and deletes them all, once the run is finished."""
        self.close()
        _delete(self._folder)

    def _write(self, reached: RunProgress) -> None:
        target = _state(self._folder, reached.iteration)
        if target.is_dir():
            return
        self._write_metrics(reached)
        part = files.beside(target)
        try:
            saved_state.write(part, reached.state)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        for iteration in _iterations(self._folder)[_KEPT:]:
            _delete(_state(self._folder, iteration))

    def _write_metrics(self, reached: RunProgress) -> None:
        """The pieces that are not on disk yet, as one file."""
        start, pieces = 0, []
        for piece in reached.metrics:
            if start >= self._written:
                pieces.append(piece)
            start += _length(piece)
        arrays = {
            f"{part}/{name}": np.concatenate([getattr(p[name], part) for p in pieces], axis=1)
            for name in pieces[0]
            for part in ("sum", "count")
        }
        arrays["seconds"] = np.asarray(reached.seconds)
        files.write_arrays(self._folder / "metrics" / f"{self._written}-{reached.iteration}.npz", arrays)
        self._written = reached.iteration

    def _made_again_after(self, iteration: int) -> None:
        """Metrics of later updates make room for those that will be written."""
        for _, end, path in _pieces(self._folder):
            if end > iteration:
                self._move_aside(path)
        self._written = iteration

    def _move_aside(self, path: pathlib.Path) -> None:
        aside = self._folder / "aside"
        aside.mkdir(exist_ok=True)
        taken = len(list(aside.iterdir()))
        path.rename(aside / f"{taken:03}-{path.name}")


def _read(folder: pathlib.Path, iteration: int, template: Any, read_state: Callable[..., Any]) -> RunProgress:
    state = read_state(_state(folder, iteration), template)
    pieces, done, seconds = [], 0, 0.0
    for start, end, path in _pieces(folder):
        if end > iteration:
            continue
        if start != done:
            break
        arrays = files.read_arrays(path)
        names = [key.removeprefix("sum/") for key in arrays if key.startswith("sum/")]
        pieces.append({n: Average(arrays[f"sum/{n}"], arrays[f"count/{n}"]) for n in names})  # pyright: ignore
        done, seconds = end, float(arrays["seconds"])
    if done != iteration:
        raise files.Damaged(f"the metrics of updates {done + 1} to {iteration} are missing")
    return RunProgress(state, pieces, iteration, seconds)


def _state(folder: pathlib.Path, iteration: int) -> pathlib.Path:
    return folder / "states" / str(iteration)


def _iterations(folder: pathlib.Path) -> list[int]:
    """Those with a checkpoint, the newest first."""
    with files.reaching(folder):
        try:
            names = [path.name for path in (folder / "states").iterdir()]
        except FileNotFoundError:
            return []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _pieces(folder: pathlib.Path) -> list[tuple[int, int, pathlib.Path]]:
    """First update, last update and file, in order."""
    names = [(path.stem.split("-"), path) for path in (folder / "metrics").glob("[0-9]*-[0-9]*.npz")]
    return sorted((int(start), int(end), path) for (start, end), path in names)


def _delete(path: pathlib.Path) -> None:
    """A folder vanishes at once for those who read, then from the disk."""
    if path.is_dir():
        gone = files.beside(path)
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _warn(folder: pathlib.Path, iteration: int, error: Exception) -> None:
    warnings.warn(
        f"the checkpoint after update {iteration} in {folder} is damaged ({error}); going on from the one before",
        stacklevel=3,
    )


def _length(metrics: Metrics) -> int:
    return next(iter(metrics.values())).sum.shape[1]
