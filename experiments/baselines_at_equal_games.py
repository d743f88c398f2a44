"""What does each baseline buy, at equal games?

    python experiments/baselines_at_equal_games.py [--num-seeds 32] [--out baselines_at_equal_games.png]

CartPole-v1, whole games, γ = 0.99, γ^t included: the score function with reward-to-go and the baselines none, constant
(half of the largest possible return, a guess), mean, loo, moving, value (a network of its own, so that all have the
same parameters) and optimal (the constant of least variance).

1. Variance of one game's gradient, N·Var over independent batches of N = 32 games, all parameters together, at a fresh
   policy and at a half-trained one (7 updates with loo, mean return in the table's title). `moving` and `value` are
   settled at these parameters first; `mean` is 31/32 of `loo`, and its variance the square of that.
2. Learning with 32 games per update, Adam at 1e-2, 25 updates, without tuning for any of them. Here `moving` and
   `value` lag behind the policy.

Measured with the defaults, variance fresh, variance after 7 updates (return 162), and seeds of 32 that play 475 or more
greedily after 800 games: none 9.1e3, 7.1e5, 14; constant 7.7e4, 1.1e5, 17; mean 4.9e3, 5.3e4, 32; loo 5.2e3, 5.7e4, 32;
moving 5.1e3, 5.6e4, 27; value 3.0e3, 2.3e4, 21; optimal 4.9e3, 7.8e4, 31. A settled V is the best baseline by far, but
a poor one while it lags behind the policy: what counts is the baseline that a run has when it needs it. Nearly trained
(10 updates, return 471) none has 1.8e6, loo 3.9e3, V 8.9e3 and optimal 7.0e3. Run time: 3 minutes on two cores.
"""

import pathlib

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import purepg
from purepg import baselines, diagnostics, seeds, statistics

HYPER = purepg.Hyperparams(1e-2, discount=0.99)
TASK = purepg.Task(purepg.environment("CartPole-v1"), purepg.Softmax(purepg.MLP()), purepg.Games(32))
GUESS = 0.5 / (1 - 0.99)
ESTIMATORS = {
    "none": purepg.ScoreFunction(),
    "constant": purepg.ScoreFunction(baseline=baselines.Constant(GUESS)),
    "mean": purepg.ScoreFunction(baseline=baselines.Mean()),
    "loo": purepg.ScoreFunction(baseline=baselines.LeaveOneOut()),
    "moving": purepg.ScoreFunction(baseline=baselines.Moving()),
    "value": purepg.ScoreFunction(baseline=baselines.Value(), critic=purepg.OwnCritic(steps=4)),
    "optimal": purepg.ScoreFunction(baseline=baselines.Optimal()),
}
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
HALF = 7  # updates


def snapshots() -> dict[str, tuple[object, float]]:
    """Parameters, and the return of the update they were seen in."""
    method = purepg.PolicyGradient(TASK, ESTIMATORS["loo"])
    key = seeds.keys(np.arange(1))[0]
    state = purepg.init(method, HYPER, key)
    trained, numbers = jax.jit(lambda state: purepg.train(method, HYPER, state, HALF))(state)
    played = np.asarray(numbers["return"].sum / numbers["return"].count)
    return {
        "fresh": (state.learner.params, float(played[0])),
        f"after {HALF} updates": (trained.learner.params, float(played[-1])),
    }


def main(
    num_seeds: int = 32,
    num_batches: int = 400,
    out: pathlib.Path = pathlib.Path("baselines_at_equal_games.png"),
) -> None:
    """Variances, then learning.

    Args:
      num_seeds: of each learning curve.
      num_batches: of 32 games, for each variance.
      out: the figure.
    """
    seeds.use_all_cores()
    found = {}
    points = snapshots()
    for at, (params, _) in points.items():
        found[at] = {
            name: diagnostics.gradient_statistics(
                TASK, estimator, HYPER, params, jax.random.key(0), num_batches, reference=None
            )
            for name, estimator in ESTIMATORS.items()
        }
    title = ", ".join(f"{at} (return {played:.0f})" for at, (_, played) in points.items())
    table = Table(title=f"Variance of one game's gradient: {title}; learning of {num_seeds} seeds")
    for name in ("baseline", *points, "games 1–320", "last 160 games", "greedy [95 %]", "seeds ≥ 475"):
        table.add_column(name, justify="left" if name == "baseline" else "right")

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(len(ESTIMATORS))
    for i, (at, shade) in enumerate(zip(found, ("0.75", "0.35"), strict=True)):
        heights = [s.total_variance for s in found[at].values()]
        left.bar(places + 0.4 * i - 0.2, heights, 0.4, color=shade, label=at)
    left.set_xticks(places, labels=list(ESTIMATORS))
    left.set(yscale="log", ylabel="variance of one game's gradient", title="at fixed parameters")
    for i, (name, estimator) in enumerate(ESTIMATORS.items()):
        result = purepg.run(purepg.PolicyGradient(TASK, estimator), HYPER, num_seeds, 25)
        greedy = result.dataset["evaluation_return"].values
        interval = statistics.summarize(greedy)
        curve = result.dataset["return"].mean("seed").values
        table.add_row(
            name,
            *(f"{by_name[name].total_variance:.3g}" for by_name in found.values()),
            f"{curve[:10].mean():.0f}",
            f"{curve[-5:].mean():.0f}",
            f"{interval.mean:.0f} [{interval.low:.0f}, {interval.high:.0f}]",
            f"{(greedy >= 475).sum()}/{num_seeds}",
        )
        right.plot(32 * np.arange(1, 26), curve, linestyle=STYLES[i], color=f"C{i}", label=name)
    right.set(title="learning", xlabel="games", ylabel=f"return, mean of {num_seeds} seeds")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    Console(width=120).print(table)
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
