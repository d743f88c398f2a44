"""Checkpoints of a run: the whole state of every seed, written while the devices go on.

    states/N/         the state after N updates (orbax), the two newest
    metrics/A-B.npz   the metrics of updates A + 1 … B, [R, B − A] each, and the seconds that training took until B

A state counts when it is whole: orbax writes it beside its place and renames it. Metrics are written before the state
that they lead to, so those of the newest whole state are always there; later ones are of updates that are made again.
"""

import os
import pathlib
import shutil
import uuid
import warnings
from typing import Any, NamedTuple

import numpy as np

from purepg.errors import InvalidInput
from purepg.metrics import Average, Metrics

_KEPT = 2  # the one before the newest is what a damaged newest falls back to


class Reached(NamedTuple):
    """How far a run has come."""

    state: Any  # of every seed, [R, ...]
    metrics: list[Metrics]  # pieces [R, updates of the piece]
    iteration: int  # updates done
    seconds: float  # that training took


class Checkpoints:
    """The checkpoints in a folder, which is made where it is missing."""

    def __init__(self, folder: pathlib.Path):
        import orbax.checkpoint as ocp

        self._folder = folder.resolve()
        self._metrics = self._folder / "metrics"
        self._metrics.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self._folder / "states", options=options)
        self._written = 0  # updates whose metrics are on disk

    def save(self, reached: Reached) -> None:
        """Begins a checkpoint; waits for the one before.

        Raises:
          InvalidInput: the disk is full or the folder cannot be written.
        """
        import orbax.checkpoint as ocp

        if self._manager.latest_step() == reached.iteration:
            return
        try:
            self._write_metrics(reached)
            self._manager.save(reached.iteration, args=ocp.args.StandardSave(reached.state))
        except Exception as error:  # orbax passes on what its threads met
            raise self._cannot_write(reached, error) from error

    def finish(self, reached: Reached) -> None:
        """Waits until everything is written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._cannot_write(reached, error) from error

    def close(self) -> None:
        self._manager.close()

    def remove(self) -> None:
        """Closes and deletes them all, once the run is finished."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def newest(self, template: Any) -> Reached | None:
        """The newest whole checkpoint, none if there is none; a damaged one is named in a warning.

        Args:
          template: shapes and types of the state.
        """
        import orbax.checkpoint as ocp

        for iteration in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self._manager.restore(iteration, args=ocp.args.StandardRestore(template))
                metrics, seconds = self._read_metrics(iteration)
            except Exception as error:  # whatever a reader makes of half a file
                reason = (str(error).strip().splitlines() or [""])[0][:120]
                warnings.warn(
                    f"the checkpoint after update {iteration} in {self._folder} is damaged "
                    f"({type(error).__name__}: {reason}); going on from the one before",
                    stacklevel=2,
                )
                self._manager.delete(iteration)
                continue
            self._forget_after(iteration)
            return Reached(state, metrics, iteration, seconds)
        self._forget_after(0)
        return None

    def _write_metrics(self, reached: Reached) -> None:
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
        target = self._metrics / f"{self._written}-{reached.iteration}.npz"
        part_file = target.with_name(f".{uuid.uuid4().hex[:8]}.part.npz")
        np.savez(part_file, allow_pickle=False, seconds=reached.seconds, **arrays)
        os.replace(part_file, target)
        self._written = reached.iteration

    def _read_metrics(self, iteration: int) -> tuple[list[Metrics], float]:
        pieces, done, seconds = [], 0, 0.0
        for start, end, path in self._pieces():
            if end > iteration:
                continue
            if start != done:
                raise ValueError(f"the metrics of updates {done + 1} to {start} are missing")
            with np.load(path, allow_pickle=False) as arrays:
                names = [key.removeprefix("sum/") for key in arrays if key.startswith("sum/")]
                pieces.append({n: Average(arrays[f"sum/{n}"], arrays[f"count/{n}"]) for n in names})
                seconds = float(arrays["seconds"])
            done = end
        if done != iteration:
            raise ValueError(f"the metrics of updates {done + 1} to {iteration} are missing")
        return pieces, seconds

    def _forget_after(self, iteration: int) -> None:
        for _, end, path in self._pieces():
            if end > iteration:
                path.unlink()
        self._written = iteration

    def _pieces(self) -> list[tuple[int, int, pathlib.Path]]:
        """First update, last update and file, in order."""
        names = [(path.stem.split("-"), path) for path in self._metrics.glob("[0-9]*.npz")]
        return sorted((int(start), int(end), path) for (start, end), path in names)

    def _cannot_write(self, reached: Reached, error: Exception) -> InvalidInput:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        line = reason.strip().splitlines()[0][:200]
        return InvalidInput(
            f"cannot write a checkpoint to {self._folder}: {line}; the run stopped after update {reached.iteration}: "
            "make room, then resume it, which goes on from the last whole checkpoint"
        )


def _length(metrics: Metrics) -> int:
    return next(iter(metrics.values())).sum.shape[1]
