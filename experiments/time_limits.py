"""What does a time limit do to values, rightly and wrongly treated?

    python experiments/time_limits.py [--out time_limits.png]

A game that pays 1 at every step for ever, collected in games cut after 20 steps; γ = 0.9, so V = 1/(1 − γ) = 10.
The limit is an artefact of collection here, and a tabular value of the one state is what a critic would converge
to:
- right: a truncated row bootstraps from the value of what would have followed;
- wrong, TD: truncation taken for termination, one-step targets;
- wrong, Monte Carlo: the same, returns up to the limit, averaged over the rows.

The library's targets
(`purepg.returns`) are used throughout; the wrong ones are built here by handing truncations over as terminations.
Not wrong, but another question: with the limit as part of the objective the return from the start is (1 − γ²⁰)/(1 −
γ) = 8.784.

Expected: 10.000, 6.897 and 6.047. In closed form the wrong ones are 1/(1 − γ·19/20) and (20 − γ(1 − γ²⁰)/(1 −
γ))/20 / (1 − γ) after summing over the 20 rows. Run time: 9 s.
"""

import pathlib

import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from purepg import returns

DISCOUNT, LIMIT, SWEEPS = 0.9, 20, 120


def targets(kind: str, value: float) -> jnp.ndarray:
    """Targets `[T]` of the rows of one game, given V of the only state."""
    reward, never = jnp.ones(LIMIT), jnp.zeros(LIMIT, bool)
    cut = never.at[-1].set(True)
    following = jnp.full(LIMIT, value)
    if kind == "right":
        return returns.td_target(reward, never, following, discount=DISCOUNT)
    if kind == "wrong, TD":
        return returns.td_target(reward, cut, following, discount=DISCOUNT)
    return returns.reward_to_go(reward, cut, never, discount=DISCOUNT)


def main(out: pathlib.Path = pathlib.Path("time_limits.png")) -> None:
    """Values by sweep.

    Args:
      out: the figure.
    """
    left = LIMIT - np.arange(LIMIT)  # steps to the limit, of each row
    expected = {
        "right": 1 / (1 - DISCOUNT),
        "wrong, TD": 1 / (1 - DISCOUNT * (LIMIT - 1) / LIMIT),
        "wrong, Monte Carlo": float(((1 - DISCOUNT**left) / (1 - DISCOUNT)).mean()),
    }
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    table = Table(title=f"V of an endless reward of 1, γ = {DISCOUNT}, games cut after {LIMIT} steps")
    for name in ("", "value", "closed form"):
        table.add_column(name, justify="right" if name else "left")
    for (kind, exact), style in zip(expected.items(), ("-", "--", ":"), strict=True):
        values = [0.0]
        for _ in range(SWEEPS):
            values.append(float(targets(kind, values[-1]).mean()))
        axes.plot(values, style, color="black", label=f"{kind}: {values[-1]:.3f}")
        table.add_row(kind, f"{values[-1]:.3f}", f"{exact:.3f}")
    axes.set(xlabel="sweep", ylabel="value of the state")
    axes.legend()
    axes.grid(alpha=0.3)
    Console(width=110).print(table)
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
