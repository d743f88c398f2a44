"""How many training steps per second, and where do they go?

    python experiments/throughput.py [--quick] [--out throughput.json]

CartPole-v1, REINFORCE with the leave-one-out baseline, a 64×64 tanh network, games of at most 128 steps. Against purepg
stands a plain loop, written below: the textbook's estimator in one scan, its whole batch differentiated at once, one
`vmap` over the seeds. Both play the same policy, trained until most games reach the limit, with a learning rate of 0:
all of an update is computed and the games stay as they are, so that speed does not depend on learning. One case plays
the untrained policy instead, whose games are over after some twenty steps.

Only live steps count, those before a game's end. Other differences: purepg spreads seeds over the cores, takes
one after another and differentiates 256 rows at a time (on a CPU); it stops when all games are over; and it does more:
the policy's entropy, gradient norm and clipping, a check for finite numbers, metrics. Both run in turns in one process;
the table shows the median turn (lowest – highest), and the ratio is the median of the ratios of neighbouring turns.
On the same rows the two gradients agree to 2e-7.

Measured on 2 quiet CPU cores: 2.0 to 2.4 times the plain loop from two seeds on (2.3 to 2.6 M steps/s), 3.7 times where
games end early. A single seed on one core was 0.8 to 1.6 times as fast: the plain loop's large products have both;
spread over both (`purepg.seeds`) it gains 1.1 to 1.3 times at 64 games and 1.5 at 512. Of purepg's time a third goes to
the games and the rest to the gradient. The rates vary threefold with what else the machine does, the ratios much less.
Run time: at most 5 minutes, the larger half of it compiling; about one with --quick.
"""

import functools
import json
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

import purepg
from purepg import estimators, hyperparams, seeds
from purepg.estimators.score_function import Learned
from purepg.rollout import collection

MAX_STEPS, DISCOUNT = 128, 0.99


@functools.cache
def cartpole() -> tuple[Any, Any]:
    import gymnax  # starts JAX, which `use_all_cores` must come before

    return gymnax.make("CartPole-v1")


class PlainRows(NamedTuple):
    observation: jax.Array  # [T, N, 4]
    action: jax.Array  # [T, N]
    reward: jax.Array  # [T, N]
    mask: jax.Array  # [T, N]


@dataclass(frozen=True)
class Plain:
    """The loop one would write first; one seed."""

    num_games: int

    def logits(self, params, x):
        *hidden, last = (params[name] for name in sorted(params))
        for layer in hidden:
            x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
        return x @ last["kernel"] + last["bias"]

    def play(self, hyper, params, key):
        env, env_params = cartpole()
        reset_key, key = jax.random.split(key)
        reset_keys = jax.random.split(reset_key, self.num_games)
        observation, state = jax.vmap(env.reset_env, (0, None))(reset_keys, env_params)

        def step(games, key):
            observation, state, mask = games
            act_key, step_key = jax.random.split(key)
            action = jax.random.categorical(act_key, self.logits(params, observation))
            keys = jax.random.split(step_key, self.num_games)
            step_all = jax.vmap(env.step_env, (0, 0, 0, None))
            after, state, reward, terminated, _ = step_all(keys, state, action, env_params)
            rows = PlainRows(observation, action, jnp.where(mask, reward, 0.0), mask)
            return (after, state, mask & ~terminated), rows

        start = observation, state, jnp.ones(self.num_games, bool)
        return jax.lax.scan(step, start, jax.random.split(key, MAX_STEPS))[1]

    def gradient(self, hyper, params, rows):
        def to_go(later, reward):
            later = reward + hyper.discount * later
            return later, later

        returns = jax.lax.scan(to_go, jnp.zeros(self.num_games), rows.reward, reverse=True)[1]
        others = (returns.sum(axis=1, keepdims=True) - returns) / (self.num_games - 1)
        weight = rows.mask * (returns - others) * (hyper.discount ** jnp.arange(MAX_STEPS))[:, None]

        def value(params):
            log_prob = jax.nn.log_softmax(self.logits(params, rows.observation))
            chosen = jnp.take_along_axis(log_prob, rows.action[..., None], axis=-1)[..., 0]
            return (weight * chosen).sum() / self.num_games

        return jax.grad(value)(params)

    def train(self, hyper, params, key, num_updates):
        optimizer = optax.adam(hyper.learning_rate)

        def update(state, key):
            params, moments = state
            rows = self.play(hyper, params, key)
            descent = jax.tree.map(jnp.negative, self.gradient(hyper, params, rows))
            step, moments = optimizer.update(descent, moments)
            return (optax.apply_updates(params, step), moments), rows.mask.sum()

        keys = jax.random.split(key, num_updates)
        return jax.lax.scan(update, (params, optimizer.init(params)), keys)


@dataclass(frozen=True)
class Ours:
    """The same by purepg; one seed."""

    num_games: int
    backend: purepg.Backend = purepg.Backend()

    @property
    def method(self) -> purepg.PolicyGradient:
        spec, collect = purepg.environment("CartPole-v1"), purepg.Games(self.num_games, MAX_STEPS)
        task = purepg.Task(spec, collect=collect, backend=self.backend)
        return purepg.PolicyGradient(task, estimators.make("reinforce-loo"))

    def play(self, hyper, params, key):
        act = self.method.act(params, deterministic=False)
        return collection.collect(self.method.task, hyper, act, (), key)[1]

    def gradient(self, hyper, params, rows):
        task, estimator = self.method.task, self.method.estimator
        state = estimators.EstimatorState(
            (), Learned((), ())
        )  # whole games, no critic, a baseline that learns nothing
        return estimator.estimate_from(task, hyper, params, state, rows).gradient  # pyright: ignore

    def train(self, hyper, params, key, num_updates):
        state = purepg.init(self.method, hyper, key)
        state = state._replace(learner=state.learner._replace(params=params))
        state, numbers = purepg.train(self.method, hyper, state, num_updates)
        return state, numbers["steps"].sum


class Case(NamedTuple):
    """One line of the table."""

    part: str  # what is timed: training, or a piece of it
    seeds: int
    games: int
    params: Any  # of the policy that plays


def one_seed(part: str, side: Plain | Ours, num_updates: int) -> Callable:
    """(hyper, params, data) → arrays and live steps; `data` are rows for the gradient alone, else a key."""

    def train(hyper, params, key):
        return side.train(hyper, params, key, num_updates)

    def play(hyper, params, key):
        def once(_, key):  # rows are carried, and thus made
            rows = side.play(hyper, params, key)
            return rows, rows.mask.sum()

        like = jax.eval_shape(side.play, hyper, params, key)
        none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return jax.lax.scan(once, none, jax.random.split(key, num_updates))

    def gradient(hyper, params, rows):
        def once(params, _):  # a step of size 0: each gradient waits for the one before
            step = side.gradient(hyper, params, rows)
            moved = jax.tree.map(lambda p, g: p + hyper.learning_rate * g, params, step)
            return moved, rows.mask.sum()

        return jax.lax.scan(once, params, length=num_updates)

    return {"rollout alone": play, "gradient alone": gradient}.get(part, train)


def program(case: Case, side: Plain | Ours, num_updates: int) -> tuple[Callable, float]:
    """The compiled case for all its seeds, and the seconds that compiling took."""
    still = purepg.Hyperparams(learning_rate=0.0, discount=DISCOUNT)
    hyper = hyperparams.over_seeds(still, purepg.environment("CartPole-v1"), case.seeds)
    params = jax.tree.map(lambda x: jnp.broadcast_to(x, (case.seeds, *x.shape)), case.params)
    data: Any = seeds.keys(np.arange(case.seeds))
    if case.part == "gradient alone":
        data = jax.jit(jax.vmap(side.play))(hyper, params, data)
    function, arguments = one_seed(case.part, side, num_updates), (hyper, params, data)
    started = time.perf_counter()
    if isinstance(side, Ours):
        compiled = seeds.compiled(function, *arguments, placement="shared")
    else:
        compiled = jax.jit(jax.vmap(function)).lower(*arguments).compile()
    return functools.partial(compiled, *arguments), time.perf_counter() - started


def measure(case: Case, turns: int, rows_per_turn: int) -> list[dict[str, Any]]:
    """Purepg and the plain loop in turns: a record each."""
    rows_per_update = case.seeds * case.games * MAX_STEPS
    num_updates = max(1, rows_per_turn // rows_per_update)
    ours = Ours(case.games, purepg.Backend(row_axis=seeds.ROW_AXIS))
    programs = [program(case, side, num_updates) for side in (ours, Plain(case.games))]
    rates, live = np.zeros((turns, 2)), np.zeros(2)
    for turn in range(-1, turns):  # turn −1 warms up
        for i, (run, _) in enumerate(programs):
            started = time.perf_counter()
            counts = jax.block_until_ready(run())[1]
            seconds = time.perf_counter() - started
            steps = np.asarray(counts, np.float64).sum()
            live[i] = steps / (rows_per_update * num_updates)
            if turn >= 0:
                rates[turn, i] = steps / seconds
    return [
        {
            "name": name,
            "part": case.part,
            "seeds": case.seeds,
            "games": case.games,
            "live_share": live[i],  # of the T·N rows
            "steps_per_second": np.median(rates[:, i]),
            "steps_per_second_min": rates[:, i].min(),
            "steps_per_second_max": rates[:, i].max(),
            "compile_seconds": programs[i][1],
            "ratio": np.median(rates[:, 0] / rates[:, 1]),  # purepg to plain
        }
        for i, name in enumerate(("purepg", "plain"))
    ]


def trained_policy(num_updates: int = 20) -> Any:
    hyper = purepg.Hyperparams(learning_rate=1e-2, discount=DISCOUNT, env=cartpole()[1])
    side, key = Ours(64), jax.random.key(0)
    state, _ = jax.jit(lambda: side.train(hyper, untrained_policy(), key, num_updates))()
    return state.learner.params


def untrained_policy() -> Any:
    return Ours(64).method.task.bind_policy().init(jax.random.key(1))


def cases(*, quick: bool) -> list[Case]:
    """In order of interest: the last ones are left out where time is short."""
    fresh = untrained_policy()
    if quick:
        return [Case(part, 2, 64, fresh) for part in ("training", "rollout alone", "gradient alone")]
    lively = trained_policy()
    over_seeds = [Case("training", s, 64, lively) for s in (1, 8, 64)]
    pieces = [Case(part, 8, 64, lively) for part in ("rollout alone", "gradient alone")]
    over_games = [Case("training", 1, n, lively) for n in (1024, 16, 256, 4096)]
    both_cores = [Case("training", 2, n, lively) for n in (64, 1024)]
    return [*over_seeds, *pieces, Case("training, untrained", 8, 64, fresh), *over_games, *both_cores]


def show(records: list[dict[str, Any]]) -> None:
    devices = f"{jax.device_count()} × {jax.devices()[0].device_kind}, jax {jax.__version__}"
    table = Table(title=f"Live steps per second, thousands; {devices}")
    for name in ("", "seeds", "games", "live", "purepg", "plain loop", "ratio", "compiling, s"):
        table.add_column(name, justify="right" if name else "left")
    for pair in zip(records[::2], records[1::2], strict=True):
        numbers = [[r["steps_per_second" + end] / 1e3 for end in ("", "_min", "_max")] for r in pair]
        table.add_row(
            *(str(pair[0][field]) for field in ("part", "seeds", "games")),
            f"{pair[0]['live_share']:.0%}",
            *("{:.0f} ({:.0f} – {:.0f})".format(*n) for n in numbers),
            f"{pair[0]['ratio']:.2f}",
            ", ".join(f"{r['compile_seconds']:.1f}" for r in pair),
        )
    Console(width=110).print(table)


def main(*, quick: bool = False, minutes: float = 4.0, out: pathlib.Path | None = None) -> None:
    """Measures training steps per second against a plain loop.

    Args:
      quick: few cases and turns.
      minutes: no new case is begun after so many.
      out: a file for the figures, as JSON.
    """
    started = time.perf_counter()
    seeds.use_all_cores()
    records = []
    for case in cases(quick=quick):
        label = f"{case.part}: {case.seeds} seeds, {case.games} games"
        if time.perf_counter() - started > 60 * minutes:
            print(f"{label}: left out, {minutes:g} minutes are over")
            continue
        print(label, flush=True)
        records += measure(case, *((3, 2**16) if quick else (5, 2**18)))
    show(records)
    if out is not None:
        out.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
