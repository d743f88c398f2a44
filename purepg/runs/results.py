"""The labelled result of a run: arrays with a seed axis, and the final state."""

import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from purepg import hyperparams
from purepg.environments import labels
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.machines import files
from purepg.policies.networks import Params
from purepg.rollout.metrics import Metrics
from purepg.runs import run_folder, saved_state
from purepg.runs.plans import Plan
from purepg.statistics import seed_metrics
from purepg.training import Method, TrainState

if TYPE_CHECKING:
    import xarray

__all__ = ["Result", "concatenate", "from_plan", "load", "load_dataset", "to_dataset"]

_UNITS = {
    "return": ("undiscounted return per finished game", "reward"),
    "length": ("length per finished game", "steps"),
    "steps": ("environment steps", "steps"),
    "entropy": ("entropy of the policy at the visited states", "nats"),
    "gradient_norm": ("global norm of the gradient before clipping", "scaled reward"),
    "value_error": ("squared error of the critic", "scaled reward squared"),
    "td_error": ("mean absolute TD error", "scaled reward"),
    "epsilon": ("probability of a random action", "1"),
    "elite_threshold": ("return of the last elite", "reward"),
    "search_std": ("mean standard deviation of the search", "1"),
    "skipped": ("update left out because it was not finite", "1"),
    "evaluation_return": ("mean undiscounted return over fresh games after training", "reward"),
    "greedy_return": ("mean undiscounted return over fresh greedy games", "reward"),
    "updates": ("updates made within the budget of environment steps", "1"),
    "frozen_at": ("update at which the seed was given up, -1 for never", "iteration"),
}


@dataclass(frozen=True, eq=False)
class Result:
    """What `purepg.run` returns. Two results are equal if everything but the clocks is, number by number.

    Attributes:
      method: What was trained.
      hyper: Its numbers, shared by all seeds or `[S]`.
      state: `[S, ...]`, the final state of every seed; of a run saved in an earlier format, what its file lacks
        is a shape and a type.
      dataset: Labelled arrays, dims ("seed", "iteration"), one iteration per update.
    """

    method: Method
    hyper: Hyperparams
    state: TrainState
    dataset: "xarray.Dataset"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return (
            self.method == other.method
            and _equal((self.hyper, self.state), (other.hyper, other.state))
            and self.dataset.equals(other.dataset)
        )

    def __hash__(self) -> int:
        return hash((self.method, self.seeds.tobytes()))

    @property
    def seeds(self) -> np.ndarray:
        """The seed numbers, [S]."""
        return self.dataset["seed"].values

    def params(self, seed: int) -> Params:
        """The trained parameters of one seed.

        Args:
          seed: its number.

        Raises:
          InvalidInput: the run has no such seed, or has it several times.
        """
        index = self._index(seed)
        return jax.tree.map(lambda x: x[index], self.method.params(self.state.learner))

    def hyper_of(self, seed: int) -> Hyperparams:
        """The hyper-parameters of one seed: its own where seeds differ in them.

        Args:
          seed: its number.

        Raises:
          InvalidInput: the run has no such seed, or has it several times.
        """
        return hyperparams.some(self.hyper, self.method.task.env, self._index(seed))

    def _index(self, seed: int) -> int:
        if seed not in self.seeds:
            raise InvalidInput(
                f"seed {seed} is not in this run: it has {self.seeds.min()} … {self.seeds.max()}"
            )
        (index, *more) = np.flatnonzero(self.seeds == seed)
        if more:
            raise InvalidInput(
                f"seed {seed} is in this run {len(more) + 1} times, with other hyper-parameters: index `state` yourself"
            )
        return int(index)

    def training_return(self, last: int) -> np.ndarray:
        """Mean return of the games that ended in the last updates, `[S]`; NaN where none did or one's return was NaN.

        Args:
          last: how many updates, 1 to their number.
        """
        return seed_metrics.mean_of_games(self.dataset, last)

    def save(self, directory: str | os.PathLike) -> pathlib.Path:
        """Writes the run to a new folder (`purepg.runs.run_folder` says what is in it) and returns its path.

        Args:
          directory: the folder, which must not exist.

        Raises:
          InvalidInput: the folder exists, or cannot be written.
        """
        attrs = self.dataset.attrs
        length = self.dataset.sizes["iteration"]
        plan = Plan(
            self.method,
            self.hyper,
            self.seeds,
            length,
            int(attrs["evaluation_games"]),  # a file gives numpy's numbers back
            str(attrs["placement"]),
            int(attrs["evaluate_every"]),
            int(attrs["num_steps"]) if "num_steps" in attrs else None,
        )
        return run_folder.write(directory, plan, self.dataset, self.state)


def _equal(one: Any, other: Any) -> bool:
    """Whether two trees have the same structure, and numbers that are equal, NaN to NaN."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    numbers = (jax.tree.leaves(saved_state.as_numbers(tree)) for tree in (one, other))
    return all(map(_same, *numbers))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, jax.ShapeDtypeStruct) or isinstance(other, jax.ShapeDtypeStruct):
        return type(one) is type(other) and one == other
    return np.array_equal(one, other, equal_nan=True)


def load(directory: str | os.PathLike) -> Result:
    """Reads a saved run; of an unfinished one, what its newest checkpoint holds.

    Args:
      directory: the run's folder.

    Raises:
      InvalidInput: there is no run in this folder, it is damaged, another version of purepg wrote it, or it has no
        checkpoint yet.
    """
    folder = files.path(directory)
    plan = run_folder.read_plan(folder)
    reached = None if run_folder.is_finished(folder) else run_folder.read_newest(folder, plan)
    if reached is not None:
        attrs = {"run_seconds": reached.seconds}
        return from_plan(plan, reached.state, concatenate(reached.metrics), attrs)
    if run_folder.is_finished(folder):  # perhaps only now: then its checkpoints have just gone
        dataset, state = run_folder.read_final(folder, plan)
        return Result(plan.method, plan.hyper, state, dataset)
    raise InvalidInput(
        f"the run in {folder} has no checkpoint that can be read: `purepg resume {folder}` begins it anew"
    )


def load_dataset(directory: str | os.PathLike) -> "xarray.Dataset":
    """The labelled arrays alone of a saved run or study; of a finished one, this needs none of the user's code.

    Args:
      directory: its folder.

    Raises:
      InvalidInput: as `load`.
    """
    folder = files.path(directory)
    return run_folder.read_dataset(folder) if run_folder.is_finished(folder) else load(folder).dataset


def from_plan(
    plan: Plan,
    state: TrainState,
    metrics: Metrics,
    attrs: dict[str, Any],
    evaluation_return: np.ndarray | None = None,
) -> Result:
    """The result of a plan, finished or not.

    Args:
      plan: what was to be done.
      state: `[S, ...]`, of every seed.
      metrics: `[S, U]`, of every update made.
      attrs: of the dataset, such as the clocks.
      evaluation_return: `[S]`, if the seeds were evaluated.
    """
    extra = {"frozen_at": np.asarray(state.frozen_at)}
    if evaluation_return is not None:
        extra["evaluation_return"] = evaluation_return
    if plan.num_steps is not None:
        extra["updates"] = np.asarray(state.iteration)
        attrs = attrs | {"num_steps": plan.num_steps}
    dataset = to_dataset(metrics, plan.seeds, extra)
    dataset.attrs |= {
        "compile_seconds": 0.0,
        "environment": labels.label(plan.method.task.env, plan.hyper.env, plan.method.task.collect.max_steps),
    }
    names = "evaluation_games", "evaluate_every", "placement"
    dataset.attrs |= {name: getattr(plan, name) for name in names} | attrs
    return Result(plan.method, plan.hyper, state, dataset)


def concatenate(pieces: list[Metrics]) -> Metrics:
    """Metrics `[R, U]` from pieces along the updates.

    Args:
      pieces: metrics `[R, u]`, at least one.
    """
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *pieces)


def to_dataset(metrics: Metrics, seeds: np.ndarray, extra: dict[str, np.ndarray]) -> "xarray.Dataset":
    """Labelled arrays: metrics as means with their counts.

    A mean over nothing is NaN with count 0. Counts that are all 1 are left out, unless a mean is NaN with one: NaN with
    a count is a failure, without one it is none.

    Args:
      metrics: sums and counts `[S, U]`.
      seeds: `[S]`, the seed numbers.
      extra: name → `[S]`, what is known once per seed.
    """
    import xarray

    variables: dict[str, Any] = {}
    for name, (total, count) in metrics.items():
        total, count = np.asarray(total), np.asarray(count)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        variables[name] = (("seed", "iteration"), mean)
        if not (count == 1).all() or np.isnan(mean).any():
            variables[f"{name}_count"] = (("seed", "iteration"), count)
    variables |= {name: (("seed",), values) for name, values in extra.items()}
    num_updates = next(iter(metrics.values())).sum.shape[1]
    dataset = xarray.Dataset(variables, {"seed": seeds, "iteration": np.arange(1, num_updates + 1)})
    dataset["iteration"].attrs["long_name"] = "updates done"
    for name, (long_name, units) in _UNITS.items():
        if name in dataset:
            dataset[name].attrs |= {"long_name": long_name, "units": units}
    return dataset
