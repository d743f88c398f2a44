"""`purepg sweep`: one method with many values of its numbers."""

import dataclasses
import math
from typing import Any

from purepg.cli import machine, study
from purepg.cli.flags import pairs, refuse_without_effect, several
from purepg.cli.job import Job, parse_job
from purepg.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Sweep(study.Flags, Job):
    over: tuple[str, ...] = ("learning_rate=0.003,0.01,0.03",)
    """Fields with their values, as field=value,value or field=low..high: learning_rate, env.gravity, n, baseline"""
    draws: int | None = None
    """Combinations drawn at random; none: every combination."""
    draw_seed: int = 0
    """Seed of the drawing."""


def main(arguments: list[str]) -> None:
    """Trains every combination of some values, or random draws, on the same seeds."""
    machine.start()
    parsed, method, hyper, fixed = parse_job(arguments, "sweep", Sweep)
    from purepg.runs import records
    from purepg.studies import sweep as sweeps

    if not parsed.over:
        raise InvalidInput("--over names nothing: give field=value,value or field=low..high")
    over = {name: several(name, values) for name, values in pairs(parsed.over).items()}
    refuse_without_effect(method, over)
    configs = sweeps.configurations(
        method, hyper, over, parsed.updates, draws=parsed.draws, draw_seed=parsed.draw_seed
    )
    swept = [records.target(configs[0].method, name, _one(values)) for name, values in over.items()]
    if both := [path for path in fixed if _within(path, swept)]:
        raise InvalidInput(f"{', '.join(sorted(both))} is swept and given a value as well: give one of them")
    if parsed.updates is None:  # a swept field may change how many updates the budget lasts for
        made_for = math.ceil(parsed.steps / method.task.steps_an_update[0])

        def stays(path: str) -> bool:
            return path in fixed or _within(path, swept)

        methods = [sweeps.as_long_as(parsed.steps, config.method, made_for, stays) for config in configs]
        configs = [config._replace(method=one) for config, one in zip(configs, methods, strict=True)]
    study.carry_out(configs, parsed, method.task.env.name, "sweep")


def _one(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) else values


def _within(path: str, those: list[str]) -> bool:
    """Whether a field is one of those, or in one."""
    return any(path == other or path.startswith(f"{other}.") for other in those)
