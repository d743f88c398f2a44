"""How a run is carried out, whatever it trains: what `run`, `study` and the command line hand on as one record."""

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


class Progress(NamedTuple):
    """How far a run is, all seeds together."""

    iteration: int  # updates done
    num_updates: int  # of the whole run; with a budget of steps, as many as it will last at the pace so far
    mean_return: float  # over the games that ended in the last update, of all seeds; NaN where none did
    steps_per_second: float  # environment steps trained on, compilation apart
    seconds_left: float


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `purepg.run` and `purepg.study` of the same names, checked when they are made."""

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
        """Method and numbers fitted to one another (`training.fitted`), and the most updates, if there is a limit.

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
        """What a run with these options is to do, as its folder keeps it."""
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
