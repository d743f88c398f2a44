"""Does a run that is killed at any moment continue as if nothing had happened, whoever reads it meanwhile?

    python experiments/kill_and_resume.py [--times 20] [--estimator gae] [--readers 2]

Runs a job once to its end, then again and again in a process that gets SIGKILL at a random moment, is resumed, and is
compared with the first bit by bit: every metric, every parameter, running games and keys included. A kill may strike
at any time from the creation of the folder to the removal of the checkpoints, which are written after every chunk.
Meanwhile other processes load the run, play with its policies and draw it, over and over: what one of them has seen
must stay visible.

Expected: equal every time, every folder can be opened, and no reader ever sees less than before. Run time on 2 cores:
15 minutes.
"""

import itertools
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import purepg
from purepg import presets, report
from purepg.errors import InvalidInput
from purepg.runs import run_folder, runner

UPDATES = 60


def train(folder: pathlib.Path, estimator: str) -> purepg.Result:
    purepg.seeds.use_all_cores()
    preset = presets.preset("CartPole-v1", estimator, num_updates=UPDATES)
    return purepg.run(
        preset.method, preset.hyper, 5, UPDATES, evaluation_games=10, directory=folder, checkpoint_seconds=0.0
    )


def in_a_process(folder: pathlib.Path, estimator: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "--child", str(folder), "--estimator", estimator])


def same(one: purepg.Result, other: purepg.Result) -> bool:
    def numbers(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x)

    leaves = zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True)
    variables = ((one.dataset[name], other.dataset[name]) for name in one.dataset)
    return all(np.array_equal(numbers(a), numbers(b)) for a, b in leaves) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in variables
    )


def read_for_ever(folder: pathlib.Path) -> None:
    """Of the newest run a line with the updates that were read, each time, until the process is killed."""
    purepg.seeds.use_all_cores()
    for turn in itertools.count():
        run = max(
            folder.glob("run-*"), key=lambda run: int(run.name.partition("-")[2]), default=folder / "run-0"
        )
        try:
            result = purepg.load(run)
            if turn % 10 == 0:
                runner.evaluate_seeds(result, num_games=2)
                report.figure("curves", report.read([run]), report.Options())
            print(run.name, result.dataset.sizes["iteration"], flush=True)
        except InvalidInput as error:
            print(run.name, error, flush=True)
            time.sleep(0.1)


def reader(folder: pathlib.Path, log: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", __file__, "--reader", str(folder)]
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def check(log: pathlib.Path) -> str:
    """How often a reader read.

    Raises:
      AssertionError: it saw less than before, or something else than a run.
    """
    seen: dict[str, list[int]] = {}
    for line in log.read_text().splitlines():
        name, _, text = line.partition(" ")
        assert text.isdecimal() or (("no checkpoint" in text or "no folder" in text) and name not in seen), (
            line
        )
        if text.isdecimal():
            seen.setdefault(name, []).append(int(text))
    assert all(updates == sorted(updates) for updates in seen.values()), seen
    unfinished = sum(update < UPDATES for updates in seen.values() for update in updates)
    return (
        f"{sum(map(len, seen.values()))} times, {unfinished} of them before the end, never less than before"
    )


def main(
    times: int = 20,
    estimator: str = "gae",
    readers: int = 2,
    seed: int = 0,
    child: pathlib.Path | None = None,
    reader_of: Annotated[pathlib.Path | None, tyro.conf.arg(name="reader")] = None,
) -> None:
    """Kills and resumes, and counts.

    Args:
      times: how often.
      estimator: what is trained.
      readers: processes that read meanwhile.
      seed: of the moments.
      child: the folder of a run, in the process that is killed.
      reader_of: the folder of all runs, in a process that reads.
    """
    if reader_of:
        read_for_ever(reader_of)
    if child:
        train(child, estimator)
        return
    purepg.seeds.use_all_cores()
    moments = random.Random(seed)
    equal = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        in_a_process(folder / "whole", estimator).wait()
        whole = purepg.load(folder / "whole")
        logs = [folder / f"reader-{i}" for i in range(readers)]
        watching = [reader(folder, log) for log in logs]
        for i in range(times):
            run = folder / f"run-{i}"
            process = in_a_process(run, estimator)
            kill_after(process, run, moments.uniform(-0.1, 1.05) * UPDATES, moments.uniform(0, 0.5))
            there = "finished" if run_folder.is_finished(run) else f"checkpoints {checkpoints(run) or 'none'}"
            equal += (is_equal := same(purepg.resume(run), whole))
            print(f"killed with {there}: {'equal' if is_equal else 'DIFFERENT'}", flush=True)
        print(f"{equal} of {times} equal to the uninterrupted run bit for bit")
        for process, log in zip(watching, logs, strict=True):
            process.kill()
            process.wait()
            print(f"a reader read {check(log)}")


def kill_after(process: subprocess.Popen, run: pathlib.Path, update: float, seconds: float) -> None:
    """SIGKILL some time after so many updates are kept; of fewer than none, after the folder is there."""
    while not run.is_dir() or (
        update > max(checkpoints(run), default=0)
        and not run_folder.is_finished(run)
        and process.poll() is None
    ):
        time.sleep(0.001)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def checkpoints(run: pathlib.Path) -> list[int]:
    states = run / "progress" / "states"
    return sorted(int(path.name) for path in states.glob("[0-9]*"))


if __name__ == "__main__":
    tyro.cli(main)
