"""The score-function estimator: REINFORCE, its baselines, and actor-critic.

By the policy gradient theorem ∇J = E Σ_t γ^t ∇log π(a_t|s_t) Q(s_t, a_t). Play N games and put a target y_t in place
of Q:

    g = (1/N) Σ_games Σ_t γ^t ∇log π(a_t|s_t) (y_t − b_t)

    target        y_t
    reward_to_go  Σ_{k≥t} γ^{k−t} r_k                              unbiased: REINFORCE
    total         R_0, which counts from the start: no γ^t         unbiased
    td            r_t + γ V(s_{t+1})                               unbiased where V = V^π
    n_step        n rewards, then V                                likewise
    lambda        λ-weighted over all n; y − V is GAE              likewise

Over segments the sum is divided by N·T. Without γ^t the direction is no gradient of J, but every step of a long game
counts; actor-critic methods are usually written this way.

`time_limit` tells two objectives apart. "objective": the limit belongs to the problem, J is the return up to it, and
nothing follows a truncation. "bootstrap": the limit is an artefact of collection, J is the return without it, and the
critic estimates what would have followed. Where a segment ends inside a game, the critic continues it in either case.

Gradients flow through log π, the entropy and a shared critic's V at the observed states; targets, rewards,
observations, actions and the environment are never differentiated: the policy acts with stopped parameters.

Reference: Williams (1992); Sutton, McAllester, Singh and Mansour, Policy Gradient Methods for Reinforcement Learning
with Function Approximation (2000); Schulman et al. (2016) for GAE; Pardo et al. (2018) for time limits.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purepg import returns
from purepg.errors import InvalidInput
from purepg.errors.shapes import check_shapes
from purepg.estimators import baselines, chunked_gradient, critics
from purepg.estimators.base import Estimate, EstimatorState, WithCritic, named_parts
from purepg.estimators.baselines import Baseline, NoBaseline, ScoreProducts
from purepg.estimators.critics import Critic, NoCritic
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy, refuse_without_score
from purepg.policies.networks import Params
from purepg.rollout import collection, metrics
from purepg.rollout.trajectory import Trajectory
from purepg.task import Segments, Task

__all__ = ["Learned", "ScoreFunction"]

_MONTE_CARLO = ("reward_to_go", "total")
_TARGETS = (*_MONTE_CARLO, "td", "n_step", "lambda")


class Learned(NamedTuple):
    """The states of a score function's baseline and critic."""

    baseline: Any
    critic: Any


@dataclass(frozen=True)
class ScoreFunction(WithCritic):
    """REINFORCE and actor-critic: a choice of target, baseline, critic and weighting.

    Attributes:
      target: What multiplies ∇log π: a Monte-Carlo return, or one that a critic continues.
      baseline: Subtracted from the target; or its name.
      critic: V; or its name.
      time_limit: Whether the time limit belongs to the problem, or the critic continues a game that it cut.
      n: Rewards in an n_step target.
      discount_weighting: Weight row t by γ^t, as the gradient of J has it; without it the direction is no gradient of
        J.
      normalize_advantages: Standardise advantages over the live rows of an update: biased in direction, steps of even
        size.
      rows_per_chunk: Rows differentiated at once; memory grows with it, not with T·N. 0: what suits the backend.
    """

    target: Literal["reward_to_go", "total", "td", "n_step", "lambda"] = "reward_to_go"
    baseline: Baseline = NoBaseline()
    critic: Critic = NoCritic()
    time_limit: Literal["objective", "bootstrap"] = "objective"
    n: int = 8
    discount_weighting: bool = True
    normalize_advantages: bool = False
    rows_per_chunk: int = 0

    def __post_init__(self):
        named_parts(self, baseline=baselines, critic=critics)

    def check(self, task: Task) -> None:
        if self.target not in _TARGETS:
            raise InvalidInput(f"target = {self.target!r} is not one of {', '.join(_TARGETS)}")
        if self.time_limit not in ("objective", "bootstrap"):
            raise InvalidInput(f"time_limit = {self.time_limit!r} is not one of objective, bootstrap")
        if self.target == "total" and self.discount_weighting:
            raise InvalidInput(
                "the total return is discounted from the start of the game already: "
                "target 'total' needs discount_weighting off"
            )
        refuse_without_score(task.policy, "a score function")
        if self.n < 1:
            raise InvalidInput(f"n = {self.n}: an n-step return needs at least one step; give n >= 1")
        if self.rows_per_chunk < 0:
            raise InvalidInput(
                f"rows_per_chunk = {self.rows_per_chunk}: give a positive number, or 0 for automatic"
            )
        segments = isinstance(task.collect, Segments)
        if segments and self.target == "total":
            raise InvalidInput("a segment seldom holds a whole game: target 'total' needs whole games")
        if not self.critic.has_value:
            needs = {
                f"target {self.target!r}": self.target not in _MONTE_CARLO,
                "time_limit 'bootstrap'": self.time_limit == "bootstrap",
                "baseline 'value'": self.baseline.needs_value,
                "a segment, which ends inside games,": segments,
            }
            for what, needed in needs.items():
                if needed:
                    raise InvalidInput(f"{what} needs a critic: give critic shared or own")
        self.baseline.check(task)

    def init(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> EstimatorState:
        games, critic = self.start(task, hyper, params, key)
        return EstimatorState(games, Learned(self.baseline.init(task), critic))

    def estimate(
        self, task: Task, hyper: Hyperparams, params: Params, state: EstimatorState, key: jax.Array
    ) -> Estimate:
        acting = jax.lax.stop_gradient(params)
        act = critics.acting(self.critic, task, acting, state.learned.critic, hyper.env)

        def critic(observation):
            return self.critic.outputs(task, acting, state.learned.critic, observation).value

        value = critic if self.critic.has_value else None
        games, trajectory = collection.collect(task, hyper, act, state.games, key, value)
        estimate = self.estimate_from(task, hyper, params, state, jax.lax.stop_gradient(trajectory))
        return estimate._replace(state=estimate.state._replace(games=games))

    def estimate_from(
        self, task: Task, hyper: Hyperparams, params: Params, state: EstimatorState, trajectory: Trajectory
    ) -> Estimate:
        """The estimate from a trajectory that the policy with `params` has collected.

        Args:
          task, hyper, params, state: as for `estimate`.
          trajectory: rows `[T, N]`, with V where there is a critic; nothing in it is differentiated.
        """
        collection.check_rows(trajectory)
        target = jnp.where(trajectory.mask, self._target(hyper, trajectory), 0.0)
        step_weight = trajectory.mask.astype(jnp.float32)
        if self.discount_weighting:
            step_weight = step_weight * jnp.power(
                jnp.float32(hyper.discount), trajectory.time.astype(jnp.float32)
            )

        def scores():
            return _score_products(self.bind(task), params, trajectory, step_weight, target)

        baseline = self.baseline.values(state.learned.baseline, target, trajectory, scores)
        check_shapes("the target", target.shape, baseline=baseline)
        advantage = jnp.where(trajectory.mask, target - baseline, 0.0)
        if self.normalize_advantages:
            advantage = standardize(advantage, trajectory.mask, target)
        scale = collection.row_scale(task, trajectory)
        weight = scale * step_weight * advantage

        rows_per_chunk = self.rows_per_chunk or task.backend.rows_per_chunk
        backend = replace(task.backend, rows_per_chunk=rows_per_chunk)

        def gradient(entropy_weight, value_weight):
            data = (
                trajectory.observation,
                trajectory.action,
                weight,
                entropy_weight * scale,
                value_weight * scale,
                target,
            )
            surrogate = _surrogate(self.bind(task))
            return chunked_gradient.gradient(surrogate, params, trajectory.mask, data, backend)

        alone, _ = gradient(0.0, 0.0)
        full, entropy = gradient(hyper.entropy_coefficient, hyper.value_coefficient)
        numbers = metrics.of_games(trajectory) | {"entropy": metrics.over(entropy, trajectory.mask)}
        if self.critic.has_value:
            numbers["value_error"] = metrics.over((target - trajectory.value) ** 2, trajectory.mask)
        critic = self.critic.update(task, hyper, params, state.learned.critic, trajectory, target, scale)
        baseline = self.baseline.update(state.learned.baseline, target, trajectory)
        state = EstimatorState(state.games, Learned(baseline, critic))
        return Estimate(alone, full, state, numbers, collection.observed(task, trajectory))

    def _target(self, hyper: Hyperparams, trajectory: Trajectory) -> jax.Array:
        """y `[T, N]`, in units of scaled rewards."""
        reward, discount = hyper.reward_scale * trajectory.reward, hyper.discount
        terminated, truncated = collection.ends(trajectory, self.time_limit)
        following = collection.next_values(trajectory) if self.critic.has_value else None
        ends = reward, terminated, truncated
        if self.target == "reward_to_go":
            return returns.reward_to_go(*ends, following, discount=discount)
        if self.target == "total":
            return returns.total_return(*ends, following, discount=discount)
        assert following is not None  # `check` refuses these targets without a critic
        if self.target == "td":
            return returns.td_target(reward, terminated, following, discount=discount)
        if self.target == "n_step":
            return returns.n_step_return(*ends, following, discount=discount, n=self.n)
        return returns.lambda_return(*ends, following, discount=discount, trace_decay=hyper.trace_decay)


def _surrogate(policy: BoundPolicy):
    """Σ_rows (weight · log π(a|s) + entropy_weight · H(π(·|s)) − value_weight · (target − V(s))²), and each H."""

    def surrogate(params, observation, action, weight, entropy_weight, value_weight, target):
        distribution, value = policy.outputs(params, observation)
        entropy = distribution.entropy()
        total = jnp.vdot(weight, distribution.log_prob(action)) + jnp.vdot(entropy_weight, entropy)
        if value is not None:
            total = total - jnp.vdot(value_weight, (target - value) ** 2)
        return total, entropy

    return surrogate


def _score_products(
    policy: BoundPolicy, params: Params, trajectory: Trajectory, step_weight: jax.Array, target: jax.Array
) -> ScoreProducts:
    """One game after another, so that only one game's gradients are in memory at a time."""

    def one_game(game):
        observation, action, weight, target = game

        def weighted(params):
            log_prob = policy.distribution(params, observation).log_prob(action)
            return jnp.vdot(weight * target, log_prob), jnp.vdot(weight, log_prob)

        with_target, alone = jax.jacrev(weighted)(params)
        product, square = optax.tree.vdot(with_target, alone), optax.tree.vdot(alone, alone)
        return ScoreProducts(jnp.asarray(product), jnp.asarray(square))

    games = trajectory.observation, trajectory.action, step_weight, target
    return jax.lax.map(one_game, jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), games))


def standardize(x: jax.Array, where: jax.Array, made_of: jax.Array | None = None) -> jax.Array:
    """Mean 0 and deviation 1 where `where` holds; 0 where all are equal up to rounding, which gives no direction.

    `made_of`, of x's shape, is what x is a difference of: the rounding is relative to it.
    """
    # Relative to the largest instead of 0: equal numbers then differ by exactly 0, whatever their sum rounds to.
    apart = x - jnp.max(x, where=where, initial=-jnp.inf)
    apart = apart - jnp.mean(apart, where=where)
    std = jnp.sqrt(jnp.mean(apart**2, where=where))
    size = jnp.max(
        jnp.maximum(jnp.abs(x), 0.0 if made_of is None else jnp.abs(made_of)), where=where, initial=0.0
    )
    equal = std <= 10 * jnp.finfo(x.dtype).eps * size
    return jnp.where(equal, 0.0, apart / jnp.where(equal, 1.0, std))
