import pathlib
import re

import pytest

import purepg
from purepg import cli

SMALL = ["--seeds", "2", "--updates", "2", "--num-games", "4", "--evaluation-games", "5"]


def purepg_command(*arguments):
    """Runs the command in this process; its exit code."""
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "corridor"
    assert (
        purepg_command("train", "ShortCorridor", *SMALL, "--out", folder, "--env-arguments", "max_steps=50")
        == 0
    )
    return folder


def test_train_saves_what_it_prints(tmp_path, capsys):
    folder = tmp_path / "deep" / "run"
    code = purepg_command(
        "train", "Bandit", "--estimator", "reinforce-moving", *SMALL, "--out", folder, "--discount", "0.5",
        "--learning-rate", "0.3", "--baseline.decay", "0.7", "--optimizer.name", "sgd", "--no-discount-weighting",
        "--first-seed", "5",
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 0
    for word in ("greedy, 5 fresh games", "interquartile mean", "95 % interval", "compiling", str(folder)):
        assert word in printed.out
    assert re.search(r"update 2/2  mean return [\d.]+  [\d,]+ steps/s  0 s left", printed.err)
    result = purepg.load(folder)
    assert result.seeds.tolist() == [5, 6]
    assert result.hyper.discount == 0.5
    assert result.hyper.learning_rate == 0.3
    assert result.method.estimator.baseline == purepg.baselines.Moving(0.7)
    assert not result.method.estimator.discount_weighting
    assert result.method.optimizer.name == "sgd"
    assert result.method.task.collect.num_games == 4


def test_train_continuous_actions_in_segments_with_a_critic(tmp_path):
    folder = tmp_path / "run"
    code = purepg_command(
        "train", "Pendulum-v1", "--estimator", "gae", *SMALL, "--out", folder, "--critic", "own", "--critic.steps", "2",
        "--num-steps", "6", "--max-steps", "9", "--trace-decay", "0.5", "--policy.std", "state", "--policy.squash",
        "--normalize-observations", "--network.hidden", "8",
    )  # fmt: skip
    assert code == 0
    result = purepg.load(folder)
    assert result.method.estimator.critic == purepg.OwnCritic(steps=2)
    assert result.method.estimator.target == "lambda"
    assert result.method.task.collect == purepg.Segments(4, 6, 9)
    assert result.method.task.policy == purepg.Gaussian(purepg.MLP((8,)), std="state", squash=True)
    assert result.method.task.normalize_observations
    assert result.hyper.trace_decay == 0.5


def test_environment_arguments_reach_the_environment(run_folder):
    assert purepg.load(run_folder).method.task.max_steps == 50


def test_evaluate_a_saved_run(run_folder, capsys):
    assert purepg_command("evaluate", run_folder, "--games", "3") == 0
    assert "greedy, 3 fresh games" in capsys.readouterr().out
    assert purepg_command("evaluate", run_folder, "--games", "3", "--sampled") == 0
    assert "sampled, 3 fresh games" in capsys.readouterr().out


def test_list_names_what_can_be_given(capsys):
    assert purepg_command("list") == 0
    printed = capsys.readouterr().out
    for name in ("CartPole-v1", "ShortCorridor", "reinforce-loo", "gae", "moving", "value", "shared"):
        assert f"  {name}\n" in printed


def test_help_lists_every_flag(capsys):
    assert purepg_command("--help") == 0
    assert purepg_command("train", "--help") == 0
    printed = capsys.readouterr().out
    for flag in (
        "--estimator", "--seeds", "--updates", "--learning-rate", "--discount", "--entropy-coefficient",
        "--max-gradient-norm", "--reward-scale", "--num-games", "--max-steps", "--network.hidden",
        "--optimizer.name", "--target", "--normalize-advantages", "--env-params", "--out", "--baseline", "--critic",
        "--collect", "--normalize-observations",
    ):  # fmt: skip
        assert flag in printed


def test_help_lists_the_flags_of_what_was_chosen(capsys):
    assert purepg_command("train", "Pendulum-v1", "--estimator", "gae", "--critic", "own", "--help") == 0
    printed = capsys.readouterr().out
    for flag in (
        "--num-steps",
        "--policy.initial-std",
        "--critic.target-rate",
        "--trace-decay",
        "--time-limit",
    ):
        assert flag in printed


BAD = {
    "unknown environment": (["train", "CartPole-v2"], "did you mean 'CartPole-v1'"),
    "unknown module": (["train", "nowhere:Thing"], "cannot import 'nowhere:Thing'"),
    "unknown estimator": (["train", "Bandit", "--estimator", "reinforced"], "known: reinforce-total"),
    "unknown baseline": (["train", "Bandit", "--baseline", "average"], "known: none, constant"),
    "unknown critic": (["train", "Bandit", "--critic", "own-one"], "known: none, shared, own"),
    "unknown way to collect": (["train", "Bandit", "--collect", "segment"], "did you mean 'segments'"),
    "segments without a critic": (["train", "Bandit", "--collect", "segments"], "needs a critic"),
    "value without a critic": (["train", "Bandit", "--baseline", "value"], "needs a critic"),
    "loo in segments": (
        ["train", "Bandit", "--collect", "segments", "--critic", "own"],
        "in segments take baseline value",
    ),
    "empty segments": (["train", "Bandit", "--estimator", "gae", "--num-steps", "0"], "num_steps = 0"),
    "unknown flag": (["train", "Bandit", "--num-gamess", "3"], "--num-games"),
    "unknown command": (["trian"], "did you mean 'train'"),
    "no command's environment first": (["train", "--seeds", "2", "Bandit"], "environment comes first"),
    "no games": (["train", "Bandit", "--num-games", "0"], "num_games = 0"),
    "negative steps": (["train", "Bandit", "--max-steps", "-3"], "max_steps = -3"),
    "no seeds": (["train", "Bandit", "--seeds", "0"], "seeds"),
    "no updates": (["train", "Bandit", "--updates", "0"], "1 update"),
    "no layer": (["train", "CartPole-v1", "--network.hidden", "0"], "size of at least 1"),
    "one game for loo": (["train", "Bandit", "--num-games", "1"], "num_games >= 2"),
    "discount above one": (["train", "Bandit", "--discount", "1.01"], "discount = 1.01"),
    "discount below zero": (["train", "Bandit", "--discount", "-0.1"], "discount = -0.1"),
    "discount no number": (["train", "Bandit", "--discount", "much"], "much"),
    "not a choice": (["train", "Bandit", "--optimizer.name", "adamw"], "adamw"),
    "schedule without horizon": (["train", "Bandit", "--optimizer.schedule", "linear"], "horizon >= 1"),
    "total with weights": (["train", "Bandit", "--target", "total"], "discount_weighting off"),
    "unknown parameter": (["train", "CartPole-v1", "--env-params", "gravitas=1"], "did you mean 'gravity'"),
    "not name=value": (["train", "CartPole-v1", "--env-params", "gravity"], "name=value"),
    "bad constructor": (["train", "GridWorld", "--env-arguments", "slip=2"], "slip"),
    "no std for continuous actions": (
        ["train", "Pendulum-v1", "--policy.initial-std", "0"],
        "initial_std = 0",
    ),
    "integers normalised": (["train", "Bandit", "--normalize-observations"], "observes integers"),
    "existing folder": (["train", "Bandit", "--out", "."], "exists already"),
    "no run there": (["evaluate", "."], "no saved run"),
    "no run given": (["evaluate"], "purepg evaluate"),
    "list with words": (["list", "all"], "no arguments"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[name]
    small = SMALL if arguments[0] == "train" else []
    given = [s for i in range(0, len(small), 2) if small[i] not in arguments for s in small[i : i + 2]]
    if name in ("unknown command", "existing folder"):
        given = []
    code = purepg_command(*arguments, *given)
    printed = capsys.readouterr()
    assert code == 2, printed.err
    assert message in printed.err
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("purepg: ")
    assert not any(pathlib.Path(tmp_path).rglob("*.part"))


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = purepg_command("train", "Bandit", *SMALL, "--out", tmp_path / "file" / "run")
    assert code == 2
    assert "cannot write to" in capsys.readouterr().err
