"""`purepg compare`: several estimators or other methods on the same seeds, and which is better."""

import dataclasses
from typing import Annotated

import tyro

from purepg.cli import machine, study
from purepg.cli.flags import changes_of, each_once, pairs, parse, refuse_without_effect
from purepg.cli.job import Common
from purepg.errors import whole_number

_Names = Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--estimators",))]


@dataclasses.dataclass(frozen=True)
class Flags(study.Flags, Common):
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    methods: _Names = ("reinforce", "reinforce-loo", "actor-critic")
    """Estimators and other methods to compare: names that `purepg list` shows, each with its own defaults."""


def main(arguments: list[str]) -> None:
    """Trains several methods on the same seeds; prints which is better and how sure that is."""
    machine.start()
    parsed = parse(Flags, arguments, "compare")
    from purepg import environments, presets
    from purepg.runs import records
    from purepg.studies import sweep as sweeps
    from purepg.studies.study import Config

    each_once("methods", parsed.methods)
    spec = environments.environment(parsed.env, **pairs(parsed.env_arguments))
    if parsed.updates is not None:
        whole_number("updates", parsed.updates, 1)
    changes = changes_of(parsed.env_params, parsed.set)
    configs = []
    for name in parsed.methods:
        method, hyper, num_updates = presets.preset(spec, name, num_updates=parsed.updates)
        refuse_without_effect(method, changes)
        method, hyper = records.changed(method, hyper, changes)
        if parsed.steps is not None and parsed.updates is None:
            given = [records.target(method, field, value) for field, value in changes.items()]
            method = sweeps.as_long_as(parsed.steps, method, num_updates, given.__contains__)
            num_updates = None
        configs.append(Config(name, method, hyper, num_updates))
    study.carry_out(configs, parsed, spec.name, "compare")
