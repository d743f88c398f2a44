"""What 256 seeds say about the lecture's claims on baselines and critics, and how many seeds would have sufficed.

    python experiments/lecture_claims.py [--num-seeds 256] [--out lecture_claims]

CartPole-v1 and Acrobot-v1; reinforce (reward-to-go), reinforce-loo, reinforce-value (V learned beside the policy),
actor-critic (one-step TD) and gae, each with the defaults of `purepg train`; on Acrobot the first three play 16 games
an update, 100 updates. Two numbers for each seed: greedy return after training, and the mean return over all steps
played. The claims:

1. A baseline speeds REINFORCE up: reinforce-loo and reinforce-value beat reinforce.
2. A critic that bootstraps beats one that is a baseline alone: actor-critic and gae beat reinforce-value.
3. λ < 1 over several steps beats the one-step target: gae beats actor-critic.

For each pair: is the difference real (paired t test over 256 seeds, Holm's correction over the pairs of a table), how
large is it (Hedges' g), and from how many seeds on would four of five experiments have seen it. That number is given
twice: from g by the power of the t test, and measured, as the share of 1000 draws of n of the 256 seeds per side in
which Welch's test finds it at 5 %.

Measured with 256 seeds, about half an hour on two cores, actor-critic on CartPole-v1 still with steps of 5e-3 and V's
weight 1 (`late_collapse.py` says why these are gone). Mean return over all steps, then share of seeds solved (475 and
−100, greedy):

                     CartPole-v1            Acrobot-v1
    reinforce        403 ± 4       74 %     −399 ± 13    29 %
    reinforce-loo    444 ± 3      100 %     −218 ± 17    80 %
    reinforce-value  352 ± 5       89 %     −362 ± 14    66 %
    actor-critic     402 ± 6       95 %     −211 ± 2     93 %
    gae              367 ± 3      100 %     −131 ± 0.4  100 %

1. True of reinforce-loo everywhere (g = −1.5 of the mean return on both: 10 seeds would have seen it; of the greedy
   return g = −0.7 and −1.0: 28 and 20 seeds). V learned beside the policy is no such help: at the end it is better
   (80 and 40 seeds), over the run worse on CartPole, where it first has to be learned with the scaled-down returns.
2. On Acrobot yes, by far (gae against reinforce-value: 20 seeds for the greedy return, 5 for the mean return). On
   CartPole gae is better at the end (28 seeds), the one-step actor-critic cannot be told from reinforce-value
   (p = 0.35): it solves more seeds and fails worse where it fails.
3. On Acrobot yes (3 seeds of the mean return, 56 of the greedy one). On CartPole gae is better at the end (g = −0.3:
   176 seeds by its power) and slower on the way (28 seeds).

Numbers of seeds by the power of the t test and as measured agree within a step of the counts tried, or two. Both
environments have differences of a sort that 5 seeds see, and others, as large in the share of failures, that take 50
or more.
"""

import pathlib
import warnings

import numpy as np
import scipy.stats
import tyro
from rich.console import Console
from rich.table import Table

import purepg
from purepg import presets, report, seeds
from purepg.cli import tables
from purepg.cli.progress import reporter
from purepg.presets import Preset
from purepg.runs import records

ESTIMATORS = ("reinforce", "reinforce-loo", "reinforce-value", "actor-critic", "gae")
WHOLE_GAMES = ESTIMATORS[:3]
ENVIRONMENTS = "CartPole-v1", "Acrobot-v1"
COUNTS = (3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160)


def preset(env: str, name: str) -> Preset:
    """The default; on Acrobot whole games in smaller batches, equally many for all (up to 500 steps each)."""
    found = presets.preset(
        env, name, num_updates=100 if env == "Acrobot-v1" and name in WHOLE_GAMES else None
    )
    if env == "Acrobot-v1" and name in WHOLE_GAMES:
        method, hyper = records.changed(found.method, found.hyper, {"num_games": 16})
        return Preset(method, hyper, found.num_updates)
    return found


def seeds_seen(first: np.ndarray, second: np.ndarray, draws: int = 1000) -> int | None:
    """The fewest of `COUNTS` with which Welch's test finds a difference in 80 % of the draws; none: not among them."""
    rng = np.random.default_rng(0)
    for count in COUNTS:
        if count > len(first) // 2:
            return None
        a, b = (rng.permuted(np.tile(x, (draws, 1)), axis=1)[:, :count] for x in (first, second))
        with warnings.catch_warnings(action="ignore"):  # draws without any spread, which find nothing
            p_values = np.asarray(scipy.stats.ttest_ind(a, b, axis=1, equal_var=False)[1])
        if np.mean(p_values < 0.05) >= 0.8:
            return count
    return None


def show(found: report.Report) -> None:
    tables.report(found)
    table = Table(
        "first",
        "second",
        title=f"{found.environment}: seeds per side to see the difference four times in five",
    )
    for column in ("effect size", "by its power", "measured"):
        table.add_column(column, justify="right")
    for pair in found.pairs:
        seen = seeds_seen(found.values[pair.first], found.values[pair.second])
        table.add_row(
            pair.first,
            pair.second,
            f"{pair.effect_size:.2f}",
            f"{pair.seeds_needed:.0f}",
            str(seen or "more"),
        )
    Console(width=120).print(table)


def main(num_seeds: int = 256, out: pathlib.Path = pathlib.Path("lecture_claims")) -> None:
    """Trains what is missing in the folder, then compares.

    Args:
      num_seeds: of each estimator on each environment.
      out: folder; gone on with if it is there.
    """
    seeds.use_all_cores()
    for env in ENVIRONMENTS:
        folder = out / env
        with reporter("update of a seed") as progress:
            study = purepg.compare(
                {name: preset(env, name) for name in ESTIMATORS}, num_seeds, directory=folder, report=progress
            )
        for seed_metric in ("area", "greedy"):
            found = report.report(study.datasets, seed_metric)
            show(found)
            report.write_tables(found, folder)
        for name, figure in report.standard_figures(study.datasets).items():
            figure.savefig(folder / f"{name}.png", dpi=150)
        print(f"data and figures: {folder}")


if __name__ == "__main__":
    tyro.cli(main)
