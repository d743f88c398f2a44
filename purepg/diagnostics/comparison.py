"""Several estimators at the same parameters, one along a run, and tables of their statistics."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from purepg.diagnostics.reference import (
    Reference,
    check_reference,
    of_one_replicate,
    reference_gradient,
    with_parameters_of,
)
from purepg.diagnostics.statistics import GradientStatistics, gradient_statistics
from purepg.errors import InvalidInput
from purepg.estimators import Estimator, ScoreFunction
from purepg.estimators.critics import OwnCritic, SharedCritic
from purepg.hyperparams import Hyperparams
from purepg.machines import memory
from purepg.policies.networks import Params
from purepg.task import Segments, Task
from purepg.training import fitted, init, train

if TYPE_CHECKING:
    import xarray

__all__ = ["compare", "in_rewards", "measuring_key", "signal_to_noise_over_training", "to_dataset"]

_STREAM = 2**31 + 8  # neither updates nor evaluations of a run fold this number into its key


@memory.explained()
def compare(
    task: Task,
    estimators: Mapping[str, Estimator],
    hyper: Hyperparams,
    params: Params,
    key: jax.Array,
    num_batches: int,
    *,
    with_value: bool = False,
    reference: Reference | Literal["measure"] | None = "measure",
) -> dict[str, GradientStatistics]:
    """Statistics of several estimators at the same parameters of `task`'s policy, against the same reference.

    Args:
      task: what is played; its number of games is the size of a batch.
      estimators: by the names that the result has.
      hyper: numbers, concrete scalars.
      params: of the task's policy, V's among them if `with_value`.
      key: one typed key.
      num_batches: B, at least 2.
      with_value: whether the policy's network has one more output, V, as a critic that shares it leaves behind. If not,
        a critic that would share the network gets its own instead, so that all parameters are the policy's.
      reference: as for `gradient_statistics`.
    """
    check_reference(reference, params)
    measure_key, reference_key = jax.random.split(key)
    task, hyper = of_one_replicate(task, hyper)
    memory.check_batch(task)
    shared = ScoreFunction(critic=SharedCritic()) if with_value else None
    if reference == "measure":
        reference = reference_gradient(task, hyper, params, reference_key, estimator=shared)
    statistics = {}
    for name, estimator in estimators.items():
        if estimator.shares_value and not with_value:
            estimator = estimator.with_critic(OwnCritic(steps=4))
        own = task
        if estimator.collects == "segments":
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
    """Signal-to-noise ratio of an update's gradient along a run, which is trained again from its key.

    Args:
      method: a `PolicyGradient`.
      hyper: the run's numbers, scalars.
      key: the run's typed key.
      num_updates: the run's length.
      num_points: number of points to measure at, evenly spaced from update 0 on.
      num_batches: independent batches at each point.

    Returns:
      Updates done [K] and the ratios ‖E ĝ‖ / √(Σ Var ĝ) [K] of one batch; 0 where noise hides the signal, NaN where
      gradients are not finite.

    Raises:
      InvalidInput: the method estimates no gradient, or the numbers are those of several replicates.
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
        params, batch_key = method.params(state.learner), jax.random.fold_in(measuring_key(key), iteration)
        measured = gradient_statistics(
            method.task, method.estimator, hyper, params, batch_key, num_batches, reference=None
        )
        ratios.append(measured.snr)
        state = advance(state)
    return at, np.array(ratios)


def measuring_key(key: jax.Array) -> jax.Array:
    """A key for measurements on the run with this key: neither its start nor its updates draw from it.

    Args:
      key: the run's typed key.
    """
    _, run_key = jax.random.split(key)
    return jax.random.fold_in(run_key, _STREAM)


def in_rewards(statistics: GradientStatistics, reward_scale: float) -> GradientStatistics:
    """Statistics measured at a `reward_scale`, converted to the gradient of the return in plain rewards.

    Args:
      statistics: in scaled rewards.
      reward_scale: of the numbers they were measured with; not 0.

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
    """A table with one entry per estimator, and one per layer (leaf of the parameters).

    Args:
      statistics: name → statistics, measured with the same parameters, games and batches.

    Returns:
      Dimensions "estimator" and "layer"; layer_variance and layer_largest_bias_z have both.
    """
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
