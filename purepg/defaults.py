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
    learning_rate: float
    discount: float
    num_updates: int


# By environment; the first entry is for whole games with a baseline, the second for estimators without one, which
# need more updates.
_TABLE = {
    "CartPole-v1": (_Row(1e-2, 0.99, 30), _Row(1e-2, 0.99, 100)),
    "ShortCorridor": (_Row(0.05, 1.0, 100), _Row(0.05, 1.0, 100)),
    "Bandit": (_Row(0.05, 1.0, 100), _Row(0.05, 1.0, 100)),
}
_OTHERWISE = (_Row(1e-2, 0.99, 100), _Row(1e-2, 0.99, 200))


def recipe(env: EnvironmentSpec | str, estimator: str) -> Recipe:
    """The defaults for an environment and an estimator's name.

    Raises:
      InvalidInput: either is unknown, or they do not go together.
    """
    spec = environments.environment(env) if isinstance(env, str) else env
    chosen = estimators.make(estimator)
    row = _TABLE.get(spec.name, _OTHERWISE)[estimator in ("reinforce", "reinforce-total")]
    network = MLP() if environments.inputs(spec).num_categories is None else Table()
    method = PolicyGradient(Task(spec, Softmax(network), Games()), chosen, Optimizer())
    return Recipe(method, Hyperparams(learning_rate=row.learning_rate, discount=row.discount), row.num_updates)
