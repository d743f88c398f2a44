import math
import pathlib
import re

import numpy as np
import pytest
import xarray
from in_process import purepg_command

import purepg
from purepg import training
from purepg.cli.job import parse_job

SMALL = ["--seeds", "2", "--updates", "2", "--num-games", "4", "--evaluation-games", "5"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "corridor"
    assert (
        purepg_command("train", "ShortCorridor", *SMALL, "--out", folder, "--env-arguments", "max_steps=50")
        == 0
    )
    return folder


@pytest.mark.slow
def test_train_saves_what_it_prints(tmp_path, capsys):
    folder = tmp_path / "deep" / "run"
    code = purepg_command(
        "train", "Bandit", "--estimator", "reinforce-moving", *SMALL, "--out", folder, "--discount", "0.5",
        "--learning-rate", "0.3", "--baseline.decay", "0.7", "--optimizer.name", "sgd", "--no-discount-weighting",
        "--first-seed", "5",
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 0
    for word in ("greedy, 5 fresh games", "IQM", "95 % interval", "compiling", str(folder)):
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


@pytest.mark.slow
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


@pytest.mark.parametrize("flag", [["--env-arguments=slip=0.2"], ["--env_arguments", "slip=0.2"]])
def test_flags_that_choose_others_are_read_in_every_spelling(flag):
    words = ["GridWorld", "--estimator=gae", *flag, "--collect=segments", "--updates=7", "--num-steps", "5"]
    parsed, method, hyper, _ = parse_job(words, "train")
    assert method.task.env == purepg.environment("GridWorld", slip=0.2)
    assert method.task.collect == purepg.Segments(64, 5)
    assert parsed.updates == method.optimizer.horizon == 7
    assert hyper.env is None


def test_an_infinite_norm_may_be_given_where_another_is_the_default():
    assert (
        parse_job(["CartPole-v1", "--estimator", "gae", "--max-gradient-norm", "inf"], "train")[
            2
        ].max_gradient_norm
        == math.inf
    )


def test_a_parameter_of_the_environment_is_traced():
    _, method, hyper, _ = parse_job(
        ["CartPole-v1", "--env-params", "gravity=5", "max_steps_in_episode=900"], "train"
    )
    assert (hyper.env.gravity, hyper.env.max_steps_in_episode) == (5.0, 900)
    assert training.fitted(method, hyper)[0].task.max_steps == 900


@pytest.mark.slow
def test_environment_arguments_reach_the_environment(run_folder):
    assert purepg.load(run_folder).method.task.max_steps == 50


@pytest.mark.slow
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
    "action values for continuous actions": (
        ["train", "Pendulum-v1", "--estimator", "dqn"],
        "has continuous actions: Q-learning takes the best of finitely many",
    ),
    "a table for continuous observations": (
        ["train", "CartPole-v1", "--estimator", "sarsa", "--num-steps", "4"],
        "DQN for a network",
    ),
    "baseline of a method that has none": (
        ["train", "Bandit", "--estimator", "cem", "--baseline", "mean"],
        "'cem' has no baseline",
    ),
    "critic of a method that has none": (
        ["train", "Bandit", "--estimator", "dqn", "--critic", "own"],
        "'dqn' has no critic",
    ),
    "one way to collect": (
        ["train", "Bandit", "--estimator", "cem", "--collect", "segments"],
        "has one way to collect",
    ),
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
    "an environment behind a flag, mistyped": (
        ["train", "--num-games", "3", "Bandid"],
        "unrecognized: Bandid",
    ),
    "no games": (["train", "Bandit", "--num-games", "0"], "num_games = 0"),
    "negative steps": (["train", "Bandit", "--max-steps", "-3"], "max_steps = -3"),
    "no seeds": (["train", "Bandit", "--seeds", "0"], "seeds"),
    "no updates": (["train", "Bandit", "--updates", "0"], "num_updates = 0"),
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
    "parameter NaN": (
        ["train", "CartPole-v1", "--env-params", "gravity=nan"],
        "gravity = nan: give a finite number",
    ),
    "parameter infinite": (["train", "CartPole-v1", "--env-params", "gravity=inf"], "gravity = inf"),
    "parameter no number": (["train", "CartPole-v1", "--env-params", "gravity=big"], "gravity = 'big'"),
    "parameter for each seed": (
        ["train", "CartPole-v1", "--env-params", "gravity=[1,2]"],
        "not an array [2]",
    ),
    "limit not whole": (
        ["train", "CartPole-v1", "--env-params", "max_steps_in_episode=9.5"],
        "a whole number",
    ),
    "parameter twice": (
        ["train", "CartPole-v1", "--env-params", "gravity=1", "gravity=2"],
        "gravity is given twice",
    ),
    "parameter without effect": (
        ["train", "CartPole-v1", "--env-params", "masscart=10"],
        "masscart has no effect in 'CartPole-v1'",
    ),
    "limits that contradict": (
        ["train", "CartPole-v1", "--max-steps", "9", "--env-params", "max_steps_in_episode=600"],
        "max_steps = 9 cuts games before",
    ),
    "argument twice": (
        ["train", "GridWorld", "--env-arguments", "slip=0", "slip=0.1"],
        "slip is given twice",
    ),
    "flag twice": (["train", "Bandit", "--discount", "0.5", "--discount=0.6"], "--discount is given twice"),
    "flag and its opposite": (
        ["train", "Bandit", "--normalize-advantages", "--no-normalize-advantages"],
        "--normalize-advantages is given twice",
    ),
    "infinite rate": (["train", "Bandit", "--learning-rate", "inf"], "learning_rate = inf: give a finite"),
    "norm NaN": (["train", "Bandit", "--max-gradient-norm", "nan"], "max_gradient_norm = nan"),
    "scale NaN": (["train", "CartPole-v1", "--network.output-scale", "nan"], "output_scale = nan"),
    "threshold NaN": (["plot", ".", "--threshold", "nan"], "threshold = nan"),
    "constructor with =": (["train", "GridWorld", "--env-arguments=slip=2"], "slip"),
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


@pytest.mark.slow
def test_diagnose_a_run_whose_critic_shares_the_network(tmp_path, capsys):
    code = purepg_command(
        "train", "Chain", "--estimator", "gae", *SMALL, "--num-steps", "4", "--out", tmp_path / "run"
    )
    assert code == 0
    small = ["--games", "8", "--batches", "20", "--max-steps", "6"]
    code = purepg_command(
        "diagnose", "Chain", "--run", tmp_path / "run", "--estimators", "reinforce-loo", "gae", *small,
        "--out", tmp_path / "found",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    for word in ("cosine", "variance", "reinforce-loo", "gae"):
        assert word in printed
    assert {p.name for p in (tmp_path / "found").iterdir()} == {"dataset.nc", "variance.png"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "name", "flags"),
    [
        ("GridWorld", "expected-sarsa", ["--num-steps", "5", "--exploration.initial", "0.5"]),
        ("CartPole-v1", "dqn", ["--num-steps", "5", "--replay.capacity", "300", "--replay.warm-up", "100"]),
        ("Bandit", "cem", ["--over.games", "2", "--elite-fraction", "0.5"]),
        ("Bandit", "cem-sessions", ["--smoothing", "0.5"]),
    ],
)
def test_other_methods_train_and_are_evaluated_like_estimators(env, name, flags, tmp_path, capsys):
    assert purepg_command("train", env, "--estimator", name, *SMALL, *flags, "--out", tmp_path / "run") == 0
    assert f"{name} on {env}" in capsys.readouterr().out
    result = purepg.load(tmp_path / "run")
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        *parts, field = flag.removeprefix("--").replace("-", "_").split(".")
        record = result.method.task.collect if field == "num_steps" else result.method
        for part in parts:
            record = getattr(record, part)
        assert str(getattr(record, field)) == value
    assert purepg_command("evaluate", tmp_path / "run", "--games", "3") == 0
    if name != "cem":
        return
    assert purepg_command("diagnose", env, "--run", tmp_path / "run") == 2
    assert "not one of a policy gradient" in capsys.readouterr().err


# Comparisons and sweeps


@pytest.mark.slow
def test_compare_prints_and_saves_what_the_seeds_say(tmp_path, capsys):
    folder = tmp_path / "compared"
    words = [
        "compare", "Bandit", "--estimators", "reinforce", "reinforce-loo", "--seeds", "3", "--updates", "2",
        "--evaluation-games", "2", "--set", "task.collect.num_games=4", "learning_rate=0.5", "--out", folder,
    ]  # fmt: skip
    assert purepg_command(*words) == 0
    printed = capsys.readouterr()
    for word in (
        "reinforce-loo",
        "IQM [95 %]",
        "P(improvement)",
        "n for 80 % power",
        "3 seeds say little",
        "Saved to",
    ):
        assert word in printed.out
    for name in (
        "dataset.nc",
        "summary.csv",
        "comparisons.csv",
        "curves.png",
        "seed-metrics.png",
        "profile.png",
    ):
        assert (folder / name).stat().st_size > 0
    assert "update of a seed 12/12" in printed.err
    result = purepg.load(folder / "parts" / "000")
    assert result.method.task.collect.num_games == 4
    assert result.hyper.learning_rate == 0.5
    assert purepg_command(*words) == 0  # all is there
    assert "update of a seed" not in capsys.readouterr().err
    assert purepg_command("resume", folder) == 2
    assert f"the same command with --out {folder} continues" in capsys.readouterr().err
    target = tmp_path / "figure.pdf"
    assert (
        purepg_command("plot", folder, "--figure", "seed-metrics", "--seed-metric", "final", "--out", target)
        == 0
    )
    assert target.stat().st_size > 0


@pytest.mark.slow
def test_sweep_over_traced_and_static_fields(tmp_path, capsys):
    folder = tmp_path / "swept"
    code = purepg_command(
        "sweep", "Bandit", "--estimator", "reinforce", *SMALL, "--over", "learning_rate=1e-3..1e-1",
        "optimizer.name=adam,sgd", "--draws", "3", "--seed-metric", "area", "--out", folder,
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert printed.count("learning_rate=") >= 3
    assert "mean return over all of training" in printed
    assert (folder / "sensitivity-learning_rate.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "Bandit", "--estimators", "reinforse"], "did you mean 'reinforce'"),
        (["compare", "Bandit", "--estimators", "reinforce", "reinforce"], "each once"),
        (["compare", "Bandit", "--set", "nothing=1"], "no field 'nothing'"),
        (["compare", "Bandit", "--seed-metric", "highest"], "seed-metric"),
        (["compare", "CartPole-v1", "--set", "env.masscart=2"], "masscart has no effect"),
        (["compare", "CartPole-v1", "--set", "env.gravity=2", "--env-params", "gravity=3"], "given twice"),
        (["compare", "Bandit", "--set", "discount=0.5", "discount=0.9"], "discount is given twice"),
        (["compare", "Bandit", "--set", "discount=[0.5,0.9]"], "discount = [0.5, 0.9]"),
        (["compare", "Bandit", "--set", "task.collect.num_games=few"], "num_games = 'few'"),
        (["sweep", "CartPole-v1", "--over", "env.masscart=1,2"], "masscart has no effect"),
        (["sweep", "Bandit", "--over", "learning_rate=0.1,nan"], "learning_rate = nan"),
        (["sweep", "Bandit", "--over", "learning_rate=0.1,inf"], "learning_rate = inf"),
        (["sweep", "Bandit", "--over", "learning_rate=0.1,fast"], "learning_rate = 'fast'"),
        (["sweep", "Bandit", "--over", "learning_rate=0.1..nan", "--draws", "2"], "high = nan"),
        (
            ["sweep", "Bandit", "--over", "learning_rate=0.1", "--learning-rate", "1"],
            "swept and given a value",
        ),
        (["sweep", "Bandit", "--over", "num_games=4", "--num-games", "4"], "swept and given a value"),
        (
            ["sweep", "CartPole-v1", "--over", "env.gravity=1,2", "--env-params", "gravity=1"],
            "swept and given a value",
        ),
        (["sweep", "Bandit", "--over", "learning_rate"], "name=value"),
        (["sweep", "Bandit", "--over", "learning_rate=1..2"], "say how many draws"),
        (["sweep", "Bandit", "--over", "learning_rate=a..b"], "low..high"),
        (["plot", "nowhere"], "nowhere"),
        (["plot"], "give"),
    ],
)
def test_bad_studies_are_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert purepg_command(*arguments) == 2
    message = capsys.readouterr().err.strip()
    assert words in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_diagnose_takes_the_numbers_of_a_run_from_the_run(tmp_path, capsys):
    """Its reward scale, of which the gradient shown is free; a seed's own values; nothing given twice."""
    task = purepg.Task("Bandit", purepg.Softmax(purepg.Table()), purepg.Games(4, 9))
    method = purepg.PolicyGradient(task, purepg.estimators.make("reinforce-loo"))
    hyper = purepg.Hyperparams(
        learning_rate=0.0, discount=np.array([0.9, 0.5]), reward_scale=np.array([0.1, 2.0])
    )
    purepg.run(method, hyper, seeds=2, num_updates=1, evaluation_games=1).save(tmp_path / "run")
    result = purepg.load(tmp_path / "run")
    assert float(result.hyper_of(1).discount) == 0.5
    assert float(result.hyper_of(0).reward_scale) == pytest.approx(0.1)
    words = (
        "diagnose",
        "--run",
        tmp_path / "run",
        "--estimators",
        "reinforce-loo",
        "--games",
        "8",
        "--batches",
        "400",
    )
    for seed in (0, 1):
        assert purepg_command(*words, "--seed", seed, "--out", tmp_path / f"found{seed}") == 0
    capsys.readouterr()
    one, other = (xarray.load_dataset(tmp_path / f"found{seed}" / "dataset.nc") for seed in (0, 1))
    assert one["total_variance"].item() == pytest.approx(
        other["total_variance"].item(), rel=0.5
    )  # plain rewards
    for more, message in (
        (["Chain"], "ENV Chain beside --run"),
        (["--discount", "0.3"], "--discount 0.3 beside --run"),
        (["--max-steps", "3"], "--max-steps 3 beside --run"),
        (["--seed", "7"], "seed 7 is not in this run"),
    ):
        assert purepg_command(*words, *more) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert len(printed.err.strip().splitlines()) == 1


def test_modules_of_the_current_folder_are_found_behind_all_others(tmp_path, monkeypatch, capsys):
    (tmp_path / "beside_the_user.py").write_text("def make():\n    raise KeyError('made here')\n")
    (tmp_path / "envs.py").write_text("raise ImportError('this would shadow ours')\n")
    monkeypatch.chdir(tmp_path)
    assert purepg_command("train", "beside_the_user:make") == 2
    assert "made here" in capsys.readouterr().err
    assert purepg_command("train", "GridWorld", "--updates", "0") == 2
    assert "num_updates = 0" in capsys.readouterr().err
