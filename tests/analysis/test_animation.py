"""Animations: the game that is drawn is the one that was played, and every kind of observation gets its picture."""

import dataclasses
import itertools
import sys

import jax
import numpy as np
import pytest
import xarray
from PIL import Image, ImageSequence

import purepg
from purepg import cli
from purepg.analysis import animation
from purepg.analysis.animation import Game
from purepg.errors import InvalidInput


def a_method(name, policy, max_steps=None):
    task = purepg.Task(name, policy, purepg.Games(2, max_steps))
    return purepg.PolicyGradient(task, purepg.estimators.make("reinforce"))


def untrained(method):
    """A result of two seeds before any update."""
    hyper = purepg.Hyperparams()
    state = jax.vmap(lambda key: purepg.init(method, hyper, key))(jax.random.split(jax.random.key(0)))
    return purepg.runs.results.Result(method, hyper, state, xarray.Dataset(coords={"seed": [0, 1]}))


@pytest.fixture(scope="module")
def cartpole():
    method = a_method("CartPole-v1", purepg.Softmax(purepg.MLP((4,))), max_steps=12)
    return purepg.run(method, seeds=2, num_updates=1, evaluation_games=0)


def a_game(num_steps=6, observation=None, **fields):
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(num_steps, 3)) if observation is None else observation
    return Game("made up", observation, rng.integers(3, size=num_steps), np.arange(num_steps) / 2, **fields)


def frames(path):
    with Image.open(path) as image:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        return shown, image.info["duration"]


# What is recorded


@pytest.mark.slow
def test_a_recorded_game_holds_the_actions_as_they_were_played():
    """The reward of Pendulum tells the torque; the policy's own unit is half of it."""
    policy = purepg.Gaussian(purepg.MLP((4,)), initial_std=2.0)
    result = untrained(a_method("Pendulum-v1", policy, max_steps=30))
    game = animation.record(result, 1, deterministic=False)
    cos, sin, speed = game.observation.T
    rest = np.arctan2(sin, cos) ** 2 + 0.1 * speed**2
    np.testing.assert_allclose(game.reward, -(rest + 0.001 * game.action[:, 0] ** 2), atol=1e-4)
    assert np.abs(game.action).max() == 2.0
    assert len(game.reward) == 30


@pytest.mark.slow
def test_a_recorded_game_is_of_the_seed_s_own_environment(cartpole):
    limits = np.array([3, 5])
    env = purepg.hyperparams.with_env_params(
        cartpole.method.task.env, {"max_steps_in_episode": limits, "theta_threshold_radians": 9.0}
    )
    result = dataclasses.replace(cartpole, hyper=purepg.Hyperparams(env=env))
    assert [len(animation.record(result, seed).reward) for seed in (0, 1)] == limits.tolist()


@pytest.mark.slow
def test_the_rows_after_a_game_s_end_are_not_shown():
    up = purepg.Table(tuple((0.0, 50.0) for _ in range(7)))
    game = animation.record(untrained(a_method("Chain", purepg.Softmax(up))), 0)
    assert game.observation.tolist() == [3, 4, 5]
    assert game.reward.tolist() == [0, 0, 1]


# What is drawn

RNG = np.random.default_rng(1)
OBSERVATIONS = {
    "a state": RNG.integers(9, size=6),
    "a vector": RNG.normal(size=(6, 3)),
    "a long vector": RNG.normal(size=(6, 20)),
    "a constant": np.zeros((6, 2)),
    "not a number": np.full((6, 2), np.nan),
    "a picture": RNG.normal(size=(6, 10, 5)),
    "channels": RNG.random(size=(6, 10, 10, 4)) > 0.9,
}


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_every_kind_of_observation_is_drawn(kind, tmp_path):
    animation.save(a_game(observation=OBSERVATIONS[kind]), tmp_path / "game.gif")
    shown, milliseconds = frames(tmp_path / "game.gif")
    assert len(shown) == 6
    assert milliseconds == 500
    assert all((a != b).any() for a, b in itertools.pairwise(shown))


@pytest.mark.slow
def test_a_long_game_is_drawn_in_few_frames_up_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(animation, "_MOST_FRAMES", 7)
    monkeypatch.setattr(animation, "_SECONDS", 1)
    animation.save(a_game(100), tmp_path / "long.gif")
    monkeypatch.setattr(animation, "_MOST_FRAMES", 100)
    animation.save(a_game(100), tmp_path / "whole.gif")
    (few, milliseconds), (all_of_them, _) = (frames(tmp_path / f"{name}.gif") for name in ("long", "whole"))
    assert (len(few), len(all_of_them)) == (7, 100)
    assert milliseconds == 140
    np.testing.assert_array_equal(few[-1], all_of_them[-1])


def test_channels_are_told_apart():
    channels = np.zeros((1, 2, 2, 3), bool)
    channels[0, 0, 0, 0] = channels[0, 1, 1, [0, 2]] = True
    picture = animation.observed_picture(channels)
    assert picture is not None
    assert picture.tolist() == [[[1, 0], [0, 3]]]


def test_a_game_s_own_picture_comes_before_its_observations(tmp_path):
    red = np.zeros((2, 40, 60, 3), np.uint8)
    red[..., 0] = 255
    animation.save(a_game(2, picture=red), tmp_path / "game.gif")
    assert (frames(tmp_path / "game.gif")[0][0] == (255, 0, 0)).all(axis=-1).mean() > 0.2


# From the command line


@pytest.fixture(scope="module")
def run_folder(cartpole, tmp_path_factory):
    return str(cartpole.save(tmp_path_factory.mktemp("runs") / "run"))


@pytest.mark.slow
def test_evaluate_draws_a_game_without_pygame(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    cli.main(
        ["evaluate", run_folder, "--games", "2", "--render", str(tmp_path / "game.gif"), "--render-seed", "1"]
    )
    printed = capsys.readouterr().out
    assert "CartPole-v1, seed 1, " in printed
    assert "drawn from observations: Gymnasium draws with pygame: pip install 'purepg[gymnasium]'" in printed
    assert len(frames(tmp_path / "game.gif")[0]) > 5


@pytest.mark.slow
def test_evaluate_draws_gymnasium_s_pictures(run_folder, tmp_path, capsys):
    pytest.importorskip("pygame")
    cli.main(["evaluate", run_folder, "--games", "2", "--render", str(tmp_path / "game.gif")])
    assert "CartPole-v1 in Gymnasium, seed 0, " in capsys.readouterr().out
    shown, _ = frames(tmp_path / "game.gif")
    assert (shown[0] == (0, 0, 0)).all(axis=-1).sum() > 200  # the cart


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--render", "there.gif"], "there.gif exists already"),
        (["--render", "missing/game.gif"], "cannot write to missing"),
        (["--render", "game.mp4"], "game.mp4 does not end in .gif"),
        (["--render", "game.gif", "--render-seed", "9"], "seed 9 is not in this run"),
        (["--render-seed", "1"], "give that too"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_game(
    flags, message, run_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.gif").touch()
    monkeypatch.setattr(purepg.runs.runner, "evaluate_seeds", lambda *args, **kwargs: pytest.fail("played"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["evaluate", run_folder, *flags])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("purepg: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["there.gif"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InvalidInput, match=r"cannot write .*disk full"):
        animation.save(a_game(), tmp_path / "game.gif")
