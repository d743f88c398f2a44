"""Seed metrics, tables and figures of several configurations, from their datasets."""

import csv

import numpy as np
import pytest
import xarray

import purepg
from purepg import plotting, report
from purepg.errors import InvalidInput
from purepg.rollout.metrics import Average
from purepg.runs import results
from purepg.statistics import seed_metrics
from purepg.studies import study as studies


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


# Seed metrics


def test_seed_metrics_of_rising_curves():
    np.testing.assert_array_equal(seed_metrics.seed_metric(RISING, "greedy"), [490, 90])
    np.testing.assert_array_equal(seed_metrics.seed_metric(RISING, "final"), [480, 100])
    np.testing.assert_array_equal(seed_metrics.seed_metric(RISING, "best"), [480, 100])
    np.testing.assert_array_equal(seed_metrics.seed_metric(RISING, "area"), [245, 25])
    np.testing.assert_array_equal(seed_metrics.seed_metric(RISING, "speed"), [-40, -np.inf])
    # The second seed's training came to 100, what it left does not.
    np.testing.assert_array_equal(seed_metrics.steps_until_solved(RISING, 100), [20, np.inf])
    np.testing.assert_array_equal(seed_metrics.steps_until_solved(RISING, 90), [20, 40])
    np.testing.assert_array_equal(
        seed_metrics.steps_until_solved(RISING.drop_vars("evaluation_return"), 100), [20, 40]
    )


def test_the_end_is_a_tenth_of_the_updates():
    curve = dataset([np.arange(40.0)])
    assert seed_metrics.seed_metric(curve, "final") == [37.5]


def test_the_return_at_the_end_weighs_games_and_is_the_same_everywhere():
    """Of the last two updates one ends nine games and one a single one; a seed without a game keeps its last."""
    returns = np.full((3, 20), 5.0)
    returns[:, 18:] = [[10, 100], [10, 100], [np.nan, np.nan]]
    count = np.ones((3, 20))
    count[:, 18:] = [[9, 1], [1, 0], [0, 0]]
    data = dataset(returns).assign(return_count=(("seed", "iteration"), count))
    result = results.Result(None, None, None, data)  # pyright: ignore
    np.testing.assert_array_equal(result.training_return(2), [19, 10, np.nan])
    np.testing.assert_array_equal(seed_metrics.seed_metric(data, "final"), [19, 10, 5])
    data["return"][0, 19] = np.nan  # a failure, not an absence
    assert np.isnan(seed_metrics.seed_metric(data, "final")).tolist() == [True, False, False]
    with pytest.raises(InvalidInput, match="last = 21: give 1 to 20"):
        result.training_return(21)


COLLAPSED = dataset([[480, 480, 480, 10], [480, 480, 480, 480], [0, 0, 0, 10]], evaluation=[490, 12, 480])


@pytest.mark.parametrize("data", [COLLAPSED, COLLAPSED.drop_vars("evaluation_return")])
@pytest.mark.parametrize("seed_metric", ["greedy", "final", "best", "area", "speed"])
def test_solved_is_the_same_in_the_table_the_figure_and_the_speed(data, seed_metric):
    """What training left counts: greedy games, or the training's end without them."""
    greedy = "evaluation_return" in data
    expected = [True, False, True] if greedy else [False, True, False]
    np.testing.assert_array_equal(seed_metrics.solved(data), expected)
    np.testing.assert_array_equal(np.isfinite(seed_metrics.steps_until_solved(data)), expected)
    kinds = "solved", "solved-seconds"
    for kind in kinds:
        (line,) = report.figure(kind, {"some": data}, report.Options()).axes[0].lines
        assert line.get_ydata()[-1] == np.mean(expected)
    if greedy or seed_metric != "greedy":
        assert report.report({"some": data}, seed_metric).lines["some"].solved.count == sum(expected)


def test_unequal_budgets_are_named():
    few, many = dataset(np.zeros((3, 4))), dataset(np.zeros((3, 4)), np.full((3, 4), 50.0))
    words = report.unequal_steps(report.report({"few": few, "many": many}, "final"))
    assert "a seed of many played 200 environment steps, one of few 40" in words
    assert report.unequal_steps(report.report({"few": few, "again": few}, "final")) == ""


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (dataset([[1.0]]), "greedy", "take the seed metric final, best or area"),
        (RISING, "sped", "did you mean 'speed'"),
        (dataset([[1.0]], environment="Bandit"), "speed", "no return that counts as solved"),
    ],
)
def test_scores_that_are_refused(data, kind, words):
    with pytest.raises(InvalidInput, match=words):
        seed_metrics.seed_metric(data, kind)


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
    np.testing.assert_array_equal(seed_metrics.seed_metric(data, "final"), [np.nan, 20, 10])
    np.testing.assert_array_equal(seed_metrics.seed_metric(data, "best"), [np.nan, 20, 10])
    np.testing.assert_array_equal(seed_metrics.seed_metric(data, "area"), [np.nan, 15, 10])
    np.testing.assert_array_equal(seed_metrics.steps_until_solved(data, 15.0), [np.inf, 2, np.inf])
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
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["configuration"] for row in rows] == ["good", "bad"]
    assert float(rows[0]["mean"]) == pytest.approx(found.values["good"].mean())
    assert float(rows[0]["solved_share"]) == 1
    with (tmp_path / "comparisons.csv").open() as file:
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
        "curves", "seed-metrics", "profile", "solved", "solved-seconds", "sensitivity-rate"
    }  # fmt: skip
    plain = {"one": dataset([[1.0, 2.0]], evaluation=[1], environment="Bandit")}
    assert set(report.standard_figures(plain)) == {"curves", "seed-metrics", "profile"}


def grid(*gravities, seeds=8):
    """Two rates times some gravities."""
    one = np.ones((seeds, 4))
    return {
        f"{r} {g}": dataset(one, evaluation=g + np.arange(seeds), rate=r, gravity=g)
        for r in (0.1, 0.2)
        for g in gravities
    }


def test_a_sensitivity_counts_seeds_and_draws_a_curve_for_each_setting_of_the_others():
    axes = report.figure("sensitivity", grid(5.0, 10.0, 15.0), report.Options(over="rate")).axes[0]
    assert axes.get_ylabel().endswith("8 seeds")
    means = {c.get_label(): c.lines[0].get_ydata() for c in axes.containers}
    assert {name: y.tolist() for name, y in means.items()} == {
        f"gravity={g}": [g + 3.5] * 2 for g in (5.0, 10.0, 15.0)
    }


def test_a_field_that_only_some_runs_were_swept_over_is_another_setting_too():
    plain = {f"plain {r}": dataset([[1.0]], evaluation=[0], rate=r) for r in (0.1, 0.2)}
    axes = report.figure("sensitivity", grid(5.0, seeds=1) | plain, report.Options(over="rate")).axes[0]
    assert [c.get_label() for c in axes.containers] == ["gravity=5.0", "nothing else changed"]


def test_the_same_setting_with_other_seeds_has_more_seeds():
    more = {f"more {k}": d.assign_coords(seed=d["seed"] + 8) for k, d in grid(5.0).items()}
    axes = report.figure("sensitivity", grid(5.0) | more, report.Options(over="rate")).axes[0]
    assert axes.get_ylabel().endswith("16 seeds")


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        (grid(*np.arange(7.0)), "7 settings of the fields other than rate"),
        (grid(5.0) | {f"copy {k}": d for k, d in grid(5.0).items()}, "seed 0 is there twice at rate=0.1"),
        (
            {k: d for k, d in grid(1.0, 2.0).items() if k in ("0.1 1.0", "0.2 2.0")},
            "needs two values of rate",
        ),
    ],
    ids=["too many", "twice", "no curve"],
)
def test_seeds_are_not_pooled_over_other_fields(datasets, words):
    with pytest.raises(InvalidInput, match=words):
        report.figure("sensitivity", datasets, report.Options(over="rate"))


@pytest.mark.parametrize("kind", report.FIGURES)
def test_a_figure_has_labelled_axes(kind):
    figure = report.figure(kind, swept(), report.Options("final", every_seed=True))
    for axes in figure.axes:
        assert axes.get_ylabel()
        assert axes.get_xlabel() or kind == "seed-metrics"


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


@pytest.mark.slow
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
