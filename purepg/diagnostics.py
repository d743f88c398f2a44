"""Diagnostics: bias, variance and cost of gradient estimators at given parameters.

An estimate from a batch of N games is a random vector ĝ. Over B independent batches, each with games, noise and
staggering of its own,

    mean        ḡ                                  standard error   s/√B, componentwise, s² = Var ĝ
    variance    N · s²                             that of one game; games coupled by a baseline count rightly
    snr         ‖E ĝ‖ / √(Σ s²)                    of one batch, ‖E ĝ‖² estimated without bias
    bias z      (ḡ − ∇J) / its standard error      componentwise
    bias p      of Hotelling's T²                  of the whole vector: small only where there is a bias (`bias_test`)
    cosine      of ḡ and ∇J

∇J (`purepg.reference_gradients`) is exact where a closed form is known, elsewhere the mean of a large sample of an
unbiased estimator, with its own standard error. It is the gradient of the return of whole games up to the time limit,
also beside estimators that follow something else (segments, no γ^t). All of it is in scaled rewards, as estimators see
them; `in_rewards` takes the scale out.

What an estimator learns is settled first and then held fixed (`purepg.gradient_moments`): batches are independent.

Reference: Greensmith, Bartlett and Baxter (2004); Mohamed et al., Monte Carlo Gradient Estimation (2020).
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from purepg import bias_test, gradient_moments, memory
from purepg.critics import OwnCritic, SharedCritic
from purepg.errors import InvalidInput, whole_number
from purepg.estimators import Estimator, ScoreFunction
from purepg.gradient_moments import Moments
from purepg.hyperparams import Hyperparams
from purepg.networks import Params
from purepg.policy_gradient import PolicyGradient
from purepg.reference_gradients import exact_gradient as exact_gradient
from purepg.reference_gradients import of_one_replicate, with_covariance, with_parameters_of
from purepg.reference_gradients import reference_gradient as reference_gradient
from purepg.task import Segments, Task
from purepg.training import fitted, init, train

if TYPE_CHECKING:
    import xarray

_STREAM = 2**31 + 8  # no update of a run folds it into its key, and no evaluation


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
    bias_p_value: float  # of the hypothesis that there is no bias, of all components together
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
        """The largest of |bias z|, NaN if any is; of thousands, or where an event is never seen, no sign of a bias."""
        return float(np.max(np.abs(np.concatenate([np.ravel(x) for x in jax.tree.leaves(self.bias_z)]))))

    @property
    def cost(self) -> float:
        """Variance of the batch estimate × environment steps: what a given accuracy takes, whatever the batch size."""
        return self.total_variance / self.num_games * self.steps


def gradient_statistics(
    task: Task,
    estimator: Estimator,
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    num_batches: int,
    *,
    reference: tuple[Any, ...] | None = None,
) -> GradientStatistics:
    """Statistics of an estimator at `params`, over `num_batches` independent batches.

    Args:
      task: as for training; its number of games is the size of a batch.
      estimator: measured by its `policy_gradient`.
      hyper: hyper-parameters.
      params: of the policy as `estimator.bind(task)` makes it.
      key: typed key.
      num_batches: B, at least 2.
      reference: (∇J, its standard error) where already known; else `reference_gradient` is asked. A third entry is the
        covariance of the error along the directions of `purepg.bias_test`; without it errors are taken as independent.

    Raises:
      InvalidInput: fewer than two batches, hyper-parameters of several replicates, or an estimator that does not suit
        the task.
    """
    num_batches = whole_number("num_batches", num_batches, 2, 2**31 - 1)  # a variance needs two
    task = of_one_replicate(task, hyper)
    PolicyGradient(task, estimator).check_numbers(hyper)
    batch_key, reference_key = jax.random.split(key)
    moments, seconds = gradient_moments.measure(task, estimator, hyper, params, batch_key, num_batches)
    if reference is None:
        reference = with_covariance(task, hyper, params, reference_key, estimator)
    return statistics_of(task, moments, reference, seconds)


@memory.explained()
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
    task = of_one_replicate(task, hyper)
    memory.check_batch(task)
    shared = ScoreFunction(critic=SharedCritic()) if with_value else None
    reference = with_covariance(task, hyper, params, reference_key, shared)
    statistics = {}
    for name, estimator in estimators.items():
        if not with_value and isinstance(getattr(estimator, "critic", None), SharedCritic):
            estimator = dataclasses.replace(estimator, critic=OwnCritic(steps=4))
        own = task
        if getattr(estimator, "time_limit", "objective") == "bootstrap":
            collect = Segments(task.collect.num_games, max_steps=task.collect.max_steps)
            own = dataclasses.replace(task, collect=collect)
        estimator.check(own)
        if shared is not None:  # also those that leave V alone
            own = with_parameters_of(own, shared)
        statistics[name] = gradient_statistics(
            own, estimator, hyper, params, measure_key, num_batches, reference=reference
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
      Updates done [K] and the ratios ‖E ĝ‖ / √(Σ Var ĝ) [K] of one batch; 0 where noise hides the signal, NaN where
      gradients are not finite.

    Raises:
      InvalidInput: the method estimates no gradient, or hyper-parameters are those of several replicates.
    """
    if not hasattr(method, "estimator"):
        raise InvalidInput(
            f"{type(method).__name__} estimates no gradient of J: take the run of a policy gradient"
        )
    of_one_replicate(method.task, hyper)
    method, hyper = fitted(method, hyper)
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
            jax.random.fold_in(measuring_key(key), iteration),
            num_batches,
            reference=(nothing, nothing),
        )
        ratios.append(measured.snr)
        state = advance(state)
    return at, np.array(ratios)


def measuring_key(key: jax.Array) -> jax.Array:
    """A key for measurements beside the run that `key` begins: neither its start nor its updates draw from it."""
    _, run_key = jax.random.split(key)
    return jax.random.fold_in(run_key, _STREAM)


def in_rewards(statistics: GradientStatistics, reward_scale: float) -> GradientStatistics:
    """Statistics that were measured at a `reward_scale`, of the gradient of the return in plain rewards.

    Raises:
      InvalidInput: the scale is 0.
    """
    if reward_scale == 0:
        raise InvalidInput("reward_scale = 0: nothing is left of the rewards to measure a gradient of")
    size = 1 / abs(reward_scale)
    factors = dict.fromkeys(("mean", "reference"), 1 / reward_scale) | {"variance": size**2}
    factors |= dict.fromkeys(("standard_error", "reference_error"), size) | {"bias_z": np.sign(reward_scale)}
    fields = {n: jax.tree.map(lambda x, f=f: x * f, getattr(statistics, n)) for n, f in factors.items()}
    return statistics._replace(**fields)


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
    bias = "largest_bias_z", "bias_p_value", "cosine"
    for name in ("total_variance", *bias, "snr", "steps", "seconds", "cost"):
        variables[name] = (("estimator",), [float(getattr(r, name)) for r in records])
    dataset = xarray.Dataset(variables, {"estimator": list(statistics), "layer": layers})
    return dataset.assign_attrs(num_games=records[0].num_games, num_batches=records[0].num_batches)


def statistics_of(
    task: Task, moments: Moments, reference: tuple[Any, ...], seconds: float
) -> GradientStatistics:
    num_games, count = task.collect.num_games, float(moments.count)
    error = gradient_moments.standard_error(moments)
    mean, (true_mean, true_error, *covariance) = moments.mean, reference
    of_batch = jax.tree.map(lambda d: d / (count - 1), moments.deviation)
    noise = sum(float(np.sum(x)) for x in jax.tree.leaves(of_batch))
    signal = np.maximum(_dot(mean, mean) - noise / count, 0.0)  # NaN stays NaN
    length = np.sqrt(_dot(mean, mean) * _dot(true_mean, true_mean))
    of_reference = covariance[0] if covariance else bias_test.covariance_of(true_error)
    p_value = bias_test.p_value(
        jax.tree.map(np.subtract, mean, true_mean),
        jax.tree.map(lambda x, y: np.abs(x) + np.abs(y), mean, true_mean),
        gradient_moments.covariance(moments) + of_reference,
        int(count),
    )
    return GradientStatistics(
        mean=mean,
        variance=jax.tree.map(lambda x: num_games * x, of_batch),
        standard_error=error,
        reference=true_mean,
        reference_error=true_error,
        bias_z=jax.tree.map(_z, mean, true_mean, error, true_error),
        snr=float("inf") if noise == 0 else float(np.sqrt(signal / noise)),
        cosine=_dot(mean, true_mean) / length if length > 0 else float("nan"),
        bias_p_value=p_value,
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
    return np.divide(mean - reference, spread, out=np.zeros_like(spread), where=spread != 0)
