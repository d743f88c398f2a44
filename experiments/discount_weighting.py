"""What does dropping γ^t from the policy gradient do?

    python experiments/discount_weighting.py [--num-seeds 32] [--out discount_weighting.png]

Σ_t γ^t ∇log π Q is the gradient of J; most programs add up Σ_t ∇log π Q, with Q still discounted.

1. Where it goes wrong. Two decisions, at t = 0 and t = 10, that the policy cannot tell apart (one logit for both).
   Action 0 at t = 0 pays 4 at t = 9; action 1 at t = 10 pays 2 at once. With γ = 0.9, J = 4 γ⁹ p + 2 γ¹⁰ (1 − p) for
   p = π(action 0): its slope in p is 1.55 − 0.70 > 0, and without discount it is 4 − 2 > 0. Without γ^t the direction
   weighs 1.55 against 2 and climbs to p = 0, the worst policy with discount and without. It is no gradient of either.
   Exact directions of `purepg.exact`, ascended with step 1.
2. Where it helps. CartPole-v1, `reinforce-loo` with the defaults' budget, γ = 0.99, 0.95, 0.9. What counts is the
   undiscounted return, and γ only lowers the variance: with γ^t the rows after some 1/(1 − γ) steps hardly
   count.

Measured: the exact ascent is at p = 0.996 after 300 steps with γ^t and J = 1.546 (best 1.550), at p = 0.008 and
J = 0.704 (worst 0.697) without. CartPole-v1, 32 seeds, greedy return with γ^t and without: 499 and 493 (32 and 31 seeds
≥ 475) for γ = 0.99, 346 and 383 (5 and 13) for 0.95, 234 and 350 (1 and 14) for 0.9. So at 0.99 there is no visible
difference; at 0.9 dropping γ^t gains 116. Run time: 2 minutes on two busy cores.
"""

import pathlib

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import purepg
from purepg import baselines, exact, seeds, statistics

DELAY, EARLY, LATE, GAMMA = 10, 4.0, 2.0, 0.9
DISCOUNTS = (0.99, 0.95, 0.9)
NAMES = {True: "with γ^t", False: "without"}


def two_decisions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition [S, A, S], reward [S, A], initial [S]: a state, two corridors side by side, a state."""
    last = 2 * DELAY - 1
    transition, reward = np.zeros((last + 1, 2, last + 1)), np.zeros((last + 1, 2))
    for action in range(2):
        transition[0, action, 1 + action] = 1.0
    for state in range(1, last):
        transition[state, :, min(state + 2, last)] = 1.0
    reward[last - 2] = EARLY  # the end of action 0's corridor, at t = 9
    reward[last, 1] = LATE  # and then the game ends: no row of `transition`
    return transition, reward, np.eye(last + 1)[0]


def climb(*, discount_weighting: bool, num_steps: int) -> np.ndarray:
    """p(action 0), J with discount and J without, [3, steps], along the ascent of one logit for all states."""
    model = two_decisions()
    logit, rows = 0.0, []
    for _ in range(num_steps + 1):
        p = 1 / (1 + np.exp(-logit))
        policy = np.tile([p, 1 - p], (len(model[0]), 1))
        rows.append([p, *(exact.objective(*model, policy, gamma) for gamma in (GAMMA, 1.0))])
        direction = exact.policy_gradient(
            *model, np.log(policy), GAMMA, discount_weighting=discount_weighting
        )
        logit += float(np.asarray(direction)[:, 0].sum())  # the chain rule of a shared logit
    return np.array(rows, np.float64).T


def cart_pole(discount: float, *, discount_weighting: bool, num_seeds: int) -> purepg.Result:
    estimator = purepg.ScoreFunction(baseline=baselines.LeaveOneOut(), discount_weighting=discount_weighting)
    task = purepg.Task(purepg.environment("CartPole-v1"), purepg.Softmax(purepg.MLP()), purepg.Games(32))
    hyper = purepg.Hyperparams(1e-2, discount=discount)
    return purepg.run(purepg.PolicyGradient(task, estimator), hyper, num_seeds, 25)


def main(
    num_seeds: int = 32, num_steps: int = 300, out: pathlib.Path = pathlib.Path("discount_weighting.png")
) -> None:
    """The counterexample, then CartPole-v1.

    Args:
      num_seeds: of each CartPole-v1 run.
      num_steps: of the exact ascent.
      out: the figure.
    """
    seeds.use_all_cores()
    console = Console(width=110)
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    table = Table(title=f"Two decisions that look alike, γ = {GAMMA}: after {num_steps} exact steps")
    for name in ("", "p(action 0)", "J with discount", "J without"):
        table.add_column(name, justify="right" if name else "left")
    for weighting, style in ((True, "-"), (False, "--")):
        p, discounted, undiscounted = climb(discount_weighting=weighting, num_steps=num_steps)
        left.plot(discounted, style, color="black", label=NAMES[weighting])
        table.add_row(NAMES[weighting], f"{p[-1]:.3f}", f"{discounted[-1]:.3f}", f"{undiscounted[-1]:.3f}")
    left.axhline(EARLY * GAMMA ** (DELAY - 1), color="0.75", zorder=0, label="best policy")
    left.axhline(LATE * GAMMA**DELAY, color="0.75", linestyle=":", zorder=0, label="worst policy")
    left.set(title="two decisions that look alike", xlabel="exact step", ylabel=f"J, γ = {GAMMA}")
    console.print(table)

    table = Table(
        title=f"CartPole-v1, reinforce-loo, {num_seeds} seeds, 25 updates of 32 games (95 % intervals)"
    )
    for name in ("γ", "", "training, last 5 updates", "greedy", "seeds ≥ 475", "steps played"):
        table.add_column(name, justify="right" if name else "left")
    for discount, colour in zip(DISCOUNTS, ("black", "C0", "C3"), strict=True):
        for weighting, style in ((True, "-"), (False, "--")):
            result = cart_pole(discount, discount_weighting=weighting, num_seeds=num_seeds)
            last, greedy = (
                statistics.summarize(x)
                for x in (result.training_return(5), result.dataset["evaluation_return"].values)
            )
            table.add_row(
                f"{discount:g}",
                NAMES[weighting],
                *(f"{x.mean:.0f} [{x.low:.0f}, {x.high:.0f}]" for x in (last, greedy)),
                f"{(result.dataset['evaluation_return'].values >= 475).sum()}/{num_seeds}",
                f"{float(result.dataset['steps'].sum('iteration').mean()):,.0f}",
            )
            curve = result.dataset["return"].mean("seed")
            right.plot(curve, style, color=colour, label=f"γ = {discount:g}, {NAMES[weighting]}")
    right.set(ylim=(0, 520))
    right.set(title="CartPole-v1", xlabel="update", ylabel=f"return, mean of {num_seeds} seeds")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    console.print(table)
    figure.savefig(out, dpi=110)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
