"""`purepg diagnose`: bias, variance and cost of estimators at the same parameters."""

import dataclasses
from typing import Any

import tyro

from purepg.cli import machine, tables
from purepg.cli.flags import each_once, parse
from purepg.errors import InvalidInput, whole_number


@dataclasses.dataclass(frozen=True)
class Flags:
    env: tyro.conf.Positional[str | None] = None
    """Environment: an id that `purepg list` shows, or module:Class; none: that of the run, or CartPole-v1."""
    estimators: tuple[str, ...] = ("reinforce", "reinforce-mean", "reinforce-loo", "reinforce-optimal")
    """Estimators to measure."""
    games: int = 32
    """Games in each batch."""
    batches: int = 1000
    """Independent batches."""
    max_steps: int | None = None
    """Longest game; none: that of the run, or the environment's own limit."""
    discount: float | None = None
    """γ in [0, 1]; none: that of the run, or 0.99."""
    run: str | None = None
    """Folder of a saved run, whose policy and numbers replace the fresh ones; shown in unscaled rewards."""
    seed: int = 0
    """Seed of the run, or of the fresh policy."""
    out: str | None = None
    """Folder for dataset.nc and variance.png, which must not exist; none: nothing is saved."""


def main(arguments: list[str]) -> None:
    """Measures estimators of the gradient at the same parameters."""
    machine.start()
    parsed = parse(Flags, arguments, "diagnose")
    from purepg import diagnostics, estimators
    from purepg.runs import run_folder

    whole_number("games", parsed.games, 1)
    whole_number("batches", parsed.batches, 2, 2**31 - 1)
    whole_number("seed", parsed.seed, 0, 2**32 - 1)
    each_once("estimators", parsed.estimators)
    chosen = {name: estimators.make(name) for name in parsed.estimators}
    target = run_folder.check_writable(parsed.out) if parsed.out is not None else None
    task, hyper, params, key, with_value = _fresh(parsed) if parsed.run is None else _saved(parsed)
    statistics = diagnostics.compare(task, chosen, hyper, params, key, parsed.batches, with_value=with_value)
    scale = float(hyper.reward_scale)
    statistics = {name: diagnostics.in_rewards(one, scale) for name, one in statistics.items()}
    tables.gradient_statistics(statistics, task.env.name)
    if target is not None:
        from purepg.analysis import plotting

        target.mkdir()
        diagnostics.to_dataset(statistics).to_netcdf(target / "dataset.nc", engine="h5netcdf")
        plotting.variances(statistics, task.env.name).savefig(target / "variance.png", dpi=150)
        print(f"Saved to {target}")


def _fresh(parsed: Flags) -> tuple[Any, ...]:
    """Task, numbers, parameters, key, and whether the parameters have a V: of an untrained policy."""
    import jax

    from purepg import environments, presets
    from purepg.hyperparams import Hyperparams
    from purepg.machines import seeds
    from purepg.task import Games, Task, fit

    hyper = Hyperparams(discount=0.99 if parsed.discount is None else parsed.discount)
    spec = environments.environment(parsed.env or "CartPole-v1")
    policy = presets.preset(spec, parsed.estimators[0]).method.task.policy
    task, hyper = fit(Task(spec, policy, Games(parsed.games, parsed.max_steps)), hyper)
    (own,) = seeds.keys(seeds.numbered([parsed.seed]))
    params_key, key = jax.random.split(own)
    return task, hyper, task.bind_policy().init(params_key), key, False


def _saved(parsed: Flags) -> tuple[Any, ...]:
    """The same of one seed of a run, with the numbers that it was trained with.

    Raises:
      InvalidInput: a flag contradicts the run, or the run is not one of a policy gradient.
    """
    from purepg import diagnostics
    from purepg.machines import seeds
    from purepg.methods.policy_gradient import PolicyGradient
    from purepg.runs import results
    from purepg.task import Games

    result = results.load(parsed.run or "")
    hyper, task = result.hyper_of(parsed.seed), result.method.task
    of_run = {
        "env": task.env.name,
        "discount": float(f"{float(hyper.discount):.7g}"),
        "max_steps": task.collect.max_steps,
    }
    for name, fixed in of_run.items():
        given = getattr(parsed, name)
        if None not in (given, fixed) and given != fixed:
            words = f"ENV {given}" if name == "env" else f"--{name.replace('_', '-')} {given}"
            raise InvalidInput(f"{words} beside --run {parsed.run}, which has {fixed}: leave it out")
    if not isinstance(result.method, PolicyGradient):
        raise InvalidInput(f"the run in {parsed.run} is not one of a policy gradient: diagnose one that is")
    max_steps = parsed.max_steps or task.collect.max_steps
    task = dataclasses.replace(task, collect=Games(parsed.games, max_steps))
    (own,) = seeds.keys(seeds.numbered([parsed.seed]))
    with_value = result.method.estimator.shares_value
    return task, hyper, result.params(parsed.seed), diagnostics.measuring_key(own), with_value
