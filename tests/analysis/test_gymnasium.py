"""Policies in Gymnasium's own environments: the same returns as here, and every game counted once and whole."""

import dataclasses
import sys

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import purepg
from purepg import cli, presets
from purepg.analysis import gymnasium as real_gymnasium
from purepg.errors import InvalidInput
from purepg.runs import runner

NUM_GAMES = 200


def a_method(name, policy=None, max_steps=None):
    task = purepg.Task(name, policy or purepg.Softmax(purepg.MLP((8,))), purepg.Games(2, max_steps))
    return purepg.PolicyGradient(task, purepg.estimators.make("reinforce"))


def with_params(method):
    """The method and one seed's parameters before any training."""
    bound = method.task.bind_policy()
    return method, bound.init(jax.random.key(1))


@pytest.fixture(scope="module")
def cartpole():
    method, hyper, _ = presets.preset("CartPole-v1", "reinforce-loo")
    return purepg.run(method, hyper, seeds=4, num_updates=4, evaluation_games=0)


# Here and there


def standard_errors(here, there):
    """The difference of the means of `[S, N]` returns, in standard errors of the games' chance."""
    variance = sum(x.var(axis=1, ddof=1).sum() / x.shape[1] for x in (here, there)) / len(here) ** 2
    return (here.mean() - there.mean()) / np.sqrt(variance)


@pytest.mark.slow
def test_a_trained_policy_gets_on_cartpole_what_it_gets_here(cartpole):
    here = np.asarray(runner.evaluate_seeds(cartpole, num_games=NUM_GAMES).returns)
    there = real_gymnasium.evaluate_seeds(cartpole, NUM_GAMES)
    assert there.shape == (4, NUM_GAMES)
    assert 20 < there.mean() < 450  # neither fails at once nor meets the limit
    assert abs(standard_errors(here, there)) < 4


def returns_here(method, params, *, deterministic, **changes):
    env = purepg.hyperparams.with_env_params(method.task.env, changes)
    hyper = purepg.Hyperparams(env=env)
    play = jax.jit(
        lambda params, hyper, key: purepg.evaluation.evaluate(
            method, hyper, params, key, NUM_GAMES, deterministic=deterministic
        )
    )
    return np.asarray(play(params, hyper, jax.random.key(0)).returns)[None]


@pytest.mark.slow
def test_pendulum_pays_what_it_pays_here_and_other_physics_do_not():
    method, params = with_params(a_method("Pendulum-v1", purepg.Gaussian(purepg.MLP((8,)))))
    there = real_gymnasium.play(method, params, NUM_GAMES)[None]
    assert abs(standard_errors(returns_here(method, params, deterministic=True), there)) < 4
    assert abs(standard_errors(returns_here(method, params, deterministic=True, max_speed=2.0), there)) > 8


@pytest.mark.slow
def test_an_environment_named_otherwise_pays_what_it_pays_here():
    method, params = with_params(a_method("FrozenLake-misc"))
    there = real_gymnasium.play(method, params, NUM_GAMES, deterministic=False)[None]
    assert 0 < there.mean() < 1
    assert abs(standard_errors(returns_here(method, params, deterministic=False), there)) < 4


def test_a_run_that_changed_the_game_is_told_apart(cartpole):
    assert real_gymnasium.caveat(cartpole) == ""
    env = purepg.hyperparams.with_env_params(cartpole.method.task.env, {"gravity": 5.0})
    changed = dataclasses.replace(cartpole, hyper=purepg.Hyperparams(env=env))
    assert real_gymnasium.caveat(changed) == "the run changed its parameters"
    short = dataclasses.replace(cartpole, method=a_method("CartPole-v1", max_steps=7))
    assert real_gymnasium.caveat(short) == "games end after 7 steps here and 500 there"


def test_the_number_of_a_seed_decides_its_games(cartpole):
    two = real_gymnasium.evaluate_seeds(cartpole, 2)
    np.testing.assert_array_equal(two, real_gymnasium.evaluate_seeds(cartpole, 2))
    assert (two != real_gymnasium.evaluate_seeds(cartpole, 2, stream=1)).any()


# Each game once and whole


class Lengths(gymnasium.Env):
    """Pays 1 a step and 10 more at the end, after 1 step or 20 with equal chances; Bandit's spaces."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(2)
    drawn = []  # noqa: RUF012 (of all games, in the order of their resets)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.choice([1, 20]))
        self.drawn.append(self.left)
        return 0, {}

    def step(self, action):
        assert self.left > 0, "a game that has ended goes on"
        self.left -= 1
        return 0, 1.0 + 10.0 * (self.left == 0), self.left == 0, False, {}


@pytest.fixture(params=[None, 5])
def limit(request):
    gymnasium.register("Lengths-v0", lambda **_: Lengths(), max_episode_steps=request.param)
    Lengths.drawn.clear()
    yield request.param
    del gymnasium.registry["Lengths-v0"]


def bandit():
    return with_params(a_method("Bandit", max_steps=20))


def true_returns(lengths, limit):
    return np.where(lengths <= (limit or np.inf), lengths + 10.0, limit or 0)


@pytest.mark.slow
def test_every_game_is_counted_once_and_whole(limit):
    returns = real_gymnasium.play(*bandit(), NUM_GAMES, env_id="Lengths-v0")
    lengths = np.array(Lengths.drawn)
    assert len(lengths) == NUM_GAMES
    np.testing.assert_array_equal(returns, true_returns(lengths, limit))
    assert 0.35 < (lengths == 1).mean() < 0.65


@pytest.mark.parametrize("limit", [None], indirect=True)
def test_the_first_games_to_end_would_be_too_short(limit):
    """Why no game is reset: among restarting games the first N that end are mostly short ones."""
    games = gymnasium.make_vec("Lengths-v0", NUM_GAMES, vectorization_mode="sync")
    games.reset(seed=0)
    returns, so_far = [], np.zeros(NUM_GAMES)
    while len(returns) < NUM_GAMES:
        _, reward, terminated, truncated, _ = games.step(np.zeros(NUM_GAMES, int))
        so_far += reward
        returns.extend(so_far[terminated | truncated])
        so_far[terminated | truncated] = 0
    games.close()
    fair = true_returns(np.array([1, 20]), limit)
    error = fair.std() / np.sqrt(NUM_GAMES)
    assert abs(np.mean(returns[:NUM_GAMES]) - fair.mean()) > 6 * error
    ours = real_gymnasium.play(*bandit(), NUM_GAMES, env_id="Lengths-v0")
    assert abs(ours.mean() - fair.mean()) < 4 * error


def test_a_game_without_a_limit_ends_at_the_task_s():
    """A greedy policy that walks in circles would play CliffWalking for ever."""
    up = purepg.Table(tuple((1.0, 0.0, 0.0, 0.0) for _ in range(48)))
    method, params = with_params(a_method("CliffWalking", purepg.Softmax(up), max_steps=12))
    assert real_gymnasium.play(method, params, 1) == -12


# What cannot be played


@pytest.mark.parametrize(
    ("name", "env_id", "message"),
    [
        ("GridWorld", None, "Gymnasium has no environment 'GridWorld'"),
        ("CartPole-v1", "MountainCar-v0", r"its observations are \('Box', \(2,\)\)"),
        ("CartPole-v1", "LunarLander-v3", "another environment|cannot make"),
        ("FrozenLake-misc", "CliffWalking-v1", r"its observations are \('Discrete', 48\)"),
    ],
)
def test_what_gymnasium_lacks_or_has_otherwise_is_refused(name, env_id, message):
    with pytest.raises(InvalidInput, match=message):
        real_gymnasium.play(a_method(name), None, 1, env_id=env_id)


class Strong(gymnasium.Env):
    """Pendulum's spaces but for the bounds of its torque."""

    observation_space = gymnasium.spaces.Box(-8.0, 8.0, (3,))
    action_space = gymnasium.spaces.Box(-3.0, 3.0, (1,))


def test_bounds_of_actions_have_to_agree(monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Strong-v0", EnvSpec("Strong-v0", lambda **_: Strong()))
    method = a_method("Pendulum-v1", purepg.Gaussian())
    with pytest.raises(
        InvalidInput, match=r"actions are \('Box', \(1,\), -3\.0, 3\.0\), ours .*, -2\.0, 2\.0\)"
    ):
        real_gymnasium.play(method, None, 1, env_id="Strong-v0")


def test_without_gymnasium_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InvalidInput, match=r"pip install 'purepg\[gymnasium\]'"):
        real_gymnasium.play(*bandit(), 1)


# From the command line


@pytest.mark.slow
def test_evaluate_plays_both_and_compares(cartpole, tmp_path, capsys):
    folder = cartpole.save(tmp_path / "run")
    cli.main(["evaluate", str(folder), "--gymnasium", "--games", "3"])
    printed = capsys.readouterr().out
    assert "greedy, 3 games in Gymnasium" in printed
    there = real_gymnasium.evaluate_seeds(cartpole, 3).mean(axis=1)
    here = np.asarray(runner.evaluate_seeds(cartpole, num_games=3).returns).mean(axis=1)
    difference = purepg.comparisons.compare_pair(here, there, paired=True)
    assert f"{difference.difference:.2f} [{difference.low:.2f}, {difference.high:.2f}], 95 %" in printed
    assert "Not the same game" not in printed
