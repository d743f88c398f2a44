"""Where the progress of a command goes: to the terminal, to a CSV file, to TensorBoard if wanted."""

import contextlib
import os
from collections.abc import Callable, Iterator

from purepg.runs.run_options import Progress


@contextlib.contextmanager
def reporting(
    folder: str | os.PathLike, *, tensorboard: bool = False, unit: str = "update"
) -> Iterator[Callable[[Progress], None]]:
    """A function to give to `purepg.run` as `report`; a folder that has a TensorBoard log gets it continued."""
    from purepg.cli.progress import reporter
    from purepg.machines import files
    from purepg.runs import loggers

    folder = files.path(folder)
    logs = [loggers.csv_writer(folder / "progress.csv")]
    if tensorboard or (folder / "tensorboard").is_dir():
        logs.append(loggers.tensorboard_writer(folder / "tensorboard"))
    with reporter(unit) as shown:
        yield loggers.combined(shown, *logs)
