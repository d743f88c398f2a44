"""What a number may be, wherever one is given."""

import dataclasses
import math

import numpy as np
import pytest

import purepg
from purepg import hyperparams, training
from purepg.errors import InvalidInput, checks
from purepg.runs import records
from purepg.studies import sweep as sweeps

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "value", [NAN, INF, -INF, "1", "nan", None, True, 1j, [1.0, 2.0], [[1.0]], [], 1e39, {}]
)
def test_what_is_no_finite_number_is_refused_with_its_name(value):
    with pytest.raises(InvalidInput, match=r"^speed = "):
        checks.number("speed", value)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3), np.array(1.5)])
def test_numbers_of_every_kind_pass(value):
    assert checks.array("speed", value) == value


def test_an_infinite_default_allows_infinity_but_not_nan():
    assert checks.array("norm", INF, INF) == INF
    with pytest.raises(InvalidInput, match="norm = nan: give a number"):
        checks.number("norm", NAN, INF)


@pytest.mark.parametrize("value", [2.5, NAN, INF, 2**31, True, "3"])
def test_what_counts_is_whole(value):
    with pytest.raises(InvalidInput, match="give a whole number"):
        checks.array("limit", value, np.int32(7))


def test_a_switch_is_true_or_false():
    assert checks.array("on", 1, like=False).dtype == bool
    for value in (2, "yes", 0.5):
        with pytest.raises(InvalidInput, match="give true or false"):
            checks.array("on", value, like=False)


def test_an_axis_of_replicates_only_where_there_may_be_one():
    assert checks.array("rate", [1.0, 2.0], 0.0, replicates=True).shape == (2,)
    for value, replicates in (([1.0, 2.0], False), ([[1.0]], True)):
        with pytest.raises(InvalidInput, match="not an array"):
            checks.array("rate", value, 0.0, replicates=replicates)


# Where numbers are given

TASK = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((4,))), purepg.Games(2))
REINFORCE = purepg.ScoreFunction()


def with_network(**fields):
    policy = purepg.Softmax(purepg.MLP((4,), **fields))
    return purepg.PolicyGradient(dataclasses.replace(TASK, policy=policy), REINFORCE)


METHODS = {
    "output_scale": with_network(output_scale=NAN),
    "rows_per_chunk": purepg.PolicyGradient(TASK, purepg.ScoreFunction(rows_per_chunk=2.5)),  # pyright: ignore
    "horizon": purepg.PolicyGradient(TASK, REINFORCE, purepg.Optimizer(horizon="9")),  # pyright: ignore
    "normalize_observations": purepg.PolicyGradient(
        dataclasses.replace(TASK, normalize_observations="no"),  # pyright: ignore
        REINFORCE,
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_with_such_a_field_is_refused(name):
    with pytest.raises(InvalidInput, match=rf"^{name} = "):
        purepg.run(METHODS[name], None, 1, 1)
    with pytest.raises(InvalidInput, match=rf"^{name} = "):
        purepg.init(METHODS[name], purepg.Hyperparams(), None)  # pyright: ignore


HYPER = [(f.name, value) for f in dataclasses.fields(purepg.Hyperparams) for value in (NAN, "1", True)][:-3]


@pytest.mark.parametrize(("name", "value"), [*HYPER, ("learning_rate", INF), ("reward_scale", [[1.0]])])
def test_a_hyper_parameter_is_a_number(name, value):
    with pytest.raises(InvalidInput, match=rf"^{name} = "):
        hyperparams.check(dataclasses.replace(purepg.Hyperparams(), **{name: value}))


def test_hyper_parameters_of_replicates_are_checked_one_by_one():
    hyperparams.check(purepg.Hyperparams(np.array([0.1, 0.2]), max_gradient_norm=np.array([1.0, INF])))  # pyright: ignore
    with pytest.raises(InvalidInput, match=r"^discount = "):
        hyperparams.check(purepg.Hyperparams(discount=np.array([0.9, NAN])))  # pyright: ignore


@pytest.mark.parametrize("value", [NAN, INF, "9.8", [1.0, 2.0], True])
def test_a_swept_parameter_of_the_environment_is_one_number(value):
    with pytest.raises(InvalidInput, match=r"^gravity = "):
        records.changed(with_network(), purepg.Hyperparams(), {"env.gravity": value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", "0.1"),
        ("discount", [0.9, 0.99]),
        ("task.collect.num_games", "many"),
        ("task.policy.network.output_scale", NAN),
        ("task.policy.network.hidden", (4, 2.5)),
        ("optimizer.horizon", None),
    ],
)
def test_a_swept_field_is_what_it_is_annotated_as(field, value):
    with pytest.raises(InvalidInput, match=rf"^{field.rpartition('.')[2]} = "):
        records.changed(with_network(), purepg.Hyperparams(), {field: value})


def test_numpy_numbers_become_python_s_so_that_records_stay_plain():
    method, _ = records.changed(with_network(), purepg.Hyperparams(), {"task.collect.num_games": np.int64(3)})
    assert type(method.task.collect.num_games) is int
    method, _ = records.changed(
        method, purepg.Hyperparams(), {"task.policy.network.hidden": [8, np.int32(4)]}
    )
    assert method.task.policy.network.hidden == (8, 4)


@pytest.mark.parametrize("bounds", [(NAN, 1.0), (0.0, INF), ("1", 2.0)])
def test_a_range_lies_between_numbers(bounds):
    with pytest.raises(InvalidInput):
        sweeps.Range(*bounds)


def test_nan_among_the_arguments_of_an_environment_is_refused():
    with pytest.raises(InvalidInput, match="NaN"):
        purepg.environment("GridWorld", slip=NAN)


def test_arrays_in_a_configuration_of_a_study_are_refused():
    hyper = purepg.Hyperparams(np.array([0.1, 0.2]))  # pyright: ignore
    with pytest.raises(InvalidInput, match="'a' has arrays among its numbers"):
        purepg.compare({"a": (with_network(), hyper, 1)}, 2)


def test_traced_numbers_pass():
    import jax

    def through(rate):
        training.fitted(with_network(), purepg.Hyperparams(rate))
        return rate

    assert jax.eval_shape(through, 0.1).shape == ()
