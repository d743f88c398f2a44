"""`purepg sweep`: one method with many values of its numbers."""

import dataclasses

from purepg.cli import machine, study
from purepg.cli.flags import pair, several
from purepg.cli.job import Job, parse_job


@dataclasses.dataclass(frozen=True)
class Sweep(study.Flags, Job):
    over: tuple[str, ...] = ("learning_rate=0.003,0.01,0.03",)
    """Fields with their values, as field=value,value or field=low..high: learning_rate, env.gravity, estimator.n"""
    draws: int | None = None
    """Combinations drawn at random; none: every combination."""
    draw_seed: int = 0
    """Seed of the drawing."""


def main(arguments: list[str]) -> None:
    """Trains every combination of some values, or random draws, on the same seeds."""
    machine.start()
    parsed, method, hyper = parse_job(arguments, "sweep", Sweep)
    from purepg import sweeps

    over = {name: several(values) for name, values in map(pair, parsed.over)}
    configs = sweeps.configurations(
        method, hyper, over, parsed.updates, draws=parsed.draws, draw_seed=parsed.draw_seed
    )
    study.carry_out(configs, parsed, method.task.env.name, "sweep")
