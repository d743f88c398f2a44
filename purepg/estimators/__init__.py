"""Estimators of ∇J by name. A preset is an estimator record with its fields chosen."""

from dataclasses import replace

from purepg.estimators.base import Estimate as Estimate
from purepg.estimators.base import Estimator as Estimator
from purepg.estimators.base import EstimatorState as EstimatorState
from purepg.estimators.baselines import LeaveOneOut, Mean, Moving, Optimal, Value
from purepg.estimators.critics import OwnCritic, SharedCritic
from purepg.estimators.pathwise import Pathwise as Pathwise
from purepg.estimators.score_function import ScoreFunction as ScoreFunction
from purepg.names import lookup

__all__ = ["NAMES", "Estimate", "Estimator", "EstimatorState", "Pathwise", "ScoreFunction", "make"]

_ACTOR_CRITIC = ScoreFunction(
    baseline=Value(), critic=SharedCritic(), time_limit="bootstrap", discount_weighting=False
)

NAMES: dict[str, Estimator] = {
    "reinforce-total": ScoreFunction(target="total", discount_weighting=False),
    "reinforce": ScoreFunction(),
    "reinforce-mean": ScoreFunction(baseline=Mean()),
    "reinforce-loo": ScoreFunction(baseline=LeaveOneOut()),
    "reinforce-moving": ScoreFunction(baseline=Moving()),
    "reinforce-value": ScoreFunction(baseline=Value(), critic=SharedCritic()),
    "reinforce-optimal": ScoreFunction(baseline=Optimal()),
    "actor-critic": replace(_ACTOR_CRITIC, target="td"),
    "n-step": replace(_ACTOR_CRITIC, target="n_step"),
    "gae": replace(_ACTOR_CRITIC, target="lambda"),
    "pathwise": Pathwise(),
    "pathwise-short": Pathwise(critic=OwnCritic(steps=4, target_rate=0.2), time_limit="bootstrap"),
}


def make(name: str) -> Estimator:
    """The estimator of a preset's name.

    Args:
      name: a key of `NAMES`, such as "reinforce-loo" or "gae".

    Raises:
      InvalidInput: there is no such preset.
    """
    return lookup("estimator", name, NAMES)
