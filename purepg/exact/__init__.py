"""Exact answers for finite Markov decision processes: what every estimator is measured against."""

from purepg.exact.dynamic_programming import (
    PolicyIteration,
    ValueIteration,
    policy_iteration,
    value_iteration,
)
from purepg.exact.finite_mdp import PolicyEvaluation, objective, occupancy, policy_evaluation
from purepg.exact.gradient import policy_gradient
from purepg.exact.lqr import lqr_cost, lqr_gradient, lqr_std_gradient

__all__ = [
    "PolicyEvaluation",
    "PolicyIteration",
    "ValueIteration",
    "lqr_cost",
    "lqr_gradient",
    "lqr_std_gradient",
    "objective",
    "occupancy",
    "policy_evaluation",
    "policy_gradient",
    "policy_iteration",
    "value_iteration",
]
