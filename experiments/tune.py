"""Which hyper-parameters make an estimator learn? The tables in `purepg/presets/table.py` come from this search.

    python experiments/tune.py Pendulum-v1 --estimator gae --steps 1e6 --configs 64 --seeds 4 [--critic own] [...]

Random search: every configuration is drawn from the ranges below and trained on the same seeds, all replicates
(configuration × seed) in one compiled program, spread over the cores. What is static (critic, shape of the segments,
normalisation of observations) is chosen by flags, one search each. The learning rate falls linearly to 0 at the end.
Printed and saved are the configurations by the mean over seeds of the greedy return over 100 fresh games, the worst
seed beside it: of two that are equally good on the mean, the one whose worst seed is better makes the better default.

Expected: for CartPole-v1 and gae some configuration solves all seeds; for actor-critic (TD(0)) few do, the bias of an
untrained critic being larger. MountainCar-v0 stays at -200 whatever is drawn: its goal is not found by undirected
exploration. Run time on 2 cores: 2 to 10 minutes per search.
"""

import dataclasses
import json
import pathlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import purepg
from purepg import critics, hyperparams, presets, seeds

RANGES: dict[str, tuple[float, ...]] = {  # drawn from, uniformly
    "learning_rate": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 8e-3, 1.2e-2),
    "critic_learning_rate": (1e-3, 3e-3, 1e-2),
    "discount": (0.97, 0.99),
    "trace_decay": (0.9, 0.95, 0.98),
    "entropy_coefficient": (0.0, 1e-3, 1e-2),
    "max_gradient_norm": (0.5, 2.0, np.inf),
    "value_coefficient": (0.25, 0.5, 1.0),
    "reward_scale": (0.02, 0.05, 0.1, 0.3, 1.0),
}


@dataclass(frozen=True)
class Search:
    env: tyro.conf.Positional[str] = "CartPole-v1"
    estimator: str = "gae"
    steps: float = 6e5
    """Environment steps of each replicate."""
    configs: int = 64
    """Configurations drawn."""
    seeds: int = 4
    """Seeds of each."""
    num_games: int = 64
    num_steps: int = 32
    critic: Literal["shared", "own"] = "shared"
    critic_steps: int = 4
    target_rate: float = 1.0
    n: int = 8
    std: Literal["fixed", "learned", "state"] = "learned"
    initial_std: float = 0.5
    squash: bool = False
    normalize_observations: bool = False
    normalize_advantages: bool = False
    discount: float | None = None
    """In place of the range's."""
    reward_scale: float | None = None
    """In place of the range's."""
    learning_rate: float | None = None
    """In place of the range's."""
    out: str | None = None
    """JSON file for all configurations and their returns."""


def main(search: Search) -> None:
    seeds.use_all_cores()
    method, num_updates = make_method(search)
    configs = draw(search)
    started = time.perf_counter()
    returns = np.asarray(train_all(method, num_updates, configs, search.seeds))
    order = np.argsort(-np.nan_to_num(returns.mean(axis=1), nan=-np.inf))
    show(search, configs, returns, order[:8], time.perf_counter() - started)
    if search.out:
        rows = [
            {k: float(v[i]) for k, v in configs.items()} | {"returns": returns[i].tolist()} for i in order
        ]
        text = json.dumps({"search": dataclasses.asdict(search), "num_updates": num_updates, "configs": rows})
        pathlib.Path(search.out).write_text(text)


def make_method(search: Search) -> tuple[purepg.PolicyGradient, int]:
    preset = presets.preset(search.env, search.estimator, "segments")
    num_updates = round(search.steps / (search.num_games * search.num_steps))
    policy: Any = preset.method.task.policy
    if isinstance(policy, purepg.Gaussian):
        policy = dataclasses.replace(
            policy, std=search.std, initial_std=search.initial_std, squash=search.squash
        )
    critic = critics.make(search.critic)
    if isinstance(critic, purepg.OwnCritic):
        critic = dataclasses.replace(critic, steps=search.critic_steps, target_rate=search.target_rate)
    task = purepg.Task(
        preset.method.task.env,
        policy,
        purepg.Segments(search.num_games, search.num_steps),
        search.normalize_observations,
    )
    estimator: Any = preset.method.estimator
    estimator = dataclasses.replace(
        estimator, critic=critic, n=search.n, normalize_advantages=search.normalize_advantages
    )
    return purepg.PolicyGradient(
        task, estimator, purepg.Optimizer("adam", "linear", num_updates)
    ), num_updates


def draw(search: Search) -> dict[str, np.ndarray]:
    """Arrays `[configs]` by the name of the hyper-parameter."""
    rng = np.random.default_rng(0)
    configs = {name: rng.choice(values, search.configs) for name, values in RANGES.items()}
    for name in ("discount", "reward_scale", "learning_rate"):
        if (given := getattr(search, name)) is not None:
            configs[name] = np.full(search.configs, given)
    return configs


def train_all(method: purepg.PolicyGradient, num_updates: int, configs: dict, num_seeds: int) -> np.ndarray:
    """Mean greedy return over 100 fresh games, `[configs, seeds]`."""

    def replicate(hyper, key):
        state = purepg.init(method, hyper, key)
        state, _ = purepg.train(method, hyper, state, num_updates)
        play_key = jax.random.fold_in(key, 1)
        return purepg.evaluate(method, hyper, method.params(state.learner), play_key, 100).returns.mean()

    num_configs = len(next(iter(configs.values())))
    count = num_configs * num_seeds
    hyper = hyperparams.over_seeds(purepg.Hyperparams(), method.task.env, count)
    each = {k: jnp.asarray(np.repeat(v, num_seeds), jnp.float32) for k, v in configs.items()}
    keys = seeds.keys(np.tile(np.arange(num_seeds), num_configs))
    returns = seeds.map(replicate, dataclasses.replace(hyper, **each), keys)
    return np.asarray(returns).reshape(num_configs, num_seeds)


def show(search: Search, configs: dict, returns: np.ndarray, best: np.ndarray, seconds: float) -> None:
    size = f"{search.configs} configurations × {search.seeds} seeds"
    title = f"{search.estimator} on {search.env}: {size}, {seconds:.0f} s"
    table = Table(*configs, "mean", "worst", title=title)
    for i in best:
        table.add_row(
            *(f"{v[i]:g}" for v in configs.values()), f"{returns[i].mean():.1f}", f"{returns[i].min():.1f}"
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main(tyro.cli(Search, description=__doc__))
