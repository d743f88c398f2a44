"""A budget of environment steps: the update that reaches it is a seed's last one, and nothing after it is data."""

import json
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
import xarray
from in_process import purepg_command
from problems import two_states

import purepg
from purepg import estimators, plotting, presets, report
from purepg.cli.job import flags_of, parse_job
from purepg.errors import InvalidInput
from purepg.runs import run_folder, run_length, saved_state
from purepg.statistics import seed_metrics
from purepg.studies import sweep as sweeps

METHOD = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-moving"))
HYPER = purepg.Hyperparams(learning_rate=0.05, discount=0.9)
SEEDS, BUDGET = 4, 110  # games of 1 to 3 steps: 6 to 8 updates
OPTIONS: dict[str, Any] = {"seeds": SEEDS, "evaluation_games": 4}
assert_same = np.testing.assert_array_equal


def within(num_updates=None, **options: Any):
    return purepg.run(METHOD, HYPER, num_updates=num_updates, num_steps=BUDGET, **OPTIONS | options)


def numbers(state, seed=None):
    """The arrays of a state, of one seed or all, without what is left of its budget."""
    arrays = jax.tree.leaves(saved_state.as_numbers(state._replace(steps_left=None)))
    return arrays if seed is None else [x[seed] for x in arrays]


def assert_same_run(one, other):
    xarray.testing.assert_identical(one.dataset.drop_attrs(), other.dataset.drop_attrs())
    for x, y in zip(numbers(one.state), numbers(other.state), strict=True):
        assert_same(x, y)


@pytest.fixture(scope="module")
def result():
    return within()


# Where a seed stops


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["sequential", "vmap"])
def test_a_seed_stops_after_the_first_update_that_reaches_its_budget(placement):
    """To the bit as a run of so many updates left it, whatever is run beside it."""
    found = within(placement=placement)
    whole = purepg.run(METHOD, HYPER, num_updates=10, placement=placement, **OPTIONS)
    steps = whole.dataset["steps"].values.cumsum(axis=1)
    made = (steps < BUDGET).sum(axis=1) + 1
    assert len(set(made)) > 1
    assert_same(found.dataset["updates"], made)
    assert_same(found.state.iteration, made)
    assert found.dataset.sizes["iteration"] == made.max()
    for length in set(made):
        shorter = purepg.run(METHOD, HYPER, num_updates=length, placement=placement, **OPTIONS)
        for seed in np.flatnonzero(made == length):
            for x, y in zip(numbers(found.state, seed), numbers(shorter.state, seed), strict=True):
                assert_same(x, y)
            assert found.dataset["evaluation_return"][seed] == shorter.dataset["evaluation_return"][seed]
            for name in shorter.dataset:
                if shorter.dataset[name].dims == ("seed", "iteration"):
                    assert_same(found.dataset[name][seed, :length], shorter.dataset[name][seed])
    played = np.nansum(found.dataset["steps"], axis=1)
    assert_same(played, steps[np.arange(SEEDS), made - 1])
    assert seed_metrics.overshoot(found.dataset) == (played.mean() - BUDGET, played.max() - BUDGET, 0)


@pytest.mark.slow
def test_after_its_end_a_seed_has_no_metrics(result):
    after = result.dataset["iteration"] > result.dataset["updates"]
    assert after.any()
    for name in ("return", "length", "steps", "gradient_norm", "skipped"):
        assert_same(result.dataset[name].isnull(), after.T)
        assert_same(result.dataset[f"{name}_count"] == 0, after.T)


@pytest.mark.slow
def test_further_updates_leave_a_state_and_its_games_as_they_are():
    """The pure function, with running games and moments."""
    task = purepg.Task(
        "CartPole-v1", purepg.Softmax(purepg.MLP((4,))), purepg.Segments(2, 4, 7), normalize_observations=True
    )
    method = purepg.PolicyGradient(task, estimators.make("gae"))
    train = jax.jit(purepg.train, static_argnums=(0, 3))
    start = purepg.init(method, HYPER, jax.random.key(0), num_steps=17)  # three updates of 8
    end, _ = train(method, HYPER, start, 5)
    later, nothing = train(method, HYPER, end, 5)
    assert end.iteration == later.iteration == 3
    assert all((x == 0).all() for x in jax.tree.leaves(nothing))
    for x, y in zip(numbers(end), numbers(later), strict=True):
        assert_same(x, y)
    free, _ = train(method, HYPER, purepg.init(method, HYPER, jax.random.key(0)), 3)
    for x, y in zip(numbers(end), numbers(free), strict=True):
        assert_same(x, y)


@pytest.mark.slow
def test_where_a_run_is_cut_into_pieces_makes_no_difference(result, monkeypatch, tmp_path):
    """The last piece goes on after the end of the last seed."""
    monkeypatch.setattr(run_length, "chunk", lambda *_: 5)
    assert result.dataset["updates"].max() % 5
    assert_same_run(within(directory=tmp_path / "run"), result)


@pytest.mark.slow
def test_updates_are_the_most_that_are_made(result):
    found = within(num_updates=7)
    assert_same(found.dataset["updates"], np.minimum(result.dataset["updates"], 7))
    assert_same(found.dataset["return"], result.dataset["return"][:, :7])
    over = seed_metrics.overshoot(found.dataset)
    assert over is not None
    assert over.short == (result.dataset["updates"] > 7).sum() > 0


@pytest.mark.slow
def test_evaluations_among_the_updates_end_with_them(result):
    found = within(evaluate_every=2)
    assert_same(found.dataset["return"], result.dataset["return"])
    made, iteration = found.dataset["updates"], found.dataset["iteration"]
    played = (iteration % 2 == 0) & (iteration <= made)
    assert_same(found.dataset["greedy_return"].notnull(), played.T)


@pytest.mark.slow
def test_seeds_that_share_devices_stop_by_themselves():
    """Two seeds with two devices each: what one sums over its own, the other need not be there for."""
    program = f"""
import sys; sys.path[:] = {sys.path}
import purepg; purepg.seeds.use_all_cores(4)
import numpy as np, test_budget as t
task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((4,))), purepg.Games(2, 50))
method = purepg.PolicyGradient(task, purepg.estimators.make("reinforce-loo"))
made = [purepg.run(method, t.HYPER, 2, num_steps=400, placement=p, evaluation_games=0).dataset["updates"].values
        for p in ("shared", "sequential")]
assert made[0][0] != made[0][1], made
np.testing.assert_array_equal(*made)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


# Saved and resumed


@pytest.mark.slow
def test_a_run_that_was_cut_off_keeps_its_budget(result, tmp_path):
    for at in (1, 6):  # before any seed has used its budget up, and after the first one

        def stop(progress, at=at):
            if progress.iteration == at:
                raise KeyboardInterrupt

        folder = tmp_path / str(at)
        partly = within(directory=folder, report=stop, checkpoint_seconds=0.0)
        assert not run_length.is_done(partly.state, None)
        assert "evaluation_return" not in partly.dataset
        assert_same_run(purepg.resume(folder), result)
        assert_same_run(purepg.load(folder), result)


def test_the_budget_is_part_of_what_is_saved(result, tmp_path):
    folder = result.save(tmp_path / "run")
    assert run_folder.read_plan(folder).num_steps == BUDGET
    assert_same_run(purepg.load(folder), result)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_steps": 2 * BUDGET}))
    with pytest.raises(InvalidInput, match="is not what was written"):
        purepg.load(folder)


@pytest.mark.slow
def test_progress_ends_where_the_budgets_do(result):
    seen = []
    within(report=seen.append)
    assert seen[-1].iteration == seen[-1].num_updates == result.dataset.sizes["iteration"]
    assert all(one.iteration < one.num_updates for one in seen[:-1])


# What is made of it


def ragged():
    """A seed that stops after 20 updates of a curve that rises by 1 an update, and one of 40."""
    iteration, made = np.arange(1, 41), np.array([20, 40])
    there = iteration <= made[:, None]
    names = "seed", "iteration"
    curve = np.where(there, iteration * 1.0, np.nan)
    return xarray.Dataset(
        {
            "return": (names, curve),
            "return_count": (names, there * 1.0),
            "steps": (names, np.where(there, 10.0, np.nan)),
            "updates": ("seed", made),
            "frozen_at": ("seed", [-1, -1]),
        },
        {"seed": [0, 1], "iteration": iteration},
        {"environment": "CartPole-v1", "run_seconds": 1.0, "compile_seconds": 1.0, "num_steps": 195},
    )


def test_a_seed_metric_is_that_of_the_seed_by_itself():
    data = ragged()
    for kind in ("final", "best", "area", "speed"):
        alone = [
            seed_metrics.seed_metric(
                data.isel(seed=[i], iteration=slice(n)).drop_vars("updates"), kind, 19.0
            )[0]
            for i, n in enumerate((20, 40))
        ]
        assert_same(seed_metrics.seed_metric(data, kind, 19.0), alone)
    assert_same(seed_metrics.seed_metric(data, "final"), [19.5, 38.5])  # the last two, the last four
    assert seed_metrics.overshoot(data) == (105, 205, 0)


def test_a_curve_over_updates_counts_a_seed_as_long_as_it_trains():
    (line,) = plotting.learning_curves({"run": ragged()}, against="iteration").axes[0].lines
    assert_same(line.get_ydata(), np.arange(1, 41))
    (steps,) = plotting.learning_curves({"run": ragged()}).axes[0].lines
    assert np.isfinite(steps.get_ydata()).all()


# Studies


@pytest.mark.slow
def test_methods_of_other_lengths_have_the_same_budget(result, tmp_path):
    games = purepg.PolicyGradient(two_states(num_games=2), estimators.make("reinforce-loo"))
    presets = {"eight": (METHOD, HYPER, None), "two": (games, HYPER, None)}

    def compare(**options):
        return purepg.compare(presets, directory=tmp_path / "study", **OPTIONS | options)

    study = compare(num_steps=BUDGET)
    again = compare(num_steps=BUDGET)
    xarray.testing.assert_equal(study.dataset, again.dataset)
    eight, two = study.datasets["eight"], study.datasets["two"]
    for name in result.dataset.data_vars:
        assert_same(eight[name].values, result.dataset[name].values)
    assert two.sizes["iteration"] == two["updates"].max() > 2 * eight["updates"].max()
    found = report.report(study.datasets)
    line = found.lines["two"]
    assert line.overshoot is not None
    assert 0 <= line.overshoot.mean <= line.overshoot.most < 6  # an update of two games
    assert line.steps == BUDGET + line.overshoot.mean
    for other, words in ((None, "num_steps = 110, here they are 4 and 0 and None"), (50, "and 0 and 50")):
        lengths = {name: (*preset[:2], 3) for name, preset in presets.items()}
        with pytest.raises(InvalidInput, match=words):
            purepg.compare(lengths, num_steps=other, directory=tmp_path / "study", **OPTIONS)
    with pytest.raises(InvalidInput, match="'eight' has no number of updates"):
        purepg.compare(presets)


@pytest.mark.slow
def test_a_sweep_has_a_budget():
    study = purepg.sweep(
        METHOD, HYPER, {"learning_rate": [0.05, 0.1]}, SEEDS, num_steps=50, evaluation_games=0
    )
    played = study.dataset["steps"].sum("iteration")
    assert ((played >= 50) & (played < 50 + 24)).all()


def test_schedules_are_as_long_as_the_budget_can_last():
    method, _, length = presets.preset("CartPole-v1", "gae")
    longer = sweeps.as_long_as(100_000, method, length)
    assert longer.optimizer.horizon == -(-100_000 // (64 * 32))
    kept = sweeps.as_long_as(100_000, method, length, lambda field: field == "optimizer.horizon")
    assert kept == method
    method, _, length = presets.preset("CartPole-v1", "dqn")
    assert sweeps.as_long_as(16 * 8 * 500, method, length).exploration.horizon == 100  # a fifth of 500
    plain = presets.preset("CartPole-v1", "reinforce-loo")
    assert sweeps.as_long_as(1000, plain.method, plain.num_updates) == plain.method


@pytest.mark.parametrize("num_steps", [0, -1, 2.5, True, 2**32])
def test_what_is_no_budget_is_refused(num_steps):
    with pytest.raises(InvalidInput, match=f"num_steps = {num_steps}: give a whole number from 1"):
        purepg.run(METHOD, HYPER, num_steps=num_steps)


# The command line


SMALL = ["--seeds", "2", "--evaluation-games", "2"]


@pytest.mark.slow
def test_train_by_steps_alone_or_with_a_number_of_updates(tmp_path, capsys):
    words = ["train", "Chain", *SMALL, "--num-games", "4", "--steps", "100", "--out"]
    assert purepg_command(*words, tmp_path / "steps") == 0
    printed = capsys.readouterr()
    assert "budget of 100 environment steps per seed: " in printed.out
    assert "Saved to" in printed.out
    result = purepg.load(tmp_path / "steps")
    assert ((result.state.steps_left == 0) & (result.state.iteration > 1)).all()
    assert purepg_command("resume", tmp_path / "steps") == 0
    assert "budget of 100 environment steps per seed: " in capsys.readouterr().out
    assert purepg_command(*words, tmp_path / "both", "--updates", "1") == 0
    assert "2 seeds stopped short of it" in capsys.readouterr().out
    assert purepg_command("train", "Chain", "--steps", "0") == 2
    assert "num_steps = 0" in capsys.readouterr().err


def test_flags_of_steps():
    """A preset's schedule is as long as the budget; one of one's own stays; a method's own `steps` has another flag."""
    arguments = ["CartPole-v1", "--estimator", "gae", "--steps", "100000", "--num-games", "128"]
    parsed, method, _, _ = parse_job(arguments, "train")
    assert parsed.updates is None
    assert method.optimizer.horizon == -(-100_000 // (128 * 32))
    assert parse_job([*arguments, "--optimizer.horizon", "7"], "train")[1].optimizer.horizon == 7
    parsed, method, _, _ = parse_job([*arguments, "--updates", "9"], "train")
    assert (parsed.updates, method.optimizer.horizon) == (9, 9)
    parsed, method, _, _ = parse_job(
        ["CartPole-v1", "--estimator", "dqn", "--method.steps", "3", "--steps", "100000"], "train"
    )
    assert (method.steps, parsed.steps) == (3, 100_000)
    assert flags_of(method)["steps"] == "--method.steps"
    other = presets.preset("Pendulum-v1", "pathwise-short").method
    assert flags_of(other)["estimator.critic.steps"] == "--critic.steps"


@pytest.mark.slow
def test_compare_gives_all_the_same_budget_or_says_that_they_differ(tmp_path, capsys):
    words = [
        "compare",
        "Chain",
        "--estimators",
        "reinforce-loo",
        "gae",
        *SMALL,
        "--set",
        "task.collect.num_games=4",
    ]
    assert purepg_command(*words, "--updates", "3", "--out", tmp_path / "updates") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "not the same experience" in printed
    assert "--steps N gives all the same budget" in printed
    assert purepg_command(*words, "--steps", "1000", "--out", tmp_path / "steps") == 0
    printed = capsys.readouterr().out
    assert "not the same experience" not in printed
    assert "overshoot" in printed
    with xarray.open_dataset(tmp_path / "steps" / "dataset.nc", engine="h5netcdf") as data:
        assert (data["steps"].sum("iteration") >= 1000).all()
    # 1000 / (4 · 32)
    assert purepg.load(tmp_path / "steps" / "parts" / "001").method.optimizer.horizon == 8  # pyright: ignore


@pytest.mark.slow
def test_a_sweep_over_the_size_of_an_update_fits_each_schedule(tmp_path):
    code = purepg_command(
        "sweep", "Chain", "--estimator", "gae", *SMALL, "--steps", "300", "--num-steps", "5",
        "--over", "task.collect.num_games=4,8", "--out", tmp_path / "sweep",
    )  # fmt: skip
    assert code == 0
    parts = [purepg.load(tmp_path / "sweep" / "parts" / name) for name in ("000", "001")]
    assert [part.method.optimizer.horizon for part in parts] == [15, 8]  # pyright: ignore
    assert [part.dataset.sizes["iteration"] for part in parts] == [15, 8]
