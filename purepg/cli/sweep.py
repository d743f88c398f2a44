"""`purepg sweep`: one method with many values of its numbers."""

import dataclasses
import math

from purepg.cli import machine, study
from purepg.cli.flags import given, pairs, refuse_without_effect, several
from purepg.cli.job import Job, flag_of, parse_job
from purepg.errors import InvalidInput


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

    if not parsed.over:
        raise InvalidInput("--over names nothing: give field=value,value or field=low..high")
    over = {name: several(name, values) for name, values in pairs(parsed.over).items()}
    refuse_without_effect(method.task.env, over)
    configs = sweeps.configurations(
        method, hyper, over, parsed.updates, draws=parsed.draws, draw_seed=parsed.draw_seed
    )
    fixed = [*given(arguments), *(f"env.{name}" for name in pairs(parsed.env_params))]
    if both := [name for name in over if name in fixed or flag_of(name, Sweep) in fixed]:
        raise InvalidInput(f"{', '.join(both)} is swept and given a value of its own: give one of them")
    if parsed.updates is None:  # what is swept may change how many updates the budget lasts for
        made_for = math.ceil(parsed.steps / method.task.steps_an_update[0])

        def stays(field: str) -> bool:
            return field in over or flag_of(field, Sweep) in fixed

        methods = [sweeps.as_long_as(parsed.steps, config.method, made_for, stays) for config in configs]
        configs = [config._replace(method=one) for config, one in zip(configs, methods, strict=True)]
    study.carry_out(configs, parsed, method.task.env.name, "sweep")
