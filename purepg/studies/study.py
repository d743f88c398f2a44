"""A study: several configurations, the same seeds, one labelled result.

A replicate is a (configuration, seed) pair. Those that share method and length are one run
(`purepg.studies.study_runs`), so a sweep over numbers compiles once. Runs are kept in a folder:

    parts/000/, parts/001/, …   runs of replicates (`purepg.runs.run_folder`), resumable like any
    dataset.nc                  everything, dims ("config", "seed", "iteration"); written anew at each end

A study whose folder already has runs does only what is missing: interrupted runs are continued, and only the
configurations or seeds that were added are trained. A folder belongs to one study: a call has to ask for everything
that the folder holds, or it is refused and the difference named.
"""

import contextlib
import functools
import numbers
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from purepg import hyperparams
from purepg.environments import labels
from purepg.errors import InvalidInput, checks
from purepg.hyperparams import Hyperparams
from purepg.machines import files, folder_lock, memory
from purepg.machines import seeds as seed_axis
from purepg.runs import run_folder, runner
from purepg.runs.results import Result
from purepg.runs.run_options import Progress, RunOptions
from purepg.statistics import seed_metrics
from purepg.studies.study_runs import Config as Config
from purepg.studies.study_runs import ReplicateIndex, StudyRuns
from purepg.training import Method, init, train

if TYPE_CHECKING:
    import xarray

__all__ = ["Config", "Study", "compare", "split", "study"]


@dataclass(frozen=True, eq=False)
class Study:
    """What `compare` and `sweep` return; a study equals only itself.

    Attributes:
      configs: What was trained, in order.
      dataset: Labelled arrays, dims ("config", "seed", "iteration"); NaN where a run was shorter.
      parts: The runs that the replicates were trained in.
      places: (configuration's name, seed) → its replicate.
    """

    configs: tuple[Config, ...]
    dataset: "xarray.Dataset"
    parts: tuple[Result, ...]
    places: Mapping[tuple[str, int], ReplicateIndex]

    @property
    def names(self) -> list[str]:
        """The configurations' names, in order."""
        return [config.name for config in self.configs]

    @property
    def datasets(self) -> "dict[str, xarray.Dataset]":
        """Each configuration as a run's dataset."""
        return split(self.dataset)

    def params(self, name: str, seed: int) -> Any:
        """The trained parameters of one replicate.

        Args:
          name: the configuration's.
          seed: the seed's number.

        Raises:
          InvalidInput: there is no such replicate.
        """
        if (name, seed) not in self.places:
            raise InvalidInput(
                f"no seed {seed} of {name!r} in this study: it has {', '.join(self.names)} "
                f"with seeds {self.dataset['seed'].values.tolist()}"
            )
        part, index = self.places[name, seed]
        result = self.parts[part]
        return jax.tree.map(lambda x: x[index], result.method.params(result.state.learner))


def compare(
    presets: Mapping[str, tuple[Method, Hyperparams, int | None]],
    seeds: int | Sequence[int] = 64,
    **options: Any,
) -> Study:
    """Trains several methods, each with its own numbers and length, on the same seeds.

    Args:
      presets: name → (method, numbers, updates), as `purepg.presets.preset` makes them. With `num_steps` the updates
        are a maximum; none: as many as the budget lasts for (`purepg.studies.sweep.as_long_as` fits schedules to it).
      seeds: how many (numbered from 0), or their numbers.
      **options: as for `study`: num_steps, directory, report, evaluation_games, …

    Raises:
      InvalidInput: as `study`; or `presets` is something else.
    """
    wanted = "name → (method, numbers, updates), as purepg.presets.preset makes them"
    checks.kind("presets", presets, isinstance(presets, Mapping), wanted)
    for name, preset in presets.items():
        checks.kind(str(name), preset, isinstance(preset, tuple) and len(preset) == 3, wanted)
    return study([Config(name, *preset) for name, preset in presets.items()], seeds, **options)


@memory.explained()
def study(
    configs: Sequence[Config],
    seeds: int | Sequence[int] = 64,
    *,
    num_steps: int | None = None,
    evaluation_games: int = 100,
    evaluate_every: int = 0,
    placement: str = "auto",
    directory: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Study:
    """Trains every configuration on the same seeds, unless that is done already.

    Args:
      configs: what to train, each with its own name.
      seeds: how many (numbered from 0), or their numbers.
      num_steps: a budget of environment steps per replicate, as for `purepg.run`.
      evaluation_games: games of a greedy evaluation of each replicate; 0 for none.
      evaluate_every: updates between two evaluations during training; 0: only at the end.
      placement: where the replicates' axis goes, as for `purepg.run`.
      directory: a new folder, or that of a study to continue; none: in memory only.
      checkpoint_seconds: least time between two checkpoints.
      report: called between chunks of updates, with the progress of the whole study.

    Raises:
      InvalidInput: names are not unique, one has neither updates nor a budget, the folder is something else, or its
        runs are not all among those asked for.
      KeyboardInterrupt: after Ctrl-C. With a folder, the same call continues where it stopped.
    """
    options = RunOptions(
        num_steps=num_steps,
        evaluation_games=evaluation_games,
        evaluate_every=evaluate_every,
        placement=placement,
        checkpoint_seconds=checkpoint_seconds,
        report=report,
    )
    names = [config.name for config in configs]
    if not configs or len(set(names)) < len(names):
        raise InvalidInput(f"configurations {', '.join(names) or '(none)'}: give each a name of its own")
    fitted = [options.fitted(c.method, c.hyper, c.num_updates) for c in configs]
    configs = [c._replace(hyper=hyper) for c, (_, hyper, _) in zip(configs, fitted, strict=True)]
    for config in configs:
        if config.num_updates is None and num_steps is None:
            raise InvalidInput(f"{config.name!r} has no number of updates: give one, or num_steps to all")
        if hyperparams.varies(config.hyper, config.method.task.env):
            raise InvalidInput(
                f"{config.name!r} has arrays among its numbers: make each a configuration, or sweep"
            )
    _check_all(configs, seed_axis.count(seeds), options)
    numbers = seed_axis.numbered(seeds).tolist()
    if len(set(numbers)) < len(numbers):
        raise InvalidInput(f"seeds = {numbers}: give each once")
    folder = None if directory is None else _open(files.path(directory))
    parts = StudyRuns(folder, options)
    wanted = {(c.name, s): parts.key(c, s) for c in configs for s in numbers}
    with folder_lock.hold(folder) if folder else contextlib.nullcontext():
        parts.carry_out(configs, numbers, wanted)
        places = {pair: parts.places[key] for pair, key in wanted.items()}
        dataset = _assemble(configs, numbers, parts.results, places)
        if folder:
            _write(dataset, folder)
    return Study(tuple(configs), dataset, tuple(parts.results), places)


def _check_all(configs: Sequence[Config], num_seeds: int, options: RunOptions) -> None:
    """Traces an update of each method: what the last one refuses is known before the first one is trained."""
    same: dict[Method, list[Config]] = {}
    for config in configs:
        same.setdefault(config.method, []).append(config)
    for method, those in same.items():
        hyper, num_updates = those[0].hyper, those[0].num_updates
        runner.check_memory(method, hyper, num_seeds * len(those), num_updates, options)
        if len(same) > 1:
            one = hyperparams.some(hyper, method.task.env, 0)
            jax.eval_shape(functools.partial(_one_update, method), one, jax.random.key(0))


def _one_update(method: Method, hyper: Hyperparams, key: jax.Array) -> Any:
    return train(method, hyper, init(method, hyper, key), 1)


def split(dataset: "xarray.Dataset") -> "dict[str, xarray.Dataset]":
    """Each configuration of a study as a run's dataset, dims ("seed", "iteration"), with its share of the seconds.

    Args:
      dataset: of a study, dims ("config", "seed", "iteration").
    """
    found = {}
    for name in dataset["config"].values:
        one = dataset.sel(config=name)
        one = one.isel(iteration=slice(int(one["num_updates"])))
        one.attrs |= {key: float(one[key]) for key in ("run_seconds", "compile_seconds")}
        found[str(name)] = one
    return found


def _assemble(
    configs: Sequence[Config],
    seeds: Sequence[int],
    parts: Sequence[Result],
    places: Mapping[tuple[str, int], ReplicateIndex],
) -> "xarray.Dataset":
    """All replicates in one dataset, each at its configuration and seed."""
    import xarray

    rows = [_row(config, seeds, parts, places) for config in configs]
    names = xarray.Variable("config", [config.name for config in configs])
    dataset: Any = xarray.concat(
        rows, xarray.DataArray(names, name="config"), data_vars="all", join="outer", combine_attrs="override"
    )
    swept = {name for config in configs for name, _ in config.settings}
    columns = {
        name: [_label(dict(config.settings).get(name, np.nan)) for config in configs]
        for name in sorted(swept)
    }
    dataset = dataset.assign_coords({name: ("config", column) for name, column in columns.items()})
    tasks = [config.method.task for config in configs]
    played = [
        labels.label(task.env, config.hyper.env, task.collect.max_steps)
        for task, config in zip(tasks, configs, strict=True)
    ]
    shared = {name: x for name, x in dataset.attrs.items() if name in ("evaluation_games", "num_steps")}
    dataset.attrs = {"environment": labels.shared_label(played), **shared}
    return dataset.drop_encoding()


def _label(value: Any) -> Any:
    """A swept value as a file keeps it: tuples and records in words."""
    return value if isinstance(value, str | numbers.Number) else str(value)


def _row(
    config: Config,
    seeds: Sequence[int],
    parts: Sequence[Result],
    places: Mapping[tuple[str, int], ReplicateIndex],
) -> "xarray.Dataset":
    """A configuration's replicates, with its share of the runs' seconds and its number of updates."""
    import xarray

    there: dict[int, dict[int, int]] = {}  # part → seed → index
    for seed in seeds:
        part, index = places[config.name, seed]
        there.setdefault(part, {})[seed] = index
    pieces, made, seconds = [], 0, dict.fromkeys(("run_seconds", "compile_seconds"), 0.0)
    for part, those in there.items():
        whole, indices = parts[part].dataset, list(those.values())
        made = max(made, seed_metrics.num_updates(whole)[indices].max())
        pieces.append(whole.isel(seed=indices).assign_coords(seed=list(those)))
        for clock in seconds:
            seconds[clock] += whole.attrs[clock] * len(those) / whole.sizes["seed"]
    row: Any = xarray.concat(pieces, "seed", data_vars="all", join="outer", combine_attrs="override")
    scalars = {name: ((), x, {"units": "s"}) for name, x in seconds.items()} | {"num_updates": made}
    return row.sel(seed=list(seeds), iteration=slice(made)).assign(scalars)


def _open(folder: pathlib.Path) -> pathlib.Path:
    """The folder of a study, made if it is not there."""
    if not folder.exists():
        run_folder.check_writable(folder)
        (folder / "parts").mkdir(parents=True)
    if not (folder / "parts").is_dir():
        raise InvalidInput(
            f"{folder} exists and holds no study: give another folder, or that of a study to go on with"
        )
    return folder


def _write(dataset: "xarray.Dataset", folder: pathlib.Path) -> None:
    try:
        files.write_dataset(folder / "dataset.nc", dataset)
        files.read_dataset(folder / "dataset.nc")
    except OSError as error:
        raise InvalidInput(
            f"cannot write to {folder}: {error.strerror}; its runs are kept in parts/"
        ) from error
    except files.Damaged as error:
        raise InvalidInput(f"{folder} gives back something else than was written: {error}") from error
