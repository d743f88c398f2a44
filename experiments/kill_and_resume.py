"""Does a run that is killed at any moment go on as if nothing had happened?

    python experiments/kill_and_resume.py [--times 20] [--estimator gae]

Runs a job once to its end, then again and again in a process that gets SIGKILL at a random moment, is resumed, and is
compared with the first bit by bit: every metric, every parameter, running games and keys included. A kill may strike
at any time from the creation of the folder to the removal of the checkpoints, which are written after every chunk.

Expected: equal every time, and every folder can be opened. Run time on 2 cores: 6 minutes.
"""

import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import purepg
from purepg import defaults, run_folder

UPDATES = 60


def train(folder: pathlib.Path, estimator: str) -> purepg.Result:
    purepg.seeds.use_all_cores()
    recipe = defaults.recipe("CartPole-v1", estimator, num_updates=UPDATES)
    return purepg.run(
        recipe.method, recipe.hyper, 5, UPDATES, evaluation_games=10, directory=folder, checkpoint_seconds=0.0
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


def main(times: int = 20, estimator: str = "gae", seed: int = 0, child: pathlib.Path | None = None) -> None:
    """Kills and resumes, and counts.

    Args:
      times: how often.
      estimator: what is trained.
      seed: of the moments.
      child: the folder of a run, in the process that is killed.
    """
    if child:
        train(child, estimator)
        return
    purepg.seeds.use_all_cores()
    moments = random.Random(seed)
    equal = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        process = in_a_process(folder / "whole", estimator)
        while not (folder / "whole").is_dir():
            time.sleep(0.01)
        began = time.monotonic()
        process.wait()
        lasts = time.monotonic() - began
        whole = purepg.load(folder / "whole")
        for i in range(times):
            run = folder / f"run-{i}"
            process = in_a_process(run, estimator)
            while not run.is_dir():
                time.sleep(0.001)
            after = moments.uniform(0, lasts)
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            process.wait()
            states = run / "progress" / "states"
            there = "finished" if run_folder.is_finished(run) else "checkpoints "
            if not run_folder.is_finished(run):
                found = (
                    sorted(int(p.name) for p in states.iterdir() if p.name.isdecimal())
                    if states.is_dir()
                    else []
                )
                there += ", ".join(map(str, found)) or "none"
            equal += (is_equal := same(purepg.resume(run), whole))
            text = "equal" if is_equal else "DIFFERENT"
            print(f"killed {after:.2f} s after the folder was made ({there}): {text}", flush=True)
    print(f"{equal} of {times} equal to the uninterrupted run bit for bit")


if __name__ == "__main__":
    tyro.cli(main)
