"""Presets that learn: for an environment and a name, the method, its numbers and how long to train.

One table. A row names its environments and methods, and the keywords that a preset is made with. Of the rows that
collect in the way asked for (those with `num_steps` collect segments) the first match wins, and the last ones match
everything. The numbers are what `experiments/tune.py` found; an environment about which nothing is known gets those of
a similar one, which are often right.

    q-learning, sarsa, expected-sarsa   a table of action values
    dqn                                 action values by a network, with replay
    cem                                 the cross-entropy method over a policy's parameters
    cem-sessions                        the same over the games that the policy plays
    the others                          a policy gradient with the estimator of this name

Undirected exploration does not find the goal of MountainCar-v0: nothing here solves it. MountainCarContinuous-v0 is
solved by noise so wide that it pushes with full force.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from purepg import environments, estimators
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.methods.action_values import Exploration
from purepg.methods.cross_entropy import CrossEntropy, OverParameters, OverSessions
from purepg.methods.dqn import DQN, Replay
from purepg.methods.optimizer import Optimizer
from purepg.methods.policy_gradient import PolicyGradient
from purepg.methods.q_learning import QLearning
from purepg.names import lookup
from purepg.policies import Gaussian, Softmax
from purepg.policies.networks import MLP, Table
from purepg.task import Games, Segments, Task
from purepg.training import Method

__all__ = ["METHODS", "NAMES", "TABLE", "Preset", "preset"]


class Preset(NamedTuple):
    """What `purepg train` trains, and for how long.

    Attributes:
      method: What is trained.
      hyper: Its numbers.
      num_updates: Length of the run.
    """

    method: Any
    hyper: Hyperparams
    num_updates: int


def preset(
    env: EnvironmentSpec | str, name: str, collect: str | None = None, num_updates: int | None = None
) -> Preset:
    """A method, its numbers and a length of training that suit an environment.

    Args:
      env: spec or id.
      name: of an estimator, one of `purepg.estimators.NAMES`, or of another method, one of `purepg.presets.METHODS`.
      collect: "games" or "segments"; none: the estimator's own way.
      num_updates: another length of the run, to which schedules are fitted; none: the preset's own.

    Raises:
      InvalidInput: a name is unknown, or environment, method and way to collect do not go together.
    """
    spec = environments.environment(env) if isinstance(env, str) else env
    known = lookup("estimator or method", name, estimators.NAMES | METHODS)
    if name in METHODS:
        if collect is not None:
            raise InvalidInput(f"{name!r} has one way to collect: leave collect={collect!r} out")
        ways, make = (False, True), known
    else:
        ways = (lookup("way to collect", collect or known.collects, {"games": False, "segments": True}),)
        make = _policy_gradient
    kinds = {"*", spec.name, "discrete" if environments.is_discrete(spec) else "continuous"}
    kinds |= {"integers"} if environments.inputs(spec).num_categories is not None else set()
    keywords = next(
        keywords
        for kind, names, keywords in TABLE
        if kind in kinds and (name in names or "*" in names) and ("num_steps" in keywords) in ways
    )
    length = num_updates or keywords["num_updates"]
    numbers = {f.name: keywords[f.name] for f in dataclasses.fields(Hyperparams) if f.name in keywords}
    sizes = {field: keywords[field] for field in ("num_games", "num_steps") if field in keywords}
    others = keywords.keys() - numbers.keys() - sizes.keys() - {"num_updates"}
    collects = Segments(**sizes) if "num_steps" in sizes else Games(**sizes)
    method = make(spec, name, collects, length, **{field: keywords[field] for field in others})
    return Preset(method, Hyperparams(**numbers), length)


def _policy_gradient(
    spec: EnvironmentSpec, name: str, collect: Games | Segments, length: int, schedule: str = "constant"
) -> Method:
    """A table for integers, else a perceptron.

    Images with channels get a wide one: on a CPU a convolution is some 20 times as slow, and Breakout is learned well.
    """
    inputs = environments.inputs(spec)
    image = len(inputs.shape) == 3
    network = Table() if inputs.num_categories is not None else MLP((128,), "relu") if image else MLP()
    policy = Softmax(network) if environments.is_discrete(spec) else Gaussian(network)
    wide = spec.name == "MountainCarContinuous-v0"
    if wide:
        # Bounds are at 1: noise of 3 pushes with full force, back and forth, and so finds the goal by chance.
        policy = Gaussian(MLP(), "fixed", 3.0)
    task = Task(spec, policy, collect, normalize_observations=wide)
    optimizer: Any = Optimizer("adam", schedule, 0 if schedule == "constant" else length)  # pyright: ignore
    return PolicyGradient(task, estimators.make(name), optimizer)


def _tabular(
    spec: EnvironmentSpec, name: str, collect: Any, length: int, epsilon: tuple[float, float], share: float
) -> Method:
    """ε falls from its first to its last value within a share of the run."""
    network = Table() if environments.inputs(spec).num_categories is not None else MLP()
    exploration = Exploration(*epsilon, _part(share, length))
    return QLearning(Task(spec, Softmax(network), collect), name.replace("-", "_"), exploration)  # pyright: ignore


def _dqn(
    spec: EnvironmentSpec, name: str, collect: Any, length: int, epsilon: tuple[float, float], share: float
) -> Method:
    return DQN(
        Task(spec, Softmax(MLP((128, 128), "relu")), collect),
        Exploration(*epsilon, _part(share, length)),
        Optimizer("adam", "linear", length),
        Replay(50_000, 128, 1_000),
    )


def _cross_entropy(
    spec: EnvironmentSpec, name: str, collect: Games, length: int, schedule: str = "constant", **options: Any
) -> Method:
    """A small policy: the search is over each of its parameters."""
    if not environments.is_discrete(spec):
        policy = Gaussian(MLP((16,), output_scale=1.0))
    else:
        policy = Softmax(Table() if environments.inputs(spec).num_categories is not None else MLP((32,)))
    if name == "cem-sessions":
        optimizer = Optimizer("adam", schedule, 0 if schedule == "constant" else length)  # pyright: ignore
        options["over"] = OverSessions(optimizer)
    return CrossEntropy(Task(spec, policy, collect), **options)


def _part(share: float, length: int) -> int:
    return max(1, round(share * length))


METHODS: dict[str, Callable[..., Method]] = {
    "q-learning": _tabular,
    "sarsa": _tabular,
    "expected-sarsa": _tabular,
    "dqn": _dqn,
    "cem": _cross_entropy,
    "cem-sessions": _cross_entropy,
}
NAMES = (*estimators.NAMES, *METHODS)

_PLAIN = ("reinforce", "reinforce-total")  # without a baseline smaller and more steps are needed
_TABULAR = ("q-learning", "sarsa", "expected-sarsa")


def _row(
    env: str, names: tuple[str, ...] | str, **keywords: Any
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """A row of the table.

    Args:
      env: an environment's name, "integers" for observations, "discrete" or "continuous" for actions, "*" for all.
      names: of estimators and methods, "*" for all.
      **keywords: fields of `Hyperparams`, of `Games` or `Segments`, `num_updates`, and what the method is made with.
    """
    return env, (names,) if isinstance(names, str) else names, keywords


# fmt: off
TABLE = (
    _row("Taxi", _TABULAR, num_games=1, num_steps=100, learning_rate=0.5, num_updates=400, epsilon=(0.5, 0.0),
         share=0.5),
    _row("CliffWalking", _TABULAR, num_games=1, num_steps=100, learning_rate=0.5, discount=1.0, num_updates=400,
         epsilon=(0.1, 0.1), share=1.0),
    _row("*", _TABULAR, num_games=8, num_steps=16, learning_rate=0.1, num_updates=160, epsilon=(1.0, 0.05),
         share=0.375),
    _row("*", "dqn", num_games=16, num_steps=8, learning_rate=1e-3, max_gradient_norm=10.0, reward_scale=0.1,
         num_updates=1500, epsilon=(1.0, 0.05), share=0.2),
    _row("continuous", "cem", num_games=512, over=OverParameters(8, 3.0), elite_fraction=0.2, smoothing=0.3,
         noise_floor=0.2, discount=1.0, num_updates=60),
    # Chance crowns lucky candidates: more games each, and a slower search than where nothing is random.
    _row("integers", "cem", num_games=256, over=OverParameters(4), elite_fraction=0.15, smoothing=0.5,
         noise_floor=0.2, discount=0.99, num_updates=60),
    _row("*", "cem", num_games=64, noise_floor=0.1, discount=1.0, num_updates=20),
    _row("continuous", "cem-sessions", num_games=512, elite_fraction=0.1, discount=1.0, entropy_coefficient=0.01,
         num_updates=60),
    _row("integers", "cem-sessions", num_games=128, elite_fraction=0.4, smoothing=0.5, noise_floor=0.02,
         num_updates=60),
    _row("*", "cem-sessions", num_games=64, elite_fraction=0.25, discount=1.0, num_updates=60, schedule="linear"),
    # Whole games.
    _row("*", "pathwise", num_games=64, learning_rate=3e-3, max_gradient_norm=1.0, num_updates=200),
    # V shares the policy's network here: unscaled returns of hundreds would drown the policy's part of the gradient.
    _row("CartPole-v1", "reinforce-value", num_games=32, value_coefficient=1.0, reward_scale=0.01, num_updates=40,
         schedule="linear"),
    _row("Acrobot-v1", "reinforce-value", num_games=64, entropy_coefficient=3e-3, value_coefficient=1.0,
         reward_scale=0.01, num_updates=100, schedule="linear"),
    _row("CartPole-v1", _PLAIN, num_games=64, learning_rate=3e-3, num_updates=60),
    _row("CartPole-v1", "*", num_games=32, num_updates=25),
    _row("Bandit", "*", num_games=32, learning_rate=0.1, discount=1.0, num_updates=50),
    _row("Chain", "*", num_games=32, learning_rate=0.1, num_updates=50),
    _row("ShortCorridor", _PLAIN, num_games=32, learning_rate=0.02, discount=1.0, num_updates=200),
    _row("ShortCorridor", "*", num_games=32, learning_rate=0.05, discount=1.0, num_updates=100),
    _row("GridWorld", _PLAIN, num_games=32, learning_rate=0.1, num_updates=200),
    _row("GridWorld", "*", num_games=32, learning_rate=0.1, num_updates=100),
    # Segments. The learning rate falls to 0 over the run; with the pathwise estimator it stays: its late gradients are
    # precise, and a falling rate came to rest too early.
    _row("*", "pathwise-short", num_games=64, num_steps=16, learning_rate=3e-3, critic_learning_rate=1e-2,
         max_gradient_norm=1.0, reward_scale=0.1, num_updates=975),
    # The target is V of the next state alone: V has to follow the policy, or what was learned is lost again
    # (experiments/late_collapse.py). Small steps, most of each for V; an entropy bonus would move on a policy that
    # always reaches the limit until its games fall.
    _row("CartPole-v1", "actor-critic", num_games=64, num_steps=16, learning_rate=2e-3, value_coefficient=4.0,
         max_gradient_norm=0.5, reward_scale=0.2, num_updates=1500, schedule="linear"),
    _row("CartPole-v1", "*", num_games=64, num_steps=32, learning_rate=5e-3, entropy_coefficient=0.01,
         max_gradient_norm=2.0, reward_scale=0.1, num_updates=300, schedule="linear"),
    _row("Acrobot-v1", "actor-critic", num_games=64, num_steps=16, learning_rate=5e-4, entropy_coefficient=0.01,
         value_coefficient=1.0, max_gradient_norm=2.0, reward_scale=0.02, num_updates=1000, schedule="linear"),
    _row("Acrobot-v1", "*", num_games=64, num_steps=32, learning_rate=3e-3, trace_decay=0.9,
         entropy_coefficient=0.01, max_gradient_norm=2.0, reward_scale=0.02, num_updates=500, schedule="linear"),
    _row("Pendulum-v1", "*", num_games=64, num_steps=32, learning_rate=3e-3, discount=0.97, trace_decay=0.9,
         entropy_coefficient=0.01, value_coefficient=1.0, max_gradient_norm=0.5, reward_scale=0.02,
         num_updates=1000, schedule="linear"),
    _row("MountainCarContinuous-v0", "*", num_games=64, num_steps=64, learning_rate=8e-3, discount=0.97,
         trace_decay=0.98, entropy_coefficient=1e-3, value_coefficient=1.0, max_gradient_norm=2.0,
         reward_scale=0.1, num_updates=250, schedule="linear"),
    _row("Breakout-MinAtar", "*", num_games=64, num_steps=32, learning_rate=3e-3, entropy_coefficient=0.01,
         max_gradient_norm=0.5, num_updates=1000, schedule="linear"),
    _row("Catch-bsuite", "*", num_games=64, num_steps=32, learning_rate=3e-3, trace_decay=0.98,
         entropy_coefficient=0.01, num_updates=300, schedule="linear"),
    # Everything else.
    _row("*", "*", num_games=64, num_steps=32, learning_rate=3e-3, entropy_coefficient=0.01,
         max_gradient_norm=2.0, num_updates=500, schedule="linear"),
    _row("*", _PLAIN, num_games=64, learning_rate=3e-3, num_updates=200),
    _row("*", "*", num_games=64, num_updates=100),
)
# fmt: on
