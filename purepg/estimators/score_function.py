"""The score-function estimator: REINFORCE and its baselines.

By the policy gradient theorem ∇J = E Σ_t γ^t ∇log π(a_t|s_t) Q(s_t, a_t). Play N whole games and put a sampled return
in the place of Q:

    g = (1/N) Σ_games Σ_t γ^t ∇log π(a_t|s_t) (G_t − b_t)

with G_t the reward-to-go Σ_{k≥t} γ^{k−t} r_k, or the total return R_0 (then without γ^t: R_0 counts from the start
already). The time limit belongs to the problem: J is the return up to it, and g is unbiased for this J.

Gradients flow through log π and the entropy of the policy at the observed states; rewards, observations, actions and
the environment are never differentiated: the policy acts with stopped parameters.

Reference: Williams (1992); Sutton, McAllester, Singh and Mansour, Policy Gradient Methods for Reinforcement Learning
with Function Approximation (2000).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from purepg import environments, metrics, returns, rollout
from purepg.baselines import Baseline, NoBaseline
from purepg.errors import InvalidInput
from purepg.estimators.base import Estimate
from purepg.hyperparams import Hyperparams
from purepg.networks import Params
from purepg.policies import BoundPolicy
from purepg.rollout import Rows
from purepg.task import Task


@dataclass(frozen=True)
class ScoreFunction:
    """REINFORCE with a choice of target, baseline and weighting."""

    target: Literal["reward_to_go", "total"] = "reward_to_go"
    """What multiplies ∇log π: the return from the row on, or the whole game's return on each of its rows."""
    baseline: Baseline = NoBaseline()
    discount_weighting: bool = True
    """Weight row t by γ^t, as the gradient of J has it; without it the direction is no gradient of J."""
    normalize_advantages: bool = False
    """Standardise advantages over the live rows of an update: biased in direction, steps of even size."""
    rows_per_chunk: int = 0
    """Rows differentiated at once; memory grows with it, not with T·N. 0: what suits the backend."""

    def check(self, task: Task) -> None:
        if self.target not in ("reward_to_go", "total"):
            raise InvalidInput(f"target = {self.target!r} is not one of 'reward_to_go', 'total'")
        if self.target == "total" and self.discount_weighting:
            raise InvalidInput(
                "the total return is discounted from the start of the game already: "
                "target 'total' needs discount_weighting off"
            )
        if self.rows_per_chunk < 0:
            raise InvalidInput(
                f"rows_per_chunk = {self.rows_per_chunk}: give a positive number, or 0 for automatic"
            )
        self.baseline.check(task)

    def init(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> Any:
        return self.baseline.init(task)

    def estimate(
        self, task: Task, hyper: Hyperparams, params: Params, state: Any, key: jax.Array
    ) -> Estimate:
        policy, acting = task.bind_policy(), jax.lax.stop_gradient(params)
        rows = rollout.play_games(
            environments.resolve(task.env),
            environments.parameters(task.env, hyper.env),
            lambda key, observation: policy.distribution(acting, observation).sample(key),
            key,
            num_games=task.collect.num_games,
            max_steps=task.max_steps,
        )
        return self.estimate_from(task, hyper, params, state, jax.lax.stop_gradient(rows))

    def estimate_from(
        self, task: Task, hyper: Hyperparams, params: Params, state: Any, rows: Rows
    ) -> Estimate:
        """The estimate from rows `[T, N]` that the policy of `params` has collected."""
        target = returns.reward_to_go if self.target == "reward_to_go" else returns.total_return
        reward = hyper.reward_scale * rows.reward
        value = target(reward, rows.terminated, rows.truncated, discount=hyper.discount)
        value = jnp.where(rows.live, value, 0.0)
        advantage = value - self.baseline.values(state, value, rows)
        if self.normalize_advantages:
            advantage = _standardize(advantage, rows.live)
        scale = rows.live / rows.live.shape[1]  # sums over rows, divided by the number of games
        weight = scale * advantage
        if self.discount_weighting:
            weight = weight * jnp.power(jnp.float32(hyper.discount), rows.time)

        policy, chunk = task.bind_policy(), self.rows_per_chunk or _default_chunk()
        alone = _weighted_score(policy, params, rows, weight, jnp.zeros_like(weight), chunk)
        full = _weighted_score(policy, params, rows, weight, hyper.entropy_coefficient * scale, chunk)
        numbers = metrics.of_games(rows) | {"entropy": metrics.over(full.entropy, rows.live)}
        return Estimate(alone.gradient, full.gradient, self.baseline.update(state, value, rows), numbers)


class _Score(NamedTuple):
    gradient: Params
    entropy: jax.Array  # [T, N]


def _weighted_score(
    policy: BoundPolicy, params: Params, rows: Rows, weight: jax.Array, entropy_weight: jax.Array, chunk: int
) -> _Score:
    """∇ Σ_rows (weight · log π(a|s) + entropy_weight · H(π(·|s))), a chunk of rows at a time.

    Chunks without a live row are passed over, so that games which ended early cost nothing (unless under `vmap`).
    """

    def surrogate(params, observation, action, weight, entropy_weight):
        distribution = policy.distribution(params, observation)
        entropy = distribution.entropy()
        return jnp.vdot(weight, distribution.log_prob(action)) + jnp.vdot(entropy_weight, entropy), entropy

    def add_chunk(gradient, chunk):
        live, *data = chunk

        def differentiate(gradient):
            more, entropy = jax.grad(surrogate, has_aux=True)(params, *data)
            return jax.tree.map(jnp.add, gradient, more), entropy

        return jax.lax.cond(live.any(), differentiate, lambda g: (g, jnp.zeros(live.shape)), gradient)

    data = rows.live, rows.observation, rows.action, weight, entropy_weight
    chunks = jax.tree.map(lambda x: _split(x, chunk), data)
    gradient, entropy = jax.lax.scan(add_chunk, jax.tree.map(jnp.zeros_like, params), chunks)
    return _Score(gradient, entropy.reshape(-1)[: weight.size].reshape(weight.shape))


def _split(x: jax.Array, chunk: int) -> jax.Array:
    """Rows `[T, N, ...]` as `[chunks, rows, ...]`; the last chunk is filled up with zeros, which are dead rows."""
    x = x.reshape((-1, *x.shape[2:]))
    chunk = min(chunk, x.shape[0])
    fill = jnp.zeros((-x.shape[0] % chunk, *x.shape[1:]), x.dtype)
    return jnp.concatenate([x, fill]).reshape((-1, chunk, *x.shape[1:]))


def _default_chunk() -> int:
    """On a CPU as many rows as fit its cache (1.3 to 1.5 times as fast as all at once); elsewhere many."""
    return 256 if jax.default_backend() == "cpu" else 65_536


def _standardize(x: jax.Array, where: jax.Array) -> jax.Array:
    mean = jnp.mean(x, where=where)
    return (x - mean) / (jnp.std(x, where=where) + 1e-8)
