"""Diagnostics: bias, variance and cost of gradient estimators at given parameters.

An estimate from a batch of N games is a random vector ĝ. Over B independent batches, each with its own games, noise and
staggering,

    mean        ḡ                                  standard error   s/√B, componentwise, s² = Var ĝ
    variance    N · s²                             per game; games that a baseline couples are accounted for
    snr         ‖E ĝ‖ / √(Σ s²)                    of one batch, ‖E ĝ‖² estimated without bias
    bias z      (ḡ − ∇J) / its standard error      componentwise
    bias p      of Hotelling's T²                  of the whole vector: small only where there is a bias
    cosine      of ḡ and ∇J

    moments      measuring: what is learned first settles and is then held fixed, so that batches are independent
    closed_form  ∇J of finite MDPs and linear-quadratic problems
    reference    ∇J: exact where a closed form is known, elsewhere the mean of a large sample, with its own error
    statistics   the moments compared with a reference
    comparison   several estimators at the same parameters; one along a run; tables

∇J is the gradient of the return of whole games up to the time limit, even where an estimator follows something else
(segments, no γ^t). Everything is in scaled rewards, as estimators see them; `in_rewards` removes the scale.

Reference: Greensmith, Bartlett and Baxter (2004); Mohamed et al., Monte Carlo Gradient Estimation (2020).
"""

from purepg.diagnostics.comparison import compare as compare
from purepg.diagnostics.comparison import in_rewards as in_rewards
from purepg.diagnostics.comparison import measuring_key as measuring_key
from purepg.diagnostics.comparison import signal_to_noise_over_training as signal_to_noise_over_training
from purepg.diagnostics.comparison import to_dataset as to_dataset
from purepg.diagnostics.moments import Moments as Moments
from purepg.diagnostics.reference import Reference as Reference
from purepg.diagnostics.reference import exact_gradient as exact_gradient
from purepg.diagnostics.reference import of_one_replicate as of_one_replicate
from purepg.diagnostics.reference import reference_gradient as reference_gradient
from purepg.diagnostics.reference import with_parameters_of as with_parameters_of
from purepg.diagnostics.statistics import GradientStatistics as GradientStatistics
from purepg.diagnostics.statistics import gradient_statistics as gradient_statistics
from purepg.diagnostics.statistics import statistics_of as statistics_of

__all__ = [
    "GradientStatistics",
    "Moments",
    "Reference",
    "compare",
    "exact_gradient",
    "gradient_statistics",
    "in_rewards",
    "measuring_key",
    "of_one_replicate",
    "reference_gradient",
    "signal_to_noise_over_training",
    "statistics_of",
    "to_dataset",
    "with_parameters_of",
]
