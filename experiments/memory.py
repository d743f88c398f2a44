"""How much memory does a run take, and what does it grow with?

    python experiments/memory.py [--quick]

CartPole-v1, `reinforce-loo` as `purepg train` runs it (32 whole games per update, 64×64 tanh network), one number
changed at a time: seeds, updates, games, longest game, width of the network. Each run has its own process. The table
shows its largest resident memory, interpreter, libraries and compiler included; what the compiled update itself needs,
as XLA reports it (arguments are the state of all seeds, temporaries the rows of the seed that is being trained, on each
device); and training steps per second, compilation apart, with the share of the row with the fewest seeds.

Measured on two cores: a seed's state is 54 kB (parameters, Adam's moments) and that is all that grows with the seeds,
some 0.2 MiB each with what the host keeps: 722 to 741 MiB for 8 to 256 seeds, 931 MiB for 1024, of which Python, the
libraries and the compiler take some 650. The rows of the seed that is being trained take 75 bytes per step (1.15 MiB
for 32 games × 500 steps, 4.4 MiB for four times as many, 17.7 MiB for sixteen times), however many seeds there are. 100
updates took 715 MiB and 1000 took 710. Throughput does not fall as seeds are added: 64, 256 and 1024 train 126 %, 125 %
and 128 % of the steps per second that 8 train (1.04 M).
"""

import json
import pathlib
import resource
import subprocess
import sys
from typing import NamedTuple

import tyro
from rich.console import Console
from rich.table import Table


class Case(NamedTuple):
    """One run."""

    seeds: int = 64
    updates: int = 10
    games: int = 32
    max_steps: int = 500
    hidden: int = 64


CASES = (
    *(Case(seeds=n) for n in (8, 64, 256, 1024)),
    *(Case(seeds=8, updates=n, max_steps=50) for n in (100, 1000)),
    *(Case(seeds=8, games=n) for n in (128, 512)),
    Case(seeds=8, max_steps=2000),
    Case(seeds=8, hidden=256),
)


def run(case: Case) -> dict[str, float]:
    """The run, in this process; sizes in bytes."""
    import dataclasses

    import jax

    import purepg
    from purepg import hyperparams, presets
    from purepg.machines.seeds import Place

    purepg.seeds.use_all_cores()
    preset = presets.preset("CartPole-v1", "reinforce-loo")
    policy = purepg.Softmax(purepg.MLP((case.hidden, case.hidden)))
    task = dataclasses.replace(
        preset.method.task, policy=policy, collect=purepg.Games(case.games, case.max_steps)
    )
    method = dataclasses.replace(preset.method, task=task)
    result = purepg.run(method, preset.hyper, case.seeds, case.updates, evaluation_games=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    hyper = hyperparams.over_seeds(preset.hyper, task.env, case.seeds)
    place = Place(case.seeds)
    arguments = place.pad((hyper, result.state))
    program = place.compile(lambda hyper, state: purepg.train(method, hyper, state, 1), *arguments)
    sizes = program.memory_analysis()  # pyright: ignore
    steps = float(result.dataset["steps"].sum())
    return {
        "peak": peak,
        "arguments": sizes.argument_size_in_bytes,
        "temporaries": sizes.temp_size_in_bytes,
        "state": sum(x.nbytes for x in jax.tree.leaves(result.state.learner)) / case.seeds,
        "rate": steps / result.dataset.attrs["run_seconds"],
    }


def main(*, quick: bool = False, case: str | None = None) -> None:
    """All runs, or in a process of its own one of them.

    Args:
      quick: only 8 and 64 seeds.
      case: numbers of one run as JSON, to be run here and now.
    """
    if case is not None:
        print(json.dumps(run(Case(*json.loads(case)))))
        return
    table = Table(title="reinforce-loo on CartPole-v1")
    names = "peak", "state of a seed", "arguments", "temporaries"
    for column in (*Case._fields, *(f"{name}, MiB" for name in names), "M steps/s", "of 8 seeds"):
        table.add_column(column, justify="right")
    first = 0.0
    for one in CASES[: 2 if quick else None]:
        command = [sys.executable, str(pathlib.Path(__file__)), "--case", json.dumps(one)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["rate"]
        sizes = (found[name] / 2**20 for name in ("peak", "state", "arguments", "temporaries"))
        share = f"{found['rate'] / first:.0%}" if one == Case(seeds=one.seeds) else ""
        table.add_row(*map(str, one), *(f"{x:.3g}" for x in sizes), f"{found['rate'] / 1e6:.2f}", share)
        print(one, file=sys.stderr, flush=True)
    Console(width=150).print(table)


if __name__ == "__main__":
    tyro.cli(main)
