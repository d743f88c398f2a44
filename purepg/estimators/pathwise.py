"""The pathwise estimator: the gradient of the sampled return itself, through policy, dynamics and reward.

With actions reparameterized, a = μ_θ(s) + σ_θ ε, and the environment's own noise drawn beforehand, the return of a
rollout is a function of θ, and

    ∇J = ∇ E_ε[R(θ, ε)] = E_ε[∇R(θ, ε)],      g = (1/N) Σ_games ∇ Σ_t γ^t r_t

wherever R is continuous in θ: g does not see an end or a reward that jumps with the state, and is then biased. Over
whole games g is unbiased for J up to the time limit, but its variance explodes where games are long or chaotic. Over
segments the sum starts anew in each, is divided by N·T, and the gradient stops where a segment begins; a critic stands
for what follows,

    Σ_{t<H} γ^t r_t + γ^H V(s_H)

Gradients flow through policy, dynamics, rewards and V's argument. They stop at the state that a segment starts from, at
resets (a completed transition keeps its own) and at V's parameters, which the critic learns by itself from λ-returns.

Reference: Heess et al., Learning Continuous Control Policies by Stochastic Value Gradients (2015); Xu et al.,
Accelerated Policy Learning with Parallel Differentiable Simulation (2022).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg import environments, returns
from purepg.environments import EnvironmentSpec, env_params
from purepg.errors import InvalidInput
from purepg.errors.dtypes import in_types_of
from purepg.estimators import chunked_gradient, critics
from purepg.estimators.base import Estimate, EstimatorState, WithCritic, named_parts
from purepg.estimators.critics import Critic, NoCritic
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy
from purepg.policies.networks import Params
from purepg.rollout import collection, metrics
from purepg.rollout.trajectory import Trajectory
from purepg.task import Task

__all__ = ["Pathwise"]


@dataclass(frozen=True)
class Pathwise(WithCritic):
    """The gradient through policy and dynamics, over whole games or segments.

    Attributes:
      critic: V after the last row of a segment, or nothing.
      time_limit: Whether the time limit belongs to the problem, or the critic continues a game that it cut.
    """

    critic: Critic = NoCritic()
    time_limit: Literal["objective", "bootstrap"] = "objective"

    def __post_init__(self):
        named_parts(self, critic=critics)

    def check(self, task: Task) -> None:
        if self.critic.shares_value:
            raise InvalidInput(
                "a pathwise estimator cannot share its critic's network with the policy: give critic own or none"
            )
        if self.time_limit not in ("objective", "bootstrap"):
            raise InvalidInput(f"time_limit = {self.time_limit!r} is not one of objective, bootstrap")
        if self.time_limit == "bootstrap" and not self.critic.has_value:
            raise InvalidInput("time_limit 'bootstrap' needs a critic: give critic own")
        if environments.is_discrete(task.env):
            raise InvalidInput(
                f"{task.env.name!r} has finitely many actions, through which no gradient flows: "
                "take a score function (reinforce…, actor-critic, gae)"
            )

    def check_numbers(self, task: Task, hyper: Hyperparams) -> None:
        """Checks that the environment carries gradients, with each replicate's parameters; traced ones pass."""
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(hyper.env)):
            return
        for params in env_params.distinct(task.env, hyper.env):
            if not _carries_gradient(task.env, params):
                switches = _switches(task.env, params)
                cure = (
                    f"flip {switches}"
                    if switches
                    else "take a score function (reinforce…, actor-critic, gae)"
                )
                raise InvalidInput(
                    f"{task.env.name!r} is not differentiable: neither its states nor its rewards carry a gradient "
                    f"of the action, and every pathwise gradient is 0; {cure}"
                )

    def init(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> EstimatorState:
        return EstimatorState(*self.start(task, hyper, params, key))

    def estimate(
        self, task: Task, hyper: Hyperparams, params: Params, state: EstimatorState, key: jax.Array
    ) -> Estimate:
        def value(observation):
            stopped = jax.lax.stop_gradient(params)
            return self.critic.outputs(task, stopped, state.learned, observation).value

        def objective(params):
            act = critics.acting(self.critic, task, params, state.learned, hyper.env)
            games, trajectory = collection.collect(
                task,
                hyper,
                act,
                state.games,
                key,
                value if self.critic.has_value else None,
                differentiable=True,
            )
            collection.check_rows(trajectory)
            return self._objective(task, hyper, trajectory), (games, trajectory)

        gradient, aside = jax.grad(objective, has_aux=True)(params)
        games, trajectory = jax.lax.stop_gradient(aside)
        scale = collection.row_scale(task, trajectory)
        critic = state.learned
        if self.critic.has_value:
            target = jnp.where(trajectory.mask, self._target(hyper, trajectory), 0.0)
            critic = self.critic.update(task, hyper, params, critic, trajectory, target, scale)
        bonus = _entropy_gradient(task, self.bind(task), hyper, params, trajectory, scale)
        return Estimate(
            gradient,
            jax.tree.map(jnp.add, gradient, bonus),
            EstimatorState(games, critic),
            metrics.of_games(trajectory),
            collection.observed(task, trajectory),
        )

    def _objective(self, task: Task, hyper: Hyperparams, trajectory: Trajectory) -> jax.Array:
        """Sum of the returns of all parts of episodes within the rows, each discounted from its first row."""
        reward, terminated, truncated = self._ends(hyper, trajectory)
        following = trajectory.bootstrap_value if self.critic.has_value else None
        to_go = returns.reward_to_go(reward, terminated, truncated, following, discount=hyper.discount)
        ended = trajectory.terminated | trajectory.truncated
        first = jnp.concatenate([jnp.ones_like(ended[:1]), ended[:-1]]) & trajectory.mask
        return jnp.sum(jnp.where(first, to_go, 0.0)) * collection.row_scale(task, trajectory)[0, 0]

    def _target(self, hyper: Hyperparams, trajectory: Trajectory) -> jax.Array:
        reward, terminated, truncated = self._ends(hyper, trajectory)
        return returns.lambda_return(
            reward,
            terminated,
            truncated,
            collection.next_values(trajectory),
            discount=hyper.discount,
            trace_decay=hyper.trace_decay,
        )

    def _ends(self, hyper: Hyperparams, trajectory: Trajectory) -> tuple[jax.Array, jax.Array, jax.Array]:
        return (hyper.reward_scale * trajectory.reward, *collection.ends(trajectory, self.time_limit))


def _entropy_gradient(
    task: Task,
    policy: BoundPolicy,
    hyper: Hyperparams,
    params: Params,
    trajectory: Trajectory,
    scale: jax.Array,
) -> Params:
    """∇ Σ_rows entropy_coefficient · scale · H(π(·|s)) at the observed states; free where the coefficient is 0."""

    def bonus(params, observation, weight):
        return jnp.vdot(weight, policy.distribution(params, observation).entropy()), ()

    def gradient(params):
        data = trajectory.observation, hyper.entropy_coefficient * scale
        return chunked_gradient.gradient(bonus, params, trajectory.mask, data, task.backend)[0]

    nothing = functools.partial(jax.tree.map, jnp.zeros_like)
    return jax.lax.cond(jnp.asarray(hyper.entropy_coefficient) > 0, gradient, nothing, params)


def _switches(spec: EnvironmentSpec, params: Any) -> str:
    """The boolean parameters of an environment that would make it differentiable; empty if there are none."""
    changes = {name: not on for name, on in env_params.leaves(params).items() if np.asarray(on).dtype == bool}
    found = [
        name
        for name, value in changes.items()
        if np.ndim(value) == 0
        and _carries_gradient(
            spec, env_params.with_fields(spec, {name: value}, replicates=False, base=params)
        )
    ]
    return " or ".join(found)


def _carries_gradient(spec: EnvironmentSpec, params: Any) -> bool:
    """Whether, judging by gradients, any of a few small random actions in a short game moves a reward."""
    with jax.ensure_compile_time_eval():  # also inside a caller's jit
        return bool(_moves(spec)(params))


@functools.cache
def _moves(spec: EnvironmentSpec) -> Callable[[Any], jax.Array]:
    """`_carries_gradient` of parameters, compiled once."""
    num_steps, env = 4, environments.differentiable(spec)
    size = environments.continuous_actions(spec).shape

    def total(actions, params, key):
        def step(state, action):
            _, state, reward, _, _ = environments.step(env, key, state, action, params)
            return state, reward

        fresh = environments.reset(env, key, params)[1]
        like = jax.eval_shape(step, fresh, actions[0])[0]
        return jnp.sum(jax.lax.scan(step, in_types_of(fresh, like), actions)[1])

    def moves(params, seed):
        actions = 0.1 * jax.random.normal(jax.random.key(seed), (num_steps, *size))
        return jnp.any(jax.grad(total)(actions, params, jax.random.key(seed)) != 0)

    return jax.jit(lambda params: jax.vmap(moves, (None, 0))(params, jnp.arange(3)).any())
