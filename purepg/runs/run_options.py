"""How a run is carried out, whatever it trains: the options that `run`, `study` and the command line pass on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from purepg.errors import InvalidInput, checks, whole_number
from purepg.hyperparams import Hyperparams
from purepg.machines import seeds
from purepg.runs import run_length
from purepg.runs.plans import Plan
from purepg.task import AUTOMATIC
from purepg.training import Method, fitted

__all__ = ["Progress", "RunOptions"]


class Progress(NamedTuple):
    """How far a run has come, all seeds together.

    Attributes:
      iteration: Updates made.
      num_updates: Of the whole run; with a budget of steps, as many as it will last for at the pace so far.
      mean_return: Over the games of all seeds that ended in the last update; NaN where none did.
      steps_per_second: Environment steps trained on, without the time for compilation.
      seconds_left: At the pace so far.
    """

    iteration: int
    num_updates: int
    mean_return: float
    steps_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `purepg.run` and `purepg.study` of the same names, checked when they are made.

    Attributes:
      num_steps: Budget of environment steps of each seed.
      evaluation_games: Games of an evaluation of each seed.
      evaluate_every: Updates between two evaluations.
      placement: Where the seed axis goes.
      checkpoint_seconds: Least time between two checkpoints.
      report: Called between chunks of updates.
    """

    num_steps: int | None = None
    evaluation_games: int = 100
    evaluate_every: int = 0
    placement: str = "auto"
    checkpoint_seconds: float = 60.0
    report: Callable[[Progress], None] | None = None

    def __post_init__(self):
        run_length.checked(None, self.num_steps)
        whole_number("evaluation_games", self.evaluation_games, 0)
        whole_number("evaluate_every", self.evaluate_every, 0)
        seeds.checked(self.placement)
        pause = self.checkpoint_seconds
        checks.number("checkpoint_seconds", pause, math.inf)
        checks.kind("checkpoint_seconds", pause, pause >= 0, "seconds, 0 or more")
        fits = self.report is None or callable(self.report)
        checks.kind("report", self.report, fits, "a function of Progress, or none")

    def fitted(
        self, method: Method, hyper: Hyperparams, num_updates: int | None
    ) -> tuple[Method, Hyperparams, int | None]:
        """Method and numbers fitted to each other (`training.fitted`), and the most updates, if there is a limit.

        Args:
          method: what to train.
          hyper: its numbers.
          num_updates: at most; none: 100, or as many as the budget of steps lasts for.

        Raises:
          InvalidInput: they do not go together, or not with these options.
        """
        method, hyper = fitted(method, hyper)
        if method.task.backend != AUTOMATIC:
            raise InvalidInput(
                f"backend = {method.task.backend}: a run chooses its own, leave it out of the task"
            )
        num_updates, _ = run_length.checked(num_updates, self.num_steps)
        if self.evaluate_every and ((num_updates or 0) % self.evaluate_every or not self.evaluation_games):
            raise InvalidInput(
                f"evaluate_every = {self.evaluate_every} with num_updates = {num_updates} and {self.evaluation_games} "
                "games: give a divisor of the updates and at least 1 game"
            )
        return method, hyper, num_updates

    def plan(self, method: Method, hyper: Hyperparams, numbers: np.ndarray, num_updates: int | None) -> Plan:
        """What a run with these options is to do, as its folder keeps it.

        Args:
          method: what to train.
          hyper: its numbers, scalars or `[R]`.
          numbers: `[R]`, the seed numbers.
          num_updates: at most; none: as many as the budget of steps lasts for.
        """
        return Plan(
            method=method,
            hyper=hyper,
            seeds=numbers,
            num_updates=None if num_updates is None else int(num_updates),
            evaluation_games=int(self.evaluation_games),
            placement=self.placement,
            evaluate_every=int(self.evaluate_every),
            num_steps=None if self.num_steps is None else int(self.num_steps),
        )
