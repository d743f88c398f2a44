"""The host loop: hundreds of seeds through compiled chunks of updates, with progress between them."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from purepg import environments, hyperparams, results
from purepg import seeds as seed_axis
from purepg.errors import InvalidInput
from purepg.evaluation import Evaluation, evaluate
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.results import Result
from purepg.seeds import Placed
from purepg.training import Method, TrainState, init, train

_EVALUATION_STREAM = 2**31  # a number that no update of a run folds into its key


class Progress(NamedTuple):
    """How far a run is, all seeds together."""

    iteration: int  # updates done
    num_updates: int
    mean_return: float  # over the games that ended in the last update, of all seeds; NaN where none did
    steps_per_second: float  # environment steps trained on, compilation apart
    seconds_left: float


def run(
    method: Method,
    hyper: Hyperparams | None = None,
    seeds: int | Sequence[int] = 64,
    num_updates: int = 100,
    *,
    evaluation_games: int = 100,
    placement: str = "auto",
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Trains independent seeds and evaluates each greedily on fresh games.

    Args:
      method: what to train; static.
      hyper: numbers, the same for every seed; defaults if none.
      seeds: how many (numbered from 0), or their numbers. A seed's result depends on its number alone.
      num_updates: updates of each seed.
      evaluation_games: games of the final evaluation of each seed; 0 for none.
      placement: where the seed axis goes; by default what suits the backend.
      report: called between chunks of updates.

    Interrupting (Ctrl-C) ends the training after the running chunk and returns what was done.

    Returns:
      A result with the seed axis in every array; compile and run time are attributes of its dataset.
    """
    hyper = Hyperparams() if hyper is None else hyper
    hyperparams.check(hyper)
    numbers = np.arange(seeds) if isinstance(seeds, int) else np.asarray(seeds)
    if len(np.unique(numbers)) < len(numbers) or (numbers < 0).any():
        raise InvalidInput(f"seeds = {numbers.tolist()}: give different numbers from 0 on")
    if len(numbers) == 0 or num_updates < 1 or evaluation_games < 0:
        raise InvalidInput(
            f"{len(numbers)} seeds, {num_updates} updates, {evaluation_games} evaluation games: "
            "give at least 1 seed, 1 update and 0 games"
        )
    return _Run(method, hyper, numbers, placement).train(num_updates, evaluation_games, report)


def evaluate_seeds(
    result: Result, *, num_games: int = 100, deterministic: bool = True, stream: int = 0
) -> Evaluation:
    """Fresh games of every seed of a run: arrays `[S, num_games]`.

    The games' randomness comes from each seed's own key and the number `stream`; 0 is what `run` itself plays.
    """
    placed = Placed(_evaluation(result.method, num_games, deterministic, stream), len(result.seeds))
    env_params = environments.parameters(result.method.task.env, result.hyper.env)
    hyper = hyperparams.over_seeds(result.hyper, env_params, len(result.seeds))
    arguments = placed.pad((hyper, result.state))
    return placed.unpad(placed.compile(*arguments)(*arguments))


class _Run:
    """The host's side of a run: compiled functions, the state of all seeds, clocks."""

    def __init__(self, method: Method, hyper: Hyperparams, numbers: np.ndarray, placement: str):
        self.method, self.hyper, self.numbers, self.placement = method, hyper, numbers, placement
        env_params = environments.parameters(method.task.env, hyper.env)
        self.compile_seconds = 0.0
        start = self._place(lambda hyper, key: init(method, hyper, key))
        keys = start.pad(seed_axis.keys(numbers))
        self.hyper_over_seeds = start.pad(hyperparams.over_seeds(hyper, env_params, len(numbers)))
        self.state = self._compile(start, self.hyper_over_seeds, keys)(self.hyper_over_seeds, keys)
        self.unpad = start.unpad

    def train(self, num_updates: int, evaluation_games: int, report: Callable | None) -> Result:
        per_chunk = _chunk_size(num_updates)
        chunk = self._place(lambda hyper, state: train(self.method, hyper, state, per_chunk))
        step = self._compile(chunk, self.hyper_over_seeds, self.state)
        jax.block_until_ready(self.state)
        done: list[Metrics] = []
        started = time.perf_counter()
        try:
            while len(done) * per_chunk < num_updates:
                state, metrics = step(self.hyper_over_seeds, self.state)
                done.append(jax.device_get(metrics))
                self.state = state
                if report is not None:
                    report(_progress(done, num_updates, time.perf_counter() - started))
        except KeyboardInterrupt:
            if not done:
                raise
        run_seconds = time.perf_counter() - started
        extra = {"frozen_at": self.state.frozen_at}
        if evaluation_games:
            extra["evaluation_return"] = self._evaluate(evaluation_games)
        metrics = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *done)
        metrics, state, extra = self.unpad((metrics, self.state, extra))
        dataset = results.to_dataset(metrics, self.numbers, extra)
        dataset.attrs |= {"compile_seconds": self.compile_seconds, "run_seconds": run_seconds}
        dataset.attrs |= {"environment": self.method.task.env.name, "evaluation_games": evaluation_games}
        return Result(self.method, self.hyper, state, dataset)

    def _evaluate(self, num_games: int) -> jax.Array:
        placed = self._place(_evaluation(self.method, num_games, deterministic=True, stream=0))
        arguments = self.hyper_over_seeds, self.state
        return self._compile(placed, *arguments)(*arguments).returns.mean(axis=1)

    def _place(self, function: Callable) -> Placed:
        return Placed(function, len(self.numbers), self.placement)

    def _compile(self, placed: Placed, *arguments) -> Callable:
        started = time.perf_counter()
        compiled = placed.compile(*arguments)
        self.compile_seconds += time.perf_counter() - started
        return compiled


def _evaluation(method: Method, num_games: int, deterministic: bool, stream: int) -> Callable:
    """Evaluation as a function of one seed's numbers and state."""

    def play(hyper: Hyperparams, state: TrainState) -> Evaluation:
        key = jax.random.fold_in(jax.random.fold_in(state.key, _EVALUATION_STREAM), stream)
        return evaluate(method, hyper, method.params(state.learner), key, num_games, deterministic)

    return play


def _chunk_size(num_updates: int) -> int:
    """Updates between two looks at the clock: a divisor, so that one program serves all; about 20 looks a run."""
    most = max(1, min(num_updates // 20, 50))
    return next(size for size in range(most, 0, -1) if num_updates % size == 0)


def _progress(done: list[Metrics], num_updates: int, seconds: float) -> Progress:
    iteration = sum(m["steps"].sum.shape[1] for m in done)
    total, count = (float(x[:, -1].sum()) for x in done[-1]["return"])
    steps = sum(float(m["steps"].sum.sum()) for m in done)
    return Progress(
        iteration,
        num_updates,
        total / count if count else float("nan"),
        steps / seconds,
        seconds / iteration * (num_updates - iteration),
    )
