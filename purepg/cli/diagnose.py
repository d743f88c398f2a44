"""`purepg diagnose`: bias, variance and cost of estimators at the same parameters."""

import dataclasses

import tyro

from purepg.cli import machine, tables
from purepg.cli.flags import parse
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Flags:
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    estimators: tuple[str, ...] = ("reinforce", "reinforce-mean", "reinforce-loo", "reinforce-optimal")
    """Estimators to measure."""
    games: int = 32
    """Games of a batch."""
    batches: int = 1000
    """Independent batches."""
    max_steps: int | None = None
    """Longest game; none: the environment's own limit."""
    discount: float = 0.99
    """γ in [0, 1]."""
    run: str | None = None
    """Folder of a saved run, whose policy takes the place of a fresh one."""
    seed: int = 0
    """Seed of the run, or of the fresh policy."""
    out: str | None = None
    """Folder for dataset.nc and variance.png, which must not exist; none: nothing is saved."""


def main(arguments: list[str]) -> None:
    """Measures estimators of the gradient at the same parameters."""
    machine.start()
    parsed = parse(Flags, arguments, "diagnose")
    import jax

    from purepg import defaults, diagnostics, environments, estimators, hyperparams, results, run_folder
    from purepg.critics import SharedCritic
    from purepg.task import Games, Task

    chosen = {name: estimators.make(name) for name in parsed.estimators}
    if not chosen:
        raise InvalidInput("no estimators given: name at least one that `purepg list` shows")
    target = run_folder.check_writable(parsed.out) if parsed.out is not None else None
    hyper = hyperparams.Hyperparams(discount=parsed.discount)
    hyperparams.check(hyper)
    with_value = False
    if parsed.run is None:
        spec = environments.environment(parsed.env)
        policy = defaults.recipe(spec, next(iter(chosen))).method.task.policy
        task = Task(spec, policy, Games(parsed.games, parsed.max_steps))
        params = task.bind_policy().init(jax.random.key(parsed.seed))
    else:
        result = results.load(parsed.run)
        task = dataclasses.replace(result.method.task, collect=Games(parsed.games, parsed.max_steps))
        params, hyper = result.params(parsed.seed), dataclasses.replace(result.hyper, reward_scale=1.0)
        estimator = getattr(result.method, "estimator", None)
        if estimator is None:
            raise InvalidInput(f"the run in {parsed.run} is no policy gradient's: diagnose one that is")
        with_value = isinstance(getattr(estimator, "critic", None), SharedCritic)
    key = jax.random.key(parsed.seed)
    statistics = diagnostics.compare(task, chosen, hyper, params, key, parsed.batches, with_value=with_value)
    tables.gradient_statistics(statistics, task.env.name)
    if target is not None:
        from purepg import plotting

        target.mkdir()
        diagnostics.to_dataset(statistics).to_netcdf(target / "dataset.nc", engine="h5netcdf")
        plotting.variances(statistics, task.env.name).savefig(target / "variance.png", dpi=150)
        print(f"Saved to {target}")
