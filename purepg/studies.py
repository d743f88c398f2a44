"""A study: several configurations, the same seeds, one labelled result.

A replicate is a (configuration, seed) pair. Those that share method and length are one run: their numbers lie along the
replicates' axis, so a sweep compiles once. Runs are kept in a folder,

    parts/000/, parts/001/, …   runs of replicates (`purepg.run_folder`), resumable like any
    dataset.nc                  everything, dims ("config", "seed", "iteration"); written anew at each end

and a study whose folder has runs already does only what is missing: what was cut off goes on, and configurations or
seeds that were added are trained alone. Nothing else is looked at than what a replicate is: its method, numbers, length
and seed.
"""

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import environments, hyperparams, run_folder, runner
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.results import Result
from purepg.run_folder import Plan
from purepg.runner import Progress
from purepg.training import Method

if TYPE_CHECKING:
    import xarray


class Config(NamedTuple):
    """One configuration."""

    name: str
    method: Method
    hyper: Hyperparams  # scalars
    num_updates: int
    settings: tuple[tuple[str, Any], ...] = ()  # what distinguishes it, as coordinates of the result


class Where(NamedTuple):
    """A replicate's place."""

    part: int
    index: int


@dataclass(frozen=True)
class Study:
    """What `compare` and `sweep` give back."""

    configs: tuple[Config, ...]
    dataset: "xarray.Dataset"  # dims ("config", "seed", "iteration"); NaN where a run was shorter
    parts: tuple[Result, ...]
    places: Mapping[tuple[str, int], Where]  # (configuration's name, seed) → its replicate

    @property
    def names(self) -> list[str]:
        """The configurations' names, in order."""
        return [config.name for config in self.configs]

    @property
    def datasets(self) -> "dict[str, xarray.Dataset]":
        """Each configuration as a run's dataset."""
        return split(self.dataset)

    def params(self, name: str, seed: int) -> Any:
        """The trained parameters of one replicate."""
        if (name, seed) not in self.places:
            raise InvalidInput(
                f"no seed {seed} of {name!r} in this study: it has {', '.join(self.names)} "
                f"with seeds {self.dataset['seed'].values.tolist()}"
            )
        part, index = self.places[name, seed]
        result = self.parts[part]
        return jax.tree.map(lambda x: x[index], result.method.params(result.state.learner))


def compare(
    recipes: Mapping[str, tuple[Method, Hyperparams, int]],
    seeds: int | Sequence[int] = 64,
    **options: Any,
) -> Study:
    """Trains methods with numbers and lengths of their own on the same seeds.

    Args:
      recipes: name → (method, numbers, updates), as `purepg.defaults.recipe` makes them.
      seeds: how many (numbered from 0), or their numbers.
      **options: as of `study`: directory, report, evaluation_games, …
    """
    return study([Config(name, *recipe) for name, recipe in recipes.items()], seeds, **options)


def study(
    configs: Sequence[Config],
    seeds: int | Sequence[int] = 64,
    *,
    evaluation_games: int = 100,
    evaluate_every: int = 0,
    placement: str = "auto",
    directory: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Study:
    """Trains every configuration on the same seeds, as far as that is not done already.

    Args:
      configs: what to train, each by a name of its own.
      seeds: how many (numbered from 0), or their numbers.
      evaluation_games: games of a greedy evaluation of each replicate; 0 for none.
      evaluate_every: updates between two evaluations during training; 0: only at the end.
      placement: where the replicates' axis goes.
      directory: a new folder, or that of a study to go on with; none: in memory alone.
      checkpoint_seconds: time between two checkpoints at least.
      report: called between chunks of updates, with the progress of the whole study.

    Raises:
      InvalidInput: names are not unique, or the folder is something else.
      KeyboardInterrupt: after Ctrl-C. With a folder, the same call goes on where it was.
    """
    names = [config.name for config in configs]
    if not configs or len(set(names)) < len(names):
        raise InvalidInput(f"configurations {', '.join(names) or '(none)'}: give each a name of its own")
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidInput(f"seeds = {numbers}: give at least one, each once")
    for config in configs:
        hyperparams.check(config.hyper)
    folder = None if directory is None else _open(pathlib.Path(directory))
    parts = _Parts(folder, placement, checkpoint_seconds, (evaluation_games, evaluate_every))
    wanted = {(c.name, s): parts.key(c, s) for c in configs for s in numbers}
    parts.carry_out(configs, numbers, wanted, report)
    places = {pair: parts.places[key] for pair, key in wanted.items()}
    dataset = _assemble(configs, numbers, parts.results, places)
    if folder:
        _write(dataset, folder / "dataset.nc")
    return Study(tuple(configs), dataset, tuple(parts.results), places)


def split(dataset: "xarray.Dataset") -> "dict[str, xarray.Dataset]":
    """Each configuration of a study as a run's dataset, dims ("seed", "iteration"), with its share of the seconds."""
    found = {}
    for name in dataset["config"].values:
        one = dataset.sel(config=name)
        one = one.isel(iteration=slice(int(one["num_updates"])))
        one.attrs |= {key: float(one[key]) for key in ("run_seconds", "compile_seconds")}
        found[str(name)] = one
    return found


class _Parts:
    """The runs of a study: those that are there, and those that are still to be made."""

    def __init__(
        self,
        folder: pathlib.Path | None,
        placement: str,
        checkpoint_seconds: float,
        evaluations: tuple[int, int],
    ):
        self.folder, self.placement, self.checkpoint_seconds = folder, placement, checkpoint_seconds
        self.evaluations = evaluations  # games, every so many updates
        self.results: list[Result] = []
        self.places: dict[Any, Where] = {}

    def key(self, config: Config, seed: int) -> Any:
        """What a replicate is."""
        hyper = _rows(config.method, config.hyper, 1)
        return config.method, config.num_updates, self.evaluations, hyper[0], seed

    def carry_out(
        self,
        configs: Sequence[Config],
        seeds: Sequence[int],
        wanted: dict[tuple[str, int], Any],
        report: Callable | None,
    ) -> None:
        """Goes on with what was cut off, then trains what is missing."""
        there = sorted(self.folder.glob("parts/[0-9]*")) if self.folder else []
        plans = [(path, run_folder.read_plan(path)) for path in there]
        clock = _Clock(report)
        for path, plan in plans:
            if not run_folder.is_finished(path):
                clock.expect(plan)
        known = {key for _, plan in plans for key in _keys(plan)}
        missing = list(_missing(configs, seeds, wanted, known, self.placement, self.evaluations))
        for plan in missing:
            clock.expect(plan)
        for path, plan in plans:
            self._add(plan, runner.resume(path, report=clock.of(plan)))
        for i, plan in enumerate(missing, start=len(plans)):
            self._add(
                plan,
                runner.run(
                    plan.method,
                    plan.hyper,
                    plan.seeds,
                    plan.num_updates,
                    evaluation_games=plan.evaluation_games,
                    evaluate_every=plan.evaluate_every,
                    placement=plan.placement,
                    directory=self.folder and self.folder / "parts" / f"{i:03}",
                    checkpoint_seconds=self.checkpoint_seconds,
                    report=clock.of(plan),
                ),
            )

    def _add(self, plan: Plan, result: Result) -> None:
        if result.dataset.sizes["iteration"] < plan.num_updates:
            raise KeyboardInterrupt
        places = {key: Where(len(self.results), i) for i, key in enumerate(_keys(plan))}
        self.places = places | self.places  # what was there first stays
        self.results.append(result)


def _missing(
    configs: Sequence[Config],
    seeds: Sequence[int],
    wanted: dict[tuple[str, int], Any],
    known: set,
    placement: str,
    evaluations: tuple[int, int],
) -> Iterator[Plan]:
    """Runs for the replicates that are not there: one for all that share method and length."""
    groups: dict[Any, dict[Any, tuple[Config, int]]] = {}
    for config in configs:
        for seed in seeds:
            key = wanted[config.name, seed]
            if key not in known:
                kind = config.method, config.num_updates, config.hyper.env is None
                groups.setdefault(kind, {})[key] = config, seed
    for (method, num_updates, _), replicates in groups.items():
        pairs = list(replicates.values())
        hyper = jax.tree.map(_column, *(config.hyper for config, _ in pairs))
        numbers = np.array([seed for _, seed in pairs])
        yield Plan(method, hyper, numbers, num_updates, evaluations[0], placement, evaluations[1])


def _column(*numbers: Any) -> Any:
    """One number of all replicates `[R]`, or the one that they share."""
    arrays = [np.asarray(x) for x in numbers]
    if all(np.array_equal(x, arrays[0]) for x in arrays):
        return numbers[0]
    return np.stack(arrays)


def _rows(method: Method, hyper: Hyperparams, num_replicates: int) -> list[tuple[bytes, ...]]:
    """The numbers of each replicate, to be compared; the environment's parameters where any are given."""
    env = None if hyper.env is None else environments.parameters(method.task.env, None)
    columns = []
    for x, like in zip(jax.tree.leaves(hyper), jax.tree.leaves(Hyperparams(env=env)), strict=True):
        x = np.asarray(x, jnp.result_type(like))
        shared = x.ndim == np.ndim(like)
        columns.append([x.tobytes()] * num_replicates if shared else [row.tobytes() for row in x])
    return list(zip(*columns, strict=True))


def _keys(plan: Plan) -> list[Any]:
    """What each replicate of a run is."""
    rows = _rows(plan.method, plan.hyper, len(plan.seeds))
    fixed = plan.method, plan.num_updates, (plan.evaluation_games, plan.evaluate_every)
    return [(*fixed, row, int(seed)) for row, seed in zip(rows, plan.seeds, strict=True)]


class _Clock:
    """Progress of a study from that of its runs, each weighted by the updates of its replicates."""

    def __init__(self, report: Callable[[Progress], None] | None):
        self.report = report
        self.total = self.done = 0
        self.seconds = 0.0

    def expect(self, plan: Plan) -> None:
        self.total += plan.num_updates * len(plan.seeds)

    def of(self, plan: Plan) -> Callable[[Progress], None] | None:
        """What a run of the study reports to."""
        if self.report is None:
            return None
        tell, before = self.report, self.done

        def report(progress: Progress) -> None:
            left = self.total - before - progress.iteration * len(plan.seeds)
            if progress.iteration == progress.num_updates:
                self.done = before + plan.num_updates * len(plan.seeds)
            rate = progress.seconds_left / max(progress.num_updates - progress.iteration, 1) / len(plan.seeds)
            in_all = progress._replace(
                iteration=self.total - left,
                num_updates=self.total,
                seconds_left=rate * left if progress.iteration < progress.num_updates else 0.0,
            )
            tell(in_all)

        return report


def _assemble(
    configs: Sequence[Config],
    seeds: Sequence[int],
    parts: Sequence[Result],
    places: Mapping[tuple[str, int], Where],
) -> "xarray.Dataset":
    """All replicates in one dataset, each at its configuration and seed."""
    import xarray

    length = max(config.num_updates for config in configs)
    shape = (len(configs), len(seeds))
    names = sorted({str(name) for part in parts for name in part.dataset.data_vars})
    arrays: dict[str, np.ndarray] = {}
    attrs: dict[str, dict] = {}
    seconds = {"run_seconds": np.zeros(len(configs)), "compile_seconds": np.zeros(len(configs))}
    for c, config in enumerate(configs):
        for s, seed in enumerate(seeds):
            where = places[config.name, seed]
            dataset = parts[where.part].dataset
            for name in names:
                if name not in dataset:
                    continue
                values = dataset[name].values[where.index]
                attrs[name] = dataset[name].attrs
                if name not in arrays:  # what runs are shorter than the longest is NaN, also where they count
                    floating = np.result_type(values, np.float32) if values.ndim else values.dtype
                    arrays[name] = np.full((*shape, length) if values.ndim else shape, 0, floating)
                    if floating.kind == "f":
                        arrays[name][:] = np.nan
                arrays[name][(c, s, slice(len(values))) if values.ndim else (c, s)] = values
            for clock, total in seconds.items():
                total[c] += dataset.attrs[clock] / dataset.sizes["seed"]
    dims = ("config", "seed", "iteration")
    variables: dict[str, Any] = {k: (dims[: x.ndim], x, attrs[k]) for k, x in arrays.items()}
    variables |= {k: (("config",), x, {"units": "s"}) for k, x in seconds.items()}
    variables["num_updates"] = (("config",), [config.num_updates for config in configs])
    coordinates: dict[str, Any] = {
        "config": [config.name for config in configs],
        "seed": list(seeds),
        "iteration": np.arange(1, length + 1),
    }
    swept = {name for config in configs for name, _ in config.settings}
    for name in sorted(swept):
        coordinates[name] = (
            "config",
            [dict(config.settings).get(name, np.nan) for config in configs],
        )
    dataset = xarray.Dataset(variables, coordinates)
    first = configs[0]
    dataset.attrs |= {"environment": first.method.task.env.name}
    dataset.attrs |= {"evaluation_games": parts[0].dataset.attrs["evaluation_games"]}
    return dataset


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


def _write(dataset: "xarray.Dataset", target: pathlib.Path) -> None:
    part = target.with_name(f".{target.name}.part")
    dataset.to_netcdf(part, engine="h5netcdf")
    os.replace(part, target)
