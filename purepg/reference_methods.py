"""The methods beside policy gradients, by name, with numbers that learn: what a policy gradient is compared with.

    q-learning, sarsa, expected-sarsa   a table of action values
    dqn                                 action values by a network, with replay
    cem                                 the cross-entropy method over a policy's parameters
    cem-sessions                        the same over the games that the policy plays

Where nothing is known about an environment the numbers are those of a similar one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from purepg import environments
from purepg.action_values import Exploration
from purepg.cross_entropy import CrossEntropy, OverParameters, OverSessions
from purepg.deep_q_learning import DQN, Replay
from purepg.environments import EnvironmentSpec
from purepg.hyperparams import Hyperparams
from purepg.names import lookup
from purepg.networks import MLP, Table
from purepg.optimizer import Optimizer
from purepg.policies import Gaussian, Softmax
from purepg.q_learning import QLearning
from purepg.task import Games, Segments, Task


class Recipe(NamedTuple):
    """What `purepg train` runs."""

    method: Any
    hyper: Hyperparams
    num_updates: int


class _Control(NamedTuple):
    """Numbers of tabular control; ε's horizon is a share of the run."""

    collect: Segments
    hyper: Hyperparams
    num_updates: int
    exploration: tuple[float, float]
    share: float = 1.0


_TABULAR = {
    "Taxi": _Control(Segments(1, 100), Hyperparams(0.5, 0.99), 400, (0.5, 0.0), 0.5),
    "CliffWalking": _Control(Segments(1, 100), Hyperparams(0.5, 1.0), 400, (0.1, 0.1)),
}
_TABULAR_OTHERWISE = _Control(Segments(8, 16), Hyperparams(0.1, 0.99), 160, (1.0, 0.05), 0.375)


def recipe(name: str, spec: EnvironmentSpec, num_updates: int | None = None) -> Recipe:
    """The defaults of the method of this name; schedules are as long as the run.

    Raises:
      InvalidInput: the name is unknown.
    """
    return lookup("method", name, NAMES)(spec, num_updates)


def _tabular(target: str) -> Callable[[EnvironmentSpec, int | None], Recipe]:
    def make(spec: EnvironmentSpec, num_updates: int | None) -> Recipe:
        row = _TABULAR.get(spec.name, _TABULAR_OTHERWISE)
        length = num_updates or row.num_updates
        exploration = Exploration(*row.exploration, _part(row.share, length))
        network = Table() if environments.inputs(spec).num_categories is not None else MLP()
        method = QLearning(Task(spec, Softmax(network), row.collect), target, exploration)  # pyright: ignore
        return Recipe(method, row.hyper, length)

    return make


def _dqn(spec: EnvironmentSpec, num_updates: int | None) -> Recipe:
    length = num_updates or 1500
    method = DQN(
        Task(spec, Softmax(MLP((128, 128), "relu")), Segments(16, 8)),
        Exploration(1.0, 0.05, _part(0.2, length)),
        Optimizer("adam", "linear", length),
        Replay(50_000, 128, 1_000),
    )
    return Recipe(method, Hyperparams(1e-3, 0.99, max_gradient_norm=10.0, reward_scale=0.1), length)


def _over_parameters(spec: EnvironmentSpec, num_updates: int | None) -> Recipe:
    policy, tabular = _policy(spec)
    hyper = Hyperparams(discount=0.99 if tabular else 1.0)
    if (
        tabular
    ):  # chance crowns lucky candidates: more games each, and a slower search than where nothing is random
        method = CrossEntropy(Task(spec, policy, Games(256)), OverParameters(4), 0.15, 0.5, 0.2)
    elif isinstance(policy, Gaussian):
        method = CrossEntropy(Task(spec, policy, Games(512)), OverParameters(8, 3.0), 0.2, 0.3, 0.2)
    else:
        method = CrossEntropy(Task(spec, policy, Games(64)), noise_floor=0.1)
    return Recipe(method, hyper, num_updates or (60 if tabular or isinstance(policy, Gaussian) else 20))


def _over_sessions(spec: EnvironmentSpec, num_updates: int | None) -> Recipe:
    policy, tabular = _policy(spec)
    length = num_updates or 60
    if tabular:
        method = CrossEntropy(Task(spec, policy, Games(128)), OverSessions(), 0.4, 0.5, 0.02)
        return Recipe(method, Hyperparams(discount=0.99), length)
    if isinstance(policy, Gaussian):
        method = CrossEntropy(Task(spec, policy, Games(512)), OverSessions(), 0.1)
        return Recipe(method, Hyperparams(1e-2, 1.0, entropy_coefficient=0.01), length)
    sessions = OverSessions(Optimizer("adam", "linear", length))
    return Recipe(CrossEntropy(Task(spec, policy, Games(64)), sessions, 0.25), Hyperparams(1e-2, 1.0), length)


NAMES: dict[str, Callable[[EnvironmentSpec, int | None], Recipe]] = {
    "q-learning": _tabular("q_learning"),
    "sarsa": _tabular("sarsa"),
    "expected-sarsa": _tabular("expected_sarsa"),
    "dqn": _dqn,
    "cem": _over_parameters,
    "cem-sessions": _over_sessions,
}


def _policy(spec: EnvironmentSpec) -> tuple[Softmax | Gaussian, bool]:
    """A small policy, and whether it is a table: the search is over each of its parameters."""
    if not environments.is_discrete(spec):
        return Gaussian(MLP((16,), output_scale=1.0)), False
    tabular = environments.inputs(spec).num_categories is not None
    return Softmax(Table() if tabular else MLP((32,))), tabular


def _part(share: float, length: int) -> int:
    return max(1, round(share * length))
