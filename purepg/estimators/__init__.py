"""Estimators of ∇J by name. A preset is an estimator record with its fields chosen."""

from purepg.baselines import LeaveOneOut, Mean, Moving
from purepg.environments import closest
from purepg.errors import InvalidInput
from purepg.estimators.base import Estimate as Estimate
from purepg.estimators.base import Estimator as Estimator
from purepg.estimators.score_function import ScoreFunction as ScoreFunction

NAMES: dict[str, Estimator] = {
    "reinforce-total": ScoreFunction(target="total", discount_weighting=False),
    "reinforce": ScoreFunction(),
    "reinforce-mean": ScoreFunction(baseline=Mean()),
    "reinforce-loo": ScoreFunction(baseline=LeaveOneOut()),
    "reinforce-moving": ScoreFunction(baseline=Moving()),
}


def make(name: str) -> Estimator:
    """The estimator of a preset's name.

    Raises:
      InvalidInput: there is no such preset.
    """
    if name not in NAMES:
        raise InvalidInput(f"unknown estimator {name!r}{closest(name, NAMES)}; known: {', '.join(NAMES)}")
    return NAMES[name]
