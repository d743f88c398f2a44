"""Score function or reparameterization? The lecture's comparison in four rows, a measurement in every cell.

    python experiments/two_families.py [--out two_families.png]

1. A differentiable model?    The ball thrown at a wall, whose reward jumps: bias z-scores against the exact gradient by
                              quadrature. And a reward that is a comparison.
2. Variance.                  E_{N(θ,1)}[x²] at θ = 2 (true gradient 4; per-sample variances exactly 87 and 4), and
                              one game of ScalarLQR, exact gradient in closed form: variance of one game's gradient.
3. Discrete or continuous?    A bandit with two arms that pay (1, 0) and p = 0.9: z-score, variance, or the refusal.
4. Families of distributions  Eleven families, each against the closed form of ∇E f: how many work, and what is refused.

The figure shows row 2: the error of a mean of N samples, N = 10 .. 100 000, against √(87/N) and √(4/N).

Expected: (1) at the wall's top the score function finds 15.2 m/rad within its error, the path −4.3 with a z-score
beyond 2000: the wrong sign, and sure of it; of a comparison the path's gradient would be 0 and is refused. (2) 87
against 4, both errors fall as 1/√N; on ScalarLQR 15 200 against 660, both unbiased. (3) The score function has its
0.0009 a logit, the path refuses. (4) The score function takes 10 of 11 (not Uniform, whose support moves), the path
9 (not Poisson, not Categorical). Where both apply the path has less variance here; `gradient_variance_costs.py` and
`variance_and_horizon.py` show where it has more. Run time: 50 s.
"""

import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import purepg
from purepg import diagnostics, distributions, estimators, families, monte_carlo
from purepg.errors import InvalidInput

SIZES = (10, 100, 1_000, 10_000, 100_000)
BOTH = {"score function": monte_carlo.score_function, "pathwise": monte_carlo.pathwise}
PRESETS = {"score function": "reinforce", "pathwise": "pathwise"}
EULER = 0.5772156649015329


class Case(NamedTuple):
    """A family with one parameter, a function and the exact gradient of its mean."""

    distribution: Callable[[Any], Any]
    at: float
    gradient: float
    f: Callable[[jax.Array], jax.Array] = jnp.square


FAMILIES = {
    "Gaussian": Case(lambda m: distributions.Gaussian(m[None], jnp.ones(1)), 1.0, 2.0, lambda x: x[0] ** 2),
    "Laplace": Case(lambda m: families.Laplace(m, jnp.ones(())), 1.0, 2.0),
    "Logistic": Case(lambda m: families.Logistic(m, jnp.ones(())), 1.0, 2.0),
    "Gumbel": Case(lambda m: families.Gumbel(m, jnp.ones(())), 1.0, 2 * (1 + EULER)),
    "Cauchy": Case(lambda m: families.Cauchy(m, jnp.ones(())), 1.0, -math.sin(1) / math.e, jnp.cos),
    "Exponential": Case(families.Exponential, 2.0, -4 / 2**3),
    "Weibull": Case(lambda s: families.Weibull(s, jnp.float32(2.0)), 1.0, 2.0),
    "Gamma": Case(lambda a: families.Gamma(a, jnp.ones(())), 2.0, 5.0),
    "Uniform": Case(lambda h: families.Uniform(jnp.zeros(()), h), 1.0, 2 / 3),
    "Poisson": Case(families.Poisson, 2.0, 5.0, lambda x: 1.0 * x**2),
    "Categorical": Case(
        lambda a: distributions.Categorical(jnp.stack([a, 0.0])), 0.0, 0.25, lambda x: 1.0 - x
    ),
}


def refused(error: InvalidInput) -> str:
    return f"refused: “{str(error).split(';')[0].split(': take')[0]}”"


def square_errors(out: pathlib.Path) -> dict[str, str]:
    """Row 2 on E x²; draws the figure."""

    def samples(estimator, size, key):
        gaussian = lambda theta: distributions.Gaussian(theta, jnp.ones(1))  # noqa: E731
        return estimator(lambda x: x[0] ** 2, gaussian, jnp.full(1, 2.0), key, size)

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes, cells = figure.subplots(), {}
    for (name, estimator), exact, mark in zip(BOTH.items(), (87, 4), ("o", "s"), strict=True):
        errors = []
        for size in SIZES:
            keys = jax.random.split(jax.random.key(size), 400 if size < 10_000 else 60)
            mean = jax.jit(lambda ks, e=estimator, n=size: jax.lax.map(lambda k: samples(e, n, k).mean(), ks))
            errors.append(float(np.sqrt(np.mean((np.asarray(mean(keys)) - 4.0) ** 2))))
        variance = float(np.var(np.asarray(samples(estimator, 1_000_000, jax.random.key(1)), np.float64)))
        slope = np.polyfit(np.log(SIZES), np.log(errors), 1)[0]
        cells[name] = f"{variance:.2f} (exact {exact}); error ∝ N^{slope:.2f}"
        axes.loglog(SIZES, errors, mark, color="black", mfc="white", label=f"{name}, measured")
        expected = np.sqrt(exact / np.array(SIZES))
        axes.loglog(SIZES, expected, "-" if mark == "o" else "--", color="0.5", label=f"√({exact}/N)")
    axes.set_xlabel("samples N")
    axes.set_ylabel("root mean square error of the gradient")
    axes.set_title("∇ E_{N(θ,1)}[x²] at θ = 2, true value 4")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)
    return cells


def family_cells() -> dict[str, str]:
    """Row 4: every family within 4 standard errors of the closed form, or refused."""
    cells = {}
    for name, estimator in BOTH.items():
        largest, no = 0.0, []
        for family, case in FAMILIES.items():
            try:
                x = estimator(case.f, case.distribution, jnp.float32(case.at), jax.random.key(0), 200_000)
            except InvalidInput as error:
                why = "moves" if "moves with" in str(error) else "whole numbers"
                no.append(f"{family} ({'its support moves' if why == 'moves' else why})")
                continue
            x = np.asarray(x, np.float64)
            largest = max(largest, abs(x.mean() - case.gradient) / (x.std() / np.sqrt(x.size)))
        works = len(FAMILIES) - len(no)
        cells[name] = f"{works} of {len(FAMILIES)}, largest |z| {largest:.1f}; refused: {', '.join(no)}"
    return cells


def measured(task: Any, hyper: Any, params: Any, batches: int, reference: Any = "measure") -> dict[str, Any]:
    """Statistics of both families on a task; a string where one refuses."""
    found: dict[str, Any] = {}
    for name, preset in PRESETS.items():
        try:
            found[name] = diagnostics.gradient_statistics(
                task, estimators.make(preset), hyper, params, jax.random.key(0), batches, reference=reference
            )
        except InvalidInput as error:
            found[name] = refused(error)
    return found


def ball() -> dict[str, Any]:
    """Launch angle N(μ, 0.1²) with μ near the angle that just clears the wall; the mean is the one parameter."""
    spec, mean, std = purepg.environment("BallAgainstWall"), 0.9, 0.1
    unit = np.pi / 4  # half the width of the bounds [0, π/2]
    policy = purepg.Gaussian(purepg.MLP(()), std="fixed", initial_std=std / unit)
    task = purepg.Task(spec, policy, purepg.Games(1000))
    params = task.bind_policy().init(jax.random.key(0))
    (layer,) = params["network"].values()
    at = jnp.full(1, mean / unit - 1)
    params["network"] = {
        k: {"kernel": jnp.zeros_like(layer["kernel"]), "bias": at} for k in params["network"]
    }
    true = unit * float(purepg.environments.resolve(spec).expected_gradient(mean, std).mean)  # pyright: ignore
    seen = np.array([5.0, 3.0])[:, None] * true  # the observation multiplies the kernel
    gradient = {"network": {k: {"kernel": seen, "bias": np.array([true])} for k in params["network"]}}
    reference = diagnostics.Reference(gradient)
    found = measured(task, purepg.Hyperparams(discount=1.0), params, 200, reference)
    (layer,) = params["network"]
    return {
        name: f"{s.mean['network'][layer]['bias'][0] / unit:.2f} m/rad for {true / unit:.2f}, "
        f"z = {s.bias_z['network'][layer]['bias'][0]:.1f}"
        for name, s in found.items()
    }


def comparison() -> dict[str, str]:
    """The other half of row 1: f(x) = [x > 0] under N(θ, 1) at θ = 0, true gradient the density 0.3989."""
    cells = {}
    for name, estimator in BOTH.items():
        try:
            x = estimator(
                lambda x: jnp.where(x[0] > 0, 1.0, 0.0),
                lambda m: distributions.Gaussian(m, jnp.ones(1)),
                jnp.zeros(1),
                jax.random.key(0),
                200_000,
            )
            cells[name] = f"{x.mean():.3f} for 0.399"
        except InvalidInput:
            cells[name] = "refused (derivative 0 by construction)"
    return cells


def lqr() -> dict[str, str]:
    policy = purepg.Gaussian(purepg.MLP(()), std="fixed", initial_std=0.5)
    task = purepg.Task(purepg.environment("ScalarLQR"), policy, purepg.Games(16))
    params = jax.tree.map(jnp.zeros_like, task.bind_policy().init(jax.random.key(0)))
    params["network"] = {
        k: {"kernel": jnp.full((1, 1), -0.4), "bias": jnp.zeros(1)} for k in params["network"]
    }
    found = measured(task, purepg.Hyperparams(discount=0.99), params, 5000)
    return {n: f"{s.total_variance:.3g} (|z| ≤ {s.largest_bias_z:.1f})" for n, s in found.items()}


def bandit() -> dict[str, str]:
    logits = ((float(np.log(9.0)), 0.0),)
    spec = purepg.environment("Bandit", rewards=(1.0, 0.0))
    task = purepg.Task(spec, purepg.Softmax(purepg.Table(logits)), purepg.Games(1))
    params = task.bind_policy().init(jax.random.key(0))
    found = measured(task, purepg.Hyperparams(discount=1.0), params, 20_000)
    return {
        n: s
        if isinstance(s, str)
        else f"|z| ≤ {s.largest_bias_z:.1f}, variance {s.total_variance / 2:.4f} a logit"
        for n, s in found.items()
    }


def main(out: pathlib.Path = pathlib.Path("two_families.png")) -> None:
    """The four rows.

    Args:
      out: the figure.
    """
    rows = {
        "1 differentiable model? reward that jumps (ball)": ball(),
        "  reward that is a comparison": comparison(),
        "2 variance, E x² at θ = 2": square_errors(out),
        "  variance, a game of ScalarLQR": lqr(),
        "3 discrete actions (bandit, p = 0.9)": bandit(),
        "  continuous actions": dict.fromkeys(BOTH, "rows 1 and 2"),
        "4 families": family_cells(),
    }
    table = Table(title="Score function and reparameterization", show_lines=True)
    for name in ("", *BOTH):
        table.add_column(name)
    for name, cells in rows.items():
        table.add_row(name, *(str(cells[n]) for n in BOTH))
    Console(width=110).print(table)
    print(f"figure: {out}")


if __name__ == "__main__":
    tyro.cli(main)
