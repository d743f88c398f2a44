"""What the workers have in common: the work, the clock and the answer.

The standard library alone, because every peer has an environment of its own. A worker turns a `Work` into a `Learner`;
here the learner trains in turns on the clock, and after each turn, off the clock, plays greedily where that is asked.
A worker is called with the work as JSON and prints one line of JSON; how it differs from the others is a part of it.
"""

import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SOLVED_RETURN, SOLVED_SHARE, EVALUATION_GAMES = 475.0, 0.95, 100


class Work(NamedTuple):
    """What is to be done; the same for all peers that are compared."""

    env: str
    seeds: int
    seed: int  # the first seed's number
    games: int  # side by side
    steps: int  # of each game in an update
    updates: int
    turn: int  # updates between two looks at the clock
    hidden: tuple[int, ...]  # tanh layers, of the policy's network and of V's
    learning_rate: float  # Adam's, of both networks
    discount: float
    trace_decay: float  # λ of the advantages
    entropy_coefficient: float
    estimator: str = "gae"  # purepg's name of the way to learn
    physics: str = "gymnax"  # or "brax": whose environment it is


class Learner(NamedTuple):
    """A peer at work; all its seeds."""

    train: Callable[[], Any]  # a turn of updates, waited for
    compile_seconds: float  # before the first update, of all that training runs
    greedy: Callable[[], Sequence[float]] | None = None  # each seed's mean return over fresh games


def seconds_of(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def answer(build: Callable[[Work], Learner], packages: Sequence[str], differs: str) -> None:
    """Does the work given on the command line and prints what was measured.

    Args:
      build: makes the learner, compiled.
      packages: whose versions matter.
      differs: how this peer's work is not the others'.
    """
    work = Work(**json.loads(sys.argv[1]))
    work = work._replace(hidden=tuple(work.hidden))
    learner = build(work)
    looks = []  # after each turn: updates and seconds of training so far, the share of the seeds solved by then
    seconds, solved = 0.0, [False] * work.seeds
    for updates in range(work.turn, work.updates + 1, work.turn):
        seconds += seconds_of(learner.train)[1]
        if learner.greedy is not None:
            reached = [mean >= SOLVED_RETURN for mean in learner.greedy()]
            solved = [before or now for before, now in zip(solved, reached, strict=True)]
        looks.append((updates, seconds, sum(solved) / work.seeds))
    tell(work, looks, learner.compile_seconds, packages, differs, solves=learner.greedy is not None)


def tell(
    work: Work,
    looks: Sequence[tuple[int, float, float]],
    compile_seconds: float,
    packages: Sequence[str],
    differs: str,
    *,
    solves: bool = False,
) -> None:
    """Prints what was measured; `looks`: after each turn, updates, seconds and the share of the seeds solved so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "compile_seconds": compile_seconds,
        "train_seconds": looks[-1][1],
        "steps": work.seeds * work.games * work.steps * looks[-1][0],
        "peak_bytes": peak if sys.platform == "darwin" else 1024 * peak,
        "looks": looks,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "differs": differs,
    }
    if solves:  # nothing: never
        in_time = (look[:2] for look in looks if look[2] >= SOLVED_SHARE)
        result["solved_updates"], result["solved_seconds"] = next(in_time, (None, None))
    print(json.dumps(result), flush=True)
