"""The folder of a run: a folder of that name can always be opened, and a run never overwrites another.

config.json   the plan: method, hyper-parameters, seeds, length, versions; the folder appears together with it
progress/     while the run goes on: its checkpoints (`purepg.checkpoint`)
state/        the final state of every seed (orbax)
dataset.nc    every metric as a labelled array (netCDF 4), dims ("seed", "iteration"); written last: a run that has
              it is finished
"""

import contextlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import __version__, configuration, environments, hyperparams
from purepg import seeds as seed_axis
from purepg.checkpoint import Checkpoints
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.training import Method, TrainState, init

if TYPE_CHECKING:
    import xarray

FORMAT = 4


class Plan(NamedTuple):
    """What a run is to do."""

    method: Method
    hyper: Hyperparams  # scalars, or arrays [R] with a number a replicate
    seeds: np.ndarray  # [R] int
    num_updates: int
    evaluation_games: int
    placement: str
    evaluate_every: int = 0  # updates between two evaluations during training; 0 for none


def check_writable(directory: str | os.PathLike) -> pathlib.Path:
    """The folder's path, once it is clear that a new folder can be made there; its parents are made.

    Raises:
      InvalidInput: it exists, or cannot be made.
    """
    target = pathlib.Path(directory)
    if target.exists():
        raise InvalidInput(f"{target} exists already: give the run a folder of its own")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe = _beside(target)
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InvalidInput(f"cannot write to {target}: {error.strerror}; give another folder") from error
    return target


def create(directory: str | os.PathLike, plan: Plan) -> pathlib.Path:
    """A new folder that holds the plan."""
    with _new_folder(directory) as part:
        _write_plan(part, plan)
    return pathlib.Path(directory)


def write(directory: str | os.PathLike, plan: Plan, dataset: "xarray.Dataset", state: TrainState) -> None:
    """A new folder that holds a finished run."""
    with _new_folder(directory) as part:
        _write_plan(part, plan)
        finish(part, dataset, state)


def finish(folder: pathlib.Path, dataset: "xarray.Dataset", state: TrainState) -> None:
    """Writes the final state, then the dataset that says that all is there.

    Raises:
      InvalidInput: the folder cannot be written.
    """
    part = _beside(folder / "final")
    try:
        part.mkdir()
        with _checkpointer() as checkpointer:
            checkpointer.save(part.resolve() / "state", as_numbers(state))
        dataset.to_netcdf(part / "dataset.nc", engine="h5netcdf")
        shutil.rmtree(folder / "state", ignore_errors=True)  # of an end that was cut off
        os.replace(part / "state", folder / "state")
        os.replace(part / "dataset.nc", folder / "dataset.nc")
    except OSError as error:
        raise InvalidInput(f"cannot write to {folder}: {error.strerror}; the run is not saved") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def checkpoints(folder: pathlib.Path) -> Checkpoints:
    """The checkpoints of a run that is not finished."""
    return Checkpoints(folder / "progress")


def is_finished(folder: pathlib.Path) -> bool:
    return (folder / "dataset.nc").is_file()


def read_plan(directory: str | os.PathLike) -> Plan:
    """The plan of a run.

    Raises:
      InvalidInput: there is no run in this folder, it is damaged, or another version of purepg wrote it.
    """
    folder = pathlib.Path(directory)
    if not (folder / "config.json").is_file():
        raise InvalidInput(
            f"{folder} holds no saved run (no config.json in it); give the folder `purepg train` named"
        )
    try:
        config = json.loads((folder / "config.json").read_text())
        version = config["format"], config["purepg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the run in {folder} is damaged: config.json cannot be read ({error})") from error
    if version[0] != FORMAT:
        raise InvalidInput(
            f"the run in {folder} has format {version[0]}, written by purepg {version[1]}; "
            f"this is purepg {__version__} with format {FORMAT}: read it with that version"
        )
    with _damage_named(folder):
        method = configuration.decode(config["method"])
        hyper = hyperparams.decode(config["hyper"], method.task.env)
        numbers = (
            config[name] for name in ("num_updates", "evaluation_games", "placement", "evaluate_every")
        )
        return Plan(method, hyper, np.asarray(config["seeds"]), *numbers)


def read_final(folder: pathlib.Path, plan: Plan) -> tuple["xarray.Dataset", TrainState]:
    """Dataset and state of a finished run.

    Raises:
      InvalidInput: they are damaged.
    """
    import xarray

    with _damage_named(folder):
        dataset = xarray.load_dataset(folder / "dataset.nc", engine="h5netcdf")
        like = template(plan)
        with _checkpointer() as checkpointer:
            numbers = checkpointer.restore(folder.resolve() / "state", as_numbers(like))
        return dataset, from_numbers(numbers, like)


def as_numbers(state: Any) -> Any:
    """Arrays, or their shapes and types, in which typed keys are the integers that they stand for."""

    def plain(x):
        if isinstance(x, jax.Array):
            return np.asarray(jax.random.key_data(x) if _is_key(x) else x)
        if not _is_key(x):
            return x
        data = jax.eval_shape(jax.random.key_data, x)
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=x.sharding)

    return jax.tree.map(plain, state)


def from_numbers(numbers: Any, like: Any) -> Any:
    """The state that `as_numbers` took apart; `like` has its types."""

    def whole(x, like):
        return jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(like) else jnp.asarray(x)

    return jax.tree.map(whole, numbers, like)


def template(plan: Plan) -> Any:
    """Shapes and types of the state of all seeds, on one device: the one that reads may have fewer than wrote."""
    defaults = environments.parameters(plan.method.task.env, None)
    hyper = hyperparams.over_seeds(plan.hyper, defaults, len(plan.seeds))
    keys = seed_axis.keys(plan.seeds)
    like = jax.eval_shape(jax.vmap(lambda hyper, key: init(plan.method, hyper, key)), hyper, keys)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _checkpointer() -> Any:
    """Orbax's, for this process alone, also where it is one of several."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def _write_plan(folder: pathlib.Path, plan: Plan) -> None:
    config = {
        "format": FORMAT,
        "purepg": __version__,
        "jax": jax.__version__,
        "method": configuration.encode(plan.method),
        "hyper": hyperparams.encode(plan.hyper),
        "seeds": np.asarray(plan.seeds).tolist(),
        "num_updates": plan.num_updates,
        "evaluation_games": plan.evaluation_games,
        "placement": plan.placement,
        "evaluate_every": plan.evaluate_every,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


@contextlib.contextmanager
def _new_folder(directory: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A folder beside its place, renamed into it when whole."""
    target = check_writable(directory)
    part = _beside(target)
    try:
        part.mkdir()
        yield part
        part.rename(target)
    except OSError as error:
        if target.exists():
            raise InvalidInput(f"{target} exists already: give the run a folder of its own") from error
        raise InvalidInput(f"cannot save to {target}: {error}; the run is not saved") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _damage_named(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:  # whatever a reader makes of half a file
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise InvalidInput(f"the run in {folder} is damaged: {type(error).__name__}: {line}") from error


def _beside(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
