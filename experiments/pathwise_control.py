"""Does the path learn control, and what do the score functions reach with the same number of steps?

    python experiments/pathwise_control.py [--env Pendulum-v1] [--num-seeds 16] [--out pathwise_control.png]
    python experiments/pathwise_control.py --env CartPoleSwingUp

`pathwise-short` differentiates through short segments and a learned value at their ends. Beside it, with 1 million
environment steps each: `gae`, `n-step` and `actor-critic` on segments, `reinforce-loo` on whole games. The score
functions play with the library's own settings for Pendulum-v1, which were tuned for `gae` there; the path with its
defaults there, and with settings found here for the swing-up, a detour that a segment has to see a good part of.
Figure: return of the training games, which are noisy, by steps; median and middle half of the seeds.
Table: greedy mean return of each seed over 100 fresh games.

Good enough is −200 on Pendulum-v1. CartPoleSwingUp pays the cosine of the pole's angle less small costs; hanging is
−250 in 250 steps. There the table also has `upright`, the mean cosine over the last 100 steps of fresh greedy games:
0.95 in all games together counts as swung up and held.

Measured with 32 seeds. Pendulum-v1, mean (worst), seeds ≥ −200: pathwise-short −153 (−188), 32; gae −532 (−801), n-step
−760, reinforce-loo −1043 and actor-critic −1611, none. Swing-up: pathwise-short 132 (median 136, worst 87), 28 of 32
held; reinforce-loo 42 with none held; gae, n-step and actor-critic let the cart run away (−8764, −8785, −8868). That is
with the Pendulum settings, and says that these do not carry over, not that no settings do. Before, 8 seeds of the path
each: segments of 64 steps × 32 games reached 132 to 149; 64 × 64, half as many updates, 57 to 138. Run time: 4 to 4.5
minutes for each environment on two busy cores.
"""

import dataclasses
import pathlib
from typing import Literal

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import purepg
from purepg import evaluation, presets, seeds

STYLES = {
    "pathwise-short": ("-", "black"),
    "gae": ("--", "C0"),
    "n-step": ("-.", "C1"),
    "actor-critic": (":", "C2"),
    "reinforce-loo": ("-", "C3"),
}
GOOD = {"Pendulum-v1": -200.0, "CartPoleSwingUp": 100.0}


def preset(env: str, name: str, num_steps: int) -> presets.Preset:
    """Method, numbers and updates that make up about `num_steps` steps."""
    found = presets.preset("Pendulum-v1", name)
    method, hyper = found.method, found.hyper
    task = dataclasses.replace(method.task, env=purepg.environment(env))
    if env == "CartPoleSwingUp" and name == "pathwise-short":
        task = dataclasses.replace(task, collect=purepg.Segments(32, 64))
        hyper = dataclasses.replace(hyper, learning_rate=5e-3)
    elif isinstance(task.collect, purepg.Games):
        task = dataclasses.replace(task, collect=purepg.Games(16))
    length = task.collect.num_steps if isinstance(task.collect, purepg.Segments) else task.max_steps
    num_updates = num_steps // (task.collect.num_games * length)
    schedule = "linear" if env == "CartPoleSwingUp" else method.optimizer.schedule
    optimizer = purepg.Optimizer("adam", schedule, 0 if schedule == "constant" else num_updates)
    return presets.Preset(purepg.PolicyGradient(task, method.estimator, optimizer), hyper, num_updates)


def upright(result: purepg.Result, num_games: int = 32) -> np.ndarray:
    """Mean cosine of the pole over the last 100 steps of greedy games, [seeds]."""

    def one(params, key):
        rows = evaluation.play(
            result.method, purepg.Hyperparams(), params, key, num_games, deterministic=True
        )
        return rows.observation[-100:, :, 2].mean()

    return np.asarray(seeds.map(one, result.method.params(result.state.learner), seeds.keys(result.seeds)))


def curves(result: purepg.Result, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Steps [K], and returns of training games [seeds, K], averaged over stretches of the run."""
    returns, counts = (result.dataset[x].values for x in ("return", "return_count"))
    parts = np.array_split(np.arange(returns.shape[1]), min(points, returns.shape[1]))
    total = np.where(counts > 0, returns * counts, 0.0)
    means = [total[:, p].sum(axis=1) / np.maximum(counts[:, p].sum(axis=1), 1) for p in parts]
    empty = [counts[:, p].sum(axis=1) == 0 for p in parts]
    steps = result.dataset["steps"].values.mean(axis=0).cumsum()
    return steps[[p[-1] for p in parts]], np.where(np.stack(empty, 1), np.nan, np.stack(means, 1))


def main(
    env: Literal["Pendulum-v1", "CartPoleSwingUp"] = "Pendulum-v1",
    num_seeds: int = 16,
    num_steps: int = 1_000_000,
    out: pathlib.Path = pathlib.Path("pathwise_control.png"),
) -> None:
    """Learning curves at equal steps.

    Args:
      env: what is played.
      num_seeds: of each estimator.
      num_steps: environment steps of each seed.
      out: the figure.
    """
    seeds.use_all_cores()
    swing_up = env == "CartPoleSwingUp"
    columns = ("estimator", "steps", "mean", "median", "worst", f"≥ {GOOD[env]:g}", "seconds")
    table = Table(title=f"{env}: greedy return of {num_seeds} seeds, 100 fresh games each")
    for name in (*columns, *(("upright ≥ 0.95", "upright, median") if swing_up else ())):
        table.add_column(name, justify="left" if name == "estimator" else "right")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, (style, colour) in STYLES.items():
        method, hyper, num_updates = preset(env, name, num_steps)
        result = purepg.run(method, hyper, num_seeds, num_updates)
        final = result.dataset["evaluation_return"].values
        cells = [
            f"{float(result.dataset['steps'].sum('iteration').mean()):,.0f}",
            *(f"{f(final):.0f}" for f in (np.mean, np.median, np.min)),
            f"{(final >= GOOD[env]).sum()}/{num_seeds}",
            f"{result.dataset.attrs['run_seconds']:.0f}",
        ]
        if swing_up:
            cosine = upright(result)
            cells += [f"{(cosine >= 0.95).sum()}/{num_seeds}", f"{np.median(cosine):.2f}"]
        table.add_row(name, *cells)
        steps, returns = curves(result)
        low, middle, high = np.nanquantile(returns, (0.25, 0.5, 0.75), axis=0)
        axes.plot(steps / 1e6, middle, style, color=colour, label=name)
        axes.fill_between(steps / 1e6, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(GOOD[env], color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel="environment steps, millions", ylabel="return of training games", title=env)
    if swing_up:
        axes.set_ylim(-400, 160)  # a cart that runs away pays down to −8900
    axes.legend()
    axes.grid(alpha=0.3)
    Console(width=120).print(table)
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
