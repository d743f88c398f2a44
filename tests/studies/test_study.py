"""Studies and sweeps: replicates share programs, nothing is trained twice, every one is where it belongs."""

import pathlib
import shutil
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import purepg
from purepg import presets, report
from purepg.errors import InvalidInput
from purepg.machines import folder_lock
from purepg.rollout import metrics
from purepg.runs import runner
from purepg.runs.runner import run, start
from purepg.studies import study as studies
from purepg.studies import sweep as sweeps
from purepg.training import Method

UPDATES = 4
HYPER = purepg.Hyperparams(0.1, discount=0.9)
TASK = purepg.Task(purepg.environment("CartPole-v1"), purepg.Softmax(purepg.MLP((4,))), purepg.Games(2))


@dataclass(frozen=True)
class Walk(Method):
    """A method that compiles fast: a random walk whose return tells every number that it was given."""

    task: purepg.Task = TASK
    scale: float = 1.0

    def init(self, hyper, key):
        return jax.random.normal(key)

    def update(self, hyper, state, key):
        state = state + self.scale * hyper.learning_rate * jax.random.normal(key)
        value = state + 10 * hyper.discount + hyper.env.gravity
        return state, {"return": metrics.once(value), "steps": metrics.once(jnp.float32(2))}

    def params(self, state):
        return state

    def act(self, params, *, deterministic):
        raise NotImplementedError


@pytest.fixture
def runs(monkeypatch):
    """Seeds and updates of every run that is made from here on."""
    made = []

    def counted(plan, *arguments):
        made.append((len(plan.seeds), plan.num_updates))
        return start(plan, *arguments)

    monkeypatch.setattr(runner, "start", counted)
    return made


def sweep(over, seeds=2, **options):
    return purepg.sweep(Walk(), HYPER, over, seeds, UPDATES, evaluation_games=0, **options)


def alone(hyper, seeds=2, method=Walk()):
    return run(method, hyper, seeds, UPDATES, evaluation_games=0)


# Every replicate is where it belongs


@pytest.mark.slow
def test_a_traced_sweep_is_one_run_and_equals_separate_ones(runs):
    study = sweep({"learning_rate": [0.1, 1.0], "discount": [0.5, 0.9]})
    assert runs == [(8, UPDATES)]
    assert study.names == [
        f"learning_rate={a}, discount={b}" for a, b in [(0.1, 0.5), (0.1, 0.9), ("1", 0.5), ("1", 0.9)]
    ]
    one = alone(purepg.Hyperparams(1.0, discount=0.5))
    found = study.datasets["learning_rate=1, discount=0.5"]
    np.testing.assert_array_equal(found["return"], one.dataset["return"])
    jax.tree.map(
        np.testing.assert_array_equal, study.params("learning_rate=1, discount=0.5", 1), one.params(1)
    )
    assert found["discount"].item() == 0.5
    assert study.dataset["learning_rate"].values.tolist() == [0.1, 0.1, 1.0, 1.0]


@pytest.mark.slow
def test_environment_parameters_are_traced(runs):
    study = sweep({"env.gravity": [9.8, 5.0]})
    assert runs == [(4, UPDATES)]
    usual, other = (study.datasets[f"gravity={g}"]["return"] for g in ("9.8", "5"))
    np.testing.assert_array_equal(usual, alone(HYPER).dataset["return"])
    np.testing.assert_allclose(usual - other, 4.8, rtol=1e-5)


@pytest.mark.slow
def test_static_fields_are_a_run_each(runs):
    study = sweep({"task.collect.num_games": [2, 4], "scale": [1.0, 2.0], "learning_rate": [0.1, 0.2]})
    assert runs == [(4, UPDATES)] * 4
    assert study.names[0] == "num_games=2, scale=1, learning_rate=0.1"
    np.testing.assert_array_equal(
        study.datasets["num_games=4, scale=2, learning_rate=0.1"]["return"],
        alone(HYPER, method=Walk(scale=2.0)).dataset["return"],
    )


def test_values_close_to_one_another_stay_apart():
    rates = [0.01, 0.010001, 0.01]
    configs = sweeps.configurations(Walk(), HYPER, {"learning_rate": rates}, 1)
    assert [c.name for c in configs] == ["learning_rate=0.01", "learning_rate=0.010001"]
    assert [c.hyper.learning_rate for c in configs] == rates[:2]


@pytest.mark.slow
def test_lengths_may_differ():
    study = purepg.compare({"short": (Walk(), HYPER, 2), "long": (Walk(), HYPER, 5)}, 2, evaluation_games=0)
    assert study.dataset.sizes["iteration"] == 5
    assert np.isnan(study.dataset["return"].sel(config="short").values[:, 2:]).all()
    assert study.datasets["short"].sizes["iteration"] == 2
    np.testing.assert_array_equal(study.datasets["short"]["return"], study.datasets["long"]["return"][:, :2])


@pytest.mark.slow
def test_methods_of_other_kinds_stand_beside_each_other():
    spec = purepg.environment("ShortCorridor", max_steps=20)
    chosen = {name: presets.preset(spec, name, num_updates=3) for name in ("cem", "q-learning")}
    study = purepg.compare(chosen, 2, evaluation_games=2)
    assert study.dataset["evaluation_return"].notnull().all()


# Nothing is trained twice


@pytest.mark.slow
def test_a_study_goes_on_with_what_is_missing(tmp_path, runs):
    folder = tmp_path / "study"
    first = sweep({"learning_rate": [0.1, 1.0]}, directory=folder)
    again = sweep({"learning_rate": [0.1, 1.0]}, directory=folder)
    assert runs == [(4, UPDATES)]
    xarray.testing.assert_equal(first.dataset, again.dataset)
    more = sweep({"learning_rate": [0.1, 0.5, 1.0]}, seeds=3, directory=folder)
    assert runs == [(4, UPDATES), (5, UPDATES)]  # one new rate with 3 seeds, one new seed for each of the old
    np.testing.assert_array_equal(
        more.dataset["return"].sel(config=first.names, seed=[0, 1]), first.dataset["return"]
    )
    np.testing.assert_array_equal(
        more.datasets["learning_rate=0.5"]["return"],
        alone(purepg.Hyperparams(0.5, discount=0.9), 3).dataset["return"],
    )
    with xarray.open_dataset(folder / "dataset.nc", engine="h5netcdf") as saved:
        xarray.testing.assert_equal(saved.load(), more.dataset)


@pytest.mark.slow
def test_an_interrupted_study_goes_on(tmp_path, runs):
    def interrupt(progress):
        if progress.iteration >= 6:
            raise KeyboardInterrupt

    over = {"scale": [1.0, 2.0]}
    folder = tmp_path / "study"
    with pytest.raises(KeyboardInterrupt):
        sweep(over, directory=folder, report=interrupt, checkpoint_seconds=0)
    reports = []
    study = sweep(over, directory=folder, report=reports.append)
    assert sorted(path.name for path in (folder / "parts").iterdir()) == ["000", "001"]
    xarray.testing.assert_equal(study.dataset["return"], sweep(over).dataset["return"])
    assert reports[-1].iteration == reports[-1].num_updates
    assert [r.iteration for r in reports] == sorted(r.iteration for r in reports)


@pytest.mark.slow
def test_a_killed_study_whose_run_made_no_checkpoint_begins_that_run_anew(tmp_path, runs):
    folder = tmp_path / "study"

    def kill(progress):
        raise SystemExit

    with pytest.raises(SystemExit):
        sweep({"learning_rate": [0.1]}, directory=folder, report=kill)
    study = sweep({"learning_rate": [0.1]}, directory=folder)
    np.testing.assert_array_equal(
        study.datasets["learning_rate=0.1"]["return"], alone(HYPER).dataset["return"]
    )


# A folder belongs to one study


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OTHER_TASK = purepg.Task(purepg.environment("Acrobot-v1"), purepg.Softmax(purepg.MLP((4,))), purepg.Games(2))
OTHER_NUMBERS = purepg.Task(
    purepg.environment("GridWorld", slip=0.2), purepg.Softmax(purepg.Table()), purepg.Games(2)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"method": Walk(OTHER_TASK)},
            "is of CartPole-v1, this one is of Acrobot-v1: give it a folder of its own",
        ),
        ({"method": Walk(OTHER_NUMBERS)}, "is of CartPole-v1, this one is of GridWorld with slip=0.2"),
        ({"method": Walk(scale=2.0)}, r"has a method with scale = 1.0, which none of those here has"),
        ({"num_updates": 5}, f"has runs of {UPDATES} updates, here they have 5"),
        ({"seeds": 1}, "has seeds 1: ask for that too"),
        ({"seeds": [1, 2]}, "has seeds 0: ask for that too"),
        ({"hyper": purepg.Hyperparams(0.2, discount=0.9)}, r"has numbers that none .*'learning_rate': 0\.1"),
        ({"evaluation_games": 3}, "has evaluation_games = 0 .* here they are 3"),
    ],
)
def test_a_study_that_leaves_out_what_is_there_is_refused_and_the_difference_named(change, words, tmp_path):
    def call(method=Walk(), hyper=HYPER, num_updates=UPDATES, seeds=2, evaluation_games=0):
        presets = {"walk": (method, hyper, num_updates)}
        return purepg.compare(presets, seeds, evaluation_games=evaluation_games, directory=tmp_path / "study")

    call()
    before = contents(tmp_path)
    with pytest.raises(InvalidInput, match=rf"the study in .*study {words}"):
        call(**change)
    assert contents(tmp_path) == before
    call()


def test_what_one_writes_another_leaves_alone(tmp_path):
    def other(progress):
        with pytest.raises(InvalidInput, match="is being written by process"):
            sweep({"learning_rate": [0.1, 0.2, 0.3]}, directory=tmp_path / "study")
        with pytest.raises(InvalidInput, match="is being written by process"):
            purepg.resume(tmp_path / "study" / "parts" / "000")

    sweep({"learning_rate": [0.1]}, directory=tmp_path / "study", report=other)
    assert not list(tmp_path.rglob(folder_lock.FILE))


@pytest.mark.slow
def test_a_study_of_an_earlier_format_is_gone_on_with(tmp_path, runs):
    """Its finished runs are read, what is added is trained."""
    folder = shutil.copytree(
        pathlib.Path(__file__).parents[1] / "data" / "format_4" / "study", tmp_path / "study"
    )
    method = purepg.load(folder / "parts" / "000").method
    over = {"learning_rate": [0.05, 0.1, 0.2], "task.collect.num_games": [2, 4]}
    study = purepg.sweep(
        method, purepg.Hyperparams(0.05, 0.9), over, 2, 4, evaluation_games=4, directory=folder
    )
    assert runs == [(2, 4), (2, 4)]
    with xarray.open_dataset(tmp_path.parent / folder / "dataset.nc", engine="h5netcdf") as saved:
        assert saved.sizes["config"] == 6
    assert report.read([folder]).keys() == set(study.names)


# Draws


def test_draws_are_seeded_and_stay_in_their_range():
    def rates(draw_seed, count=200):
        over = {"learning_rate": purepg.Range(1e-4, 1e-1), "discount": [0.9, 0.99]}
        configs = sweeps.configurations(Walk(), HYPER, over, 1, draws=count, draw_seed=draw_seed)
        return np.array([c.hyper.learning_rate for c in configs]), {c.hyper.discount for c in configs}

    (one, discounts), (same, _), (other, _) = rates(0), rates(0), rates(1)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert discounts == {0.9, 0.99}
    assert ((one >= 1e-4) & (one <= 1e-1)).all()
    share = (one < 10**-2.5).mean()  # log-uniform: half of them; standard error 0.035
    assert abs(share - 0.5) < 4 * 0.035


def test_a_narrow_range_is_drawn_from_evenly():
    drawn = purepg.Range(0.9, 1.0).draw(np.random.default_rng(0), 1000)
    assert abs(drawn.mean() - 0.95) < 4 * 0.1 / np.sqrt(12 * 1000)


# What is refused


@pytest.mark.parametrize(
    ("over", "options", "words"),
    [
        ({"learning_rat": [1]}, {}, "no field 'learning_rat', did you mean 'learning_rate'"),
        ({"env.gravty": [1]}, {}, "no parameter 'gravty'"),
        ({"learning_rate": purepg.Range(0.1, 1)}, {}, "say how many draws"),
        ({"learning_rate": [0.1]}, {"draws": 0}, "draws = 0: give at least 1"),
        ({"learning_rate": [-0.1]}, {}, "learning_rate"),
        ({"learning_rate": [0.1]}, {"seeds": (1, 1)}, "give each once"),
        ({"learning_rate": [0.1]}, {"seeds": 0}, "seeds = 0: give how many"),
    ],
)
def test_what_is_refused(over, options, words):
    with pytest.raises(InvalidInput, match=words):
        sweep(over, **options)


def test_a_range_from_more_to_less_is_refused():
    with pytest.raises(InvalidInput, match="the first must be the smaller one"):
        purepg.Range(1, 1)


def test_names_must_differ():
    config = studies.Config("a", Walk(), HYPER, 1)
    with pytest.raises(InvalidInput, match="a name of its own"):
        purepg.study([config, config], 1)


def test_another_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InvalidInput, match="exists and holds no study"):
        sweep({"learning_rate": [0.1]}, directory=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "options",
    [
        *({"num_steps": 0}, {"evaluation_games": -1}, {"evaluate_every": 3}, {"placement": "spread"}),
        *({"checkpoint_seconds": -1.0}, {"report": "often"}),
    ],
)
def test_options_are_refused_in_the_words_of_a_run_before_anything_is_trained(options, runs, tmp_path):
    config = purepg.Config("one", Walk(), HYPER, UPDATES)
    words = []
    for refused in (
        lambda: run(Walk(), HYPER, 1, UPDATES, **options),
        lambda: purepg.study([config], 1, directory=tmp_path / "study", **options),
    ):
        with pytest.raises(InvalidInput, match=f"^{next(iter(options))} = ") as caught:
            refused()
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert not runs
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_values_that_are_no_numbers_stand_in_words_in_a_study(tmp_path):
    """Tuples and records, too: a file keeps numbers and text."""
    task = replace(TASK, env=purepg.environment("Chain"))
    over = {"network.hidden": [(2,), ()]}
    method = purepg.PolicyGradient(task, purepg.ScoreFunction())
    study = purepg.sweep(method, None, over, 1, 1, evaluation_games=0, directory=tmp_path / "study")
    assert study.dataset["hidden"].values.tolist() == ["(2,)", "()"]
