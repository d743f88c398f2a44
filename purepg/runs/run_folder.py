"""The folder of a run: a folder of that name can always be opened, and a run never overwrites another.

config.json   the plan: method, hyper-parameters, seeds, length, versions; the folder appears together with it
progress/     while the run goes on: its checkpoints (`purepg.runs.checkpoint`)
state/        the final state of every seed (`purepg.runs.saved_state`)
dataset.nc    every metric as a labelled array (netCDF 4), dims ("seed", "iteration"); written last: a run that has
              it is finished
.lock         while it is written (`purepg.machines.folder_lock`)

Who reads creates, changes and deletes nothing.
"""

import contextlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from purepg import __version__, hyperparams
from purepg.errors import InvalidInput
from purepg.machines import files
from purepg.machines import seeds as seed_axis
from purepg.runs import checkpoint, old_runs, plans, saved_state
from purepg.runs.checkpoint import Checkpoints, RunProgress
from purepg.runs.plans import FORMAT, Plan
from purepg.training import TrainState, init

if TYPE_CHECKING:
    import xarray


def check_writable(directory: str | os.PathLike) -> pathlib.Path:
    """The folder's path, once it is clear that a new folder can be made there; its parents are made.

    Raises:
      InvalidInput: it exists, or cannot be made.
    """
    target = files.path(directory)
    try:
        if os.path.lexists(target):
            raise InvalidInput(f"{target} exists already: give the run a folder of its own")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir()
        target.rmdir()
    except OSError as error:
        raise InvalidInput(f"cannot write to {target}: {error.strerror}; give another folder") from error
    return target


def create(directory: str | os.PathLike, plan: Plan) -> pathlib.Path:
    """A new folder that holds the plan."""
    with _new_folder(directory, plan) as part:
        return part.target


def write(
    directory: str | os.PathLike, plan: Plan, dataset: "xarray.Dataset", state: TrainState
) -> pathlib.Path:
    """A new folder that holds a finished run."""
    with _new_folder(directory, plan) as part:
        finish(part.folder, dataset, state)
    return part.target


def finish(folder: pathlib.Path, dataset: "xarray.Dataset", state: TrainState) -> None:
    """Writes the final state, then the dataset that says that all is there; each is read back first.

    Raises:
      InvalidInput: the folder cannot be written, or gives back something else.
    """
    part = files.beside(folder / "final")
    try:
        part.mkdir()
        saved_state.write(part / "state", state)
        saved_state.read(part / "state", state)
        files.write_dataset(part / "dataset.nc", dataset)
        files.read_dataset(part / "dataset.nc")
        shutil.rmtree(folder / "state", ignore_errors=True)  # of an end that was cut off
        (part / "state").replace(folder / "state")
        (part / "dataset.nc").replace(folder / "dataset.nc")
    except OSError as error:
        raise InvalidInput(f"cannot write to {folder}: {error.strerror}; the run is not saved") from error
    except files.Damaged as error:
        raise InvalidInput(
            f"{folder} gives back something else than was written ({error}): not saved"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def checkpoints(folder: pathlib.Path, plan: Plan) -> Checkpoints:
    """The checkpoints of a run that is not finished, for the one who holds it.

    Raises:
      InvalidInput: another version of purepg wrote them.
    """
    if (config := _read_config(folder))["format"] != FORMAT:
        raise InvalidInput(
            f"the run in {folder} was begun with format {config['format']} of purepg {config['purepg']}, this is "
            f"{__version__} with format {FORMAT}: end it with that version; what it has so far can be plotted"
        )
    for remains in files.remains(folder):
        shutil.rmtree(remains, ignore_errors=True)
    return Checkpoints(folder / "progress")


def is_finished(folder: pathlib.Path) -> bool:
    return os.path.lexists(folder / "dataset.nc")  # what it is shows when it is read


def read_plan(directory: str | os.PathLike) -> Plan:
    """The plan of a run.

    Raises:
      InvalidInput: there is no run in this folder, it is damaged, another version of purepg wrote it, or the code that
        it names has changed.
    """
    folder = files.path(directory)
    config = _read_config(folder)
    try:
        plan = plans.decode(config)
    except InvalidInput as error:
        raise InvalidInput(f"the run in {folder} cannot be opened: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"the run in {folder} is damaged: config.json: {error!r}") from error
    if config["format"] not in old_runs.UNSEALED and config.get("checksum") != plans.checksum(config):
        raise InvalidInput(
            f"the run in {folder} is damaged: config.json is not what was written with it; give that back"
        )
    return plan


def read_dataset(folder: pathlib.Path) -> "xarray.Dataset":
    """The labelled arrays of a finished run or study.

    Raises:
      InvalidInput: they are damaged, or cannot be reached.
    """
    runs = sorted(folder.glob("parts/[0-9]*")) or [folder]
    formats = {_format(run) for run in runs}
    with _damage_named(folder):
        dataset = files.read_dataset(folder / "dataset.nc", sealed=formats.isdisjoint(old_runs.UNSEALED))
    return dataset if formats == {FORMAT} else old_runs.upgraded_dataset(dataset)


def read_final(folder: pathlib.Path, plan: Plan) -> tuple["xarray.Dataset", TrainState]:
    """Dataset and state of a finished run.

    Raises:
      InvalidInput: they are damaged, cannot be reached, or are of another program.
    """
    dataset, like = read_dataset(folder), template(plan)
    with _damage_named(folder):
        return dataset, _state_reader(folder, plan)(folder / "state", like)


def read_newest(folder: pathlib.Path, plan: Plan) -> RunProgress | None:
    """The newest whole checkpoint of a run that is not finished, if there is any; changes nothing."""
    return checkpoint.newest(folder / "progress", template(plan), _state_reader(folder, plan))


def template(plan: Plan) -> Any:
    """Shapes and types of the state of all seeds."""
    hyper = hyperparams.over_seeds(plan.hyper, plan.method.task.env, len(plan.seeds))
    keys = seed_axis.keys(plan.seeds)
    return jax.eval_shape(
        jax.vmap(lambda hyper, key: init(plan.method, hyper, key, plan.num_steps)), hyper, keys
    )


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
    """What is in config.json, of a format that can be read."""
    try:
        with files.reaching(folder / "config.json"):
            config = json.loads((folder / "config.json").read_bytes())
        version = config["format"], config["purepg"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInput(_no_run(folder)) from error
    except InvalidInput:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the run in {folder} is damaged: config.json cannot be read ({error})") from error
    if version[0] not in (FORMAT, *old_runs.FORMATS):
        raise InvalidInput(
            f"the run in {folder} has format {version[0]}, written by purepg {version[1]}; "
            f"this is purepg {__version__} with format {FORMAT}: read it with that version"
        )
    return config


def _format(folder: pathlib.Path) -> int:
    return _read_config(folder)["format"]


def _state_reader(folder: pathlib.Path, plan: Plan) -> Callable[..., TrainState]:
    """(folder of a state, template) → state, for a run's format."""
    version = _format(folder)
    return saved_state.read if version == FORMAT else old_runs.state_reader(version, plan.method)


def _no_run(folder: pathlib.Path) -> str:
    if not folder.exists():
        return f"there is no folder {folder}: give the one that `purepg train` named"
    if (folder / "parts").is_dir():
        return f"{folder} is a comparison or a sweep: its runs are in {folder / 'parts'}"
    return f"{folder} holds no saved run (no config.json in it); give the folder `purepg train` named"


class _Part(NamedTuple):
    folder: pathlib.Path  # while it is written
    target: pathlib.Path  # its place


@contextlib.contextmanager
def _new_folder(directory: str | os.PathLike, plan: Plan) -> Iterator[_Part]:
    """A folder with the plan, beside its place, renamed into it when whole; the plan is read back first."""
    target = check_writable(directory)
    text = plans.encode(plan)
    part = target.with_name(f".{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir()
        files.write(part / "config.json", text.encode())
        yield _Part(part, target)
        part.rename(target)
    except OSError as error:
        if os.path.lexists(target):
            raise InvalidInput(f"{target} exists already: give the run a folder of its own") from error
        raise InvalidInput(f"cannot save to {target}: {error.strerror}; the run is not saved") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _damage_named(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (files.Damaged, FileNotFoundError) as error:
        raise InvalidInput(f"the run in {folder} is damaged: {error}") from error
