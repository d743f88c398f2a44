"""Configurations that differ in a few fields: a grid, or random draws.

Fields are named as everywhere (`purepg.runs.records`): `learning_rate` and every other field of `Hyperparams`;
`env.gravity`, a parameter of the environment; `num_games`, `n`, `optimizer.name`, `network.hidden`, `baseline`, … The
first two kinds are traced: one program serves all of their values. Fields of the method are static: each value needs a
program of its own.

Reference: Bergstra and Bengio, Random search for hyper-parameter optimization (2012), for draws instead of grids.
"""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from purepg.errors import InvalidInput, checks, whole_number
from purepg.hyperparams import Hyperparams
from purepg.runs import records, run_length
from purepg.studies.study import Config, Study, study
from purepg.training import Method

__all__ = ["Range", "Scheduled", "Values", "as_long_as", "configurations", "sweep"]


@dataclasses.dataclass(frozen=True)
class Range:
    """Draws between two numbers: log-uniform where they are positive and a decade or more apart, else uniform.

    Attributes:
      low: The smaller end.
      high: The larger end.
    """

    low: float
    high: float

    def __post_init__(self):
        checks.number("low", self.low)
        checks.number("high", self.high)
        if not self.low < self.high:
            raise InvalidInput(f"a range from {self.low} to {self.high}: the first must be the smaller one")

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws from the range, `[count]`.

        Args:
          rng: source of randomness.
          count: how many.
        """
        if self.low > 0 and self.high >= 10 * self.low:
            return np.exp(rng.uniform(np.log(self.low), np.log(self.high), count))
        return rng.uniform(self.low, self.high, count)


Values = Sequence[Any] | Range


def sweep(
    method: Method,
    hyper: Hyperparams | None = None,
    over: Mapping[str, Values] | None = None,
    seeds: int | Sequence[int] = 64,
    num_updates: int | None = None,
    *,
    num_steps: int | None = None,
    draws: int | None = None,
    draw_seed: int = 0,
    **options: Any,
) -> Study:
    """Trains `method` on the same seeds with every combination of the values in `over`.

    Args:
      method: what to train.
      hyper: the numbers that are not swept; none: the defaults.
      over: field, by any of its names (`purepg.runs.records`) → its values; with `draws`, values are drawn from these
        or from a `Range`.
      seeds: how many (numbered from 0), or their numbers.
      num_updates: updates of each replicate, at most; none: 100, or with `num_steps` as many as that lasts for.
      num_steps: a budget of environment steps per replicate, as for `purepg.run`.
      draws: how many combinations are drawn at random; none: all of them are trained.
      draw_seed: seed of the drawing.
      **options: as for `purepg.study`: directory, report, evaluation_games, …

    Raises:
      InvalidInput: a name fits no field or several, or a range is given without `draws`.
    """
    hyper = Hyperparams() if hyper is None else hyper
    num_updates, num_steps = run_length.checked(num_updates, num_steps)
    configs = configurations(method, hyper, over or {}, num_updates, draws=draws, draw_seed=draw_seed)
    return study(configs, seeds, num_steps=num_steps, **options)


def configurations(
    method: Method,
    hyper: Hyperparams,
    over: Mapping[str, Values],
    num_updates: int | None,
    *,
    draws: int | None = None,
    draw_seed: int = 0,
) -> list[Config]:
    """The configurations of a sweep, named by their settings.

    Args:
      method: what to train.
      hyper: the numbers that are not swept.
      over: field → its values, as for `sweep`.
      num_updates: of each replicate, at most; none: as many as a budget of steps lasts for.
      draws: how many combinations are drawn at random; none: all of them.
      draw_seed: seed of the drawing.

    Raises:
      InvalidInput: as `sweep`.
    """
    checks.kind("over", over, isinstance(over, Mapping), "field → its values")
    for name, values in over.items():
        several = (
            isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) and len(values) > 0
        )
        fits = isinstance(name, str) and (several or isinstance(values, Range))
        checks.kind(f"over {name!r}", values, fits, "a field's name, and a list of its values or a Range")
    found = []
    labels = _labels([name.replace("-", "_") for name in over])
    combinations = _combinations(over, draws, draw_seed)
    combinations = list({repr(one): one for one in combinations}.values())  # draws may repeat one another
    digits = _digits(combinations)
    for combination in combinations:
        one_method, one_hyper = records.changed(method, hyper, dict(zip(over, combination, strict=True)))
        settings = tuple(zip(labels, combination, strict=True))
        name = ", ".join(f"{label}={_short(value, digits)}" for label, value in settings) or "as given"
        found.append(Config(name, one_method, one_hyper, num_updates, settings))
    return found


def _labels(fields: list[str]) -> list[str]:
    """The fields by their last names, where those tell them apart."""
    last = [field.rpartition(".")[2] for field in fields]
    return [field if last.count(short) > 1 else short for field, short in zip(fields, last, strict=True)]


def _combinations(over: Mapping[str, Values], draws: int | None, draw_seed: int) -> list[tuple]:
    if draws is None:
        ranges = [name for name, values in over.items() if isinstance(values, Range)]
        if ranges:
            raise InvalidInput(f"{', '.join(ranges)}: values are drawn from a range: say how many draws")
        return list(itertools.product(*over.values()))  # type: ignore
    fits = isinstance(draws, numbers.Integral) and 1 <= draws <= 10**6
    checks.kind("draws", draws, fits, "at least 1, a million at most")
    whole_number("draw_seed", draw_seed, 0)
    rng = np.random.default_rng(draw_seed)
    columns = []
    for values in over.values():
        if isinstance(values, Range):
            columns.append(values.draw(rng, draws).tolist())
        else:
            columns.append([values[i] for i in rng.integers(len(values), size=draws)])
    return list(zip(*columns, strict=True))


@runtime_checkable
class Scheduled(Protocol):
    """A part of a method that changes in the course of a run."""

    horizon: int
    """Updates until it has changed; 0: it never does."""


def as_long_as(
    num_steps: int, method: Any, num_updates: int, given: Callable[[str], bool] = lambda _: False
) -> Any:
    """The method with its schedules stretched to as many updates as a budget of environment steps can last for.

    That number is exact in segments. A whole game may be as short as one step: there a schedule is longer than the run
    and hardly falls, unless you give a number of updates beside the budget.

    Args:
      num_steps: the budget of each seed.
      method: a preset's; its learning rate and its exploration may have a horizon.
      num_updates: for how many the horizons were made.
      given: tells of a field's path whether the field stays as it is.

    Raises:
      InvalidInput: `num_steps` is no budget.
    """
    run_length.checked(None, num_steps)
    longest = math.ceil(num_steps / method.task.steps_an_update[0])
    parts = {f"{path}.horizon": part for path, part in records.fields(method).items()}
    horizons = {
        path: math.ceil(part.horizon * longest / num_updates)
        for path, part in parts.items()
        if isinstance(part, Scheduled) and not given(path)
    }
    return records.replaced(method, horizons)


def _digits(combinations: list[tuple]) -> int:
    """The fewest digits that tell all of them apart."""
    for digits in range(4, 17):
        if len({tuple(_short(x, digits) for x in one) for one in combinations}) == len(combinations):
            return digits
    return 17


def _short(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
