"""Which estimator has less variance, and does it depend on the cost alone?

    python experiments/gradient_variance_costs.py [--out gradient_variance_costs.png]

Mohamed et al. (2020), section 3: the gradient by the mean of E_{N(x; μ, 1)}[f(x; k)] at μ = 1, for the costs
(x − k)², exp(−k x²) and cos(k x), k from 0.01 to 10, from single samples: score function, the same with the best
constant baseline ("optimal"), and pathwise. Curves are variances of 400 000 samples; a crossing is where two of them
meet, interpolated in log k. For the quadratic cost the table's last column has the closed forms beside the
samples: with m = μ − k the variances are m⁴ + 14 m² + 15, and 4 for the path.

Expected: no estimator is best. On the quadratic the path always wins (4; the score function 15 and more, 6 with the
best baseline). On the others it wins only while f is nearly flat: the cosine's curves cross at k = 1.06 with and
without the baseline, the exponential's at k = 0.87 without and already at 0.36 with it. Beyond, f stays bounded,
and so does the score function's variance (0.50 and 0.08 at k = 10), while the slopes' grows: 50 = k²/2 for the
cosine, 0.94 for the exponential. Run time: 10 s.
"""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from purepg import monte_carlo
from purepg.policies.distributions import Gaussian

NUM_SAMPLES, MEAN = 400_000, 1.0
COSTS = {
    "quadratic": ("(x − k)²", lambda x, k: jnp.sum((x - k) ** 2)),
    "exponential": ("exp(−k x²)", lambda x, k: jnp.sum(jnp.exp(-k * x**2))),
    "cosine": ("cos(k x)", lambda x, k: jnp.sum(jnp.cos(k * x))),
}
ESTIMATORS = {
    "score function": (monte_carlo.score_function, "-"),
    "score function, best baseline": (partial(monte_carlo.score_function, baseline="optimal"), "--"),
    "pathwise": (monte_carlo.pathwise, ":"),
}


def distribution(mean: jax.Array) -> Gaussian:
    return Gaussian(mean, jnp.ones_like(mean))


def variances(cost, estimator, sizes: np.ndarray) -> np.ndarray:
    """Per-sample variance of the gradient by the mean at each k, `[K]`; the same draws for every k."""

    def at(k):
        samples = estimator(
            lambda x: cost(x, k), distribution, jnp.full(1, MEAN), jax.random.key(0), NUM_SAMPLES
        )
        return jnp.var(samples)

    return np.asarray(jax.jit(lambda ks: jax.lax.map(at, ks))(jnp.asarray(sizes, jnp.float32)), np.float64)


def crossings(sizes: np.ndarray, one: np.ndarray, other: np.ndarray) -> list[float]:
    """Each k where the two curves change places, by linear interpolation of the log-ratio in log k."""
    ratio = np.log(np.maximum(one, 1e-30) / np.maximum(other, 1e-30))
    found = []
    for i in np.flatnonzero(np.sign(ratio[:-1]) * np.sign(ratio[1:]) < 0):
        share = ratio[i] / (ratio[i] - ratio[i + 1])
        found.append(float(sizes[i] * (sizes[i + 1] / sizes[i]) ** share))
    return found


def main(out: pathlib.Path = pathlib.Path("gradient_variance_costs.png")) -> None:
    """Variance against k for three costs and three estimators.

    Args:
      out: the figure.
    """
    sizes = np.geomspace(0.01, 10, 25)
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    table = Table(title=f"Variance of one sample's gradient by the mean, μ = {MEAN:g}, σ = 1")
    for name in ("cost", "estimator", "k = 0.1", "k = 1", "k = 10", "crosses pathwise at k ="):
        table.add_column(name, justify="right" if "=" in name else "left")
    for axes, (name, (formula, cost)) in zip(figure.subplots(1, 3), COSTS.items(), strict=True):
        curves = {e: variances(cost, estimator, sizes) for e, (estimator, _) in ESTIMATORS.items()}
        for estimator, curve in curves.items():
            axes.loglog(
                sizes, np.maximum(curve, 1e-9), ESTIMATORS[estimator][1], color="black", label=estimator
            )
            places = [] if estimator == "pathwise" else crossings(sizes, curve, curves["pathwise"])
            for k in places:
                axes.axvline(k, color="0.8", zorder=0)
            at = [f"{np.interp(np.log(k), np.log(sizes), curve):.3g}" for k in (0.1, 1, 10)]
            label = formula if estimator == "score function" else ""
            table.add_row(label, estimator, *at, ", ".join(f"{k:.2f}" for k in places) or "–")
        axes.set_title(f"{name}: f = {formula}")
        axes.set_xlabel("k")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("variance of one sample's gradient")
    figure.axes[0].legend(fontsize=8)
    offset = (MEAN - np.array([0.1, 1, 10])) ** 2
    Console(width=110).print(table)
    print(
        "quadratic, closed forms: score function",
        *(f"{x:.4g}" for x in offset**2 + 14 * offset + 15),
        "path 4",
    )
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
