"""How fast is purepg beside others that do the same work?

    python experiments/benchmark/run.py [--peers purepg rejax …] [--quick] [--repeats 3] [--limit-seconds 600]

One command builds an environment for each peer in a folder of its own (kept, so that it is built once), lets them
work in turns, each in a process of its own, and shows medians over the repeats (lowest – highest). A peer that cannot
be installed, fails, or is not done in time is killed with everything it started; its row says so, the rest goes on.

The work: actor-critic on CartPole-v1 on a CPU in float32, 8 seeds, 64 games × 128 steps per update and one gradient
step on all of them; 64×64 tanh networks, one for the policy and one for V; γ 0.99, λ 0.95, an entropy bonus of 0.01,
Adam at 0.02. Of PPO that is one epoch of one minibatch. No peer's own evaluation or logging runs. What the peers still
do differently is said below the table, in their own workers' words.

Measured are steps of training per second, compilation apart; the seconds of compilation; the process's largest resident
memory, interpreter and libraries included; and the seconds of training, compilation again apart, until 95 % of the
seeds (so all eight) have once been solved: a greedy mean of 475 over 100 fresh games, looked at every 5 updates, off
the clock. That column and the updates beside it compare how the same numbers suit each peer as much as its speed: all
have one learning rate, constant and large, because one gradient step per update has to do. Each repeat has other seeds.
Stable-Baselines3 has no seed axis: one seed of it is measured, for speed alone.

Brax's PPO has Gaussian policies only, so it cannot play CartPole-v1. It and Brax's analytic policy gradients (APG)
stand beside purepg's `gae` and `pathwise-short` on Brax's `reacher` (spring backend, tanh-squashed Gaussians, 64 games
× 32 steps; `envs.Brax` needs the extra `brax`), for speed alone. There most of the time is physics, the same for both.
Brax trains one seed at a time. PureJaxRL cannot be installed as a package.

Measured on two otherwise idle cores, Python 3.11, medians of 3 (lowest – highest):

            seeds  1000 steps/s        compiling, s     memory, MiB      95 % solved, s     solved, updates
    purepg      8  1343 (1280 – 1344)  6.6 (6.0 – 7.0)  783 (740 – 811)  4.6 (2.2 – 6.9)    95 (45 – 135)
    rejax       8   482 (480 – 562)    6.0 (5.6 – 8.3)  745 (691 – 762)  6.1 (4.9 – never)  45 (40 – never)
    sb3         1    47 (42 – 53)      –                348 (347 – 353)

So purepg trains at 2.8 times rejax's rate and compiles as long. On `reacher`, measured once:

                  seeds  1000 steps/s  compiling, s  memory, MiB
    brax-ppo          1            90            17         1119
    purepg-gae        1           105            33         1371
    purepg-gae-8      8           179            33         1419
    brax-apg          1            19            55         2555
    purepg-short      1            18            91         2827

There purepg trains as fast, with eight seeds twice as fast, and compiles twice as long: the physics is in the program
that staggers the starts and again in the one that trains. Run time: 6 minutes for CartPole-v1 and 15 for `reacher`, 3
more where the environments are built.
"""

import csv
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import tyro
from measuring import Work
from rich.console import Console
from rich.table import Table

HERE = pathlib.Path(__file__).parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "purepg-benchmark"
INSTALL_SECONDS = 1200.0
WORK = Work(
    env="CartPole-v1",
    seeds=8,
    seed=0,
    games=64,
    steps=128,
    updates=150,
    turn=5,
    hidden=(64, 64),
    learning_rate=0.02,
    discount=0.99,
    trace_decay=0.95,
    entropy_coefficient=0.01,
)


REACHER = WORK._replace(
    env="reacher",
    physics="brax",
    seeds=1,
    steps=32,
    updates=40,
    turn=10,
    learning_rate=1e-3,
    entropy_coefficient=1e-3,
)
SHORT = REACHER._replace(estimator="pathwise-short", entropy_coefficient=0.0)


class Peer(NamedTuple):
    worker: str  # whose script and environment it is
    packages: tuple[str, ...]  # of its environment; none: the one that runs this
    work: Work = WORK


_BRAX = (
    "brax==0.14.2",
    "mujoco==4.0.0",
    "mujoco-mjx==3.17.0",
    "jax==0.10.2",
    "jaxlib==0.10.2",
    "flax==0.12.8",
    "optax==0.2.8",
    "numpy==2.4.6",
)
PEERS = {
    "purepg": Peer("purepg", ()),
    # JAX as here. From gymnax 1.0 on a step has six values, and rejax wants five.
    "rejax": Peer(
        "rejax",
        (
            "rejax==0.1.3",
            "gymnax==0.0.9",
            "jax==0.10.2",
            "jaxlib==0.10.2",
            "flax==0.12.8",
            "optax==0.2.8",
            "chex==0.1.92",
            "distrax==0.1.9",
            "tfp-nightly==0.26.0.dev20261027",
            "gymnasium==1.3.0",
            "numpy==2.4.6",
        ),
    ),
    "sb3": Peer(
        "sb3",
        ("stable-baselines3==2.9.2", "torch==2.13.0", "gymnasium==1.3.0", "numpy==2.4.6"),
        WORK._replace(seeds=1, updates=30),
    ),
    "brax-ppo": Peer("brax", _BRAX, REACHER),
    "purepg-gae": Peer("purepg", (), REACHER),
    "purepg-gae-8": Peer("purepg", (), REACHER._replace(seeds=8)),
    "brax-apg": Peer("brax", _BRAX, SHORT),
    "purepg-short": Peer("purepg", (), SHORT),
}
# Column of the table: title, key, unit, digits.
COLUMNS = (
    ("1000 steps/s", "steps_per_second", 1e3, 0),
    ("compiling, s", "compile_seconds", 1.0, 1),
    ("memory, MiB", "peak_bytes", 2**20, 0),
    ("95 % solved, s", "solved_seconds", 1.0, 1),
    ("solved, updates", "solved_updates", 1.0, 0),
)


class Failed(Exception):
    """A process ended badly; the message is for the table."""


def output(command: Sequence[str | pathlib.Path], seconds: float) -> str:
    """What a process prints. After `seconds`, or an interrupt, it is killed together with all that it started."""
    # JAX may find an accelerator in one peer's environment and none in another's.
    settings = os.environ | {"JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        command,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # and so a process group, which can be killed as one
    ) as process:
        try:
            printed, complaints = process.communicate(timeout=seconds)
        except BaseException as error:  # nobody has waited for the process: its number is still its own
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"killed after {seconds:g} s") from None
            raise
    if process.returncode:
        last = (complaints.strip() or f"exit code {process.returncode}").splitlines()[-1]
        raise Failed(last[:200])
    return printed


def environment(name: str, folder: pathlib.Path) -> pathlib.Path:
    """The interpreter of a peer's environment, which is built unless it is there with just these packages."""
    worker, packages, _ = PEERS[name]
    if not packages:
        return pathlib.Path(sys.executable)
    home = folder / worker
    python, built = home / "bin" / "python", home / "built.txt"
    if not built.exists() or built.read_text().split() != list(packages):
        print(f"{name}: building its environment in {home}", flush=True)
        output([sys.executable, "-m", "venv", "--clear", home], INSTALL_SECONDS)
        output([python, "-m", "pip", "install", "--quiet", *packages], INSTALL_SECONDS)
        built.write_text("\n".join(packages) + "\n")
    return python


def measure(
    name: str, repeat: int, folder: pathlib.Path, most_updates: int, seconds: float
) -> dict[str, Any]:
    """One process's answer, or how it failed."""
    work = PEERS[name].work
    work = work._replace(seed=repeat * work.seeds, updates=min(work.updates, most_updates))
    try:
        python = environment(name, folder)
        command = [python, HERE / f"{PEERS[name].worker}_worker.py", json.dumps(work._asdict())]
        answer = json.loads(output(command, seconds).splitlines()[-1])
    except (Failed, OSError, ValueError, IndexError) as error:
        answer = {"status": f"failed: {error}"}
    else:
        answer |= {"status": "ok", "steps_per_second": answer["steps"] / answer["train_seconds"]}
    return {"peer": name, "repeat": repeat, "work": work._asdict(), **answer}


def spread(values: list[float | None]) -> list[float | None]:
    """Median, lowest and highest; nothing stands for never."""
    known = [math.inf if x is None else x for x in values]
    return [x if x < math.inf else None for x in (statistics.median(known), min(known), max(known))]


def summary(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each peer."""
    rows = []
    for name in dict.fromkeys(r["peer"] for r in records):
        own = [r for r in records if r["peer"] == name]
        done = [r for r in own if r["status"] == "ok"]
        row = {
            "peer": name,
            "status": own[-1]["status"],
            "repeats": len(done),
            "seeds": PEERS[name].work.seeds,
        }
        for _, key, _, _ in COLUMNS:
            if done and key in done[0]:
                three = spread([r[key] for r in done])
                row |= dict(zip((key, f"{key}_min", f"{key}_max"), three, strict=True))
        if done:
            versions = ", ".join(f"{package} {version}" for package, version in done[0]["versions"].items())
            row |= {"versions": versions, "differs": done[0]["differs"]}
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    console = Console(width=118)
    table = Table(title="Median of the repeats (lowest – highest)")
    for name in ("", "seeds", *(title for title, *_ in COLUMNS)):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        cells = []
        for _, key, unit, digits in COLUMNS:
            numbers = [row[key + end] for end in ("", "_min", "_max")] if key in row else []
            texts = ["never" if x is None else f"{x / unit:.{digits}f}" for x in numbers]
            alike = len(set(texts)) == 1
            cells.append(texts[0] if alike else "{} ({} – {})".format(*texts) if texts else "–")
        label = row["peer"] if row["status"] == "ok" else f"{row['peer']}: failed"
        table.add_row(label, str(row["seeds"]), *cells)
    console.print(table)
    for row in rows:
        if row["status"] != "ok":
            console.print(f"{row['peer']}: {row['repeats']} repeats done, then {row['status']}", markup=False)
        if "differs" in row:
            console.print(
                f"{row['peer']} ({row['versions']}): {row['differs']}", markup=False, highlight=False
            )


def save(out: pathlib.Path, records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """`out`.csv with a line for each peer, `out`.json with every repeat."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    conditions = {"cores": cores, "python": sys.version.split()[0]}
    text = json.dumps({"conditions": conditions, "summary": rows, "records": records}, indent=1)
    out.with_suffix(".json").write_text(text + "\n")


def main(
    peers: tuple[
        Literal[
            "purepg",
            "rejax",
            "sb3",
            "brax-ppo",
            "purepg-gae",
            "purepg-gae-8",
            "brax-apg",
            "purepg-short",
        ],
        ...,
    ] = (),
    *,
    quick: bool = False,
    repeats: int = 3,
    limit_seconds: float = 600.0,
    work: pathlib.Path = CACHE,
    out: pathlib.Path | None = None,
) -> None:
    """Measures purepg and its peers on the same work.

    Args:
      peers: who takes part; none: all.
      quick: one repeat of 20 updates, too few to solve anything.
      repeats: processes of each peer, in turns.
      limit_seconds: a process that takes longer is killed, and its peer is out.
      work: the folder of the peers' environments.
      out: files for the figures, .csv and .json; by default `benchmark` in the folder `work`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which ends the running worker too
    records, failed = [], set()
    turns = [(repeat, name) for repeat in range(1 if quick else repeats) for name in peers or PEERS]
    try:
        for repeat, name in turns:
            if name in failed:
                continue
            record = measure(name, repeat, work.absolute(), 20 if quick else WORK.updates, limit_seconds)
            records.append(record)
            ok = record["status"] == "ok"
            failed |= set() if ok else {name}
            says = f"{record['steps_per_second']:,.0f} steps/s" if ok else record["status"]
            print(f"{name}, repeat {repeat + 1}: {says}", flush=True)
    except KeyboardInterrupt:
        print("interrupted; this was done before:")
    rows = summary(records)
    show(rows)
    save(out or work / "benchmark", records, rows)
    print(f"figures: {out or work / 'benchmark'}.csv and .json")


if __name__ == "__main__":
    tyro.cli(main)
