"""Exact answers for finite Markov decision processes: what every estimator is measured against."""

from purepg.exact.dynamic_programming import (
    PolicyIteration,
    ValueIteration,
    policy_iteration,
    value_iteration,
)
from purepg.exact.finite_mdp import PolicyEvaluation, objective, occupancy, policy_evaluation
from purepg.exact.gradient import policy_gradient

__all__ = [
    "PolicyEvaluation",
    "PolicyIteration",
    "ValueIteration",
    "objective",
    "occupancy",
    "policy_evaluation",
    "policy_gradient",
    "policy_iteration",
    "value_iteration",
]
