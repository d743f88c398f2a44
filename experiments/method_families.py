"""Value-based, policy-based, gradient-free: what does each need, in steps of the environment and in seconds?

    python experiments/method_families.py [--quick] [--num-seeds 32] [--out method_families.png] [--only CartPole-v1]

Each family by its usual representatives, where they apply, on CartPole-v1, a slippery gridworld (4×3, slip 0.2) and
Pendulum-v1. Q-learning and DQN do not apply to Pendulum (continuous actions), nor tables to CartPole and Pendulum.
Where the model is known, value and policy iteration stand in the same table, as the limit that needs no step at all;
their policies play the same fresh games. The figure shows the training return (mean over seeds and its 95 % t
interval) by steps and by seconds; training games are played with each method's own exploration, so the table has the
greedy return beside them: that of the trained policies over 100 fresh games.

Seconds are those of all seeds together on this machine, compilation apart. The hyper-parameters are what made each
method learn here (`purepg.presets`), found by hand and not with equal care: the table compares orders of magnitude.

Expected: on CartPole all solve the task (≥ 475) in at least 90 % of the seeds; REINFORCE with fewest steps, the
search over parameters with fewest seconds, DQN with some 10⁵ steps and most seconds by far (a gradient step for each
8 environment steps). On the gridworld Q-learning, SARSA and expected SARSA need half the steps of REINFORCE and a
fifth of GAE's, and the cross-entropy method the most, since chance crowns lucky candidates; an ε that stays and a
constant step size leave Q-learning a little below value iteration's 0.71. On Pendulum the policy gradient reaches
−200; with three times its steps neither form of the cross-entropy method gets there (−510 over parameters: some seeds
swing up, others stay in a local optimum near −700; −740 over sessions, whose elites were mostly lucky at the start).
Run time on 2 cores: 10 minutes, 5 of them DQN; 2 with --quick, which only shows that it runs.
"""

import dataclasses
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table as Page

import purepg
from purepg import environments, exact, presets, seeds, statistics
from purepg.methods.action_values import ActionValues

CARTPOLE, PENDULUM = "CartPole-v1", "Pendulum-v1"
GRID = purepg.environment("GridWorld", slip=0.2)
# Of the training return: the table says when each method passes it.
REACHED = {CARTPOLE: 400.0, "GridWorld": 0.5, PENDULUM: -300.0}
COLORS = {"value-based": "tab:blue", "policy-based": "tab:orange", "gradient-free": "tab:green"}
STYLES = ("-", "--", ":")


class Case(NamedTuple):
    """One line of the table."""

    family: str
    name: str
    method: Any
    hyper: purepg.Hyperparams
    num_updates: int


class Curve(NamedTuple):
    """A run in bins of updates."""

    steps: np.ndarray  # [B], of each seed
    seconds: np.ndarray  # [B], of all seeds together
    mean: np.ndarray  # [B], training return
    low: np.ndarray  # [B]
    high: np.ndarray  # [B]


# Family and name, by environment.
CASES: dict[Any, tuple[tuple[str, str], ...]] = {
    purepg.environment(CARTPOLE): (
        ("value-based", "dqn"),
        ("policy-based", "reinforce-loo"),
        ("policy-based", "gae"),
        ("gradient-free", "cem"),
        ("gradient-free", "cem-sessions"),
    ),
    GRID: (
        ("value-based", "q-learning"),
        ("value-based", "expected-sarsa"),
        ("value-based", "sarsa"),
        ("policy-based", "reinforce-loo"),
        ("policy-based", "gae"),
        ("gradient-free", "cem"),
        ("gradient-free", "cem-sessions"),
    ),
    purepg.environment(PENDULUM): (
        ("policy-based", "gae"),
        ("gradient-free", "cem"),
        ("gradient-free", "cem-sessions"),
    ),
}


def make(env: Any, family: str, name: str) -> Case:
    """The defaults of the library; GAE's for an unknown environment are too careful for a table."""
    preset = presets.preset(env, name)
    if (env.name, name) == (GRID.name, "gae"):
        hyper = dataclasses.replace(preset.hyper, learning_rate=0.1)
        preset = presets.preset(env, name, num_updates=40)._replace(hyper=hyper)
    return Case(family, name, *preset)


def train(case: Case, num_seeds: int) -> tuple[purepg.Result, Curve]:
    """The run, and its curve by steps and by the runner's clock."""
    clock = [(0.0, 0.0)]  # updates done, seconds since the start

    def report(progress):
        left = case.num_updates - progress.iteration
        if left:
            clock.append((progress.iteration, progress.seconds_left * progress.iteration / left))

    result = purepg.run(case.method, case.hyper, num_seeds, case.num_updates, report=report)
    dataset = result.dataset
    clock.append((case.num_updates, dataset.attrs["run_seconds"]))
    bins = np.array_split(np.arange(case.num_updates), min(40, case.num_updates))
    means = [_summary(_mean_return(dataset, b)) for b in bins]
    ends = np.array([b[-1] for b in bins])
    steps = dataset["steps"].values.mean(axis=0).cumsum()
    return result, Curve(steps[ends], np.interp(ends + 1, *np.array(clock).T), *np.array(means).T)


def _mean_return(dataset, updates: np.ndarray) -> np.ndarray:
    """Mean return of each seed's training games that ended in these updates, [S]; NaN for none."""
    values = dataset["return"].values[:, updates]
    count = dataset["return_count"].values[:, updates] if "return_count" in dataset else np.ones_like(values)
    total = np.where(count > 0, values * count, 0.0).sum(axis=1)
    return np.divide(total, count.sum(axis=1), out=np.full(len(total), np.nan), where=count.sum(axis=1) > 0)


def _summary(values: np.ndarray) -> tuple[float, float, float]:
    if not np.isfinite(values).all():  # before every seed has finished a game
        return np.nan, np.nan, np.nan
    summary = statistics.summarize(values)
    return summary.mean, summary.low, summary.high


def model_based(num_seeds: int) -> list[list[str]]:
    """Value and policy iteration on the gridworld's model; their policies play 100 games for each seed."""
    model = environments.exact_model(GRID)
    method = presets.preset(GRID, "q-learning").method
    rows = []
    for name, solve in (
        ("value iteration", lambda: exact.value_iteration(model.transition, model.reward, 0.99, 1e-6)),
        ("policy iteration", lambda: exact.policy_iteration(model.transition, model.reward, 0.99)),
    ):
        jax.block_until_ready(solve())  # compiled
        started = time.perf_counter()
        solved = jax.block_until_ready(solve())
        seconds = time.perf_counter() - started
        params = ActionValues({"table": jnp.asarray(solved.q)}, jnp.float32(0))
        played = purepg.evaluate(
            method, purepg.Hyperparams(), params, jax.random.key(0), 100 * num_seeds
        ).returns
        mean = np.asarray(played).reshape(num_seeds, 100).mean(axis=1)
        sweeps = f"{int(solved.sweeps)} sweeps"
        rows.append(["model-based", name, "0", f"{seconds:.3f}", *_greedy(GRID.name, mean), sweeps, ""])
    return rows


def _greedy(env: str, values: np.ndarray) -> tuple[str, str]:
    """The greedy return with its interval, and the share of seeds that solve the task."""
    s = statistics.summarize(values)
    solved_at = environments.SOLVED_AT.get(env)
    solved = "" if solved_at is None else f"{(values >= solved_at).mean():.0%}"
    return f"{s.mean:.2f} [{s.low:.2f}, {s.high:.2f}]", solved


def table_row(env: str, case: Case, result: purepg.Result, curve: Curve) -> list[str]:
    passed = np.flatnonzero(curve.mean >= REACHED[env])
    reached = ["never", "never"]
    if len(passed):
        reached = [f"{curve.steps[passed[0]] / 1e3:,.1f}", f"{curve.seconds[passed[0]]:.1f}"]
    greedy = _greedy(env, result.dataset["evaluation_return"].values)
    total = f"{curve.steps[-1] / 1e3:,.1f}", f"{curve.seconds[-1]:.1f}"
    return [case.family, case.name, *total, *greedy, *reached]


def show(env: str, rows: list[list[str]], num_seeds: int) -> None:
    page = Page(title=f"{env}, {num_seeds} seeds")
    for name in (
        "family",
        "method",
        "10³ steps per seed",
        "seconds, all seeds",
        "greedy return [95 %]",
        "solved",
    ):
        page.add_column(name, justify="left" if name in ("family", "method") else "right")
    page.add_column(f"10³ steps until {REACHED[env]:g}", justify="right")
    page.add_column("seconds", justify="right")
    for row in rows:
        page.add_row(*row)
    Console(width=150).print(page)


def draw(curves: dict[str, list[tuple[Case, Curve]]], path: pathlib.Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.4 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(curves), 2, squeeze=False, sharey="row")
    for pair, (env, lines) in zip(axes, curves.items(), strict=True):
        used: dict[str, int] = {}
        for case, curve in lines:
            number = used[case.family] = used.get(case.family, -1) + 1
            style = {"color": COLORS[case.family], "linestyle": STYLES[number % len(STYLES)]}
            for axis, x in zip(pair, (curve.steps, curve.seconds), strict=True):
                axis.plot(x, curve.mean, label=f"{case.name} ({case.family})", **style)
                axis.fill_between(x, curve.low, curve.high, color=style["color"], alpha=0.15, linewidth=0)
        pair[0].set(xscale="log", xlabel="environment steps of a seed", ylabel="training return", title=env)
        pair[1].set(xscale="log", xlabel="seconds, all seeds, compilation apart", title=env)
        pair[1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=150)


def main(
    *,
    quick: bool = False,
    num_seeds: int = 32,
    out: pathlib.Path = pathlib.Path("method_families.png"),
    only: str | None = None,
) -> None:
    """Trains every method and prints a table for each environment.

    Args:
      quick: 4 seeds and a tenth of the updates: proves that it runs.
      num_seeds: independent seeds of each method.
      out: file of the figure.
      only: one environment alone: CartPole-v1, GridWorld or Pendulum-v1.
    """
    seeds.use_all_cores()
    num_seeds = 4 if quick else num_seeds
    curves = {}
    for spec, cases in CASES.items():
        env = spec.name
        if only not in (None, env):
            continue
        rows, curves[env] = [], []
        for case in (make(spec, *names) for names in cases):
            if quick:
                case = case._replace(num_updates=max(4, case.num_updates // 10))
            print(f"{env}: {case.name}", flush=True)
            result, curve = train(case, num_seeds)
            rows.append(table_row(env, case, result, curve))
            curves[env].append((case, curve))
        if env == GRID.name:
            rows += model_based(num_seeds)
        show(env, rows, num_seeds)
    draw(curves, out)
    print(f"Figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
