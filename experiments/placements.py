"""Does every preset run to its end wherever the seeds are placed?

    python experiments/placements.py [--presets gae pathwise] [--limit-seconds 600]

Every estimator preset × sequential, vmap and shared × 1, 2, 3, 8 and 33 seeds × 1 and 2 devices: tiny
runs, each trained, evaluated and checked to be finite. XLA's CPU backend waits forever on some programs, mostly
with two devices, so every preset has its own process for each number of devices; one that does not finish in time is
killed and its row says so. The exit code is 1 if any did not finish.

Measured on 2 cores: all 240 runs ended, in 1.7 to 2.8 s each with compilation (`pathwise-short` 4 s), at most 80 s
for the ten runs of a preset on one number of devices.
"""

import json
import os
import signal
import subprocess
import sys
import time

import tyro
from rich.console import Console
from rich.table import Table

PLACEMENTS = ("sequential", "vmap", "shared")
COUNTS = (1, 2, 3, 8, 33)
DEVICES = (1, 2)


def run_all(name: str, num_devices: int) -> None:
    """Runs of one preset; prints seconds by placement and number of seeds, a line each."""
    import dataclasses

    import numpy as np

    import purepg
    from purepg import presets

    purepg.seeds.use_all_cores(num_devices)
    preset = presets.preset("Pendulum-v1" if name.startswith("pathwise") else "CartPole-v1", name)
    task = preset.method.task
    whole = isinstance(task.collect, purepg.Games)
    collect = purepg.Games(4, 12) if whole else purepg.Segments(4, 4, 12)
    policy = dataclasses.replace(task.policy, network=purepg.MLP((8, 8), initializer="orthogonal"))
    method = dataclasses.replace(
        preset.method, task=dataclasses.replace(task, collect=collect, policy=policy)
    )
    for placement in PLACEMENTS:
        for count in COUNTS:
            started = time.perf_counter()
            result = purepg.run(method, preset.hyper, count, 2, evaluation_games=2, placement=placement)
            assert np.isfinite(result.dataset["evaluation_return"]).all()
            print(json.dumps([placement, count, time.perf_counter() - started]), flush=True)


def in_a_process(name: str, num_devices: int, limit_seconds: float) -> tuple[str, list[list]]:
    """How it ended, and what it did until then."""
    command = [sys.executable, __file__, "--name", name, "--num-devices", str(num_devices)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, errors = process.communicate(timeout=limit_seconds)
        ended = "done" if process.returncode == 0 else errors.strip().splitlines()[-1][:60]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        ended = f"killed after {limit_seconds:g} s"
    return ended, [json.loads(line) for line in printed.splitlines() if line.startswith("[")]


def main(
    presets: tuple[str, ...] = (),
    limit_seconds: float = 600.0,
    name: str | None = None,
    num_devices: int = 1,
) -> None:
    """All presets, or in a process of its own one of them.

    Args:
      presets: which; none: all.
      limit_seconds: for the fifteen runs of one preset on one number of devices.
      name: a preset, to be run here and now.
      num_devices: for that preset.
    """
    if name is not None:
        run_all(name, num_devices)
        return
    from purepg import estimators

    table = Table(title=f"seconds of all runs with {', '.join(map(str, COUNTS))} seeds")
    columns = [f"{placement}, {n} device{'s' * (n > 1)}" for n in DEVICES for placement in PLACEMENTS]
    for column in ("preset", *columns, "ended"):
        table.add_column(column, justify="left" if column in ("preset", "ended") else "right")
    all_done = True
    for preset in presets or estimators.NAMES:
        cells, ends = [], []
        for n in DEVICES:
            ended, runs = in_a_process(preset, n, limit_seconds)
            for placement in PLACEMENTS:
                seconds = [s for where, _, s in runs if where == placement]
                missing = f" ({len(seconds)} of {len(COUNTS)})" if len(seconds) < len(COUNTS) else ""
                cells.append(f"{sum(seconds):.0f}{missing}")
            ends.append(ended)
        all_done &= ends == ["done"] * len(DEVICES)
        table.add_row(preset, *cells, ", ".join(dict.fromkeys(ends)))
        print(f"{preset}: {', '.join(ends)}", file=sys.stderr, flush=True)
    Console(width=140).print(table)
    sys.exit(not all_done)


if __name__ == "__main__":
    tyro.cli(main)
