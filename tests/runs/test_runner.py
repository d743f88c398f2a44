import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from problems import two_states

import purepg
from purepg import estimators
from purepg.errors import InvalidInput
from purepg.runs import programs, run_length, runner

METHOD = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))
HYPER = purepg.Hyperparams(learning_rate=0.05, discount=0.9)


@pytest.fixture(scope="module")
def result():
    return purepg.run(METHOD, HYPER, seeds=3, num_updates=4, evaluation_games=20)


@pytest.mark.slow
def test_result_is_labelled_and_keeps_the_seed_axis(result):
    data = result.dataset
    assert dict(data.sizes) == {"seed": 3, "iteration": 4}
    assert data["return"].dims == ("seed", "iteration")
    assert data["iteration"].values.tolist() == [1, 2, 3, 4]
    assert data["evaluation_return"].dims == ("seed",)
    assert (data["return_count"] == 8).all()
    assert data["return"].attrs["units"] == "reward"
    assert len(np.unique(data["return"].values[:, 0])) == 3  # three different seeds
    assert result.params(2)["table"].shape == (3, 2)
    with pytest.raises(InvalidInput, match="seed 3 is not in this run"):
        result.params(3)


@pytest.mark.slow
def test_run_is_train_over_the_seeds(result):
    state, numbers = purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, jax.random.key(1)), 4)
    np.testing.assert_allclose(result.params(1)["table"], state.learner.params["table"], rtol=1e-4, atol=1e-5)
    expected = numbers["return"].sum / numbers["return"].count
    np.testing.assert_allclose(result.dataset["return"].sel(seed=1), expected, rtol=1e-5)


@pytest.mark.slow
def test_evaluation_during_training_is_seen_and_leaves_the_training_alone(result):
    run = purepg.run(METHOD, HYPER, seeds=3, num_updates=4, evaluation_games=20, evaluate_every=2)
    np.testing.assert_array_equal(run.dataset["return"], result.dataset["return"])
    jax.tree.map(np.testing.assert_array_equal, run.params(1), result.params(1))
    np.testing.assert_array_equal(run.dataset["greedy_return_count"], [[0, 1, 0, 1]] * 3)
    seen = run.dataset["greedy_return"].values
    assert np.isnan(seen[:, [0, 2]]).all()
    state, _ = purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, jax.random.key(1)), 2)
    own = jax.random.fold_in(jax.random.fold_in(state.key, programs.EVALUATION_STREAM + 1), 2)
    played = purepg.evaluate(METHOD, HYPER, METHOD.params(state.learner), own, 20)
    np.testing.assert_allclose(
        run.dataset["greedy_return"].sel(seed=1, iteration=2), played.returns.mean(), rtol=1e-5
    )


@pytest.mark.slow
def test_seeds_may_be_given_by_number(result):
    other = purepg.run(METHOD, HYPER, seeds=[2, 7], num_updates=4, evaluation_games=0)
    np.testing.assert_array_equal(other.params(2)["table"], result.params(2)["table"])
    assert other.seeds.tolist() == [2, 7]
    assert "evaluation_return" not in other.dataset


def final_games(result, num_games):
    """Mean return [S] of the games that a run plays at its end, by their keys."""

    def play(state):
        key = jax.random.fold_in(jax.random.fold_in(state.key, 2**31), 0)
        params = result.method.params(state.learner)
        return purepg.evaluate(result.method, result.hyper, params, key, num_games).returns.mean()

    return jax.jit(jax.vmap(play))(result.state)


@pytest.mark.slow
def test_fresh_games_are_others_than_those_of_the_run(result):
    """Standard error of the difference of two means of 20 games: sqrt(2 var / 20)."""
    played = np.asarray(runner.evaluate_seeds(result, num_games=20).returns)
    again, other = (runner.evaluate_seeds(result, num_games=20, stream=s).returns for s in (0, 1))
    np.testing.assert_array_equal(played, again)
    assert (played != other).any(axis=1).all()
    apart = played.mean(axis=1) - final_games(result, 20)
    assert (apart != 0).all()
    assert (np.abs(apart) < 4 * np.sqrt(2 * played.var(axis=1) / 20)).all()
    for options in ({"num_games": 0}, {"num_games": 2.5}, {"stream": -1}, {"stream": 2**32}):
        with pytest.raises(InvalidInput, match=f"{next(iter(options))} = "):
            runner.evaluate_seeds(result, **options)


@pytest.mark.slow
def test_saved_and_loaded_is_the_same(result, tmp_path):
    folder = result.save(tmp_path / "run")
    loaded = purepg.load(folder)
    assert loaded.method == result.method
    assert loaded.dataset.identical(result.dataset)
    assert jax.tree.structure(loaded.state) == jax.tree.structure(result.state)
    np.testing.assert_array_equal(loaded.params(1)["table"], result.params(1)["table"])
    np.testing.assert_array_equal(*(jax.random.key_data(r.state.key) for r in (loaded, result)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]  # nothing half-written beside it
    np.testing.assert_allclose(final_games(loaded, 20), result.dataset["evaluation_return"], rtol=1e-6)
    with pytest.raises(InvalidInput, match="exists already"):
        result.save(folder)


def test_results_are_equal_where_all_but_the_clocks_is(result, tmp_path):
    loaded = purepg.load(result.save(tmp_path / "run"))
    loaded.dataset.attrs["run_seconds"] += 1
    assert loaded == result
    assert hash(loaded) == hash(result)
    gravity = purepg.hyperparams.with_env_params(purepg.environment("CartPole-v1"), {"gravity": 5.0})
    for hyper in (
        dataclasses.replace(result.hyper, discount=0.5),
        dataclasses.replace(result.hyper, env=gravity),
    ):
        assert dataclasses.replace(result, hyper=hyper) != result
    assert result != "result"


@pytest.mark.slow
def test_a_run_is_read_where_there_are_fewer_devices(result, tmp_path):
    result.save(tmp_path / "run")
    program = "import sys, purepg, jax; table = purepg.load(sys.argv[1]).params(1)['table']; "
    program += "print(len(jax.devices()), table[0, 0])"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "run"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", str(result.params(1)["table"][0, 0])]


@pytest.mark.slow
def test_hyper_parameters_and_env_params_are_saved(tmp_path):
    task = purepg.Task("CartPole-v1", collect=purepg.Games(2, 5))
    env = purepg.hyperparams.with_env_params(task.env, {"gravity": 5.0})
    hyper = dataclasses.replace(HYPER, env=env)
    method = purepg.PolicyGradient(task, estimators.make("reinforce"), purepg.Optimizer("sgd", "linear", 7))
    folder = purepg.run(method, hyper, seeds=1, num_updates=1, evaluation_games=0).save(tmp_path / "run")
    loaded = purepg.load(folder)
    assert loaded.method == method
    assert float(loaded.hyper.env.gravity) == 5.0
    assert loaded.hyper.max_gradient_norm == np.inf


@pytest.mark.slow
def test_running_games_and_a_critic_are_saved_and_loaded(tmp_path):
    task = purepg.Task(
        "Pendulum-v1",
        purepg.Gaussian(purepg.MLP((3,))),
        purepg.Segments(2, 4, 7),
        normalize_observations=True,
    )
    estimator = dataclasses.replace(estimators.make("gae"), critic=purepg.OwnCritic())  # pyright: ignore
    result = purepg.run(purepg.PolicyGradient(task, estimator), seeds=2, num_updates=2, evaluation_games=3)
    loaded = purepg.load(result.save(tmp_path / "run"))
    assert loaded.method == result.method
    learner, saved = loaded.state.learner, result.state.learner
    assert jax.tree.structure(learner) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, learner, saved)
    np.testing.assert_allclose(final_games(loaded, 3), result.dataset["evaluation_return"], rtol=1e-6)


def damage(folder, what):
    if what == "config":
        (folder / "config.json").write_text("{")
    elif what == "dataset":
        (folder / "dataset.nc").write_bytes(b"nothing")
    elif what == "state":
        for path in (folder / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    elif what == "method":
        config = json.loads((folder / "config.json").read_text())
        config["method"]["type"] = "purepg.methods.policy_gradient:Gone"
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("what", ["config", "dataset", "state", "method"])
def test_a_damaged_run_is_refused_in_one_line(result, tmp_path, what):
    folder = result.save(tmp_path / "run")
    damage(folder, what)
    with pytest.raises(InvalidInput) as error:
        purepg.load(folder)
    assert "\n" not in str(error.value)


def test_another_version_or_no_run_is_refused(result, tmp_path):
    folder = result.save(tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99, "purepg": "9.9"}))
    with pytest.raises(InvalidInput, match=r"format 99, written by purepg 9\.9"):
        purepg.load(folder)
    with pytest.raises(InvalidInput, match="no saved run"):
        purepg.load(tmp_path)


def _two_logits(params, observation):
    return jax.numpy.broadcast_to(params["w"], (*observation.shape, 2))


@pytest.mark.slow
def test_what_cannot_be_named_cannot_be_saved(tmp_path):
    network = purepg.Functions(lambda key, x: {"w": jax.numpy.zeros(2)}, _two_logits)
    task = purepg.Task("Bandit", purepg.Softmax(network), purepg.Games(2))
    result = purepg.run(
        purepg.PolicyGradient(task, estimators.make("reinforce")), seeds=1, num_updates=1, evaluation_games=0
    )
    with pytest.raises(InvalidInput, match="top level of a module"):
        result.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_progress_is_reported_and_ctrl_c_keeps_what_was_done():
    seen = []

    def report(progress):
        seen.append(progress)
        if progress.iteration == 3:
            raise KeyboardInterrupt

    result = purepg.run(METHOD, HYPER, seeds=2, num_updates=7, evaluation_games=5, report=report)
    assert [p.iteration for p in seen] == [1, 2, 3]
    assert all(np.isfinite(p.mean_return) and p.steps_per_second > 0 for p in seen)
    assert result.dataset.sizes["iteration"] == 3
    assert (result.state.iteration == 3).all()
    assert np.isfinite(result.dataset["evaluation_return"]).all()


@pytest.mark.slow
def test_a_run_whose_length_no_chunk_divides_is_that_run():
    """61 updates are twenty chunks of 3 and one update of another: beyond it nothing happens."""
    result = purepg.run(METHOD, HYPER, seeds=2, num_updates=61, evaluation_games=0)
    state, metrics = purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, jax.random.key(1)), 61)
    assert result.dataset.sizes["iteration"] == 61
    assert (result.state.iteration == 61).all()
    jax.tree.map(np.testing.assert_array_equal, result.params(1), METHOD.params(state.learner))
    returns = np.asarray(metrics["return"].sum / metrics["return"].count)
    np.testing.assert_allclose(result.dataset["return"].sel(seed=1), returns, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_updates", "multiple_of", "size"),
    [
        *(
            (1, 1, 1),
            (25, 1, 1),
            (100, 1, 5),
            (97, 1, 3),
            (1000, 1, 50),
            (5000, 1, 50),
            (66, 1, 3),
            (1009, 1, 46),
        ),
        *((100, 10, 10), (1000, 10, 50), (1000, 20, 40), (300, 4, 12), (9, 9, 9)),
    ],
)
def test_chunks_reach_little_beyond_the_run(num_updates, multiple_of, size):
    assert run_length.chunk(num_updates, multiple_of) == size
    assert -num_updates % size <= 0.05 * num_updates


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds = 0: give how many"),
        ({"seeds": [1, 1]}, "give each once"),
        ({"num_updates": 0}, "num_updates = 0: give a whole number of at least 1"),
        ({"num_updates": 2.0}, "num_updates = 2.0"),
        ({"num_updates": True}, "num_updates = True"),
        ({"evaluation_games": -1}, "evaluation_games = -1"),
        ({"hyper": purepg.Hyperparams(discount=1.5)}, "discount = 1.5"),
        ({"hyper": purepg.Hyperparams(discount=float("nan"))}, "discount = nan"),
        ({"hyper": purepg.Hyperparams(learning_rate=-1.0)}, "learning_rate = -1"),
        ({"placement": "sideways"}, "placement"),
        ({"num_updates": 10, "evaluate_every": 3}, "give a divisor"),
        ({"evaluate_every": 1, "evaluation_games": 0}, "at least 1 game"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        purepg.run(METHOD, **({"hyper": HYPER, "num_updates": 1, "seeds": 1} | arguments))
