"""`purepg compare`: several estimators or other methods on the same seeds, and which is better."""

import dataclasses

import tyro

from purepg.cli import machine, study
from purepg.cli.flags import changes_of, each_once, pairs, parse, refuse_without_effect
from purepg.errors import whole_number


@dataclasses.dataclass(frozen=True)
class Flags(study.Flags):
    env: tyro.conf.Positional[str] = "CartPole-v1"
    """Environment: an id that `purepg list` shows, or module:Class."""
    estimators: tuple[str, ...] = ("reinforce", "reinforce-loo", "actor-critic")
    """Estimators and other methods to compare: names that `purepg list` shows, each with its own defaults."""
    set: tuple[str, ...] = ()
    """Fields that differ from the defaults in all of them, as field=value: discount=0.9, task.collect.num_games=32."""
    updates: int | None = None
    """Updates of each seed, with --steps at most; none: each method's own number, or what --steps allows."""
    steps: int | None = None
    """Budget of environment steps of each seed: it stops after the first update in which its own reach it. Without
    --updates there are as many as that lasts, and schedules are as long; in whole games, whose length nobody knows
    before, they hardly fall."""
    env_arguments: tuple[str, ...] = ()
    """Arguments of the environment's constructor, as name=value."""
    env_params: tuple[str, ...] = ()
    """Parameters of the environment that differ from its defaults, as name=value."""


def main(arguments: list[str]) -> None:
    """Trains several methods on the same seeds; prints which is better and how sure that is."""
    machine.start()
    parsed = parse(Flags, arguments, "compare")
    from purepg import environments, presets, sweeps
    from purepg.studies import Config

    each_once("estimators", parsed.estimators)
    spec = environments.environment(parsed.env, **pairs(parsed.env_arguments))
    if parsed.updates is not None:
        whole_number("updates", parsed.updates, 1)
    changes = changes_of(parsed.env_params, parsed.set)
    refuse_without_effect(spec, changes)
    configs = []
    for name in parsed.estimators:
        method, hyper, num_updates = presets.preset(spec, name, num_updates=parsed.updates)
        for field, value in changes.items():
            method, hyper = sweeps.changed(method, hyper, field, value)
        if parsed.steps is not None and parsed.updates is None:
            method, num_updates = (
                sweeps.as_long_as(parsed.steps, method, num_updates, changes.__contains__),
                None,
            )
        configs.append(Config(name, method, hyper, num_updates))
    study.carry_out(configs, parsed, spec.name, "compare")
