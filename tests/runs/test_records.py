"""One name for a field everywhere: its path, or any unique end of it; in flags, `--set`, sweeps and Python."""

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import pytest
from in_process import purepg_command

import purepg
from purepg import baselines, critics, estimators, presets
from purepg.cli import study
from purepg.cli.commands.sweep import Sweep
from purepg.cli.job import Job, flags_of, parse_job
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.policies import networks
from purepg.runs import records
from purepg.studies import sweep as sweeps

CONTINUOUS = ("pathwise", "pathwise-short")
TABULAR = ("q-learning", "sarsa", "expected-sarsa")
NAMES = presets.NAMES


def environment(name):
    return "Pendulum-v1" if name in CONTINUOUS else "GridWorld" if name in TABULAR else "CartPole-v1"


@functools.cache
def method(name, env=None):
    return presets.preset(env or environment(name), name).method


def ends(path):
    """Of a path, the shortest first."""
    parts = path.split(".")
    return [".".join(parts[-i:]) for i in range(1, len(parts) + 1)]


def those_that_end_in(end, paths):
    return [path for path in paths if f".{path}".endswith(f".{end}")]


# Paths, ends, exact names


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_its_path_its_flag_and_every_unique_end_of_it(name):
    one = method(name)
    paths = records.paths(one)
    short = records.shorts(one)
    exact = {*paths, *short.values()}
    assert len(set(paths)) == len(paths) == len(set(short.values()))
    for path in paths:
        assert records.find(one, path) == path
        assert records.find(one, path.replace("_", "-")) == path
        assert records.find(one, short[path]) == path
        for end in ends(path):
            found = those_that_end_in(end, paths)
            if len(found) == 1 and end not in exact:
                assert records.find(one, end) == path
            if len(found) > 1 and end not in exact:
                with pytest.raises(InvalidInput) as refusal:
                    records.find(one, end)
                assert all(whole in str(refusal.value).split(": ")[0] for whole in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_leads_to_the_field_and_nothing_else_changes(name):
    one = method(name)
    for path, value in records.fields(one).items():
        assert records.replaced(one, {path: value}) == one
        *way, last = path.split(".")
        assert value == getattr(functools.reduce(getattr, way, one), last)
        if type(value) is int:
            other = records.replaced(one, {path: value + 1})
            differ = {p for p, x in records.fields(other).items() if x != records.fields(one)[p]}
            assert differ == {path, *(".".join(way[:i]) for i in range(1, len(way) + 1))}


@dataclass(frozen=True)
class Part:
    learning_rate: float = 0.5
    gravity: float = 1.0
    name: str = "up"
    horizon: int = 4


@dataclass(frozen=True)
class Own:
    """A method with names that others have too."""

    task: purepg.Task = purepg.Task("CartPole-v1")
    part: Part = Part()
    updates: int = 3


def test_an_exact_name_wins_over_an_end():
    assert records.find(Own(), "learning_rate") == "learning_rate"
    assert records.find(Own(), "part.learning_rate") == "part.learning_rate"
    changed, hyper = records.changed(Own(), Hyperparams(), {"learning_rate": 0.1})
    assert (changed, hyper.learning_rate) == (Own(), 0.1)


def test_an_ambiguous_end_is_refused_with_the_whole_names():
    with pytest.raises(
        InvalidInput, match=r"'gravity' could be any of env\.gravity, part\.gravity: give one"
    ):
        records.changed(Own(), Hyperparams(), {"gravity": 5.0})
    changed, hyper = records.changed(Own(), Hyperparams(), {"part.gravity": 2.0, "env.gravity": 5.0})
    assert (changed.part.gravity, hyper.env.gravity) == (2.0, 5.0)


def test_the_network_is_the_policy_s_also_beside_a_critic_s():
    one = method("pathwise-short")
    assert records.find(one, "network.hidden") == "task.policy.network.hidden"
    assert records.find(one, "critic.network.hidden") == "estimator.critic.network.hidden"
    with pytest.raises(
        InvalidInput, match=r"task\.policy\.network\.hidden, estimator\.critic\.network\.hidden"
    ):
        records.find(one, "hidden")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "num_gamess",
            r"no field 'num_gamess', did you mean 'num_games'\?; there are learning_rate, .*optimizer",
        ),
        ("task.colect.num_games", r"did you mean 'task.collect.num_games'\?"),
        ("env", "no field 'env'"),
        ("task.env", "no field 'task.env'"),
        ("", "no field ''"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_there_are(name, words):
    with pytest.raises(InvalidInput, match=words):
        records.find(method("reinforce-loo"), name)


def test_what_flax_adds_to_a_module_is_no_field():
    class Net(nn.Module):
        width: int = 8

        def __call__(self, x):
            return x

    network = purepg.Flax(Net(4))
    assert records.fields(purepg.Softmax(network)) == {
        "network": network,
        "network.module": Net(4),
        "network.module.width": 4,
    }
    assert records.replaced(network, {"module.width": 5}) == purepg.Flax(Net(5))


# Changes


@pytest.mark.parametrize("order", list(itertools.permutations(["optimizer.schedule", "optimizer.horizon"])))
def test_what_goes_together_is_changed_together(order):
    values = {"optimizer.schedule": "linear", "optimizer.horizon": 5}
    changed, _ = records.changed(method("reinforce"), Hyperparams(), {name: values[name] for name in order})
    assert changed.optimizer == purepg.Optimizer("adam", "linear", 5)


@pytest.mark.parametrize(
    "order", [*itertools.permutations(["critic.network.hidden", "critic.network", "critic"])]
)
def test_a_part_comes_before_its_fields(order):
    values = {"critic": "own", "critic.network": "mlp", "critic.network.hidden": (3,)}
    changed, _ = records.changed(method("gae"), Hyperparams(), {name: values[name] for name in order})
    assert changed.estimator.critic == purepg.OwnCritic(purepg.MLP((3,)))
    changed, _ = records.changed(method("pathwise-short"), Hyperparams(), {n: values[n] for n in order})
    assert changed.estimator.critic == purepg.OwnCritic(purepg.MLP((3,)))


@pytest.mark.parametrize("name", baselines.NAMES)
def test_baselines_are_set_by_name(name):
    changed, _ = records.changed(method("reinforce"), Hyperparams(), {"baseline": name})
    assert changed.estimator.baseline == baselines.make(name)


@pytest.mark.parametrize("name", critics.NAMES)
def test_critics_are_set_by_name(name):
    changed, _ = records.changed(method("reinforce"), Hyperparams(), {"critic": name})
    assert changed.estimator.critic == critics.make(name)


@pytest.mark.parametrize("name", networks.NAMES)
def test_networks_are_set_by_name(name):
    made = networks.make(name)
    one = purepg.PolicyGradient(purepg.Task("GridWorld"), estimators.make("gae"))
    changed, _ = records.changed(one, Hyperparams(), {"network": name})
    assert changed.task.policy == purepg.Softmax(name) == purepg.Softmax(made)  # pyright: ignore
    assert purepg.Gaussian(name).network == purepg.OwnCritic(name).network == made  # pyright: ignore


def test_an_optimiser_is_set_by_name_and_keeps_its_schedule():
    one = method("gae")
    changed, _ = records.changed(one, Hyperparams(), {"optimizer": "sgd"})
    assert changed.optimizer == dataclasses.replace(one.optimizer, name="sgd")
    assert one.optimizer.schedule == "linear"
    whole = purepg.Optimizer("rmsprop")
    assert records.changed(one, Hyperparams(), {"optimizer": whole})[0].optimizer == whole


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "tabel"}, "unknown network 'tabel', did you mean 'table'.*known: mlp, conv, table"),
        ({"baseline": "lo"}, "did you mean 'loo'"),
        ({"optimizer": "adamw"}, "optimizer name = 'adamw'"),
        ({"network": 3}, "network = 3: give a record that has apply, init"),
        ({"estimator": "gae"}, "estimator = 'gae': give a record that has bind"),
        ({"num_games": 4, "task.collect.num_games": 5}, r"task\.collect\.num_games is given twice, by two"),
        ({"gravity": 4.0, "env.gravity": 5.0}, r"env\.gravity is given twice"),
        ({"env.gravitas": 4.0}, "has no parameter 'gravitas', did you mean 'gravity'"),
        ({"num_games": 2.5}, "num_games = "),
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        records.changed(method("reinforce-loo"), Hyperparams(), changes)


# Sweeps


def test_a_sweep_speaks_the_same_names():
    over = {"num_games": [2, 4], "baseline": ["loo", "mean"], "gravity": [5.0]}
    configs = sweeps.configurations(method("reinforce-loo"), Hyperparams(), over, 1)
    assert [config.name for config in configs][:2] == [
        "num_games=2, baseline=loo, gravity=5",
        "num_games=2, baseline=mean, gravity=5",
    ]
    assert configs[1].method.estimator == purepg.ScoreFunction(baseline=baselines.Mean())  # pyright: ignore
    assert [config.method.task.collect.num_games for config in configs] == [2, 2, 4, 4]
    assert {float(config.hyper.env.gravity) for config in configs} == {5.0}


@pytest.mark.parametrize(
    ("name", "horizons"),
    [("dqn", {"exploration.horizon", "optimizer.horizon"}), ("cem-sessions", {"over.optimizer.horizon"})],
)
def test_every_schedule_is_as_long_as_a_budget(name, horizons):
    one = method(name)
    fewest, _ = one.task.steps_an_update
    longer = sweeps.as_long_as(3 * fewest * 100, one, 100)
    before, after = records.fields(one), records.fields(longer)
    assert {path: after[path] for path in horizons} == {path: 3 * before[path] for path in horizons}
    for stays in horizons:
        kept = sweeps.as_long_as(3 * fewest * 100, one, 100, lambda path, stays=stays: path == stays)
        assert records.fields(kept)[stays] == before[stays]
    assert sweeps.as_long_as(10**6, Own(), 100).part.horizon > 4


# The command line


class Seen(Exception):
    pass


@pytest.fixture
def configs_of(monkeypatch):
    """The configurations that a command of a study would train."""
    seen: list[Any] = []

    def carry_out(configs, *_):
        seen[:] = configs
        raise Seen

    def run(*words):
        with pytest.raises(Seen):
            purepg_command(*words)
        return seen

    monkeypatch.setattr(study, "carry_out", carry_out)
    return run


@pytest.mark.parametrize("name", NAMES)
def test_no_flag_is_the_preset_and_every_field_has_a_flag_of_its_own(name):
    job, found, hyper, given = parse_job([environment(name), "--method", name], "train")
    assert (found, hyper, job.updates) == presets.preset(environment(name), name)
    assert given == frozenset()
    whole = {path for path, value in records.fields(found).items() if not records.is_record(value)}
    for kind in (Job, Sweep):
        flags = [flags_of(found, kind)[path] for path in whole]
        assert len(set(flags)) == len(flags)
        assert not {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(kind)} & {*flags}


GROUPS = (
    ["Bandit"],
    ["--seeds", "4"],
    ["--num-games", "3"],
    ["--no-discount-weighting"],
    ["--method", "reinforce"],
)


@pytest.mark.slow
def test_flags_and_environment_come_in_any_order():
    wanted = parse_job([word for group in GROUPS for word in group], "train")
    assert wanted.method.task == purepg.Task("Bandit", purepg.Softmax("table"), purepg.Games(3))  # pyright: ignore
    assert not wanted.method.estimator.discount_weighting
    assert wanted.job.seeds == 4
    for order in itertools.permutations(GROUPS):
        assert parse_job([word for group in order for word in group], "train") == wanted


def test_a_class_of_one_s_own_is_the_environment_behind_a_flag_too():
    with pytest.raises(InvalidInput, match="cannot import 'nowhere:Thing'"):
        parse_job(["--num-games", "3", "nowhere:Thing"], "train")


@pytest.mark.parametrize(
    ("words", "path", "value"),
    [
        (["--hidden", "8", "9"], "task.policy.network.hidden", (8, 9)),
        (["--policy.network.hidden=8"], "task.policy.network.hidden", (8,)),
        (["--collect.num_games=5"], "task.collect.num_games", 5),
        (["--task.collect.num-games", "5"], "task.collect.num_games", 5),
        (["--squash"], "task.policy.squash", True),
        (["--policy.no-squash"], "task.policy.squash", False),
        (["--no-squash"], "task.policy.squash", False),
        (["--task.policy.no-squash"], "task.policy.squash", False),
        (["--decay", "0.5", "--baseline", "moving"], "estimator.baseline.decay", 0.5),
        (["--optimizer", "sgd"], "optimizer.name", "sgd"),
        (["--optimizer.name", "sgd"], "optimizer.name", "sgd"),
        (["--network", "conv"], "task.policy.network", networks.Conv()),
        (["--network", "mlp", "--network.hidden", "3"], "task.policy.network.hidden", (3,)),
        (["--set", "critic=own", "critic.network=table"], "estimator.critic.network", purepg.Table()),
        (["--set", "network.output-scale=2.0"], "task.policy.network.output_scale", 2.0),
    ],
)
def test_any_name_of_a_field_is_a_flag(words, path, value):
    found = parse_job(["Pendulum-v1", *words], "train")
    assert records.fields(found.method)[path] == value
    assert path in found.given


def test_numbers_and_parameters_are_set_by_name():
    hyper = parse_job(["CartPole-v1", "--set", "gravity=5", "env.length=1", "discount=0.5"], "train").hyper
    assert (hyper.env.gravity, hyper.env.length, hyper.discount) == (5.0, 1.0, 0.5)


@pytest.mark.parametrize("flag", ["--method", "--estimator", "--estimator=gae"])
def test_a_method_has_two_flags(flag):
    words = ["Bandit", flag] if "=" in flag else ["Bandit", flag, "gae"]
    assert parse_job(words, "train").method == method("gae", "Bandit")
    assert parse_job(words, "sweep", Sweep).method == method("gae", "Bandit")


@pytest.mark.parametrize("flag", ["--methods", "--estimators"])
def test_methods_have_two_flags(flag, configs_of):
    found = configs_of("compare", "Bandit", flag, "gae", "q-learning", "--set", "num-games=3")
    assert [config.name for config in found] == ["gae", "q-learning"]
    assert {config.method.task.collect.num_games for config in found} == {3}


def test_a_sweep_by_names_on_the_command_line(configs_of):
    words = ["--over", "network=mlp,table", "optimizer=adam,sgd", "baseline=loo,mean", "num-games=2"]
    found = configs_of("sweep", "--seeds", "2", "GridWorld", *words)
    assert len(found) == 8
    assert found[-1].name == "network=table, optimizer=sgd, baseline=mean, num_games=2"
    assert found[-1].method == records.replaced(
        method("reinforce-loo", "GridWorld"),
        {"optimizer.name": "sgd", "estimator.baseline": "mean", "task.collect.num_games": 2},
    )
    assert found[0].method.task.policy == purepg.Softmax()


def test_a_budget_stretches_what_has_no_value_of_its_own(configs_of):
    words = ["GridWorld", "--estimators", "gae", "--steps", "100000", "--set", "num_games=10"]
    lasts = -(-100_000 // 320)
    assert configs_of("compare", *words)[0].method.optimizer.horizon == lasts
    assert configs_of("compare", *words, "optimizer.horizon=7")[0].method.optimizer.horizon == 7
    words = ["sweep", "GridWorld", "--method", "gae", "--steps", "100000", "--num-games", "10", "--over"]
    assert configs_of(*words, "discount=0.5")[0].method.optimizer.horizon == lasts
    assert configs_of(*words, "optimizer.horizon=7")[0].method.optimizer.horizon == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train CartPole-v1 --method dqn --horizon 3", "any of exploration.horizon, optimizer.horizon"),
        ("train CartPole-v1 --num-games 3 --collect.num-games 4", "--num-games is given twice"),
        ("train CartPole-v1 --num-games 3 --set num_games=4", "task.collect.num_games is given twice"),
        ("train CartPole-v1 --num-games 3 --set task.collect.num_games=4", "num_games is given twice"),
        ("train CartPole-v1 --set num_games=4 num-games=5", "num_games is given twice"),
        ("train CartPole-v1 --baseline loo --set baseline=mean", "estimator.baseline is given twice"),
        ("train CartPole-v1 --method gae --estimator gae", "--estimator is given twice"),
        ("compare CartPole-v1 --methods gae --estimators gae", "--estimators is given twice"),
        ("train CartPole-v1 --gravity 5", "give --set env.gravity="),
        ("train CartPole-v1 --set masscart=5", "masscart has no effect"),
        ("train CartPole-v1 --network tabel", "did you mean 'table'"),
        ("train CartPole-v1 --method q-learning --optimizer sgd", "'q-learning' has no optimizer"),
        ("train CartPole-v1 --tensorbord", "did you mean '--tensorboard'"),
        ("sweep CartPole-v1 --tensorboard", "unrecognized: --tensorboard"),
        (
            "sweep CartPole-v1 --over network=mlp,table --hidden 3",
            "network.hidden is swept and given a value",
        ),
        ("sweep CartPole-v1 --over optimizer=adam,sgd --optimizer sgd", "optimizer.name is swept and given"),
        ("sweep CartPole-v1 --over gravity=4,5 --env-params gravity=3", "env.gravity is swept and given"),
        ("sweep CartPole-v1 --over num_games=4 task.collect.num_games=5", "given twice"),
        ("sweep CartPole-v1 --over masscart=4,5", "masscart has no effect"),
        ("diagnose CartPole-v1 --estimators q-learning", "known: reinforce-total, reinforce,"),
    ],
)
def test_what_a_command_line_cannot_mean_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert purepg_command(*words.split()) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_an_environment_behind_several_values_is_no_value():
    words = ["--set", "num_games=4", "learning_rate=0.5", "Bandit", "--seeds", "3"]
    _, method, hyper, _ = parse_job(words, "train")
    assert (method.task.env.name, method.task.collect.num_games, hyper.learning_rate) == ("Bandit", 4, 0.5)
