"""∇J in closed form: which problems have one, and what a policy observes of their states.

    a softmax policy, tabular or not, in a finite MDP      ∂J/∂θ = Σ_s ∂J/∂logits(s) · ∂f_θ(o(s))/∂θ
    a linear Gaussian policy in an LQR problem             u = K o + c + σ ε is u = −K̃ x̃ + σ ε of the state x̃ = (x, 1)

A policy is given observations, never states. States may share one (o(s) = o(s') though s ≠ s'); a policy cannot tell
them apart then, and J and its gradient are those of π(a|o(s)). A class that adds noise or memory to observations or
dynamics may still inherit the model of the class that it extends. This is detected by playing: observations must be
those of the states, and no transition may occur that the model rules out.
"""

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from purepg import environments, exact
from purepg.environments import EnvironmentSpec
from purepg.errors.dtypes import in_types_of
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy, Linear
from purepg.policies.distributions import Categorical
from purepg.policies.networks import Params
from purepg.task import Task

__all__ = ["FiniteModel", "LinearModel", "gradient"]

_GAMES, _STEPS = 64, 16  # played for this check


@runtime_checkable
class FiniteModel(Protocol):
    """An environment with finitely many states; `index` is the field of its state that numbers them."""

    observation_index: Any  # [S] int, o(s)

    def exact_model(self, params: Any) -> Any:
        """The arrays (transition `[S, A, S]`, reward, initial `[S]`).

        Args:
          params: the environment's parameters.
        """
        ...


@runtime_checkable
class LinearModel(Protocol):
    """An environment with linear dynamics and quadratic cost, whose state has the field `x`, which is observed."""

    def exact_lqr(self, params: Any) -> Any:
        """A, B, Q, R, initial_second_moment, noise_covariance.

        Args:
          params: the environment's parameters.
        """
        ...


def gradient(task: Task, hyper: Hyperparams, params: Params, policy: BoundPolicy) -> Params | None:
    """∇J of whole games up to the limit in use, like `params`; None where there is no closed form.

    Args:
      task: what is played.
      hyper: numbers, concrete scalars, `env` filled in.
      params: of the policy.
      policy: bound to the task.
    """
    observed = _observed(task.env, hyper.env)
    if observed is not None and isinstance(policy.distribution(params, observed), Categorical):
        return _finite_mdp(task, hyper, params, policy, observed)
    if policy.linear(params) is not None and _is_linear(task.env, hyper.env):
        return _lqr(task, hyper, params, policy)
    return None


def _finite_mdp(
    task: Task, hyper: Hyperparams, params: Params, policy: BoundPolicy, observed: jax.Array
) -> Params:
    """The gradient by the logits of all states, pulled back through their observations to the parameters."""

    def logits_of(params):
        distribution: Any = policy.distribution(params, observed)
        return distribution.logits

    at, pull_back = jax.vjp(logits_of, params)
    transition, reward, initial = environments.exact_model(task.env, hyper.env)
    logits, horizon = np.asarray(at, np.float64), _horizon(task, hyper.env)
    by_logits = exact.policy_gradient(
        transition, reward, initial, logits, float(hyper.discount), horizon=horizon
    )
    return jax.tree.map(np.asarray, pull_back(jnp.asarray(hyper.reward_scale * by_logits, at.dtype))[0])


def _lqr(task: Task, hyper: Hyperparams, params: Params, policy: BoundPolicy) -> Params:
    """The gradient by K, c and σ, pulled back to the parameters, all in float64."""
    problem = environments.resolve(task.env).exact_lqr(hyper.env)
    in_float64 = functools.partial(jax.tree.map, lambda x: np.asarray(x, np.float64))
    A, B, Q, R, second_moment, noise = in_float64(tuple(problem[:6]))
    mean, scale = in_float64((hyper.env.initial_mean, hyper.reward_scale))
    with jax.enable_x64(True):
        at, pull_back = jax.vjp(policy.linear, in_float64(params))
        assert at is not None
        gain, moments = -np.column_stack([at.gain, at.offset]), _bordered(second_moment, mean, corner=1.0)
        arrays = _bordered(A, corner=1.0), np.pad(B, ((0, 1), (0, 0))), _bordered(Q), R, gain, moments
        options: Any = {"discount": float(hyper.discount), "horizon": _horizon(task, hyper.env)}
        options |= {"action_std": np.asarray(at.std), "noise_covariance": _bordered(noise)}
        by_gain = scale * exact.lqr_gradient(*arrays, **options)  # of the cost by −K̃: two signs cancel
        by_std = -scale * exact.lqr_std_gradient(*arrays, **options)
        by_linear = Linear(by_gain[:, :-1], by_gain[:, -1], by_std)
        return jax.tree.map(np.asarray, pull_back(jax.tree.map(jnp.asarray, by_linear))[0])


def _bordered(matrix: np.ndarray, border: float | np.ndarray = 0.0, *, corner: float = 0.0) -> np.ndarray:
    """[n, n] → [n + 1, n + 1], symmetric in the border [n]."""
    whole = np.full((len(matrix) + 1,) * 2, corner)
    whole[:-1, :-1], whole[:-1, -1], whole[-1, :-1] = matrix, border, border
    return whole


def _horizon(task: Task, env_params: Any) -> int:
    """Steps after which the task or the environment cuts a game."""
    if not hasattr(env_params, "max_steps_in_episode"):
        return task.max_steps
    return min(task.max_steps, environments.time_limit(task.env, env_params))


def _observed(spec: EnvironmentSpec, params: Any) -> jax.Array | None:
    """o(s) `[S]` of the environment's exact model; None where it has none, or does not play by it."""
    env = environments.resolve(spec)
    if not isinstance(env, FiniteModel):
        return None
    observed, transition = np.asarray(env.observation_index), np.asarray(env.exact_model(params)[0])
    before, action, after, seen = _played(spec, params)
    if not hasattr(after, "index") or seen.shape != after.index.shape:
        return None
    possible = transition[before.index, action, after.index] > 0
    if not possible.all() or (seen != observed[after.index]).any():
        return None
    return jnp.asarray(observed)


def _is_linear(spec: EnvironmentSpec, params: Any) -> bool:
    """Whether the environment is linear, takes every action as it is and shows its state."""
    if not isinstance(environments.resolve(spec), LinearModel):
        return False
    _, below, above = environments.continuous_actions(spec)
    _, _, after, seen = _played(spec, params)
    return not any(below + above) and hasattr(after, "x") and np.array_equal(seen, after.x)


def _played(spec: EnvironmentSpec, params: Any) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """(state, action, next state, its observation) of random play up to each game's end, `[rows, ...]`."""
    env = environments.resolve(spec)

    def choose(key):
        if environments.is_discrete(spec):
            return env.action_space(params).sample(key)
        return jax.random.normal(key, environments.continuous_actions(spec).shape)

    def play(key):
        start_key, key = jax.random.split(key)
        state = environments.reset(env, start_key, params)[1]

        def step(state, key):
            action_key, key = jax.random.split(key)
            action = choose(action_key)
            seen, after, _, terminated, _ = environments.step(env, key, state, action, params)
            return after, ((state, action, after, seen), terminated)

        like = jax.eval_shape(step, state, key)[0]
        return jax.lax.scan(step, in_types_of(state, like), jax.random.split(key, _STEPS))[1]

    keys = jax.random.split(jax.random.key(0), _GAMES)
    rows, terminated = jax.device_get(jax.jit(jax.vmap(play))(keys))
    mask = np.cumsum(terminated, axis=1) - terminated == 0  # [games, steps]
    return jax.tree.map(lambda x: x[mask], rows)
