"""The host loop: trains hundreds of seeds in compiled chunks of updates and reports progress in between."""

import contextlib
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from purepg import hyperparams
from purepg.errors import InvalidInput, whole_number
from purepg.evaluation import Evaluation
from purepg.hyperparams import Hyperparams
from purepg.machines import files, folder_lock, memory
from purepg.machines import seeds as seed_axis
from purepg.machines.seeds import Place
from purepg.runs import programs, results, run_folder, run_length, saved_state
from purepg.runs.checkpoint import Checkpoints, RunProgress
from purepg.runs.plans import Plan
from purepg.runs.results import Result
from purepg.runs.run_options import Progress, RunOptions
from purepg.task import on
from purepg.training import Method, init

__all__ = ["check_memory", "evaluate_seeds", "resume", "run", "start"]


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
      hyper: the numbers, the same for every seed, or arrays `[R]` with one per entry of `seeds`; none: the defaults.
      seeds: how many (numbered from 0), or their numbers. A seed's result depends on its number alone. Where `hyper`
        has arrays, a seed may appear several times.
      num_updates: updates of each seed, at most; none: 100, or with `num_steps` as many as that lasts for.
      num_steps: a budget of environment steps per seed: each seed stops after the first update in which its own steps
        reach it, less than an update beyond it. Later values of its metrics are NaN with count 0.
      evaluation_games: games of an evaluation of each seed; 0 for none.
      evaluate_every: updates between two evaluations during training, a divisor of `num_updates` if that is given; 0:
        only at the end. They are the metric "greedy_return", have their own keys and do not change the training.
      placement: where the seed axis goes, as in `purepg.seeds.map`: "sequential", "vmap" or "shared"; "auto" is what
        suits the devices, "shared" on a CPU with more devices than seeds.
      directory: a new folder to save the run in, with checkpoints from which `purepg.resume` continues; none: the run
        is only in memory.
      checkpoint_seconds: least time between two checkpoints; they are written between chunks of updates.
      report: called with a `Progress` between chunks of updates.

    An interruption (Ctrl-C) ends the training after the current chunk and returns what was done: evaluated if the run
    is only in memory, otherwise ready to be resumed.

    Returns:
      A result with the seed axis in every array; compile and run time are attributes of its dataset.

    Raises:
      InvalidInput: method, numbers and options do not go together, the folder exists, or memory does not suffice.
    """
    options = RunOptions(
        num_steps=num_steps,
        evaluation_games=evaluation_games,
        evaluate_every=evaluate_every,
        placement=placement,
        checkpoint_seconds=checkpoint_seconds,
        report=report,
    )
    hyper = Hyperparams() if hyper is None else hyper
    method, hyper, num_updates = options.fitted(method, hyper, num_updates)
    check_memory(method, hyper, seed_axis.count(seeds), num_updates, options)
    numbers = seed_axis.numbered(seeds)
    repeated = len(np.unique(numbers)) < len(numbers)
    if repeated and not hyperparams.varies(hyper, method.task.env):
        raise InvalidInput(f"seeds = {numbers.tolist()}: give each once")
    return start(options.plan(method, hyper, numbers, num_updates), directory, options)


def check_memory(
    method: Method, hyper: Hyperparams, num_seeds: int, num_updates: int | None, options: RunOptions
) -> None:
    """Refuses a run that needs more memory than there is, as far as that is known before compiling.

    Args:
      method, hyper: what to train, and its numbers.
      num_seeds: how many replicates.
      num_updates: at most; none: unknown.
      options: of the run.

    Raises:
      InvalidInput: it needs more.
    """
    together = Place(num_seeds, options.placement, may_share=True).at_a_time
    memory.check_training(
        method.task,
        lambda hyper, key: init(method, hyper, key),
        hyperparams.some(hyper, method.task.env, 0),
        num_seeds,
        num_updates or 0,
        together,
    )
    if options.evaluation_games:
        memory.check_evaluation(method.task, options.evaluation_games, num_seeds, together)


def start(plan: Plan, directory: str | os.PathLike | None, options: RunOptions) -> Result:
    """Carries out a plan, saved in a new folder if `directory` names one."""
    return carry_out(plan, None if directory is None else run_folder.create(directory, plan), options)


@memory.explained()
def resume(
    directory: str | os.PathLike,
    *,
    checkpoint_seconds: float = 60.0,
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Continues a run that `run(..., directory=...)` began: the result is to the bit that of an uninterrupted run.

    A finished run is only read. A damaged checkpoint is named in a warning, and the one before it is taken.

    Args:
      directory: the run's folder.
      checkpoint_seconds: least time between two checkpoints.
      report: called with a `Progress` between chunks of updates.

    Raises:
      InvalidInput: there is no run in this folder, or it cannot be read.
    """
    options = RunOptions(checkpoint_seconds=checkpoint_seconds, report=report)
    folder = files.path(directory)
    plan = run_folder.read_plan(folder)
    if run_folder.is_finished(folder):
        return results.load(folder)
    return carry_out(plan, folder, options)


@memory.explained()
def evaluate_seeds(
    result: Result, *, num_games: int = 100, deterministic: bool = True, stream: int = 0
) -> Evaluation:
    """Fresh games of every seed of a run: arrays `[S, num_games]`.

    Args:
      result: of the run.
      num_games: per seed, at least 1.
      deterministic: play the policy's mode, else samples from it.
      stream: 0 to 2^32 − 1, from which, with each seed's key, the games' randomness comes; `run` itself uses another.

    Raises:
      InvalidInput: `num_games` or `stream` is no whole number in its range.
    """
    num_games = whole_number("num_games", num_games, 1)
    stream = whole_number("stream", stream, 0, 2**32 - 1)
    num_seeds = len(result.seeds)
    memory.check_evaluation(result.method.task, num_games, num_seeds, Place(num_seeds).at_a_time)
    fresh = programs.evaluation(
        result.method, num_games, programs.FRESH_STREAM, stream, deterministic=deterministic
    )
    hyper = hyperparams.over_seeds(result.hyper, result.method.task.env, num_seeds)
    return seed_axis.map(fresh, hyper, saved_state.filled(result.state))


def carry_out(plan: Plan, folder: pathlib.Path | None, options: RunOptions) -> Result:
    """Carries out the rest of a plan, saved in its folder, if it has one, which is locked meanwhile."""
    if folder is None:
        job = _Run(plan, None)
        job.train(None, options)
        return job.result(evaluate=plan.evaluation_games > 0)
    with folder_lock.hold(folder):
        if run_folder.is_finished(folder):  # by the process that held it before
            return results.load(folder)
        with contextlib.closing(run_folder.checkpoints(folder, plan)) as checkpoints:
            job = _Run(plan, checkpoints.newest(run_folder.template(plan)))
            finished = job.train(checkpoints, options)
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

    def __init__(self, plan: Plan, reached: RunProgress | None):
        self.plan = plan
        self.place = Place(len(plan.seeds), plan.placement, may_share=True)
        self.method = method = on(plan.method, self.place.backend)
        self.compile_seconds = 0.0
        hyper = hyperparams.over_seeds(plan.hyper, method.task.env, len(plan.seeds))
        self.hyper = self.place.pad(hyper)  # [padded, ...]
        if reached is None:
            keys = self.place.pad(seed_axis.keys(plan.seeds))
            begin = self._compile(lambda hyper, key: init(method, hyper, key, plan.num_steps), keys)
            reached = RunProgress(begin(self.hyper, keys), [], 0, 0.0)
        else:
            reached = reached._replace(state=self.place.pad(reached.state))
        self._reached = reached  # complete chunks; its state is [padded, ...]

    @property
    def reached(self) -> RunProgress:
        """How far the run has come."""
        return self._reached._replace(state=self.place.unpad(self._reached.state))

    def train(self, checkpoints: Checkpoints | None, options: RunOptions) -> bool:
        """Makes the updates that are left; whether all of them were made."""
        plan, before = self.plan, self._reached
        expected = run_length.before(plan.method.task, plan.num_updates, plan.num_steps)
        per_chunk = run_length.chunk(expected, plan.evaluate_every or 1)
        step = self._compile(programs.training(self.method, plan, per_chunk), before.state)
        jax.block_until_ready(before.state)
        started = time.perf_counter()
        saved = -math.inf  # the first chunk is kept at once
        try:
            while not run_length.is_done(self._reached.state, plan.num_updates):
                state, metrics = step(self.hyper, self._reached.state)
                metrics = self.place.unpad(jax.device_get(metrics))
                iteration = int(np.max(state.iteration))
                made = iteration - self._reached.iteration  # fewer where every seed has finished
                metrics = jax.tree.map(lambda x, made=made: x[:, :made], metrics)
                now = time.perf_counter()
                pieces = [*self._reached.metrics, metrics]
                self._reached = RunProgress(state, pieces, iteration, before.seconds + now - started)
                if checkpoints and now - saved >= options.checkpoint_seconds:
                    checkpoints.save(self.reached, now=saved == -math.inf)  # before anyone hears of it
                    saved = now
                if options.report is not None:
                    options.report(_progress(self._reached, before, plan))
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
        play = programs.evaluation(
            self.method, self.plan.evaluation_games, programs.EVALUATION_STREAM, 0, deterministic=True
        )
        state = self._reached.state
        played = self._compile(play, state)(self.hyper, state)
        return np.asarray(self.place.unpad(played.returns)).mean(axis=1)

    def _compile(self, function: Callable, argument: Any) -> Callable:
        """A function of one seed's numbers and of `argument`."""
        started = time.perf_counter()
        compiled = self.place.compile(function, self.hyper, argument)
        self.compile_seconds += time.perf_counter() - started
        return compiled


def _progress(reached: RunProgress, before: RunProgress, plan: Plan) -> Progress:
    newest = reached.metrics[len(before.metrics) :]
    done, seconds = reached.iteration - before.iteration, reached.seconds - before.seconds
    if missing := {"return", "steps"} - newest[-1].keys():
        whose = type(plan.method).__name__
        raise InvalidInput(
            f"metrics of {whose} lack {', '.join(sorted(missing))}: metrics.of_games(rows) has them"
        )
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
