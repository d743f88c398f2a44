"""The gradient of an expectation, ∇_θ E_{x~p_θ}[f(x)], from samples: the same families of estimators, without games.

gradients         score function (with baselines), pathwise, mixed: one gradient per sample
relaxed_discrete  finitely many x: the exact sum, Gumbel-softmax, straight-through
families          of distributions, besides the policies' own in `purepg.distributions`
location_scale    what some of these families share
expectations      what is required of f, the distribution and params
leave_one_out     sums over the other samples
"""

from purepg.monte_carlo import families
from purepg.monte_carlo.gradients import mixed, pathwise, score_function
from purepg.monte_carlo.relaxed_discrete import enumerate_gradient, gumbel_softmax, straight_through

__all__ = [
    "enumerate_gradient",
    "families",
    "gumbel_softmax",
    "mixed",
    "pathwise",
    "score_function",
    "straight_through",
]
