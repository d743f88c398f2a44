"""How often do the intervals of `purepg.statistics` and `purepg.comparisons` contain the truth?

    python experiments/interval_coverage.py [--repetitions 4000]

Nominal 95 %, 2000 resamples. One number per seed, from a normal distribution, Beta(8, 2) (returns near their ceiling,
skewness −0.8), Gamma(4) (skewness 1) and an exponential one (skewness 2). P(improvement): normal numbers whose pairs
have a correlation, and independent runs. Differences: the distribution against itself, which for skewed numbers errs
in both means alike. Shares (Wilson) and tolerance intervals need no simulation: their coverage is a sum of binomial
terms and a beta quantile.

Expected of 10, 20 and 64 seeds, 4000 repetitions: t interval of the mean 94.9, 95.2, 94.8 % of normal numbers, 93.5,
93.9, 94.4 % of Beta(8, 2), 89.6, 91.6, 93.2 % of exponential ones, for which bootstrap-t has 93.5, 94.0, 94.3 %.
Medians and interquartile means 94.4 to 97.4 %, differences 94.8 to 96.2 %. P(improvement): 95.2 to 97.1 % of
independent runs; of pairs 95.1 to 97.4 % without correlation, 95.2 to 98.1 % with one of 0.5, 96.4 to 100 % with one
of 0.9, the most where few seeds are near ½. Run time on 2 cores, beside other work: 17 minutes.
"""

import numpy as np
import scipy.stats
import tyro
from rich.console import Console
from rich.table import Table

from purepg import comparisons, statistics

FAMILIES = {
    "normal": scipy.stats.norm(),
    "beta(8, 2)": scipy.stats.beta(8, 2),
    "gamma(4)": scipy.stats.gamma(4),
    "exponential": scipy.stats.expon(),
}


def of_one(distribution, num_seeds: int, repetitions: int) -> dict[str, float]:
    """Coverage of each interval of `summarize`."""
    quartiles = distribution.ppf([0.25, 0.75])
    middle = 2 * distribution.expect(lambda x: x, lb=quartiles[0], ub=quartiles[1])
    mean, median = distribution.mean(), distribution.median()
    values = distribution.rvs(size=(repetitions, num_seeds), random_state=np.random.default_rng(num_seeds))
    held = np.zeros(4)
    for x in values:
        s = statistics.summarize(x)
        for i, ((low, high), truth) in enumerate(
            (
                ((s.low, s.high), mean),
                (s.mean_bootstrap_interval, mean),
                (s.interquartile_mean_interval, middle),
                (s.median_interval, median),
            )
        ):
            held[i] += low <= truth <= high
    names = "mean, t", "mean, bootstrap-t", "interquartile mean", "median"
    return dict(zip(names, held / repetitions, strict=True))


def of_differences(distribution, num_seeds: int, repetitions: int) -> dict[str, float]:
    """Coverage of the interval of the difference, whose truth is 0."""
    rng = np.random.default_rng(num_seeds)
    values = distribution.rvs(size=(repetitions, 2, num_seeds), random_state=rng)
    found = [comparisons.compare_pair(*x, paired=False) for x in values]
    return {"difference, Welch": float(np.mean([c.low <= 0 <= c.high for c in found]))}


def of_improvement(
    truth: float, correlation: float | None, num_seeds: int, repetitions: int
) -> tuple[float, float]:
    """Coverage of P(improvement), paired unless the correlation is None, and the mean estimate."""
    rng = np.random.default_rng(num_seeds)
    shift, rho = np.sqrt(2) * scipy.stats.norm.ppf(truth), correlation or 0.0
    found = []
    for _ in range(repetitions):
        first, other = rng.normal(size=(2, num_seeds))
        second = rho * first + np.sqrt(1 - rho**2) * other
        found.append(comparisons.compare_pair(first + shift, second, paired=correlation is not None))
    held = np.mean([c.improvement_low <= truth <= c.improvement_high for c in found])
    return float(held), float(np.mean([c.improvement for c in found]))


def of_shares(share: float, num_seeds: int) -> float:
    """Coverage of Wilson's interval, exactly."""
    counts = np.arange(num_seeds + 1)
    low, high = statistics.wilson_interval(counts / num_seeds, num_seeds)
    chance = scipy.stats.binom.pmf(counts, num_seeds, share)
    return float(chance[(low <= share) & (share <= high)].sum())


def main(repetitions: int = 4000) -> None:
    console, sizes = Console(), (10, 20, 64)
    page = Table("interval", "of", *(f"{n} seeds" for n in sizes))
    for name, distribution in FAMILIES.items():
        columns = [
            of_one(distribution, n, repetitions) | of_differences(distribution, n, repetitions) for n in sizes
        ]
        for interval in columns[0]:
            page.add_row(interval, name, *(f"{column[interval]:.1%}" for column in columns))
    for correlation in (None, 0.0, 0.5, 0.9):
        for truth in (0.5, 0.64, 0.8, 0.95):
            columns = [of_improvement(truth, correlation, n, repetitions) for n in sizes]
            what = "independent" if correlation is None else f"paired, correlation {correlation}"
            cells = (f"{held:.1%} (estimate {mean:.3f})" for held, mean in columns)
            page.add_row(f"P(improvement) {truth}", what, *cells)
    for share in (0.05, 0.2, 0.5):
        page.add_row("share, Wilson", f"share {share}", *(f"{of_shares(share, n):.1%}" for n in sizes))
    console.print(page)


if __name__ == "__main__":
    tyro.cli(main)
