"""From an observation to a distribution over actions, π_θ(a | s), and to V(s) where wanted.

distributions    over actions: categorical, Gaussian, clipped and squashed
networks         observation → outputs, as frozen records of their sizes; flax_network takes a flax module,
                 function_network two functions; initializers has the first weights
policies         softmax over finite actions, Gaussian over continuous ones: network and distribution together
normalization    of observations, by running_moments
"""

from purepg.policies.policies import (
    BoundPolicy,
    Gaussian,
    Linear,
    Outputs,
    Policy,
    Softmax,
    check,
    not_linear,
    refuse_without_score,
)

__all__ = [
    "BoundPolicy",
    "Gaussian",
    "Linear",
    "Outputs",
    "Policy",
    "Softmax",
    "check",
    "not_linear",
    "refuse_without_score",
]
