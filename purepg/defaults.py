"""Defaults that learn: for an environment and a name, the method, its numbers and how long to train.

The tables are what `experiments/tune.py` found; an environment that is not in them gets numbers that are often right.
Undirected exploration does not find the goal of MountainCar-v0: nothing here solves it. MountainCarContinuous-v0 is
solved by noise so wide that it pushes with full force.
"""

from typing import Literal, NamedTuple

from purepg import environments, estimators, reference_methods
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.names import lookup
from purepg.networks import MLP, Table
from purepg.optimizer import Optimizer
from purepg.policies import Gaussian, Softmax
from purepg.policy_gradient import PolicyGradient
from purepg.reference_methods import Recipe
from purepg.task import Games, Segments, Task

Schedule = Literal["constant", "linear"]


class _Row(NamedTuple):
    collect: Games | Segments
    hyper: Hyperparams
    num_updates: int
    schedule: Schedule = "constant"


def _games(num_games, learning_rate, discount, num_updates, schedule: Schedule = "constant", **hyper) -> _Row:
    return _Row(Games(num_games), Hyperparams(learning_rate, discount, **hyper), num_updates, schedule)


# Whole games, by environment: with a baseline, and without one, where smaller and more steps are needed.
_GAMES = {
    "CartPole-v1": (_games(32, 1e-2, 0.99, 25), _games(64, 3e-3, 0.99, 60)),
    "Bandit": (_games(32, 0.1, 1.0, 50), _games(32, 0.1, 1.0, 50)),
    "Chain": (_games(32, 0.1, 0.99, 50), _games(32, 0.1, 0.99, 50)),
    "ShortCorridor": (_games(32, 0.05, 1.0, 100), _games(32, 0.02, 1.0, 200)),
    "GridWorld": (_games(32, 0.1, 0.99, 100), _games(32, 0.1, 0.99, 200)),
}
_GAMES_OTHERWISE = (_games(64, 1e-2, 0.99, 100), _games(64, 3e-3, 0.99, 200))
# V shares the policy's network here: unscaled returns of hundreds would drown the policy's part of the gradient.
_GAMES_WITH_VALUE = {
    "CartPole-v1": _games(32, 1e-2, 0.99, 40, "linear", value_coefficient=1.0, reward_scale=0.01),
    "Acrobot-v1": _games(
        64, 1e-2, 0.99, 100, "linear", entropy_coefficient=3e-3, value_coefficient=1.0, reward_scale=0.01
    ),
}
_WITHOUT_BASELINE = ("reinforce", "reinforce-total")
_PATHWISE = _games(64, 3e-3, 0.99, 200, max_gradient_norm=1.0)


def _segments(num_games, num_steps, num_updates, **hyper) -> _Row:
    return _Row(Segments(num_games, num_steps), Hyperparams(**hyper), num_updates, "linear")


# Segments, by environment and estimator; "" stands for the others. The learning rate falls to 0 over the run
# (with the pathwise estimator it stays: its late gradients are precise, and a falling rate came to rest too early).
_SEGMENTS = {
    ("CartPole-v1", ""): _segments(
        64, 32, 300, learning_rate=5e-3, entropy_coefficient=0.01, max_gradient_norm=2.0, reward_scale=0.1
    ),
    # The target is V of the next state alone: V has to follow the policy, or what was learned is lost again
    # (experiments/late_collapse.py). Small steps, most of each for V; an entropy bonus would move on a policy that
    # always reaches the limit until its games fall.
    ("CartPole-v1", "actor-critic"): _segments(
        64,
        16,
        1500,
        learning_rate=2e-3,
        value_coefficient=4.0,
        max_gradient_norm=0.5,
        reward_scale=0.2,
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
    ("Acrobot-v1", "actor-critic"): _segments(
        64,
        16,
        1000,
        learning_rate=5e-4,
        entropy_coefficient=0.01,
        value_coefficient=1.0,
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
    ("MountainCarContinuous-v0", ""): _segments(
        64,
        64,
        250,
        learning_rate=8e-3,
        discount=0.97,
        trace_decay=0.98,
        entropy_coefficient=1e-3,
        value_coefficient=1.0,
        max_gradient_norm=2.0,
        reward_scale=0.1,
    ),
    ("Breakout-MinAtar", ""): _segments(
        64, 32, 1000, learning_rate=3e-3, entropy_coefficient=0.01, max_gradient_norm=0.5
    ),
    ("Catch-bsuite", ""): _segments(
        64, 32, 300, learning_rate=3e-3, trace_decay=0.98, entropy_coefficient=0.01
    ),
}
# Bounds are at 1: noise of 3 pushes with full force, back and forth, and so finds the goal by chance.
_WIDE_NOISE = Gaussian(MLP(), "fixed", 3.0)
_PATHWISE_SHORT = _Row(
    Segments(64, 16),
    Hyperparams(learning_rate=3e-3, critic_learning_rate=1e-2, max_gradient_norm=1.0, reward_scale=0.1),
    975,
)
_SEGMENTS_OTHERWISE = _segments(
    64, 32, 500, learning_rate=3e-3, entropy_coefficient=0.01, max_gradient_norm=2.0
)


def recipe(
    env: EnvironmentSpec | str, name: str, collect: str | None = None, num_updates: int | None = None
) -> Recipe:
    """The defaults for an environment and a name.

    Args:
      env: spec or id.
      name: an estimator's, one of `purepg.estimators.NAMES`, or another method's, one of
        `purepg.reference_methods.NAMES`.
      collect: "games" or "segments", where it shall not be the estimator's own way.
      num_updates: another length of the run; the learning rate's schedule is as long.

    Raises:
      InvalidInput: a name is unknown, or they do not go together.
    """
    spec = environments.environment(env) if isinstance(env, str) else env
    chosen = lookup("estimator or method", name, estimators.NAMES | reference_methods.NAMES)
    if name in reference_methods.NAMES:
        if collect is not None:
            raise InvalidInput(f"{name!r} has one way to collect: leave collect={collect!r} out")
        return reference_methods.recipe(name, spec, num_updates)
    own = chosen.collects
    row = lookup("way to collect", collect or own, {"games": _in_games, "segments": _in_segments})(
        spec.name, name
    )
    length = num_updates or row.num_updates
    optimizer = Optimizer("adam", row.schedule, 0 if row.schedule == "constant" else length)
    policy = _policy(spec)
    task = Task(spec, policy, row.collect, normalize_observations=policy == _WIDE_NOISE)
    method = PolicyGradient(task, chosen, optimizer)
    return Recipe(method, row.hyper, length)


def _in_games(env: str, estimator: str) -> _Row:
    if estimator == "pathwise":
        return _PATHWISE
    if estimator == "reinforce-value" and env in _GAMES_WITH_VALUE:
        return _GAMES_WITH_VALUE[env]
    return _GAMES.get(env, _GAMES_OTHERWISE)[estimator in _WITHOUT_BASELINE]


def _in_segments(env: str, estimator: str) -> _Row:
    if estimator == "pathwise-short":
        return _PATHWISE_SHORT
    return _SEGMENTS.get((env, estimator)) or _SEGMENTS.get((env, "")) or _SEGMENTS_OTHERWISE


def _policy(spec: EnvironmentSpec) -> Softmax | Gaussian:
    """A table for integers, else a perceptron.

    Images with channels get a wide one: on a CPU a convolution is some 20 times as slow, and Breakout is learned well.
    """
    inputs = environments.inputs(spec)
    image = len(inputs.shape) == 3
    network = Table() if inputs.num_categories is not None else MLP((128,), "relu") if image else MLP()
    if environments.is_discrete(spec):
        return Softmax(network)
    return _WIDE_NOISE if spec.name == "MountainCarContinuous-v0" else Gaussian(network)
