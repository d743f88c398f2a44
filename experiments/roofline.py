"""What share of this machine's bound does an update reach?

    python experiments/roofline.py [--repeats 9] [--out roofline.json]

The work: actor-critic with GAE on CartPole-v1, 64 games × 128 steps, separate 64×64 tanh networks for policy and value,
8 seeds spread over the cores. A row of it (one step of one game) cannot cost less than its parts:

1. the bare environment step: gymnax's `step_env` of 64 games, actions drawn beforehand, no reset;
2. the matrix products of the rollout: both networks forward on 64 rows;
3. those of the update: both networks forward on 256 rows, and their products by the transposed weights and for the
   weights' gradients.

Each is measured here on this machine, with all cores used as purepg uses them, in turns with the training
itself. The bound is the inverse of their sum: no activation functions, log-probabilities, sampling, resets, returns or
optimiser. So 100 % cannot be reached; the rest says how much is not products and physics.

Measured on two otherwise idle cores: 30 ns per row for the environment, 94 for the rollout's products, 390 for the
update's: 1.94 M rows/s at most. Training makes 1.16 M rows/s (862 ns), 60 % of it.
"""

import dataclasses
import itertools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import purepg
from purepg import environments, estimators, hyperparams, seeds

GAMES, STEPS, CHUNK, SEEDS, UPDATES = 64, 128, 256, 8, 5
ROWS = GAMES * STEPS
NETWORKS = (4, 64, 64, 2), (4, 64, 64, 1)  # policy, value


def weights(key: jax.Array) -> list[list[jax.Array]]:
    shapes = [list(itertools.pairwise(sizes)) for sizes in NETWORKS]
    return [[jax.random.normal(key, shape) / 8 for shape in network] for network in shapes]


def repeated(times: int, x: Any, f: Callable[[Any], Any]) -> Any:
    """f over and over on what it gives: nothing can be left out or moved out of the loop."""
    return jax.lax.scan(lambda x, _: (f(x), None), x, length=times)[0]


def environment_steps(key: jax.Array) -> jax.Array:
    """One update's steps of all games."""
    spec = purepg.environment("CartPole-v1")
    env, params = environments.resolve(spec), environments.parameters(spec, None)
    keys = jax.random.split(key, GAMES)
    _, state = jax.vmap(env.reset_env, (0, None))(keys, params)
    like = jax.eval_shape(env.step_env, key, jax.tree.map(lambda x: x[0], state), jnp.int32(0), params)[1]
    state = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), state, like)
    actions = jax.random.randint(key, (STEPS, GAMES), 0, 2)

    def step(state, actions):
        _, state, reward, _, _ = jax.vmap(env.step_env, (0, 0, 0, None))(keys, state, actions, params)
        return state, reward

    return jax.lax.scan(step, state, actions)[1].sum()


def forward_products(key: jax.Array) -> jax.Array:
    """The rollout's: rows [64, width], one step after another."""
    networks = weights(key)

    def step(x):
        outputs = []
        for network in networks:
            y = x
            for weight in network:
                y = y @ weight
            outputs.append(y)
        return x + 1e-6 * outputs[0].sum() + 1e-6 * outputs[1].sum()

    return repeated(STEPS, jnp.ones((GAMES, 4)), step)


def update_products(key: jax.Array) -> Any:
    """The gradient's: chunks of 256 rows forward and back."""
    networks = weights(key)

    def chunk(carry):
        x, gradients = carry
        found = []
        for network, gradient in zip(networks, gradients, strict=True):
            inputs = [x]
            for weight in network:
                inputs.append(inputs[-1] @ weight)
            upstream, own = inputs[-1], []
            for i in reversed(range(len(network))):
                own.insert(0, gradient[i] + inputs[i].T @ upstream)
                if i:
                    upstream = upstream @ network[i].T
            found.append(own)
        return x + 1e-9 * found[0][0].sum(), found

    start = jnp.ones((CHUNK, 4)), jax.tree.map(jnp.zeros_like, networks)
    return repeated(ROWS // CHUNK, start, chunk)[1]


def main(repeats: int = 9, out: pathlib.Path = pathlib.Path("roofline.json")) -> None:
    """Parts, bound, training.

    Args:
      repeats: turns; the median counts.
      out: the numbers.
    """
    seeds.use_all_cores()
    spec = purepg.environment("CartPole-v1")
    task = purepg.Task(spec, purepg.Softmax(purepg.MLP()), purepg.Segments(GAMES, STEPS))
    gae: Any = estimators.make("gae")
    gae = dataclasses.replace(gae, critic=purepg.OwnCritic())
    method = purepg.PolicyGradient(task, gae)
    hyper = hyperparams.over_seeds(purepg.Hyperparams(), spec, SEEDS)
    keys = seeds.keys(np.arange(SEEDS))

    def prepared(function: Callable, *arguments: Any) -> Callable[[], Any]:
        compiled = seeds.compiled(function, *arguments)
        return lambda: jax.block_until_ready(compiled(*arguments))

    def often(part: Callable) -> Callable:
        return lambda key: jax.lax.map(part, jax.random.split(key, UPDATES))

    state = prepared(lambda hyper, key: purepg.init(method, hyper, key), hyper, keys)()
    work = {
        "environment steps": prepared(often(environment_steps), keys),
        "products of the rollout": prepared(often(forward_products), keys),
        "products of the update": prepared(often(update_products), keys),
        "training": prepared(lambda hyper, state: purepg.train(method, hyper, state, UPDATES), hyper, state),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats + 1):
        for name, part in work.items():
            started = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - started)
    per_row = {name: float(np.median(s[1:])) / (SEEDS * UPDATES * ROWS) for name, s in seconds.items()}
    training = per_row.pop("training")
    bound = sum(per_row.values())

    table = Table(title=f"{SEEDS} seeds on {len(jax.devices())} devices, medians of {repeats} turns")
    for column in ("", "ns per row", "M rows/s", "of the training's time"):
        table.add_column(column, justify="right" if column else "left")
    rows = per_row | {"bound: their sum": bound, "training": training}
    for name, one in rows.items():
        table.add_row(name, f"{1e9 * one:.0f}", f"{1e-6 / one:.2f}", f"{one / training:.0%}")
    Console(width=100).print(table)
    print(f"purepg trains at {bound / training:.0%} of the bound")
    out.write_text(json.dumps({name: {"seconds_per_row": one} for name, one in rows.items()}, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
