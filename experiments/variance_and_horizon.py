"""How does a gradient's variance grow with the horizon, and when does the path lose?

    python experiments/variance_and_horizon.py [--out variance_and_horizon.png]

Variance of one game's gradient, all parameters together, of the score function (leave-one-out baseline) and
pathwise, of a linear Gaussian policy at fixed parameters, γ = 1:
- LogisticMap with ρ = 4: chaotic. The path multiplies the slopes of the map, which double at every step on average.
- ScalarLQR with a stable gain, x′ = 0.6 x: the path has a bounded memory.

The point where the curves cross is interpolated in the logarithms. Where the chaotic path's variance is infinite for
all practical purposes, so is the error of its estimate: read its last points as orders of magnitude.

Measured: on the chaotic map the path has 1/260 of the score function's variance at T = 2, 4.7 against 11 at T = 8,
1200 against 26 at T = 12 and 2e10 against 94 at T = 24: it grows as 4.0^T, the square of the slopes, the score function
as T^2.0 (growths are from T = 8 to 24). They cross at 8.6. On the LQR problem neither explodes (T^1.6 and T^1.4) and
the path has 1/24 of the variance at T = 2 and a sixth at T = 24. Run time: 3 minutes on two busy cores, most of it
compilation.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import purepg
from purepg import diagnostics, estimators
from purepg.environments import EnvironmentSpec

HORIZONS = (2, 3, 4, 6, 8, 12, 16, 24)
PROBLEMS = {
    "LogisticMap, ρ = 4 (chaotic)": (purepg.environment("LogisticMap"), 0.0),
    "ScalarLQR, x′ = 0.6 x (stable)": (purepg.environment("ScalarLQR", max_steps=64, noise_std=0.3), -0.4),
}
ESTIMATORS = {"reinforce-loo": "-o", "pathwise": "--s"}
HYPER = purepg.Hyperparams(discount=1.0)


def variance(env: EnvironmentSpec, gain: float, preset: str, horizon: int) -> float:
    """Of one game, by 200 batches of 32 games."""
    policy = purepg.Gaussian(purepg.MLP(()), std="fixed", initial_std=0.5)
    task = purepg.Task(env, policy, purepg.Games(32, horizon))
    params = jax.tree.map(jnp.zeros_like, task.bind_policy().init(jax.random.key(0)))
    params["network"] = {
        name: layer | {"kernel": jnp.full_like(layer["kernel"], gain)}
        for name, layer in params["network"].items()
    }
    found = diagnostics.gradient_statistics(
        task,
        estimators.make(preset),
        HYPER,
        params,
        jax.random.key(0),
        200,
        reference=None,
    )
    return found.total_variance


def crossing(score: np.ndarray, path: np.ndarray) -> float | None:
    """The horizon from which the path has more variance, or None."""
    ratio, at = np.log(path / score), np.log(HORIZONS)
    if ratio[-1] < 0:
        return None
    last = np.flatnonzero(ratio < 0)[-1] if (ratio < 0).any() else None
    if last is None:
        return float(HORIZONS[0])
    share = ratio[last] / (ratio[last] - ratio[last + 1])
    return float(np.exp(at[last] + share * (at[last + 1] - at[last])))


def main(out: pathlib.Path = pathlib.Path("variance_and_horizon.png")) -> None:
    """Variance against horizon.

    Args:
      out: the figure.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    table = Table(title="Variance of one game's gradient by horizon")
    for name in ("", "", *map(str, HORIZONS), "growth", "crossing"):
        table.add_column(name, justify="right" if name else "left")
    for axes, (title, (env, gain)) in zip(figure.subplots(1, 2), PROBLEMS.items(), strict=True):
        curves = {
            preset: np.array([variance(env, gain, preset, h) for h in HORIZONS]) for preset in ESTIMATORS
        }
        cross = crossing(*curves.values())
        for preset, curve in curves.items():
            axes.loglog(
                HORIZONS,
                np.maximum(curve, 1e-12),
                ESTIMATORS[preset],
                color="black",
                mfc="white",
                label=preset,
            )
            power = np.polyfit(np.log(HORIZONS[4:]), np.log(np.maximum(curve[4:], 1e-30)), 1)[0]
            per_step = (np.log(curve[-1]) - np.log(curve[4])) / (HORIZONS[-1] - HORIZONS[4])
            growth = f"T^{power:.1f}" if per_step < 0.3 else f"{np.exp(per_step):.1f}^T"
            place = "" if preset != "pathwise" else ("none" if cross is None else f"{cross:.1f}")
            head = title if preset == "reinforce-loo" else ""
            table.add_row(head, preset, *(f"{v:.2g}" for v in curve), growth, place)
        if cross is not None:
            axes.axvline(cross, color="0.7", zorder=0)
        axes.set(title=title, xlabel="horizon T, steps")
        axes.set_xticks(HORIZONS, labels=map(str, HORIZONS))
        axes.minorticks_off()
        axes.legend()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("variance of one game's gradient")
    Console(width=170).print(table)
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
