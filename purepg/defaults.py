"""Defaults that learn: for an environment and an estimator's name, the method, its numbers and how long to train."""

from typing import NamedTuple

from purepg import environments, estimators
from purepg.environments import EnvironmentSpec
from purepg.hyperparams import Hyperparams
from purepg.networks import MLP, Table
from purepg.policies import Softmax
from purepg.policy_gradient import Optimizer, PolicyGradient
from purepg.task import Games, Task


class Recipe(NamedTuple):
    """What `purepg train` runs."""

    method: PolicyGradient
    hyper: Hyperparams
    num_updates: int


class _Row(NamedTuple):
    num_games: int
    learning_rate: float
    discount: float
    num_updates: int


# By environment: with a baseline, and without one, where smaller and more steps are needed.
_TABLE = {
    "CartPole-v1": (_Row(32, 1e-2, 0.99, 25), _Row(64, 3e-3, 0.99, 60)),
    "Bandit": (_Row(32, 0.1, 1.0, 50), _Row(32, 0.1, 1.0, 50)),
    "Chain": (_Row(32, 0.1, 0.99, 50), _Row(32, 0.1, 0.99, 50)),
    "ShortCorridor": (_Row(32, 0.05, 1.0, 100), _Row(32, 0.02, 1.0, 200)),
    "GridWorld": (_Row(32, 0.1, 0.99, 100), _Row(32, 0.1, 0.99, 200)),
}
_OTHERWISE = (_Row(64, 1e-2, 0.99, 100), _Row(64, 3e-3, 0.99, 200))
_WITHOUT_BASELINE = ("reinforce", "reinforce-total")


def recipe(env: EnvironmentSpec | str, estimator: str) -> Recipe:
    """The defaults for an environment and an estimator's name.

    Raises:
      InvalidInput: either is unknown, or they do not go together.
    """
    spec = environments.environment(env) if isinstance(env, str) else env
    chosen = estimators.make(estimator)
    row = _TABLE.get(spec.name, _OTHERWISE)[estimator in _WITHOUT_BASELINE]
    network = MLP() if environments.inputs(spec).num_categories is None else Table()
    method = PolicyGradient(Task(spec, Softmax(network), Games(row.num_games)), chosen, Optimizer())
    hyper = Hyperparams(learning_rate=row.learning_rate, discount=row.discount)
    return Recipe(method, hyper, row.num_updates)
