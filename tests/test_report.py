"""Scores, tables and figures of several configurations, from their datasets."""

import csv

import numpy as np
import pytest
import xarray

import purepg
from purepg import plotting, report, results, scores, studies
from purepg.errors import InvalidInput
from purepg.metrics import Average


def dataset(returns, steps=None, evaluation=None, environment="CartPole-v1", **coords):
    """A run's dataset from returns [S, U]."""
    returns = np.asarray(returns, float)
    steps = np.full(returns.shape, 10.0) if steps is None else np.asarray(steps, float)
    variables = {"return": (("seed", "iteration"), returns), "steps": (("seed", "iteration"), steps)}
    variables["frozen_at"] = ("seed", np.full(len(returns), -1))
    if evaluation is not None:
        variables["evaluation_return"] = ("seed", np.asarray(evaluation, float))
    found = xarray.Dataset(
        variables,
        {"seed": np.arange(len(returns)), "iteration": np.arange(1, returns.shape[1] + 1), **coords},
    )
    found.attrs = {"environment": environment, "run_seconds": 2.0, "compile_seconds": 1.0}
    return found


RISING = dataset([[0, 100, 400, 480], [0, 0, 0, 100]], evaluation=[490, 90])


# Scores


def test_scores_of_rising_curves():
    np.testing.assert_array_equal(scores.score(RISING, "greedy"), [490, 90])
    np.testing.assert_array_equal(scores.score(RISING, "final"), [480, 100])
    np.testing.assert_array_equal(scores.score(RISING, "best"), [480, 100])
    np.testing.assert_array_equal(scores.score(RISING, "area"), [245, 25])
    np.testing.assert_array_equal(scores.score(RISING, "speed"), [-40, -np.inf])
    np.testing.assert_array_equal(scores.steps_until_solved(RISING, 100), [20, 40])


def test_the_end_is_a_tenth_of_the_updates():
    curve = dataset([np.arange(40.0)])
    assert scores.score(curve, "final") == [37.5]


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (dataset([[1.0]]), "greedy", "take the score final, best or area"),
        (RISING, "sped", "did you mean 'speed'"),
        (dataset([[1.0]], environment="Bandit"), "speed", "no return that counts as solved"),
    ],
)
def test_scores_that_are_refused(data, kind, words):
    with pytest.raises(InvalidInput, match=words):
        scores.score(data, kind)


# Reports


@pytest.mark.parametrize("count", [[5, 5], [1, 1]])
def test_games_that_returned_no_number_are_no_absence(count):
    """A run keeps them apart from updates in which no game ended, also where it counts one game in each update."""
    count = np.array([count, count, [count[0], 0]], np.float32)
    total = np.where(count > 0, count * np.array([[10, np.nan], [10, 20], [10, 0]]), 0).astype(np.float32)
    numbers = {"return": Average(total, count), "steps": Average(np.ones((3, 2)), np.ones((3, 2)))}
    data = results.to_dataset(numbers, np.arange(3), {})
    data.attrs["environment"] = "CartPole-v1"
    result = results.Result(None, None, None, data)  # pyright: ignore
    np.testing.assert_array_equal(result.training_return(2), [np.nan, 15, 10])
    np.testing.assert_array_equal(result.training_return(1), [np.nan, 20, np.nan])
    with pytest.raises(InvalidInput, match="last = 0: give 1 to 2"):
        result.training_return(0)
    np.testing.assert_array_equal(scores.score(data, "final"), [np.nan, 20, 10])
    np.testing.assert_array_equal(scores.score(data, "best"), [np.nan, 20, 10])
    np.testing.assert_array_equal(scores.score(data, "area"), [np.nan, 15, 10])
    np.testing.assert_array_equal(scores.steps_until_solved(data, 15.0), [np.inf, 2, np.inf])
    (line,) = plotting.learning_curves({"run": data}, against="iteration").axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [10, np.nan])


def test_a_report_says_what_the_seeds_say(tmp_path):
    rng = np.random.default_rng(0)
    good, bad = (dataset(np.zeros((30, 2)), evaluation=m + rng.normal(size=30)) for m in (480, 470))
    found = report.report({"good": good, "bad": bad})
    assert found.environment == "CartPole-v1"
    assert found.lines["good"].solved.count == 30
    assert found.lines["bad"].solved.count == 0
    assert found.lines["good"].steps == 20
    (pair,) = found.pairs
    assert pair.paired
    assert pair.low < 10 < pair.high
    assert pair.adjusted_p_value < 1e-9
    report.write_tables(found, tmp_path)
    with open(tmp_path / "summary.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["configuration"] for row in rows] == ["good", "bad"]
    assert float(rows[0]["mean"]) == pytest.approx(found.values["good"].mean())
    assert float(rows[0]["solved_share"]) == 1
    with open(tmp_path / "comparisons.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["first"], row["second"], float(row["difference"])) == ("good", "bad", pair.difference)


def test_failed_seeds_are_counted():
    frozen = dataset([[1.0], [1.0], [1.0]], evaluation=[1, np.nan, 2])
    frozen["frozen_at"][0] = 5
    found = report.report({"some": frozen})
    assert found.lines["some"].summary.num_diverged == 2


# Figures


def swept():
    rates = (0.001, 0.01, 0.1)
    return {
        f"rate={r}": dataset(
            np.random.default_rng(i).normal(400, 50, (20, 12)), evaluation=400 + 10 * np.arange(20), rate=r
        )
        for i, r in enumerate(rates)
    }


def test_standard_figures_are_those_that_can_be_drawn():
    assert set(report.standard_figures(swept())) == {
        "curves", "scores", "profile", "solved", "solved-seconds", "sensitivity-rate"
    }  # fmt: skip
    plain = {"one": dataset([[1.0, 2.0]], evaluation=[1], environment="Bandit")}
    assert set(report.standard_figures(plain)) == {"curves", "scores", "profile"}


@pytest.mark.parametrize("kind", report.FIGURES)
def test_a_figure_has_labelled_axes(kind):
    figure = report.figure(kind, swept(), report.Options("final", every_seed=True))
    for axes in figure.axes:
        assert axes.get_ylabel()
        assert axes.get_xlabel() or kind == "scores"


@pytest.mark.parametrize(
    ("kind", "datasets", "options", "words"),
    [
        ("curve", swept(), report.Options(), "unknown figure 'curve', did you mean 'curves'"),
        ("curves", swept(), report.Options(metric="entropi"), "no metric 'entropi'"),
        ("sensitivity", swept(), report.Options(over="gravity"), "were swept over rate: name one"),
        ("sensitivity", {"a": RISING}, report.Options(), "were swept over nothing"),
        ("solved", {"a": dataset([[1.0]], environment="Bandit")}, report.Options(), "give one"),
    ],
)
def test_figures_that_are_refused(kind, datasets, options, words):
    with pytest.raises(InvalidInput, match=words):
        report.figure(kind, datasets, options)


# Saved runs and studies


def test_runs_and_studies_are_read_by_configuration(tmp_path):
    env = purepg.environment("Bandit")
    task = purepg.Task(env, purepg.Softmax(purepg.MLP((2,))), purepg.Games(2))
    method = purepg.PolicyGradient(task, purepg.ScoreFunction(), purepg.Optimizer("sgd"))
    run = purepg.run(method, None, 2, 2, evaluation_games=0, directory=tmp_path / "alone")
    study = purepg.compare({"alone": (method, purepg.Hyperparams(), 2)}, 2, evaluation_games=0,
                           directory=tmp_path / "study")  # fmt: skip
    found = report.read([tmp_path / "alone", tmp_path / "study"])
    assert list(found) == ["alone", f"{tmp_path / 'study'}: alone"]
    for one in (*found.values(), studies.split(study.dataset)["alone"]):
        np.testing.assert_array_equal(one["return"], run.dataset["return"])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="holds no saved run"):
        report.read([tmp_path])
    with pytest.raises(InvalidInput, match="runs on nothing"):
        report.read([])
