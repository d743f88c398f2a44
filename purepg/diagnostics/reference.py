"""∇J to measure estimators against: in closed form where there is one, otherwise from a large sample.

J is the return of whole games, each up to the smaller of the limits of the task and of the environment's parameters in
use, in scaled rewards as estimators see them (`reward_scale`). Where `purepg.diagnostics.closed_form` has no answer, ∇J
is the mean of REINFORCE with γ^t and a leave-one-out baseline, with a standard error.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from purepg import hyperparams
from purepg.diagnostics.closed_form import gradient as in_closed_form
from purepg.diagnostics.moments import covariance_of, measure
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput, checks
from purepg.estimators import Estimator, ScoreFunction
from purepg.estimators.baselines import LeaveOneOut
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy
from purepg.policies.networks import Params
from purepg.task import Games, Task, fit

__all__ = [
    "Reference",
    "check_reference",
    "exact_gradient",
    "of_one_replicate",
    "reference_gradient",
    "with_parameters_of",
]

_GAMES_A_BATCH = 256


class Reference(NamedTuple):
    """A gradient to measure against, and how far it may be off.

    Attributes:
      standard_error: like the gradient; None: it is exact.
      covariance: [K, K], of its error along the directions; None: components err independently.
    """

    gradient: Params
    standard_error: Params | None = None
    covariance: np.ndarray | None = None

    @property
    def error(self) -> Params:
        """The standard error, 0 where the gradient is exact."""
        if self.standard_error is None:
            return jax.tree.map(np.zeros_like, self.gradient)
        return self.standard_error

    @property
    def covariance_along(self) -> np.ndarray:
        """Of the error along the directions of `purepg.diagnostics.moments`, [K, K]."""
        return covariance_of(self.error) if self.covariance is None else self.covariance


def reference_gradient(
    task: Task,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    *,
    estimator: Estimator | None = None,
    num_games: int = 200_000,
) -> Reference:
    """∇J of whole games up to the time limit: exact where possible, else sampled.

    Args:
      task: what is played.
      hyper: numbers, concrete scalars.
      params: of the policy.
      key: one typed key, for the sample.
      estimator: decides the parameters' shape, where a critic shares the policy's network; None: the policy alone.
      num_games: games of the sample, where one is taken.

    Raises:
      InvalidInput: the numbers are those of several replicates; or there is no closed form and the policy has no score.
    """
    known = exact_gradient(task, hyper, params, estimator=estimator)
    if known is not None:
        return Reference(known)
    task, hyper = of_one_replicate(task, hyper)
    whole = dataclasses.replace(task, collect=Games(_GAMES_A_BATCH, task.collect.max_steps))
    unbiased = ScoreFunction(baseline=LeaveOneOut())
    unbiased.check(whole)
    if estimator is not None:
        whole = with_parameters_of(whole, estimator)
    num_batches = max(2, num_games // _GAMES_A_BATCH)
    moments, _ = measure(whole, unbiased, hyper, params, key, num_batches)
    return Reference(moments.mean, moments.standard_error, moments.covariance)


def exact_gradient(
    task: Task, hyper: Hyperparams, params: Params, *, estimator: Estimator | None = None
) -> Params | None:
    """∇J of whole games up to the time limit in closed form, or None where there is none.

    Args:
      task: what is played.
      hyper: numbers, concrete scalars.
      params: of the policy.
      estimator: decides the shape of the parameters, where a critic shares the policy's network; None: the policy
        alone.

    Raises:
      InvalidInput: the numbers are those of several replicates.
    """
    task, hyper = of_one_replicate(task, hyper)
    policy = task.bind_policy() if estimator is None else estimator.bind(task)
    return in_closed_form(task, hyper, params, policy)


def check_reference(reference: Any, params: Params) -> None:
    """Refuses a reference that does not fit the parameters.

    Args:
      reference: a `Reference`, "measure" or None.
      params: of the policy.

    Raises:
      InvalidInput: it is neither a `Reference` like the parameters, nor "measure" or None.
    """
    if isinstance(reference, Reference):
        for name, tree in (("gradient", reference.gradient), ("standard_error", reference.error)):
            checks.same_arrays(f"reference.{name}", tree, "the parameters", params)
        return
    fits = reference is None or (isinstance(reference, str) and reference == "measure")
    checks.kind(
        "reference", reference, fits, "diagnostics.Reference(∇J, its standard error), 'measure' or None"
    )


def of_one_replicate(task: Task, hyper: Hyperparams) -> tuple[Task, Hyperparams]:
    """Fits task and numbers to one another (`purepg.task.fit`).

    Args:
      task: what is played.
      hyper: concrete numbers.

    Raises:
      InvalidInput: these are the numbers of several replicates.
    """
    if hyperparams.varies(hyper, task.env):
        raise InvalidInput(
            "these are the hyper-parameters of several replicates, with one more axis: a gradient is measured with "
            "those of one, as purepg.load(folder).hyper_of(seed) gives them"
        )
    return fit(task, hyper)


@dataclass(frozen=True)
class _Trained:
    """The policy record of what an estimator trains, with V only for a critic that asks for it."""

    task: Task
    estimator: Estimator

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        del env  # the task's
        bound = self.estimator.bind(self.task)
        if with_value:
            return bound
        return bound._replace(outputs=lambda *arguments: bound.outputs(*arguments)._replace(value=None))


def with_parameters_of(task: Task, estimator: Estimator) -> Task:
    """The task for any estimator at the parameters that `estimator` trains, with or without V beside the policy.

    Args:
      task: what is played.
      estimator: the one that trained the parameters.
    """
    return dataclasses.replace(task, policy=_Trained(task, estimator), normalize_observations=False)
