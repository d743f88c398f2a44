"""∇J to measure estimators against: in closed form where there is one, else from a large sample.

J is the return of whole games, each up to the smallest limit that cuts it, of the task or of the environment's
parameters in use, in scaled rewards as estimators see them (`reward_scale`). A closed form there is for

    a softmax policy, tabular or not, in a finite MDP      ∂J/∂θ = Σ_s ∂J/∂logits(s) · ∂f_θ(o(s))/∂θ
    a linear Gaussian policy in an LQR problem             u = Wᵀx + c + σ ε is u = −K x̃ of the state x̃ = (x, 1)

A policy is given what is observed, o(s), also where states share an observation (`purepg.observed_states`). Elsewhere
it is the mean of REINFORCE with γ^t and a leave-one-out baseline, with its own standard error.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purepg import bias_test, environments, exact, gradient_moments, hyperparams, observed_states
from purepg.baselines import LeaveOneOut
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.estimators import Estimator, ScoreFunction
from purepg.hyperparams import Hyperparams
from purepg.networks import MLP, Params
from purepg.policies import BoundPolicy, Gaussian, Softmax
from purepg.task import Games, Task, fit

_GAMES_A_BATCH = 256


def reference_gradient(
    task: Task,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    *,
    estimator: Estimator | None = None,
    num_games: int = 200_000,
) -> tuple[Params, Params]:
    """∇J of whole games up to the time limit, and its standard error: exact where possible, else sampled.

    Args:
      estimator: gives the shape of the parameters, where a critic shares the policy's network.
      num_games: games of the sample, where one is taken.

    Raises:
      InvalidInput: the numbers are of several replicates; or there is no closed form, and the policy has no score.
    """
    return with_covariance(task, hyper, params, key, estimator, num_games)[:2]


def with_covariance(
    task: Task,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    estimator: Estimator | None = None,
    num_games: int = 200_000,
) -> tuple[Params, Params, np.ndarray]:
    """`reference_gradient`, and the covariance of its error along the directions of `purepg.bias_test`, [K, K]."""
    known = exact_gradient(task, hyper, params, estimator=estimator)
    if known is not None:
        certain = jax.tree.map(np.zeros_like, known)
        return known, certain, bias_test.covariance_of(certain)
    task = of_one_replicate(task, hyper)
    whole = dataclasses.replace(task, collect=Games(_GAMES_A_BATCH, task.collect.max_steps))
    unbiased = ScoreFunction(baseline=LeaveOneOut())
    unbiased.check(whole)
    if estimator is not None:
        whole = with_parameters_of(whole, estimator)
    num_batches = max(2, num_games // _GAMES_A_BATCH)
    moments, _ = gradient_moments.measure(whole, unbiased, hyper, params, key, num_batches)
    return moments.mean, gradient_moments.standard_error(moments), gradient_moments.covariance(moments)


def exact_gradient(
    task: Task, hyper: Hyperparams, params: Params, *, estimator: Estimator | None = None
) -> Params | None:
    """∇J of whole games up to the time limit in closed form, or None where there is none.

    Raises:
      InvalidInput: the numbers are of several replicates.
    """
    task = of_one_replicate(task, hyper)
    env_params = environments.parameters(task.env, hyper.env)
    if isinstance(task.policy, Softmax):
        observed = observed_states.of_finite_model(task.env, env_params)
        return None if observed is None else _finite_mdp_gradient(task, hyper, params, estimator, observed)
    if _is_linear_gaussian(task) and observed_states.is_linear_model(task.env, env_params):
        return _lqr_gradient(task, hyper, params)
    return None


def of_one_replicate(task: Task, hyper: Hyperparams) -> Task:
    """The task fitted to the numbers in use (`purepg.task.fit`).

    Raises:
      InvalidInput: these are the numbers of several replicates.
    """
    if hyperparams.varies(hyper, environments.parameters(task.env, None)):
        raise InvalidInput(
            "these are the hyper-parameters of several replicates, with an axis more: a gradient is measured with "
            "those of one, as purepg.load(folder).hyper_of(seed) gives them"
        )
    return fit(task, hyper)[0]


@dataclass(frozen=True)
class _Trained:
    """The policy record of what an estimator trains: its V is there for a critic that asks for it."""

    task: Task
    estimator: Estimator

    def bind(self, env: EnvironmentSpec, *, with_value: bool = False) -> BoundPolicy:
        del env  # the task's
        bound = self.estimator.bind(self.task)
        if with_value:
            return bound
        return bound._replace(outputs=lambda *arguments: bound.outputs(*arguments)._replace(value=None))


def with_parameters_of(task: Task, estimator: Estimator) -> Task:
    """The task for any estimator at the parameters that `estimator` trains, V beside the policy or not."""
    return dataclasses.replace(task, policy=_Trained(task, estimator), normalize_observations=False)


def _horizon(task: Task, env_params: Any) -> int:
    """Steps after which a game is cut, by the task or by the environment."""
    if not hasattr(env_params, "max_steps_in_episode"):
        return task.max_steps
    return min(task.max_steps, environments.time_limit(task.env, env_params))


def _finite_mdp_gradient(
    task: Task, hyper: Hyperparams, params: Params, estimator: Any, observed: np.ndarray
) -> Params:
    """The gradient by the logits of all states, carried back through what is observed there to the parameters."""
    policy = task.bind_policy() if estimator is None else estimator.bind(task)
    env_params = environments.parameters(task.env, hyper.env)

    def logits(params):
        distribution: Any = policy.distribution(params, jnp.asarray(observed))
        return distribution.logits

    at, pull_back = jax.vjp(logits, params)
    transition, reward, initial = environments.exact_model(task.env, env_params)
    by_logits = exact.policy_gradient(
        transition,
        reward,
        initial,
        np.asarray(at, np.float64),
        float(hyper.discount),
        horizon=_horizon(task, env_params),
    )
    return jax.tree.map(np.asarray, pull_back(jnp.asarray(hyper.reward_scale * by_logits, at.dtype))[0])


def _is_linear_gaussian(task: Task) -> bool:
    policy = task.policy
    return (
        isinstance(policy, Gaussian)
        and policy.std != "state"
        and not policy.squash
        and not task.normalize_observations
        and isinstance(policy.network, MLP)
        and policy.network.hidden == ()
    )


def _lqr_gradient(task: Task, hyper: Hyperparams, params: Params) -> Params:
    """By kernel [n, m] and bias [m], of which a shared critic's V has one column more, without a say in J."""
    policy: Any = task.policy
    env_params = environments.parameters(task.env, hyper.env)
    problem = environments.resolve(task.env).exact_lqr(env_params)
    (name,) = params["network"]
    A, B, Q, R, second_moment, noise = (np.asarray(x, np.float64) for x in problem[:6])
    weights = np.vstack(
        [params["network"][name]["kernel"], params["network"][name]["bias"]]
    )  # [n + 1, m or m + 1]
    size = B.shape[1]
    learned = policy.std == "learned"
    std = np.exp(np.asarray(params["log_std"], np.float64)) if learned else float(policy.initial_std)
    mean = np.asarray(env_params.initial_mean, np.float64)
    arguments: Any = (
        _bordered(A, corner=1.0),
        np.pad(B, ((0, 1), (0, 0))),
        _bordered(Q),
        R,
        -weights[:, :size].astype(np.float64).T,
        _bordered(second_moment, mean, corner=1.0),
    )
    options: Any = {
        "discount": float(hyper.discount),
        "action_std": std,
        "horizon": _horizon(task, env_params),
        "noise_covariance": _bordered(noise),
    }
    scale = float(hyper.reward_scale)
    by_weights = np.zeros(weights.shape)
    by_weights[:, :size] = (
        scale * exact.lqr_gradient(*arguments, **options).T
    )  # of the cost by K: two signs cancel
    gradient: Any = {"network": {name: {"kernel": by_weights[:-1], "bias": by_weights[-1]}}}
    if learned:
        gradient["log_std"] = -scale * std * exact.lqr_std_gradient(*arguments, **options)
    return gradient


def _bordered(matrix: np.ndarray, border: float | np.ndarray = 0.0, *, corner: float = 0.0) -> np.ndarray:
    """[n, n] → [n + 1, n + 1], symmetric in the border [n]."""
    whole = np.full((len(matrix) + 1,) * 2, corner)
    whole[:-1, :-1], whole[:-1, -1], whole[-1, :-1] = matrix, border, border
    return whole
