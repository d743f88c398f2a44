"""Policy gradients in pure JAX."""

from purepg import estimators as estimators
from purepg import returns as returns
from purepg.environments import environment as environment
from purepg.estimators import ScoreFunction as ScoreFunction
from purepg.evaluation import evaluate as evaluate
from purepg.hyperparams import Hyperparams as Hyperparams
from purepg.policy_gradient import Optimizer as Optimizer
from purepg.policy_gradient import PolicyGradient as PolicyGradient
from purepg.task import Games as Games
from purepg.task import Task as Task
from purepg.training import init as init
from purepg.training import train as train

__version__ = "0.1.0"
