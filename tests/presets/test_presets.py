"""The table of presets: what is looked up, and that its rows say nothing that is not used."""

import dataclasses

import pytest

import purepg
from purepg import estimators, presets
from purepg.errors import InvalidInput


@pytest.mark.slow
def test_every_row_is_used_by_a_preset():
    """A row behind one that matches whatever it matches would say nothing."""
    environments = {env for env, _, _ in presets.TABLE} - {"*", "integers", "discrete", "continuous"}
    environments |= {"CartPole-v1", "Pendulum-v1", "Chain", "MountainCar-v0", "PointMass"}
    found = set()
    for env in environments:
        for name in presets.NAMES:
            for collect in (None,) if name in presets.METHODS else ("games", "segments"):
                try:
                    made = presets.preset(env, name, collect)
                except InvalidInput:  # an estimator that cannot be right there
                    continue
                found.add((made.hyper, made.num_updates, made.method.task.collect))
    assert len(found) >= len(presets.TABLE) - 4  # some rows say the same for others


def test_the_older_name_is_the_same_function():
    assert purepg.defaults.recipe is presets.preset


@pytest.mark.parametrize("name", estimators.NAMES)
def test_the_way_to_collect_is_the_estimators_own_or_the_one_that_is_asked_for(name):
    kinds = {"games": purepg.Games, "segments": purepg.Segments}
    own = presets.preset("CartPole-v1", name).method.task.collect
    assert isinstance(own, kinds[estimators.make(name).collects])
    for collect, kind in kinds.items():
        assert isinstance(presets.preset("CartPole-v1", name, collect).method.task.collect, kind)


def test_schedules_are_as_long_as_the_run():
    method, _, length = presets.preset("CartPole-v1", "gae", num_updates=77)
    assert (length, method.optimizer.horizon) == (77, 77)
    assert presets.preset("Chain", "q-learning", num_updates=16).method.exploration.horizon == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("CartPole-v1", "gea"), "unknown estimator or method 'gea', did you mean 'gae'?"),
        (("CartPole-v1", "dqn", "games"), "'dqn' has one way to collect: leave collect='games' out"),
        (("CartPole-v1", "gae", "episodes"), "unknown way to collect 'episodes'; known: games, segments"),
        (("CartPole", "gae"), "unknown environment 'CartPole', did you mean 'CartPole-v1'?"),
    ],
)
def test_unknown_names_are_told_what_there_is(arguments, words):
    with pytest.raises(InvalidInput) as error:
        presets.preset(*arguments)
    assert words in str(error.value)


def test_a_preset_is_method_numbers_and_length():
    assert presets.Preset._fields == ("method", "hyper", "num_updates")
    assert dataclasses.is_dataclass(presets.preset("CartPole-v1", "cem").method)
