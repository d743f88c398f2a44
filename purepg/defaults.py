"""Defaults that learn: for an environment and an estimator's name, the method, its numbers and how long to train.

The tables are what `experiments/tune.py` found; an environment that is not in them gets numbers that are often right.
Undirected exploration does not find the goal of MountainCar-v0 and MountainCarContinuous-v0 in whole games or short
segments: nothing here solves the first, the second only with wide initial noise.
"""

from typing import NamedTuple

from purepg import environments, estimators
from purepg.environments import EnvironmentSpec
from purepg.hyperparams import Hyperparams
from purepg.networks import MLP, Conv, Table
from purepg.policies import Gaussian, Softmax
from purepg.policy_gradient import Optimizer, PolicyGradient
from purepg.task import Games, Segments, Task


class Recipe(NamedTuple):
    """What `purepg train` runs."""

    method: PolicyGradient
    hyper: Hyperparams
    num_updates: int


class _Row(NamedTuple):
    collect: Games | Segments
    hyper: Hyperparams
    num_updates: int


def _games(num_games, learning_rate, discount, num_updates, **hyper) -> _Row:
    return _Row(Games(num_games), Hyperparams(learning_rate, discount, **hyper), num_updates)


# Whole games, by environment: with a baseline, and without one, where smaller and more steps are needed.
_GAMES = {
    "CartPole-v1": (_games(32, 1e-2, 0.99, 25), _games(64, 3e-3, 0.99, 60)),
    "Bandit": (_games(32, 0.1, 1.0, 50), _games(32, 0.1, 1.0, 50)),
    "Chain": (_games(32, 0.1, 0.99, 50), _games(32, 0.1, 0.99, 50)),
    "ShortCorridor": (_games(32, 0.05, 1.0, 100), _games(32, 0.02, 1.0, 200)),
    "GridWorld": (_games(32, 0.1, 0.99, 100), _games(32, 0.1, 0.99, 200)),
}
_GAMES_OTHERWISE = (_games(64, 1e-2, 0.99, 100), _games(64, 3e-3, 0.99, 200))
_WITHOUT_BASELINE = ("reinforce", "reinforce-total")


def _segments(num_games, num_steps, num_updates, **hyper) -> _Row:
    return _Row(Segments(num_games, num_steps), Hyperparams(**hyper), num_updates)


# Segments, by environment and estimator; "" stands for the others. The learning rate falls to 0 over the run.
_SEGMENTS = {
    ("CartPole-v1", ""): _segments(
        64, 32, 300, learning_rate=5e-3, entropy_coefficient=0.01, max_gradient_norm=2.0, reward_scale=0.1
    ),
    ("CartPole-v1", "actor-critic"): _segments(
        64,
        16,
        1000,
        learning_rate=5e-3,
        entropy_coefficient=0.01,
        value_coefficient=1.0,
        max_gradient_norm=0.5,
        reward_scale=0.1,
    ),
    ("Acrobot-v1", ""): _segments(
        64,
        32,
        500,
        learning_rate=3e-3,
        trace_decay=0.9,
        entropy_coefficient=0.01,
        max_gradient_norm=2.0,
        reward_scale=0.02,
    ),
    ("Pendulum-v1", ""): _segments(
        64,
        32,
        1000,
        learning_rate=3e-3,
        discount=0.97,
        trace_decay=0.9,
        entropy_coefficient=0.01,
        value_coefficient=1.0,
        max_gradient_norm=0.5,
        reward_scale=0.02,
    ),
    ("Catch-bsuite", ""): _segments(
        64, 32, 300, learning_rate=3e-3, trace_decay=0.98, entropy_coefficient=0.01
    ),
}
_SEGMENTS_OTHERWISE = _segments(
    64, 32, 500, learning_rate=3e-3, entropy_coefficient=0.01, max_gradient_norm=2.0
)


def recipe(
    env: EnvironmentSpec | str, estimator: str, collect: str | None = None, num_updates: int | None = None
) -> Recipe:
    """The defaults for an environment and an estimator's name.

    Args:
      env: spec or id.
      estimator: one of `purepg.estimators.NAMES`.
      collect: "games" or "segments", where it shall not be the estimator's own way.
      num_updates: another length of the run; the learning rate's schedule is as long.

    Raises:
      InvalidInput: a name is unknown, or they do not go together.
    """
    spec = environments.environment(env) if isinstance(env, str) else env
    chosen = estimators.make(estimator)
    own = "segments" if getattr(chosen, "time_limit", "objective") == "bootstrap" else "games"
    row = environments.look_up(
        "way to collect", collect or own, {"games": _in_games, "segments": _in_segments}
    )(spec.name, estimator)
    length = num_updates or row.num_updates
    falls = isinstance(row.collect, Segments)
    optimizer = Optimizer("adam", "linear", length) if falls else Optimizer()
    method = PolicyGradient(Task(spec, _policy(spec), row.collect), chosen, optimizer)
    return Recipe(method, row.hyper, length)


def _in_games(env: str, estimator: str) -> _Row:
    return _GAMES.get(env, _GAMES_OTHERWISE)[estimator in _WITHOUT_BASELINE]


def _in_segments(env: str, estimator: str) -> _Row:
    return _SEGMENTS.get((env, estimator)) or _SEGMENTS.get((env, "")) or _SEGMENTS_OTHERWISE


def _policy(spec: EnvironmentSpec) -> Softmax | Gaussian:
    """A table for integers, a convolution for images with channels, else a perceptron."""
    inputs = environments.inputs(spec)
    if inputs.num_categories is not None:
        network = Table()
    else:
        image = len(inputs.shape) == 3 and min(inputs.shape[:2]) >= 3
        network = Conv() if image else MLP()
    return Softmax(network) if environments.is_discrete(spec) else Gaussian(network)
