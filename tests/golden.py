"""Golden numbers: a few updates of every preset, small, one seed after another.

    python tests/golden.py check     how far each preset is from what is kept ("equal" is to the bit)
    python tests/golden.py write     keeps today's numbers: a commit that does this says which changed and why

What is kept tells a change of behaviour from a change of form. Bits depend on the processor and on XLA, so the test
allows rounding; the command shows whether a change left every bit as it was.
"""

import dataclasses
import pathlib
import sys
from typing import Any

import jax
import numpy as np

import purepg
from purepg import presets

FILE = pathlib.Path(__file__).parent / "data" / "golden.npz"
NAMES = presets.NAMES


def numbers(name: str) -> dict[str, np.ndarray]:
    """Metrics `[seed, iteration]` and digests of the parameters of one preset, made small."""
    method, hyper, num_updates = presets.preset(_environment(name), name, num_updates=3)
    result = purepg.run(_small(method), hyper, 2, num_updates, evaluation_games=2, placement="sequential")
    found = {str(key): np.asarray(values) for key, values in result.dataset.data_vars.items()}
    params = jax.tree.leaves(method.params(result.state.learner))
    found |= {f"params/{i}": _digest(np.asarray(leaf)) for i, leaf in enumerate(params)}
    return {f"{name}/{key}": values for key, values in found.items()}


def kept_names() -> list[str]:
    """The presets that something is kept of: a new one is when `write` has run."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return list(dict.fromkeys(key.partition("/")[0] for key in arrays))


def kept(name: str) -> dict[str, np.ndarray]:
    """What is kept of one preset."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays if key.startswith(f"{name}/")}


def _environment(name: str) -> Any:
    if name in ("q-learning", "sarsa", "expected-sarsa"):
        return "CliffWalking"
    return "Pendulum-v1" if name.startswith("pathwise") else "CartPole-v1"


def _small(method: Any) -> Any:
    """Few games and steps; a game is cut early, so that some end by the limit."""
    collect = method.task.collect
    smaller = {"num_games": min(collect.num_games, 8), "max_steps": 12}
    if hasattr(collect, "num_steps"):
        smaller["num_steps"] = min(collect.num_steps, 8)
    method = dataclasses.replace(
        method, task=dataclasses.replace(method.task, collect=dataclasses.replace(collect, **smaller))
    )
    if hasattr(method, "replay"):
        return dataclasses.replace(
            method, replay=dataclasses.replace(method.replay, capacity=256, batch_size=32, warm_up=64)
        )
    return method


def _digest(x: np.ndarray) -> np.ndarray:
    """First and last number and the sum of squares of each seed, `[seed, 3]`."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    return np.stack([flat[:, 0], flat[:, -1], (flat**2).sum(axis=1)], axis=1)


def _distance(new: dict[str, np.ndarray], old: dict[str, np.ndarray]) -> str:
    if new.keys() != old.keys():
        return f"other fields: {', '.join(sorted(new.keys() ^ old.keys()))}"
    if all(np.array_equal(new[key], old[key], equal_nan=True) for key in old):
        return "equal"
    apart = {key: np.nanmax(np.abs(new[key] - old[key]), initial=0) for key in old}
    worst = max(apart, key=lambda key: apart[key])
    return f"differs by up to {apart[worst]:.3g} ({worst})"


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    if sys.argv[1:] == ["write"]:
        np.savez_compressed(
            FILE, allow_pickle=False, **{k: v for name in NAMES for k, v in numbers(name).items()}
        )
    elif sys.argv[1:] == ["check"]:
        for name in NAMES:
            print(f"{name:30}{_distance(numbers(name), kept(name))}", flush=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
