"""The labelled result of a run: arrays with a seed axis, the final state, and the folder both are kept in.

A saved run is a folder:

    config.json   method, hyper-parameters, seeds, versions
    dataset.nc    every metric as a labelled array (netCDF 4), dims ("seed", "iteration")
    state/        the final state of every seed (orbax)

It is written beside its place and renamed into it when whole: a folder of that name is always complete, and a run
never overwrites another.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from purepg import __version__, configuration, hyperparams
from purepg import seeds as seed_axis
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.networks import Params
from purepg.training import Method, TrainState, init

if TYPE_CHECKING:
    import xarray

FORMAT = 1

_UNITS = {
    "return": ("undiscounted return per finished game", "reward"),
    "length": ("length per finished game", "steps"),
    "steps": ("environment steps", "steps"),
    "entropy": ("entropy of the policy at the visited states", "nats"),
    "gradient_norm": ("global norm of the gradient before clipping", "1"),
    "value_error": ("squared error of the critic", "scaled reward squared"),
    "td_error": ("mean absolute TD error", "reward"),
    "epsilon": ("probability of a random action", "1"),
    "elite_threshold": ("score of the last elite", "reward"),
    "search_std": ("mean standard deviation of the search", "1"),
    "skipped": ("update left out because it was not finite", "1"),
    "evaluation_return": ("mean undiscounted return over fresh games after training", "reward"),
    "frozen_at": ("update at which the seed was given up, -1 for never", "iteration"),
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What `purepg.run` gives back."""

    method: Method
    hyper: Hyperparams
    state: TrainState  # [S, ...]
    dataset: "xarray.Dataset"  # dims ("seed", "iteration"), one iteration an update

    @property
    def seeds(self) -> np.ndarray:
        """The seed numbers, [S]."""
        return self.dataset["seed"].values

    def params(self, seed: int) -> Params:
        """The trained parameters of one seed, by its number."""
        if seed not in self.seeds:
            raise InvalidInput(
                f"seed {seed} is not in this run: it has {self.seeds.min()} … {self.seeds.max()}"
            )
        index = int(np.flatnonzero(self.seeds == seed)[0])
        return jax.tree.map(lambda x: x[index], self.method.params(self.state.learner))

    def training_return(self, last: int) -> np.ndarray:
        """Mean return of the games that ended in the `last` updates, [S]; NaN where none did."""
        tail = self.dataset.isel(iteration=slice(-last, None))
        count = tail["return_count"] if "return_count" in tail else tail["return"].notnull()
        total, count = (tail["return"] * count).sum("iteration").values, count.sum("iteration").values
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    def save(self, directory: str | os.PathLike) -> pathlib.Path:
        """Writes the run to a new folder.

        Raises:
          InvalidInput: the folder exists, or cannot be written.
        """
        import orbax.checkpoint as ocp

        target = check_writable(directory)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            part.mkdir()
            (part / "config.json").write_text(json.dumps(self._config(), indent=1))
            self.dataset.to_netcdf(part / "dataset.nc", engine="h5netcdf")
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(part.resolve() / "state", self.state)
            _rename_to_new(part, target)
        except OSError as error:
            raise InvalidInput(f"cannot save to {target}: {error}; the run is not saved") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target

    def _config(self) -> dict:
        return {
            "format": FORMAT,
            "purepg": __version__,
            "jax": jax.__version__,
            "method": configuration.encode(self.method),
            "hyper": hyperparams.encode(self.hyper),
            "seeds": self.seeds.tolist(),
        }


def load(directory: str | os.PathLike) -> Result:
    """Reads a saved run.

    Raises:
      InvalidInput: there is no run in this folder, it is damaged, or another version of purepg wrote it.
    """
    import orbax.checkpoint as ocp
    import xarray

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
    try:
        method = configuration.decode(config["method"])
        hyper = hyperparams.decode(config["hyper"], method.task.env)
        dataset = xarray.load_dataset(folder / "dataset.nc", engine="h5netcdf")
        with ocp.StandardCheckpointer() as checkpointer:
            template = _template(method, hyper, np.asarray(config["seeds"]))
            state = checkpointer.restore(folder.resolve() / "state", template)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a reader makes of half a file
        raise InvalidInput(
            f"the run in {folder} is damaged: {type(error).__name__}: {_first_line(error)}"
        ) from error
    return Result(method, hyper, state, dataset)


def to_dataset(metrics: Metrics, seeds: np.ndarray, extra: dict[str, np.ndarray]) -> "xarray.Dataset":
    """Metrics `[S, U]` as means with their counts, and `extra` arrays `[S]`, all labelled.

    A mean over nothing is NaN with count 0.
    """
    import xarray

    variables: dict[str, Any] = {}
    for name, (total, count) in metrics.items():
        total, count = np.asarray(total), np.asarray(count)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        variables[name] = (("seed", "iteration"), mean)
        if not (count == 1).all():
            variables[f"{name}_count"] = (("seed", "iteration"), count)
    variables |= {name: (("seed",), values) for name, values in extra.items()}
    num_updates = next(iter(metrics.values())).sum.shape[1]
    dataset = xarray.Dataset(variables, {"seed": seeds, "iteration": np.arange(1, num_updates + 1)})
    dataset["iteration"].attrs["long_name"] = "updates done"
    for name, (long_name, units) in _UNITS.items():
        if name in dataset:
            dataset[name].attrs |= {"long_name": long_name, "units": units}
    return dataset


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
        probe = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InvalidInput(f"cannot write to {target}: {error.strerror}; give another folder") from error
    return target


def _rename_to_new(part: pathlib.Path, target: pathlib.Path) -> None:
    try:
        part.rename(target)
    except OSError as error:
        if target.exists():
            raise InvalidInput(f"{target} exists already: give the run a folder of its own") from error
        raise


def _template(method: Method, hyper: Hyperparams, seeds: np.ndarray) -> Any:
    keys = seed_axis.keys(seeds)
    return jax.eval_shape(jax.vmap(lambda key: init(method, hyper, key)), keys)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
