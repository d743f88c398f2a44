"""Runs of earlier formats are read: what they hold is what it was, what they do not hold is not made up."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import xarray
from test_runner import final_games

import purepg
from purepg import report, seeds
from purepg.errors import InvalidInput
from purepg.runs import configuration, old_runs, plans, results, run_folder, runner, saved_state

DATA = pathlib.Path(__file__).parents[1] / "data"
FINISHED = [
    *("format_4/finished", "format_4/finished_segments", "format_4/finished_q_learning"),
    *("format_4/uninterrupted", "format_4/study/parts/000"),
    *("format_5/finished", "format_5/finished_games", "format_5/finished_q_learning"),
    *("format_6/finished", "format_6/finished_dqn"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_is_what_it_was(name):
    result = purepg.load(DATA / name)
    with xarray.open_dataset(DATA / name / "dataset.nc", engine="h5netcdf") as saved:
        placement = {"placement": result.dataset.attrs["placement"]}  # its names are others by now
        assert result.dataset.identical(saved.load().assign_attrs(placement))
    assert results.load_dataset(DATA / name).identical(result.dataset)
    assert placement["placement"] in seeds.PLACEMENTS
    assert run_folder.read_plan(DATA / name).placement == placement["placement"]
    assert (np.asarray(result.state.iteration) == result.dataset.sizes["iteration"]).all()
    assert result == purepg.load(DATA / name)
    played = final_games(result, int(result.dataset.attrs["evaluation_games"]))
    np.testing.assert_allclose(played, result.dataset["evaluation_return"], rtol=1e-3, atol=1e-3)


def test_a_study_is_read():
    assert len(report.read([DATA / "format_4" / "study"])) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "updates"),
    [("format_4/interrupted", 4), ("format_5/interrupted", 2), ("format_6/interrupted", 1)],
)
def test_one_that_was_cut_off_is_read_and_not_gone_on_with(name, updates, tmp_path):
    folder = shutil.copytree(DATA / name, tmp_path / "run")
    partly = purepg.load(folder)
    assert partly.dataset.sizes["iteration"] == updates
    assert len(report.read([folder])) == 1
    for seed in partly.seeds:
        assert all((np.asarray(x) != 0).any() for x in jax.tree.leaves(partly.params(seed)))
    version = name.partition("/")[0].replace("_", " ")
    with pytest.raises(
        InvalidInput, match=rf"{version} of purepg 0\.1\.0.* end it with that version"
    ) as caught:
        purepg.resume(folder)
    assert "\n" not in str(caught.value)


def test_a_changed_plan_of_format_5_is_told(tmp_path):
    folder = shutil.copytree(DATA / "format_5" / "finished_games", tmp_path / "run")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"evaluation_games": 2', '"evaluation_games": 3'))
    with pytest.raises(InvalidInput, match=r"config\.json is not what was written with it"):
        purepg.load(folder)


def test_what_was_done_before_the_cut_is_the_beginning_of_the_whole():
    partly, whole = (purepg.load(DATA / "format_4" / name) for name in ("interrupted", "uninterrupted"))
    np.testing.assert_array_equal(partly.dataset["return"], whole.dataset["return"][:, :4])
    assert (partly.params(1)["table"] != 0).any()


# Parts of a state that have another name by now


@pytest.mark.parametrize(
    ("run", "new", "old"),
    [
        ("finished", [".learner.estimator.games.return_so_far"], [".learner.estimator.games.score"]),
        (
            "finished_dqn",
            [".learner.target_params", ".learner.running.return_so_far"],
            [".learner.slow", ".learner.running.score"],
        ),
    ],
)
def test_a_state_of_format_6_is_whole_under_todays_names(run, new, old):
    state = purepg.load(DATA / "format_6" / run).state
    assert not [x for x in jax.tree.leaves(state) if isinstance(x, jax.ShapeDtypeStruct)]
    found = saved_state.by_path(saved_state.as_numbers(state))
    with np.load(DATA / "format_6" / run / "state" / "arrays.npz") as arrays:
        kept = dict(arrays)
    for before, after in zip(old, new, strict=True):
        assert any(path.startswith(before) for path in kept)
        kept = {path.replace(before, after): x for path, x in kept.items()}
    assert found.keys() == kept.keys()
    jax.tree.map(np.testing.assert_array_equal, found, kept)


# A state that has another form by now


def changed(source, target, change):
    """A copy of a run of format 5 whose arrays, by path, are others."""
    folder = shutil.copytree(source, target)
    file = folder / "state" / "arrays.npz"
    with np.load(file) as arrays:
        kept = change(dict(arrays))
    np.savez(file, **kept)
    return folder


def without(part):
    return lambda arrays: {name: x for name, x in arrays.items() if part not in name}


def of_another_kind(part):
    return lambda arrays: {name: x[..., None] if part in name else x for name, x in arrays.items()}


def elsewhere(part):
    return lambda arrays: {name.replace(part, part + ".inner"): x for name, x in arrays.items()}


@pytest.mark.slow
@pytest.mark.parametrize("change", [without, of_another_kind, elsewhere])
def test_only_what_plays_is_needed(change, tmp_path):
    source = DATA / "format_5" / "finished"
    folder = changed(
        source, tmp_path / "run", lambda arrays: change("optimizer")(change("estimator")(arrays))
    )
    whole, partly = purepg.load(source), purepg.load(folder)
    np.testing.assert_allclose(final_games(partly, 2), whole.dataset["evaluation_return"], rtol=1e-3)
    jax.tree.map(np.testing.assert_array_equal, partly.params(1), whole.params(1))
    assert partly.dataset.identical(whole.dataset)
    assert partly == purepg.load(folder) != whole
    lacks = {
        type(x) for x in jax.tree.leaves((partly.state.learner.estimator, partly.state.learner.optimizer))
    }
    assert lacks == {jax.ShapeDtypeStruct}
    with pytest.raises(TypeError):
        jax.vmap(lambda state: purepg.train(partly.method, partly.hyper, state, 1))(partly.state)
    with pytest.raises(TypeError):
        jax.tree.map(lambda x: x[0], partly.state)


@pytest.mark.slow
def test_what_is_not_whole_plays_fresh_games(tmp_path):
    source = DATA / "format_5" / "finished_games"
    whole, partly = purepg.load(source), purepg.load(changed(source, tmp_path / "run", without("optimizer")))
    played = [runner.evaluate_seeds(result, num_games=2).returns for result in (whole, partly)]
    np.testing.assert_array_equal(*played)


def test_what_is_not_whole_is_not_saved_again(tmp_path):
    folder = changed(DATA / "format_5" / "finished_games", tmp_path / "run", without("estimator"))
    with pytest.raises(
        InvalidInput, match=r"^the state cannot be saved: it has no learner\.estimator.*copy"
    ) as caught:
        purepg.load(folder).save(tmp_path / "again")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("change", [without, of_another_kind, elsewhere])
@pytest.mark.parametrize("part", [".learner.params", ".key", ".iteration", ".frozen_at"])
def test_what_plays_must_be_there(part, change, tmp_path):
    folder = changed(DATA / "format_5" / "finished_games", tmp_path / "run", change(part))
    with pytest.raises(InvalidInput, match=rf"{part[1:]}.* is .* there and .* here"):
        purepg.load(folder)


def test_one_whose_state_has_todays_form_is_saved_in_todays_format(tmp_path):
    source, folder = DATA / "format_5" / "finished_games", tmp_path / "old"
    plan, dataset = run_folder.read_plan(source), purepg.load(source).dataset
    state = saved_state.filled(run_folder.template(plan))
    run_folder.write(folder, plan, dataset, state)
    config = json.loads((folder / "config.json").read_text()) | {"format": 5}
    (folder / "config.json").write_text(json.dumps(config | {"checksum": plans.checksum(config)}))
    again = purepg.load(folder).save(tmp_path / "again")
    assert json.loads((again / "config.json").read_text())["format"] == plans.FORMAT
    assert purepg.load(again) == results.Result(plan.method, plan.hyper, state, dataset)


# Names


def config(name="format_5/finished"):
    return json.loads((DATA / name / "config.json").read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("purepg.policy_gradient:PolicyGradient", "purepg:PolicyGradient"),
        ("purepg.policy_gradient:Optimizer", "purepg:Optimizer"),
        ("purepg.estimators.score_function:ScoreFunction", "purepg:ScoreFunction"),
        ("purepg.environments:EnvironmentSpec", "purepg:environments.EnvironmentSpec"),
        ("purepg.baselines:Moving", "purepg:baselines.Moving"),
        ("purepg.distributions:Gaussian", "purepg:distributions.Gaussian"),
        ("purepg.policies:Gaussian", "purepg:Gaussian"),
        ("purepg.networks:MLP.init", "purepg:MLP.init"),
        ("purepg.nowhere:Gone", "purepg.nowhere:Gone"),
        ("purepg_of_mine.networks:MLP", "purepg_of_mine.networks:MLP"),
        ("jax.nn.initializers:zeros", "jax.nn.initializers:zeros"),
    ],
)
def test_old_names_are_those_of_today(old, new):
    for kind in ("type", "function"):
        given = config() | {"method": {"type": "a:B", "parts": [{kind: old}]}}
        assert old_runs.upgraded(given)["method"] == {"type": "a:B", "parts": [{kind: new}]}


INTERRUPTED = [f"format_{version}/interrupted" for version in old_runs.FORMATS]


@pytest.mark.parametrize("name", [*FINISHED, *INTERRUPTED])
def test_an_old_plan_in_todays_names_is_what_would_be_saved(name):
    method = run_folder.read_plan(DATA / name).method
    assert configuration.encode(method) == old_runs.upgraded(config(name))["method"]


def test_the_tables_rename_fields_and_give_new_ones_their_value(monkeypatch):
    monkeypatch.setattr(
        old_runs,
        "_FIELDS",
        {"purepg:MLP": {"hidden": "sizes", "activation": None}, "purepg:Hyperparams": {"env": "e"}},
    )
    monkeypatch.setattr(
        old_runs, "_DEFAULTS", {"purepg:Segments": {"group": 1}, "purepg:MLP": {"sizes": [9]}}
    )
    new = old_runs.upgraded(config())
    network, collect = new["method"]["task"]["policy"]["network"], new["method"]["task"]["collect"]
    assert network["sizes"] == [3]  # what is saved comes first
    assert not {"hidden", "activation"} & network.keys()
    assert collect["group"] == 1
    assert "e" in new["hyper"]
    assert "env" not in new["hyper"]


@pytest.mark.parametrize(("old", "new"), [("side-by-side", "vmap"), ("vmap", "vmap")])
def test_placements_have_the_names_that_runs_take(old, new):
    assert old_runs.upgraded(config() | {"placement": old})["placement"] == new
    assert old_runs.upgraded_dataset(xarray.Dataset(attrs={"placement": old})).attrs == {"placement": new}
    assert old_runs.upgraded_dataset(xarray.Dataset()).attrs == {}
