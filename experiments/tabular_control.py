"""Does tabular control find the best policy, and what does learning while exploring cost on the edge of a cliff?

    python experiments/tabular_control.py [--num-seeds 64]

Taxi: Q-learning, one game at a time, α 0.5, γ 0.99, ε from 0.5 to 0 over 200 updates of 100 steps; and 16 games at
once with ε 0.5 throughout. Cliff walking: ε stays 0.1 and γ is 1, as in Sutton and Barto's example 6.6, but α is 0.5
in all. For each: the training return over games 901 to 1000, the greedy return over 100 fresh games, and what the
greedy policy lacks, Σ_s ρ(s) (v*(s) − v_greedy(s)), by exact evaluation against value iteration.

Expected: on Taxi a training return of 7.7, the worst of 64 seeds 6.4 (the best policy has 7.93; the aim is 4.5). With
ε gone, rare states are left unlearned, which the greedy policy's value shows (2.3 too low); where ε stays the value
is that of value iteration. On the cliff Q-learning's greedy policy takes the 13 steps along the edge in every seed and,
exploring, pays for it (−47 a game); expected SARSA keeps away (15 steps) and has −21. SARSA's noise at α 0.5 makes it
erratic: in 14 of 64 seeds its greedy policy walks in circles. Run time on 2 cores: 1 to 2 minutes, a third of it
compiling.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table as Page

import purepg
from purepg import environments, exact, seeds
from purepg.methods.action_values import Exploration
from purepg.methods.q_learning import QLearning


class Case(NamedTuple):
    """One line of the table."""

    env: str
    target: str
    hyper: purepg.Hyperparams
    exploration: Exploration
    num_updates: int
    num_games: int = 1  # side by side


TAXI = purepg.Hyperparams(learning_rate=0.5, discount=0.99), Exploration(0.5, 0.0, 200), 400
CLIFF = purepg.Hyperparams(learning_rate=0.5, discount=1.0), Exploration(0.1, 0.1, 1), 400
_ENDLESS = 1e4  # what lacks more belongs to a policy that walks in circles at γ = 1
CASES = (
    Case("Taxi", "q_learning", *TAXI),
    Case("Taxi", "q_learning", TAXI[0], Exploration(0.5, 0.5, 1), 150, num_games=16),
    Case("CliffWalking", "q_learning", *CLIFF),
    Case("CliffWalking", "expected_sarsa", *CLIFF),
    Case("CliffWalking", "sarsa", *CLIFF),
)


def last_hundred(dataset, games: int = 1000) -> np.ndarray:
    """Mean return of each seed over its games from `games` − 99 to `games`, [S], by whole updates within them."""
    played = dataset["return_count"].values.cumsum(axis=1)  # [S, U]
    if played[:, -1].min() < games:
        raise SystemExit(
            f"some seed played only {played[:, -1].min():.0f} of {games} games: more updates are needed"
        )
    count = np.where((played <= games) & (played > games - 100), dataset["return_count"].values, 0.0)
    total = np.nan_to_num(dataset["return"].values) * count
    return total.sum(axis=1) / count.sum(axis=1)


def lack(result: purepg.Result) -> np.ndarray:
    """How far the greedy policy of each seed is below the optimum, at the start, [S]; huge if it never ends."""
    model = environments.exact_model(result.method.task.env)
    discount = result.hyper.discount
    best = exact.value_iteration(model.transition, model.reward, discount, 1e-6).v
    tables = np.asarray(result.method.params(result.state.learner).network["table"])  # [S, O, A]
    gaps = []
    for table in tables:
        policy = jnp.eye(table.shape[1])[table.argmax(axis=1)]
        # Just below 1 the value of a policy that never ends is still a number.
        v, _ = exact.policy_evaluation(model.transition, model.reward, policy, min(discount, 1 - 1e-6))
        gaps.append(float((model.initial * (best - v)).sum()))
    return np.array(gaps)


def main(num_seeds: int = 64) -> None:
    """Trains every case and prints the table.

    Args:
      num_seeds: independent seeds of each case.
    """
    seeds.use_all_cores()
    page = Page(title=f"Tabular control, {num_seeds} seeds: mean (worst seed)")
    for name in ("", "target", "return of games 901–1000", "greedy return", "v* − v greedy", "seconds"):
        page.add_column(name, justify="left" if name in ("", "target") else "right")
    for case in CASES:
        task = purepg.Task(case.env, purepg.Softmax(purepg.Table()), purepg.Segments(case.num_games, 100))  # pyright: ignore
        method = QLearning(task, case.target, case.exploration)  # pyright: ignore
        result = purepg.run(method, case.hyper, num_seeds, case.num_updates, evaluation_games=100)
        trained, greedy = last_hundred(result.dataset), result.dataset["evaluation_return"].values
        gap = lack(result)
        ends = gap < _ENDLESS
        seconds = result.dataset.attrs["run_seconds"], result.dataset.attrs["compile_seconds"]
        page.add_row(
            case.env,
            case.target
            if case.num_games == 1
            else f"{case.target}, {case.num_games} games at once, ε stays 0.5",
            f"{trained.mean():.2f} ({trained.min():.2f})",
            f"{greedy.mean():.2f} ({greedy.min():.2f})",
            f"{gap[ends].mean():.3f} ({gap[ends].max():.3f})"
            + f", {(~ends).sum()} never end" * (not ends.all()),
            "{:.1f} + {:.1f} compiling".format(*seconds),
        )
    Console(width=130).print(page)


if __name__ == "__main__":
    tyro.cli(main)
