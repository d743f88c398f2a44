"""Policy gradients in pure JAX: hundreds of independent seeds, every estimator checked against an exact gradient.

Names are imported when they are first used: `import purepg` and `purepg --help` need not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from purepg import (
        baselines,
        comparisons,
        critics,
        defaults,
        diagnostics,
        distributions,
        environments,
        estimators,
        exact,
        families,
        hyperparams,
        monte_carlo,
        presets,
        processes,
        report,
        returns,
        seeds,
        statistics,
    )
    from purepg.action_values import Exploration
    from purepg.backend import Backend
    from purepg.critics import NoCritic, OwnCritic, SharedCritic
    from purepg.cross_entropy import CrossEntropy, OverParameters, OverSessions
    from purepg.deep_q_learning import DQN, Replay
    from purepg.environments import environment
    from purepg.errors import InvalidInput
    from purepg.estimators import Pathwise, ScoreFunction
    from purepg.evaluation import evaluate
    from purepg.flax_network import Flax
    from purepg.hyperparams import Hyperparams
    from purepg.networks import MLP, Conv, Functions, Table
    from purepg.optimizer import Optimizer
    from purepg.policies import Gaussian, Softmax
    from purepg.policy_gradient import PolicyGradient
    from purepg.q_learning import QLearning
    from purepg.results import Result, load
    from purepg.runner import resume, run
    from purepg.studies import Config, Study, compare, study
    from purepg.sweeps import Range, sweep
    from purepg.task import Games, Segments, Task
    from purepg.training import init, train

_MODULES = (
    "baselines",
    "comparisons",
    "critics",
    "defaults",
    "diagnostics",
    "distributions",
    "environments",
    "estimators",
    "exact",
    "families",
    "hyperparams",
    "monte_carlo",
    "presets",
    "processes",
    "report",
    "returns",
    "seeds",
    "statistics",
)
_HOME = {
    "Exploration": "action_values",
    "Backend": "backend",
    "CrossEntropy": "cross_entropy",
    "OverParameters": "cross_entropy",
    "OverSessions": "cross_entropy",
    "DQN": "deep_q_learning",
    "Replay": "deep_q_learning",
    "QLearning": "q_learning",
    "NoCritic": "critics",
    "OwnCritic": "critics",
    "SharedCritic": "critics",
    "environment": "environments",
    "Pathwise": "estimators",
    "ScoreFunction": "estimators",
    "InvalidInput": "errors",
    "evaluate": "evaluation",
    "Flax": "flax_network",
    "Hyperparams": "hyperparams",
    "MLP": "networks",
    "Conv": "networks",
    "Functions": "networks",
    "Table": "networks",
    "Gaussian": "policies",
    "Softmax": "policies",
    "Optimizer": "optimizer",
    "PolicyGradient": "policy_gradient",
    "Result": "results",
    "load": "results",
    "resume": "runner",
    "run": "runner",
    "Config": "studies",
    "Study": "studies",
    "compare": "studies",
    "study": "studies",
    "Range": "sweeps",
    "sweep": "sweeps",
    "Games": "task",
    "Segments": "task",
    "Task": "task",
    "init": "training",
    "train": "training",
}


def _path(name: str) -> str:
    """The module that a public name is, or is in."""
    return f"purepg.{_HOME.get(name, name)}"


def __getattr__(name: str) -> Any:
    if name not in (*_MODULES, *_HOME):
        raise AttributeError(f"module 'purepg' has no attribute {name!r}")
    module = importlib.import_module(_path(name))
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_HOME])
