"""Calls that cannot work: exit code 2 and one line, which names what was typed. Nothing is trained, nothing written."""

import contextlib
import functools
import io
import re
import shlex

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import purepg_command

import purepg
from purepg import baselines, comparisons, critics, diagnostics, estimators, hyperparams, presets, statistics
from purepg.errors import InvalidInput

# A call, and what its line says beside "purepg: ".
CALLS = r"""
train CartPole-v1 --seeds abc                                 | 'abc'
train CartPole-v1 --seeds 1.5                                 | '1.5'
train CartPole-v1 --seeds 1e3                                 | '1e3'
train CartPole-v1 --seeds                                     | --seeds
train CartPole-v1 --seeds -1                                  | seeds = -1
train CartPole-v1 --seeds 5000000000                          | seeds = 5000000000
train CartPole-v1 --seeds 1000000000                          | 1,000,000,000 seeds of 32 games need at least
train CartPole-v1 --first-seed -1                             | first_seed = -1
train CartPole-v1 --first-seed 4294967296                     | first_seed = 4294967296
train CartPole-v1 --updates -1                                | num_updates = -1
train CartPole-v1 --updates abc                               | 'abc'
train CartPole-v1 --updates 1e10                              | '1e10'
train CartPole-v1 --updates 99999999999                       | most of it for metrics
train CartPole-v1 --steps 0                                   | num_steps = 0
train CartPole-v1 --steps abc                                 | --steps: invalid literal for int() with base 10: 'abc'
train CartPole-v1 --steps 99999999999                         | num_steps = 99999999999
train CartPole-v1 --evaluation-games -1                       | evaluation_games = -1
train CartPole-v1 --evaluation-games 1000000000               | 1,000,000,000 games of each of 64 seeds
train CartPole-v1 --evaluate-every -1                         | evaluate_every = -1
train CartPole-v1 --evaluate-every 3 --updates 10             | evaluate_every = 3
train CartPole-v1 --evaluate-every 2 --evaluation-games 0     | evaluate_every = 2
train CartPole-v1 --placement everywhere                      | 'everywhere'
train CartPole-v1 --num-games abc                             | 'abc'
train CartPole-v1 --num-games 100000000                       | 100,000,000 games need at least
train CartPole-v1 --max-steps 1000000000                      | the rows of an update
train CartPole-v1 --max-steps 0                               | max_steps = 0
train CartPole-v1 --estimator gae --num-steps 1000000000      | the rows of an update
train CartPole-v1 --estimator gae --num-steps -1              | num_steps = -1
train CartPole-v1 --estimator gae --trace-decay 1.1           | trace_decay = 1.1
train CartPole-v1 --estimator gae --trace-decay nan           | trace_decay = nan
train CartPole-v1 --estimator n-step --n 0                    | n = 0
train CartPole-v1 --estimator n-step --n 2.5                  | '2.5'
train CartPole-v1 --network.hidden 10000000 10000000          | state (1,091
train CartPole-v1 --network.hidden abc                        | ['abc']
train CartPole-v1 --network.hidden -1                         | hidden = (-1,)
train CartPole-v1 --network.activation sinus                  | 'sinus'
train CartPole-v1 --network.output-scale abc                  | 'abc'
train CartPole-v1 --learning-rate                             | --learning-rate
train CartPole-v1 --learning-rate=                            | --learning-rate
train CartPole-v1 --learning-rate abc                         | 'abc'
train CartPole-v1 --learning-rate -1                          | learning_rate = -1
train CartPole-v1 --learning-rate 1e400                       | learning_rate = inf
train CartPole-v1 --entropy-coefficient -1                    | entropy_coefficient = -1
train CartPole-v1 --value-coefficient -0.1                    | value_coefficient = -0.1
train CartPole-v1 --max-gradient-norm -1                      | max_gradient_norm = -1
train CartPole-v1 --reward-scale inf                          | reward_scale = inf
train CartPole-v1 --optimizer.name lion                       | 'lion'
train CartPole-v1 --optimizer.schedule cosine                 | cosine schedule needs horizon
train CartPole-v1 --optimizer.horizon -1                      | horizon = -1
train CartPole-v1 --target rewards                            | 'rewards'
train CartPole-v1 --normalize-advantages maybe                | maybe
train CartPole-v1 --normalise-advantages                      | did you mean '--normalize-advantages'?;
train CartPole-v1 --policy softmax                            | softmax
train CartPole-v1 --env-params gravity=                       | 'gravity=' has no value
train CartPole-v1 --env-params =9.8                           | '=9.8'
train CartPole-v1 --env-params gravity=a,b                    | gravity = 'a,b'
train CartPole-v1 --env-params gravity=0.001..inf             | gravity = '0.001..inf'
train CartPole-v1 --env-params gravity=None                   | gravity = None
train CartPole-v1 --env-params gravity=True                   | gravity = True
train CartPole-v1 --env-params gravity=1e39                   | gravity = 1e+39
train CartPole-v1 --env-params max_steps_in_episode=0         | max_steps_in_episode = 0
train CartPole-v1 --env-params max_steps_in_episode=1e12      | max_steps_in_episode = 1
train CartPole-v1 --env-params env.gravity=9                  | did you mean 'gravity'
train CartPole-v1 --env-arguments size=3                      | 'size'
train CartPole-v1 extra                                       | extra
train CartPole-v1 --estimator ""                              | ''
train CartPole-v1 --out ""                                    | '' is no path
train CartPole-v1 --out /proc/nothing                         | /proc/nothing
train ""                                                      | environment ''
train :                                                       | cannot import ':'
train a:                                                      | 'a:'
train os:path                                                 | 'os:path' cannot be made
train json:loads                                              | 'json:loads' cannot be made
train math:pi                                                 | 'math:pi' cannot be made
train gymnax:nothing                                          | 'gymnax:nothing'
train cartpole-v1                                             | did you mean 'CartPole-v1'
train GridWorld --env-arguments slip=abc                      | slip is 'abc'
train GridWorld --env-arguments slip                          | 'slip' is not of the form
train FrozenLake-misc --estimator dqn --replay.capacity 0     | the capacity 0
train FrozenLake-misc --estimator dqn --replay.batch-size 0   | batch_size = 0
train FrozenLake-misc --estimator dqn --target-rate 0         | target_rate = 0
train FrozenLake-misc --estimator dqn --replay.capacity 100000000000 | most of it for state
train FrozenLake-misc --estimator q-learning --exploration.initial 2 | epsilon from 2
train FrozenLake-misc --estimator q-learning --learning-rate 2       | learning_rate = 2
train Bandit --estimator cem --over.games 0                   | games = 0
train Bandit --estimator cem --over.initial-std -1            | initial_std = -1
train Bandit --estimator cem --smoothing 1                    | smoothing = 1
train Pendulum-v1 --estimator sarsa                           | 'Pendulum-v1' has continuous actions
train CartPole-v1 --estimator pathwise                        | 'CartPole-v1' has finitely many actions
compare CartPole-v1 --estimators                              | name at least one
compare CartPole-v1 --estimators reinforce reinforce          | reinforce reinforce
compare CartPole-v1 --estimators reinforce dqnn               | did you mean 'dqn'
compare CartPole-v1 --estimators reinforce pathwise           | 'CartPole-v1' has finitely many actions
compare Pendulum-v1 --estimators gae dqn                      | 'Pendulum-v1' has continuous actions
compare CartPole-v1 --set learning_rate                       | 'learning_rate'
compare CartPole-v1 --set learning_rate=                      | 'learning_rate=' has no value
compare CartPole-v1 --set learning_rate=abc                   | learning_rate = 'abc'
compare CartPole-v1 --set nothing=1                           | 'nothing'
compare CartPole-v1 --set learning_rate=1 learning_rate=2     | learning_rate is given twice
compare CartPole-v1 --set env.gravity=1 --env-params gravity=2 | gravity is given twice
compare CartPole-v1 --updates 0                               | updates = 0
compare CartPole-v1 --seeds 1000000000                        | 1,000,000,000 seeds
compare CartPole-v1 --seed-metric nothing                     | 'nothing'
compare CartPole-v1 --score final                             | did you mean '--seed-metric'
compare CartPole-v1 --out .                                   | holds no study
sweep CartPole-v1 --over                                      | --over names nothing
sweep CartPole-v1 --over learning_rate                        | 'learning_rate'
sweep CartPole-v1 --over learning_rate=                       | 'learning_rate=' has no value
sweep CartPole-v1 --over learning_rate=a,b                    | learning_rate = 'a'
sweep CartPole-v1 --over learning_rate=0.1,,0.2               | learning_rate = ''
sweep CartPole-v1 --over learning_rate=0.1,nan                | learning_rate = nan
sweep CartPole-v1 --over learning_rate=0.001..inf --draws 2   | learning_rate=0.001..inf: high = inf
sweep CartPole-v1 --over learning_rate=0.1..0.001 --draws 2   | the first must be the smaller one
sweep CartPole-v1 --over learning_rate=0.001..0.1             | say how many draws
sweep CartPole-v1 --over learning_rate=0.001.. --draws 2      | learning_rate=0.001..
sweep CartPole-v1 --over learning_rate=0.1 --draws 0          | draws = 0
sweep CartPole-v1 --over learning_rate=0.1 --draws 2 --draw-seed -1 | draw_seed = -1
sweep CartPole-v1 --over learning_rate=0.1 learning_rate=0.2  | learning_rate is given twice
sweep CartPole-v1 --over learning_rate=0.1 --learning-rate 1  | swept and given a value
sweep CartPole-v1 --over learing_rate=0.1                     | did you mean 'learning_rate'
sweep CartPole-v1 --over estimator.baseline=none,lo           | did you mean 'loo'
sweep CartPole-v1 --over estimator.baseline=3                 | baseline = 3
sweep CartPole-v1 --over estimator=gae,reinforce              | estimator = 'gae'
sweep CartPole-v1 --over task.policy.network=3                | network = 3
sweep CartPole-v1 --over env.gravity=abc                      | gravity = 'abc'
sweep CartPole-v1 --over env.masscart=1,2                     | masscart has no effect
sweep CartPole-v1 --over task.collect.num_games=0             | num_games = 0
sweep CartPole-v1 --over optimizer.name=adamw                 | 'adamw'
sweep CartPole-v1 --over seeds=1,2                            | 'seeds'
diagnose CartPole-v1 --seed 99999999999                       | seed = 99999999999
diagnose CartPole-v1 --seed -1                                | seed = -1
diagnose CartPole-v1 --games 1000000000                       | 1,000,000,000 games need at least
diagnose CartPole-v1 --games 0                                | games = 0
diagnose CartPole-v1 --batches 1                              | batches = 1
diagnose CartPole-v1 --batches 10000000000                    | batches = 10000000000
diagnose CartPole-v1 --discount abc                           | --discount: could not convert string to float: 'abc'
diagnose CartPole-v1 --estimators                             | name at least one
diagnose CartPole-v1 --estimators dqn                         | 'dqn'
diagnose CartPole-v1 --max-steps 0                            | max_steps = 0
diagnose CartPole-v1 --run nowhere                            | nowhere
evaluate nowhere                                              | nowhere
evaluate ""                                                   | '' is no path
evaluate . --games 0                                          | games = 0
evaluate . --seed 99999999999                                 | seed = 99999999999
evaluate . --render a.txt                                     | a.txt
resume                                                        | Missing
resume nowhere                                                | nowhere
plot                                                          | no runs given
plot nowhere                                                  | nowhere
plot . --threshold abc                                        | --threshold: could not convert string to float: 'abc'
list x                                                        | got x
nothing                                                       | 'nothing'
-v                                                            | '-v'
"""
TABLE = [tuple(part.strip() for part in line.rsplit("|", 1)) for line in CALLS.strip().splitlines()]


def called(words: list[str]) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = purepg_command(*words)
    return code, errors.getvalue()


def test_the_table_is_long():
    assert len(TABLE) >= 120
    assert len(dict(TABLE)) == len(TABLE)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "words"), TABLE, ids=[call for call, _ in TABLE])
def test_a_command_is_refused_in_one_line(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, line = called(shlex.split(call))
    assert code == 2, line
    assert line.startswith("purepg: "), line
    assert line.count("\n") == 1
    assert words in line
    assert not re.search(r"fields[-_]|Traceback|---|NoneType|INTERNAL", line)
    assert not list(tmp_path.rglob("*.*"))


TASK = purepg.Task("Bandit")
METHOD = purepg.PolicyGradient(TASK, purepg.ScoreFunction())
HYPER = purepg.Hyperparams()
run = functools.partial(purepg.run, METHOD, HYPER, 2, 1)
CARTPOLE = purepg.environment("CartPole-v1")

PYTHON = {
    "task of a number": (lambda: purepg.Task(3), "env = 3"),
    "task of nothing": (lambda: purepg.Task(None), "env = None"),
    "policy by name": (lambda: purepg.Task("Bandit", "softmax"), "policy = 'softmax'"),
    "collect by number": (lambda: purepg.Task("Bandit", purepg.Softmax(), 64), "collect = 64"),
    "half a game": (lambda: purepg.Games(2.5), "num_games = '?2.5"),
    "a truth value of games": (lambda: purepg.Games(num_games=True), "num_games = '?True"),
    "layers by one number": (lambda: purepg.MLP(hidden=8), "hidden = 8"),
    "layers by a string": (lambda: purepg.MLP(hidden="8"), "hidden = '8'"),
    "half a unit": (lambda: purepg.MLP(hidden=(8.5,)), r"hidden = \(8.5,\)"),
    "std by a string": (lambda: purepg.Gaussian(initial_std="a"), "initial_std = 'a'"),
    "unknown baseline": (lambda: purepg.ScoreFunction(baseline="lo"), "did you mean 'loo'"),
    "no baseline": (lambda: purepg.ScoreFunction(baseline=None), "baseline = None"),
    "a task for a method": (lambda: purepg.run(TASK, HYPER, 2, 1), "method = Task"),
    "a name for a method": (lambda: purepg.run("reinforce", HYPER, 2, 1), "method = 'reinforce'"),
    "numbers in a dict": (lambda: purepg.run(METHOD, {"learning_rate": 1}, 2, 1), "hyper = "),
    "three rates, two seeds": (
        lambda: purepg.run(METHOD, purepg.Hyperparams([0.1, 0.2, 0.3]), 2, 1),
        "3 values for 2 replicates",
    ),
    "env parameters of another kind": (
        lambda: purepg.run(METHOD, purepg.Hyperparams(env={"a": 1}), 2, 1),
        "no parameters of 'Bandit'",
    ),
    "no seeds": (lambda: purepg.run(METHOD, HYPER, [], 1), r"seeds = \[\]"),
    "seeds by a string": (lambda: purepg.run(METHOD, HYPER, "3", 1), "seeds = '3'"),
    "a set of seeds": (lambda: purepg.run(METHOD, HYPER, {1, 2}, 1), r"seeds = \{1, 2\}"),
    "too many seeds": (lambda: purepg.run(METHOD, HYPER, range(10**9), 1), "1,000,000,000 seeds"),
    "half an update": (lambda: purepg.run(METHOD, HYPER, 2, 1.5), "num_updates = 1.5"),
    "half a step": (lambda: run(num_steps=2.5), "num_steps = 2.5"),
    "too many games": (lambda: run(evaluation_games=10**12), "1,000,000,000,000 games"),
    "no placement": (lambda: run(placement=None), "placement = None"),
    "folder by number": (lambda: run(directory=3), "3 is no path"),
    "seconds by name": (lambda: run(checkpoint_seconds="a"), "checkpoint_seconds = 'a'"),
    "negative seconds": (lambda: run(checkpoint_seconds=-1), "checkpoint_seconds = -1"),
    "report by name": (lambda: run(report="x"), "report = 'x'"),
    "a number for a key": (lambda: purepg.init(METHOD, HYPER, 3), "key = 3"),
    "no state": (lambda: purepg.train(METHOD, HYPER, None, 1), "state = None"),
    "negative updates": (
        lambda: purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, jax.random.key(0)), -1),
        "num_updates = -1",
    ),
    "load of nothing": (lambda: purepg.load(None), "None is no path"),
    "resume of nothing": (lambda: purepg.resume(None), "None is no path"),
    "compare a list": (lambda: purepg.compare([METHOD], 2), "presets = "),
    "compare without a length": (lambda: purepg.compare({"a": (METHOD, HYPER)}, 2), "a = "),
    "sweep of one number": (lambda: purepg.sweep(METHOD, HYPER, {"learning_rate": 0.1}, 2, 1), "= 0.1"),
    "sweep of no value": (lambda: purepg.sweep(METHOD, HYPER, {"learning_rate": []}, 2, 1), r"= \[\]"),
    "sweep by a list": (lambda: purepg.sweep(METHOD, HYPER, ["learning_rate"], 2, 1), "over = "),
    "half a draw": (
        lambda: purepg.sweep(METHOD, HYPER, {"learning_rate": [0.1]}, 2, 1, draws=1.5),
        "draws = 1.5",
    ),
    "an environment's argument in a dict": (
        lambda: purepg.environment("GridWorld", slip={"a": 1}),
        "slip = ",
    ),
    "no preset": (lambda: presets.preset(CARTPOLE, None), "unknown estimator or method None"),
    "no estimator": (lambda: estimators.make(None), "unknown estimator None"),
    "baseline by number": (lambda: baselines.make(3), "unknown baseline 3"),
    "critic by list": (lambda: critics.make([]), r"unknown critic \[\]"),
    "words for numbers": (lambda: statistics.summarize(["a"]), "'a'"),
    "pairs of other lengths": (lambda: comparisons.compare_pair([1.0], [2.0, 3.0], paired=True), "2"),
    "one batch": (
        lambda: diagnostics.compare(
            TASK,
            {"a": purepg.ScoreFunction()},
            HYPER,
            TASK.bind_policy().init(jax.random.key(0)),
            jax.random.key(0),
            1,
        ),
        "num_batches = 1",
    ),
    "a parameter by name": (lambda: hyperparams.with_env_params(CARTPOLE, {"gravity": "abc"}), "'abc'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTHON)
def test_a_function_refuses_in_one_line(name):
    call, words = PYTHON[name]
    with pytest.raises(InvalidInput, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


# Any words: refused in a line, or taken; never a traceback

FLAGS = [
    "--seeds",
    "--updates",
    "--steps",
    "--num-games",
    "--max-steps",
    "--learning-rate",
    "--discount",
    "--trace-decay",
    "--network.hidden",
    "--method",
    "--estimator",
    "--baseline",
    "--critic",
    "--network",
    "--optimizer",
    "--hidden",
    "--horizon",
    "--set",
    "--collect",
    "--target",
    "--n",
    "--optimizer.name",
    "--optimizer.schedule",
    "--optimizer.horizon",
    "--env-params",
    "--env-arguments",
    "--evaluation-games",
    "--evaluate-every",
    "--normalize-observations",
    "--placement",
    "--reward-scale",
    "--entropy-coefficient",
    "--max-gradient-norm",
    "--replay.capacity",
    "--exploration.initial",
    "--over.games",
]
VALUES = [
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-9",
    "99999999999",
    "abc",
    "''",
    "True",
    "None",
    "none",
    "loo",
    "value",
    "shared",
    "own",
    "mlp",
    "table",
    "games",
    "segments",
    "td",
    "lambda",
    "adam",
    "sgd",
    "linear",
    "10",
    "[1,2]",
    "a,b",
    "0.1..1",
    "gravity=1",
    "gravity=abc",
    "hidden=(3,)",
    "baseline=moving",
    "gravity=",
    "slip=0.1",
    "=1",
    "reinforce",
    "gae",
    "n-step",
    "pathwise",
    "dqn",
    "cem",
    "q-learning",
    "auto",
    "shared",
    "spread",
]
ENVIRONMENTS = [
    "CartPole-v1",
    "Pendulum-v1",
    "GridWorld",
    "Bandit",
    "PointMass",
    "Nothing-v0",
    "os:path",
    "''",
    "--seeds",
]


class Enough(InvalidInput):
    """What a run is asked to do is clear, and can be traced."""


def only_traced(plan, *_):
    hyper = hyperparams.some(plan.hyper, plan.method.task.env, 0)

    def begin(key):
        state = purepg.init(plan.method, hyper, key, plan.num_steps)
        return purepg.train(plan.method, hyper, state, 1)

    jax.eval_shape(begin, jax.random.key(0))
    raise Enough("traced")


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(
    st.sampled_from(["train", "train", "sweep", "compare", "diagnose"]),
    st.sampled_from(ENVIRONMENTS),
    st.lists(st.tuples(st.sampled_from(FLAGS), st.lists(st.sampled_from(VALUES), max_size=2)), max_size=4),
)
def test_no_words_end_in_a_traceback(tmp_path_factory, command, env, flags):
    words = [command, env, *(word for flag, values in flags for word in (flag, *values))]
    words = [word.replace("''", "") for word in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("calls"))
        patch.setattr("purepg.runs.runner.carry_out", only_traced)
        patch.setattr("purepg.diagnostics.compare", only_diagnosed)
        code, errors = called(words)
    assert code == 2, errors
    assert errors.splitlines()[-1].startswith("purepg: ")
    assert sum(line.startswith("purepg: ") for line in errors.splitlines()) <= 3


def only_diagnosed(*_, **__):
    raise Enough("would be measured")


@pytest.mark.slow
def test_numpy_integers_are_integers():
    assert run(evaluation_games=np.int64(0)).dataset.sizes["seed"] == 2
