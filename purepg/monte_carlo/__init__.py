"""The gradient of an expectation, ∇_θ E_{x~p_θ}[f(x)], from samples: the families of estimators without any game.

gradients         score function (with baselines), pathwise, mixed: one gradient a sample
relaxed_discrete  finitely many x: the exact sum, Gumbel-softmax, straight-through
families          of distributions, beside the policies' own in `purepg.distributions`
expectations      what is asked of f, of the distribution and of params
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
