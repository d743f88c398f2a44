"""Environments by name: a spec hashes by value and stands for the gymnax object.

specs       name ↔ gymnax object; reset and step, the one place that calls them
spaces      observations and actions: shapes, kinds, bounds
env_params  an environment's parameters in use: which differ from the defaults, which have an effect
labels      what environments are called in results
"""

from purepg.environments.spaces import (
    ContinuousActions,
    Inputs,
    action_bounds,
    continuous_actions,
    inputs,
    is_discrete,
    num_actions,
    sides,
)
from purepg.environments.specs import (
    SOLVED_AT,
    Environment,
    EnvironmentSpec,
    differentiable,
    environment,
    exact_model,
    names,
    parameters,
    reset,
    resolve,
    step,
    time_limit,
)

__all__ = [
    "SOLVED_AT",
    "ContinuousActions",
    "Environment",
    "EnvironmentSpec",
    "Inputs",
    "action_bounds",
    "continuous_actions",
    "differentiable",
    "environment",
    "exact_model",
    "inputs",
    "is_discrete",
    "names",
    "num_actions",
    "parameters",
    "reset",
    "resolve",
    "sides",
    "step",
    "time_limit",
]
