"""The host loop: hundreds of seeds through compiled chunks of updates, with progress between them."""

import contextlib
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import (
    checks,
    environments,
    files,
    folder_lock,
    hyperparams,
    memory,
    results,
    run_folder,
    run_length,
    saved_state,
)
from purepg import seeds as seed_axis
from purepg.checkpoint import Checkpoints, Reached
from purepg.errors import InvalidInput, whole_number
from purepg.evaluation import Evaluation, evaluate
from purepg.hyperparams import Hyperparams
from purepg.metrics import Average, Metrics
from purepg.results import Result
from purepg.run_folder import Plan
from purepg.seeds import Placed
from purepg.task import fitted
from purepg.training import Method, TrainState, init, train

# Numbers that no update of a run folds into its key.
_EVALUATION_STREAM = 2**31  # the games that end a run; those among the updates have the next one
_FRESH_STREAM = _EVALUATION_STREAM + 2


class Progress(NamedTuple):
    """How far a run is, all seeds together."""

    iteration: int  # updates done
    num_updates: int  # of the whole run; with a budget of steps, as many as it will last at the pace so far
    mean_return: float  # over the games that ended in the last update, of all seeds; NaN where none did
    steps_per_second: float  # environment steps trained on, compilation apart
    seconds_left: float


@memory.explained()
def run(
    method: Method,
    hyper: Hyperparams | None = None,
    seeds: int | Sequence[int] | np.ndarray = 64,
    num_updates: int | None = None,
    *,
    num_steps: int | None = None,
    evaluation_games: int = 100,
    evaluate_every: int = 0,
    placement: str = "auto",
    directory: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Trains independent seeds and evaluates each greedily on fresh games.

    Args:
      method: what to train; static.
      hyper: numbers, the same for every seed, or arrays `[R]` with one for each entry of `seeds`; defaults if none.
      seeds: how many (numbered from 0), or their numbers. A seed's result depends on its number alone. Where `hyper`
        has arrays, a seed may be there several times.
      num_updates: updates of each seed, at most; none: 100, or with `num_steps` as many as that lasts.
      num_steps: a budget of environment steps: each seed stops after the first update in which its own reach it.
        What it played beyond is at most an update; later values of its metrics are NaN with count 0.
      evaluation_games: games of an evaluation of each seed; 0 for none.
      evaluate_every: updates between two evaluations during training, a divisor of `num_updates`, if given; 0: only at
        the end. They are the metric "greedy_return", draw from keys of their own and leave the training as it is.
      placement: where the seed axis goes; by default what suits the backend.
      directory: a new folder to save the run in, with checkpoints from which `purepg.resume` goes on; none: the run is
        in memory alone.
      checkpoint_seconds: time between two checkpoints at least; they are written between chunks of updates.
      report: called between chunks of updates.

    Interrupting (Ctrl-C) ends the training after the running chunk and returns what was done, evaluated if the run is
    in memory alone, else ready to be resumed.

    Returns:
      A result with the seed axis in every array; compile and run time are attributes of its dataset.
    """
    hyper = Hyperparams() if hyper is None else hyper
    method = fitted(method, hyper)
    num_updates, num_steps = run_length.checked(num_updates, num_steps)
    evaluation_games = whole_number("evaluation_games", evaluation_games, 0)
    check_memory(method, hyper, seeds, num_updates, evaluation_games, placement)
    numbers = seed_axis.numbered(seeds)
    repeated = len(np.unique(numbers)) < len(numbers)
    defaults = environments.parameters(method.task.env, None)
    if repeated and not hyperparams.varies(hyper, defaults):
        raise InvalidInput(f"seeds = {numbers.tolist()}: give each once")
    evaluate_every = whole_number("evaluate_every", evaluate_every, 0)
    checks.number("checkpoint_seconds", checkpoint_seconds, math.inf)
    checks.kind("checkpoint_seconds", checkpoint_seconds, checkpoint_seconds >= 0, "seconds, 0 or more")
    checks.kind("report", report, report is None or callable(report), "a function of Progress, or none")
    if evaluate_every and ((num_updates or 0) % evaluate_every or not evaluation_games):
        raise InvalidInput(
            f"evaluate_every = {evaluate_every} with num_updates = {num_updates} and {evaluation_games} games: "
            "give a divisor of the updates and at least 1 game"
        )
    plan = Plan(method, hyper, numbers, num_updates, evaluation_games, placement, evaluate_every, num_steps)
    folder = None if directory is None else run_folder.create(directory, plan)
    return _carry_out(plan, folder, checkpoint_seconds, report)


def check_memory(
    method: Method, hyper: Hyperparams, seeds: Any, num_updates: int | None, num_games: int, placement: str
) -> None:
    """
    Raises:
      InvalidInput: a run of so many seeds needs more memory than there is, by what is known before compiling.
    """
    num_seeds = seed_axis.count(seeds)
    together = seed_axis.at_a_time(num_seeds, placement)
    memory.check_training(
        method.task,
        lambda hyper, key: init(method, hyper, key),
        hyperparams.of_one(hyper, environments.parameters(method.task.env, None)),
        num_seeds,
        num_updates or 0,
        together,
    )
    if num_games:
        memory.check_evaluation(method.task, num_games, num_seeds, together)


@memory.explained()
def resume(
    directory: str | os.PathLike,
    *,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Goes on with a run that `run(..., directory=...)` began: to the bit what it would have been uninterrupted.

    A finished run is read and nothing else. A damaged checkpoint is named in a warning and the one before taken.

    Raises:
      InvalidInput: there is no run in this folder, or it cannot be read.
    """
    folder = files.path(directory)
    plan = run_folder.read_plan(folder)
    if run_folder.is_finished(folder):
        return results.load(folder)
    return _carry_out(plan, folder, checkpoint_seconds, report)


@memory.explained()
def evaluate_seeds(
    result: Result, *, num_games: int = 100, deterministic: bool = True, stream: int = 0
) -> Evaluation:
    """Fresh games of every seed of a run: arrays `[S, num_games]`.

    The games' randomness comes from each seed's own key and the number `stream`, and is another than that of the games
    which `run` itself plays.

    Raises:
      InvalidInput: `num_games` is no whole number of at least 1, or `stream` none from 0 to 2^32 - 1.
    """
    num_games = whole_number("num_games", num_games, 1)
    stream = whole_number("stream", stream, 0, 2**32 - 1)
    together = seed_axis.at_a_time(len(result.seeds))
    memory.check_evaluation(result.method.task, num_games, len(result.seeds), together)
    fresh = _evaluation(result.method, num_games, deterministic, _FRESH_STREAM, stream)
    placed = Placed(fresh, len(result.seeds))
    defaults = environments.parameters(result.method.task.env, None)
    hyper = hyperparams.over_seeds(result.hyper, defaults, len(result.seeds))
    arguments = placed.pad((hyper, saved_state.filled(result.state)))
    return placed.unpad(placed.compile(*arguments)(*arguments))


def _carry_out(
    plan: Plan, folder: pathlib.Path | None, checkpoint_seconds: float, report: Callable | None
) -> Result:
    """What is left of a plan, saved in its folder if it has one, which is held meanwhile."""
    if folder is None:
        job = _Run(plan, None)
        job.train(None, checkpoint_seconds, report)
        return job.result(evaluate=plan.evaluation_games > 0)
    with folder_lock.hold(folder):
        if run_folder.is_finished(folder):  # by the one who held it before
            return results.load(folder)
        with contextlib.closing(run_folder.checkpoints(folder, plan)) as checkpoints:
            job = _Run(plan, checkpoints.newest(run_folder.template(plan)))
            finished = job.train(checkpoints, checkpoint_seconds, report)
            try:
                result = job.result(evaluate=plan.evaluation_games > 0 and finished)
            except BaseException:  # too little memory, an interruption: what was trained is kept
                checkpoints.save(job.reached, now=True)
                raise
            if finished:
                run_folder.finish(folder, result.dataset, result.state)
                checkpoints.remove()
            else:
                checkpoints.save(job.reached, now=True)
            return result


class _Run:
    """The host's side of a run: compiled functions, the state of all seeds, clocks."""

    def __init__(self, plan: Plan, reached: Reached | None):
        self.plan = plan
        self.compile_seconds = 0.0
        defaults = environments.parameters(plan.method.task.env, None)
        start = self._place(lambda hyper, key: init(plan.method, hyper, key, plan.num_steps))
        self.placed = start
        hyper = hyperparams.over_seeds(plan.hyper, defaults, len(plan.seeds))
        self.hyper = start.pad(hyper)  # [padded, ...]
        if reached is None:
            keys = start.pad(seed_axis.keys(plan.seeds))
            state = self._compile(start, self.hyper, keys)(self.hyper, keys)
            reached = Reached(state, [], 0, 0.0)
        else:
            reached = reached._replace(state=start.pad(reached.state))
        self._reached = reached  # complete chunks; its state is [padded, ...]

    @property
    def reached(self) -> Reached:
        """How far the run has come."""
        return self._reached._replace(state=self.placed.unpad(self._reached.state))

    def train(
        self, checkpoints: Checkpoints | None, checkpoint_seconds: float, report: Callable | None
    ) -> bool:
        """The updates that are left; whether they were all done."""
        plan, before = self.plan, self._reached
        expected = run_length.before(plan.method.task, plan.num_updates, plan.num_steps)
        per_chunk = run_length.chunk(expected, plan.evaluate_every or 1, plan.num_updates is not None)
        chunk = self._place(_training(plan, per_chunk))
        step = self._compile(chunk, self.hyper, before.state)
        jax.block_until_ready(before.state)
        started = time.perf_counter()
        saved = -math.inf  # the first chunk is kept at once
        try:
            while not run_length.is_done(self._reached.state, plan.num_updates):
                state, metrics = step(self.hyper, self._reached.state)
                metrics = self.placed.unpad(jax.device_get(metrics))
                iteration = int(np.max(state.iteration))
                made = iteration - self._reached.iteration  # fewer where every seed has come to its end
                metrics = jax.tree.map(lambda x, made=made: x[:, :made], metrics)
                now = time.perf_counter()
                pieces = [*self._reached.metrics, metrics]
                self._reached = Reached(state, pieces, iteration, before.seconds + now - started)
                if checkpoints and now - saved >= checkpoint_seconds:
                    checkpoints.save(self.reached, now=saved == -math.inf)  # before anybody is told of it
                    saved = now
                if report is not None:
                    report(_progress(self._reached, before, plan))
        except KeyboardInterrupt:
            if not self._reached.iteration:
                raise
        return run_length.is_done(self._reached.state, plan.num_updates)

    def result(self, *, evaluate: bool) -> Result:
        reached = self.reached
        returns = self._evaluate() if evaluate else None
        attrs = {"compile_seconds": self.compile_seconds, "run_seconds": reached.seconds}
        metrics = results.concatenate(reached.metrics)
        return results.from_plan(self.plan, reached.state, metrics, attrs, returns)

    def _evaluate(self) -> np.ndarray:
        """Mean greedy return of each seed, [R]."""
        placed = self._place(
            _evaluation(self.plan.method, self.plan.evaluation_games, True, _EVALUATION_STREAM, 0)
        )
        arguments = self.hyper, self._reached.state
        played = self._compile(placed, *arguments)(*arguments)
        return np.asarray(placed.unpad(played.returns)).mean(axis=1)

    def _place(self, function: Callable) -> Placed:
        return Placed(function, len(self.plan.seeds), self.plan.placement)

    def _compile(self, placed: Placed, *arguments) -> Callable:
        started = time.perf_counter()
        compiled = placed.compile(*arguments)
        self.compile_seconds += time.perf_counter() - started
        return compiled


def _training(plan: Plan, num_updates: int) -> Callable:
    """Some updates as a function of one seed's numbers and state, with the evaluations among them."""
    if not plan.evaluate_every:
        return lambda hyper, state: train(plan.method, hyper, state, num_updates)

    def stretch(hyper: Hyperparams, before: TrainState) -> tuple[TrainState, Metrics]:
        state, numbers = train(plan.method, hyper, before, plan.evaluate_every)
        key = jax.random.fold_in(jax.random.fold_in(state.key, _EVALUATION_STREAM + 1), state.iteration)
        params = plan.method.params(state.learner)
        played = evaluate(plan.method, hyper, params, key, plan.evaluation_games)
        # No update of a seed that has used up its budget before is that of an evaluation.
        last = before.iteration + plan.evaluate_every == state.iteration
        at_the_end = (jnp.arange(plan.evaluate_every) == plan.evaluate_every - 1) & last
        value = Average(jnp.where(at_the_end, played.returns.mean(), 0.0), at_the_end.astype(jnp.float32))
        return state, numbers | {"greedy_return": value}

    def stretches(hyper: Hyperparams, state: TrainState) -> tuple[TrainState, Metrics]:
        count = num_updates // plan.evaluate_every
        state, numbers = jax.lax.scan(lambda state, _: stretch(hyper, state), state, length=count)
        return state, jax.tree.map(lambda x: x.reshape(num_updates), numbers)

    return stretches


def _evaluation(method: Method, num_games: int, deterministic: bool, *stream: int) -> Callable:
    """Evaluation as a function of one seed's numbers and state."""

    def play(hyper: Hyperparams, state: TrainState) -> Evaluation:
        key = functools.reduce(jax.random.fold_in, stream, state.key)
        return evaluate(method, hyper, method.params(state.learner), key, num_games, deterministic)

    return play


def _progress(reached: Reached, before: Reached, plan: Plan) -> Progress:
    newest = reached.metrics[len(before.metrics) :]
    done, seconds = reached.iteration - before.iteration, reached.seconds - before.seconds
    total, count = (float(x[:, -1].sum()) for x in newest[-1]["return"])
    steps = sum(float(m["steps"].sum.sum()) for m in newest)
    num_updates = run_length.so_far(reached.state, plan.num_updates, plan.num_steps)
    return Progress(
        reached.iteration,
        num_updates,
        total / count if count else float("nan"),
        steps / seconds,
        seconds / done * (num_updates - reached.iteration),
    )
