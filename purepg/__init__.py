"""Policy gradients in pure JAX: hundreds of independent seeds, every estimator checked against an exact gradient.

Names are imported when they are first used: `import purepg` and `purepg --help` need not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from purepg import baselines, environments, estimators, exact, hyperparams, returns, seeds, statistics
    from purepg.environments import environment
    from purepg.estimators import ScoreFunction
    from purepg.evaluation import evaluate
    from purepg.hyperparams import Hyperparams
    from purepg.networks import MLP, Functions, Table
    from purepg.policies import Softmax
    from purepg.policy_gradient import Optimizer, PolicyGradient
    from purepg.results import Result, load
    from purepg.runner import run
    from purepg.task import Games, Task
    from purepg.training import init, train

_MODULES = (
    "baselines",
    "environments",
    "estimators",
    "exact",
    "hyperparams",
    "returns",
    "seeds",
    "statistics",
)
_HOME = {
    "environment": "environments",
    "ScoreFunction": "estimators",
    "evaluate": "evaluation",
    "Hyperparams": "hyperparams",
    "MLP": "networks",
    "Functions": "networks",
    "Table": "networks",
    "Softmax": "policies",
    "Optimizer": "policy_gradient",
    "PolicyGradient": "policy_gradient",
    "Result": "results",
    "load": "results",
    "run": "runner",
    "Games": "task",
    "Task": "task",
    "init": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"purepg.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"purepg.{_HOME[name]}"), name)
    raise AttributeError(f"module 'purepg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_HOME])
