"""Diagnostics: bias, variance and cost of gradient estimators at given parameters.

An estimate from a batch of N games is a random vector ĝ. Over B independent batches, each with games, noise and
staggering of its own,

    mean        ḡ                                  standard error   s/√B, componentwise, s² = Var ĝ
    variance    N · s²                             that of one game; games coupled by a baseline count rightly
    snr         ‖E ĝ‖ / √(Σ s²)                    of one batch, ‖E ĝ‖² estimated without bias
    bias z      (ḡ − ∇J) / its standard error      componentwise; beyond 4 is a bias
    cosine      of ḡ and ∇J

∇J is exact for a softmax policy, tabular or not, in a finite MDP and for a linear Gaussian policy in an LQR problem;
elsewhere it is the mean of a large sample of an unbiased estimator, with its own standard error. It is the gradient of
the return of whole games up to the time limit, also beside estimators that follow something else (segments, no γ^t).

What an estimator learns (averages, critics) is settled by a few estimates at the same parameters first and then held
fixed, so that batches are independent.

Reference: Greensmith, Bartlett and Baxter (2004); Mohamed et al., Monte Carlo Gradient Estimation (2020).
"""

import dataclasses
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purepg import environments, exact
from purepg.baselines import LeaveOneOut
from purepg.critics import NoCritic, OwnCritic, SharedCritic
from purepg.errors import InvalidInput
from purepg.estimators import Estimator, ScoreFunction
from purepg.hyperparams import Hyperparams
from purepg.networks import MLP, Params
from purepg.policies import Gaussian, Softmax
from purepg.seeds import Placed
from purepg.task import Games, Segments, Task
from purepg.training import init, train

if TYPE_CHECKING:
    import xarray

_SETTLING = 100  # estimates before a baseline or critic is held fixed


class GradientStatistics(NamedTuple):
    """What B batch estimates of one estimator say. Pytrees are like the parameters."""

    mean: Params
    variance: Params  # N·Var of the batch estimate
    standard_error: Params  # of the mean
    reference: Params  # ∇J of whole games
    reference_error: Params  # its standard error; 0 where it is exact
    bias_z: (
        Params  # (mean − reference) / standard error of the difference; 0 where both are certain and equal
    )
    snr: float
    cosine: float  # of mean and reference
    num_batches: int
    num_games: int
    steps: float  # environment steps of a batch
    seconds: float  # of a batch, on all devices of this machine, compilation apart

    @property
    def total_variance(self) -> float:
        """Σ of the variances over all parameters."""
        return float(sum(np.sum(x) for x in jax.tree.leaves(self.variance)))

    @property
    def largest_bias_z(self) -> float:
        """The largest of |bias z|; of thousands of components the largest reaches 4 without a bias."""
        return float(max(np.abs(x).max() for x in jax.tree.leaves(self.bias_z)))

    @property
    def cost(self) -> float:
        """Variance of the batch estimate × environment steps: what a given accuracy takes, whatever the batch size."""
        return self.total_variance / self.num_games * self.steps


class _Moments(NamedTuple):
    count: jax.Array  # []
    mean: Params
    deviation: Params  # Σ (x − mean)²
    steps: jax.Array  # [], sum


def gradient_statistics(
    task: Task,
    estimator: Estimator,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    num_batches: int,
    *,
    reference: tuple[Params, Params] | None = None,
) -> GradientStatistics:
    """Statistics of an estimator at `params`, over `num_batches` independent batches.

    Args:
      task: as for training; its number of games is the size of a batch.
      estimator: measured by its `policy_gradient`.
      hyper: hyper-parameters.
      params: of the policy as `estimator.bind(task)` makes it.
      key: typed key.
      num_batches: B, at least 2.
      reference: (∇J, its standard error) where already known; else `reference_gradient` is asked.

    Raises:
      InvalidInput: fewer than two batches, or an estimator that does not suit the task.
    """
    if num_batches < 2:
        raise InvalidInput(f"num_batches = {num_batches}: a variance needs at least 2")
    estimator.check(task)
    batch_key, reference_key = jax.random.split(key)
    moments, seconds = _measure(task, estimator, hyper, params, batch_key, num_batches)
    if reference is None:
        reference = reference_gradient(task, hyper, params, reference_key, estimator=estimator)
    return _statistics(task, moments, reference, seconds)


def compare(
    task: Task,
    estimators: dict[str, Any],
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    num_batches: int,
    *,
    with_value: bool = False,
) -> dict[str, GradientStatistics]:
    """Statistics of several estimators at the same parameters of `task`'s policy, against the same reference.

    Args:
      with_value: whether the policy's network has one more output, V, as a critic that shares it leaves behind. If not,
        a critic that would share the network gets one of its own, so that all parameters are the policy's.
    """
    measure_key, reference_key = jax.random.split(key)
    like = ScoreFunction(critic=SharedCritic()) if with_value else None
    reference = reference_gradient(task, hyper, params, reference_key, estimator=like)
    statistics = {}
    for name, estimator in estimators.items():
        critic = getattr(estimator, "critic", None)
        if with_value and isinstance(
            critic, NoCritic
        ):  # leaves V alone, but has parameters of the same shape
            estimator = dataclasses.replace(estimator, critic=SharedCritic())
        elif not with_value and isinstance(critic, SharedCritic):
            estimator = dataclasses.replace(estimator, critic=OwnCritic(steps=4))
        collect = task.collect
        if getattr(estimator, "time_limit", "objective") == "bootstrap":
            collect = Segments(collect.num_games, max_steps=collect.max_steps)
        statistics[name] = gradient_statistics(
            dataclasses.replace(task, collect=collect),
            estimator,
            hyper,
            params,
            measure_key,
            num_batches,
            reference=reference,
        )
    return statistics


def signal_to_noise_over_training(
    method: Any,
    hyper: Hyperparams,
    key: jax.Array,
    num_updates: int,
    *,
    num_points: int = 8,
    num_batches: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """Signal-to-noise ratio of an update's gradient along a run, which is trained anew: a run is what its key makes it.

    Args:
      method: a `PolicyGradient`.
      hyper: of the run, scalars.
      key: of the run.
      num_updates: of the run.
      num_points: where to measure, evenly from 0 updates on.
      num_batches: independent batches at each point.

    Returns:
      Updates done [K] and the ratios ‖E ĝ‖ / √(Σ Var ĝ) [K] of one batch; 0 where noise hides the signal.

    Raises:
      InvalidInput: the method estimates no gradient.
    """
    if not hasattr(method, "estimator"):
        raise InvalidInput(
            f"{type(method).__name__} estimates no gradient of J: take the run of a policy gradient"
        )
    gap = max(1, num_updates // num_points)
    advance = jax.jit(lambda state: train(method, hyper, state, gap)[0])
    state, ratios = jax.jit(lambda: init(method, hyper, key))(), []
    at = np.arange(0, num_updates, gap)
    for iteration in at:
        params = method.params(state.learner)
        nothing = jax.tree.map(np.zeros_like, params)  # no reference is asked for
        measured = gradient_statistics(
            method.task,
            method.estimator,
            hyper,
            params,
            jax.random.key(int(iteration)),
            num_batches,
            reference=(nothing, nothing),
        )
        ratios.append(measured.snr)
        state = advance(state)
    return at, np.array(ratios)


def to_dataset(statistics: dict[str, GradientStatistics]) -> "xarray.Dataset":
    """One entry an estimator, and one a layer (leaf of the parameters)."""
    import xarray

    records = list(statistics.values())
    paths, _ = jax.tree_util.tree_flatten_with_path(records[0].mean)
    layers = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]

    def by_layer(reduce, field):
        trees = [getattr(r, field) for r in records]
        return ("estimator", "layer"), [[float(reduce(x)) for x in jax.tree.leaves(tree)] for tree in trees]

    variables: dict[str, Any] = {
        "layer_variance": by_layer(np.sum, "variance"),
        "layer_largest_bias_z": by_layer(lambda x: np.abs(x).max(), "bias_z"),
    }
    for name in ("total_variance", "largest_bias_z", "snr", "cosine", "steps", "seconds", "cost"):
        variables[name] = (("estimator",), [float(getattr(r, name)) for r in records])
    dataset = xarray.Dataset(variables, {"estimator": list(statistics), "layer": layers})
    return dataset.assign_attrs(num_games=records[0].num_games, num_batches=records[0].num_batches)


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
      num_games: games of the sample, where one is taken (REINFORCE with γ^t and the leave-one-out baseline).
    """
    known = exact_gradient(task, hyper, params, estimator=estimator)
    if known is not None:
        return known, jax.tree.map(np.zeros_like, known)
    games = 256
    whole = dataclasses.replace(task, collect=Games(games, task.collect.max_steps))
    unbiased = ScoreFunction(
        baseline=LeaveOneOut(), critic=getattr(estimator, "critic", ScoreFunction().critic)
    )
    if not _scores(task):
        raise InvalidInput(
            "a policy without noise has no score: there is no unbiased reference for its gradient here"
        )
    moments, _ = _measure(whole, unbiased, hyper, params, key, max(2, num_games // games))
    spread = _standard_error(moments)
    return moments.mean, spread


def exact_gradient(
    task: Task, hyper: Hyperparams, params: Params, *, estimator: Estimator | None = None
) -> Params | None:
    """∇J of whole games up to the time limit in closed form, or None where there is none."""
    env = environments.resolve(task.env)
    env_params = environments.parameters(task.env, hyper.env)
    if hasattr(env, "exact_model") and isinstance(task.policy, Softmax):
        return _finite_mdp_gradient(task, hyper, params, estimator, env.exact_model(env_params))
    if hasattr(env, "exact_lqr") and _is_linear_gaussian(task):
        return _lqr_gradient(task, hyper, params, env.exact_lqr(env_params))
    return None


def _finite_mdp_gradient(
    task: Task, hyper: Hyperparams, params: Params, estimator: Any, model: Any
) -> Params:
    """The gradient by the logits of all states, carried back to the parameters."""
    policy = task.bind_policy() if estimator is None else estimator.bind(task)
    transition, reward, initial = model
    states = jnp.arange(np.shape(transition)[0])

    def logits(params):
        distribution: Any = policy.distribution(params, states)
        return distribution.logits

    at, pull_back = jax.vjp(logits, params)
    by_logits = exact.policy_gradient(
        transition,
        reward,
        initial,
        np.asarray(at, np.float64),
        float(hyper.discount),
        horizon=task.max_steps,
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


def _lqr_gradient(task: Task, hyper: Hyperparams, params: Params, problem: Any) -> Params | None:
    """u = Wᵀx + c + σ ε, so K = −Wᵀ; closed form only for c = 0, and games that start around 0 (else ∂J/∂c ≠ 0)."""
    (name,) = params["network"]
    kernel, bias = params["network"][name]["kernel"], params["network"][name]["bias"]
    env_params: Any = environments.parameters(task.env, hyper.env)
    if np.any(np.asarray(bias) != 0) or np.any(np.asarray(env_params.initial_mean) != 0):
        return None
    learned = task.policy.std == "learned"  # pyright: ignore
    std = np.exp(np.asarray(params["log_std"], np.float64)) if learned else task.policy.initial_std  # pyright: ignore
    A, B, Q, R = (np.asarray(x, np.float64) for x in problem[:4])
    gain, second_moment = (
        -np.asarray(kernel, np.float64).T,
        np.asarray(problem.initial_second_moment, np.float64),
    )
    options: Any = {
        "discount": float(hyper.discount),
        "action_std": std,
        "horizon": task.max_steps,
        "noise_covariance": np.asarray(problem.noise_covariance, np.float64),
    }
    scale = float(hyper.reward_scale)
    by_kernel = (
        scale * np.asarray(exact.lqr_gradient(A, B, Q, R, gain, second_moment, **options)).T
    )  # of the cost by K: two signs cancel
    gradient: Any = {"network": {name: {"kernel": by_kernel, "bias": np.zeros_like(bias)}}}
    if learned:
        gradient["log_std"] = (
            -scale * std * np.asarray(exact.lqr_std_gradient(A, B, Q, R, gain, second_moment, **options))
        )
    return gradient


def _scores(task: Task) -> bool:
    return not (
        isinstance(task.policy, Gaussian) and task.policy.std == "fixed" and task.policy.initial_std == 0
    )


def _measure(
    task: Task, estimator: Any, hyper: Hyperparams, params: Params, key: jax.Array, num_batches: int
) -> tuple[_Moments, float]:
    """Moments over independent batches, split over the devices; and seconds for a batch."""
    num_parts = min(len(jax.local_devices()), num_batches // 2)
    per_part = -(-num_batches // num_parts)

    def settle(params, key):
        def one(state, key):
            return estimator.estimate(task, hyper, params, state, key).state, None

        state = estimator.init(task, hyper, params, key)
        return jax.lax.scan(one, state, jax.random.split(key, _SETTLING))[0]

    def one_part(params, settled, key):
        def one_batch(moments: _Moments, key) -> tuple[_Moments, None]:
            init_key, key = jax.random.split(key)
            state = _with_fresh_games(settled, estimator.init(task, hyper, params, init_key))
            estimate = estimator.estimate(task, hyper, params, state, key)
            return _add(moments, estimate.policy_gradient, estimate.metrics["steps"].sum), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        start = _Moments(jnp.zeros(()), zeros, zeros, jnp.zeros(()))
        return jax.lax.scan(one_batch, start, jax.random.split(key, per_part))[0]

    settle_key, key = jax.random.split(key)
    settled = jax.jit(settle)(params, settle_key)
    placed = Placed(one_part, num_parts)
    tiled = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (num_parts, *x.shape)), (params, settled))
    arguments = placed.pad((*tiled, jax.random.split(key, num_parts)))
    compiled = placed.compile(*arguments)
    started = time.perf_counter()
    parts = jax.device_get(placed.unpad(compiled(*arguments)))
    seconds = (time.perf_counter() - started) / (per_part * num_parts)
    moments = jax.tree.map(lambda x: np.asarray(x[0], np.float64), parts)
    for i in range(1, num_parts):
        moments = _merge(moments, jax.tree.map(lambda x, i=i: np.asarray(x[i], np.float64), parts))
    return moments, seconds


def _add(moments: _Moments, gradient: Params, steps: jax.Array) -> _Moments:
    """Welford's update."""
    count = moments.count + 1.0
    before = jax.tree.map(jnp.subtract, gradient, moments.mean)
    mean = jax.tree.map(lambda m, d: m + d / count, moments.mean, before)
    deviation = jax.tree.map(lambda s, d, g, m: s + d * (g - m), moments.deviation, before, gradient, mean)
    return _Moments(count, mean, deviation, moments.steps + steps)


def _merge(a: _Moments, b: _Moments) -> _Moments:
    """Chan, Golub and LeVeque's (1983)."""
    count = a.count + b.count
    mean = jax.tree.map(lambda x, y: x + (y - x) * b.count / count, a.mean, b.mean)
    deviation = jax.tree.map(
        lambda u, v, x, y: u + v + (y - x) ** 2 * a.count * b.count / count,
        a.deviation,
        b.deviation,
        a.mean,
        b.mean,
    )
    return _Moments(count, mean, deviation, a.steps + b.steps)


def _with_fresh_games(settled: Any, fresh: Any) -> Any:
    """What was learned, with games of its own."""
    return settled._replace(games=fresh.games) if hasattr(settled, "games") else settled


def _standard_error(moments: _Moments) -> Params:
    return jax.tree.map(lambda d: np.sqrt(d / (moments.count - 1) / moments.count), moments.deviation)


def _statistics(
    task: Task, moments: _Moments, reference: tuple[Params, Params], seconds: float
) -> GradientStatistics:
    num_games, count = task.collect.num_games, float(moments.count)
    error = _standard_error(moments)
    mean, (exact_mean, reference_error) = moments.mean, reference
    of_batch = jax.tree.map(lambda d: d / (count - 1), moments.deviation)
    noise = sum(float(np.sum(x)) for x in jax.tree.leaves(of_batch))
    signal = max(_dot(mean, mean) - noise / count, 0.0)
    size = np.sqrt(_dot(mean, mean) * _dot(exact_mean, exact_mean))
    return GradientStatistics(
        mean=mean,
        variance=jax.tree.map(lambda x: num_games * x, of_batch),
        standard_error=error,
        reference=exact_mean,
        reference_error=reference_error,
        bias_z=jax.tree.map(_z, mean, exact_mean, error, reference_error),
        snr=float(np.sqrt(signal / noise)) if noise > 0 else float("inf"),
        cosine=_dot(mean, exact_mean) / size if size > 0 else float("nan"),
        num_batches=int(count),
        num_games=num_games,
        steps=float(moments.steps) / count,
        seconds=seconds,
    )


def _dot(a: Params, b: Params) -> float:
    return float(
        sum(np.sum(np.asarray(x, np.float64) * y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))
    )


def _z(mean: np.ndarray, reference: np.ndarray, error: np.ndarray, reference_error: np.ndarray) -> np.ndarray:
    """Sums in float32 are certain to some 1e-6 of their size only."""
    rounding = 1e-6 * (np.abs(mean) + np.abs(reference))
    spread = np.sqrt(error**2 + reference_error**2 + rounding**2)
    return np.divide(mean - reference, spread, out=np.zeros_like(spread), where=spread > 0)
