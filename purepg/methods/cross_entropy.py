"""The cross-entropy method: try many, keep the best few, make those likelier.

    over parameters    θ_i ~ N(μ, diag σ²), one game (or some) each by the greedy policy of θ_i; with the elites E,
                       μ ← ρ μ + (1 − ρ) mean_E θ,   σ ← ρ σ + (1 − ρ) sqrt(var_E θ + σ₀²)
    over sessions      N games by samples from π; π is fitted to what the elite games did by maximum likelihood,
                       max_θ Σ_{(s, a) in E} log π_θ(a|s),
                       for a table in closed form, π(a|s) ← ρ π(a|s) + (1 − ρ) share of a in E's actions in s

Elites are the best k = elite fraction × candidates; ties share the places (`purepg.methods.elites` computes it); over
parameters at least two, since one has no deviation and would end the search. Where all candidates are equally good
the search stays as it is. ρ is the smoothing. The floor σ₀ keeps the search from freezing before it has found
anything; for sessions a table does so by π ← (1 − σ₀) π + σ₀/A, a network by `hyper.entropy_coefficient` times the
entropy.

Candidates are compared by their games' returns, discounted by γ = `hyper.discount`, which all methods here maximise.

Gradients: none flow through a game; a network is fitted with those of log π at the elites' observations and actions.

Reference: Rubinstein and Kroese, The Cross-Entropy Method (2004); Szita and Lőrincz, Learning Tetris using the noisy
cross-entropy method (2006).
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purepg import returns
from purepg.errors import InvalidInput
from purepg.errors.dtypes import in_types_of
from purepg.hyperparams import Hyperparams
from purepg.methods.elites import elites, fit_table, nothing_to_choose, refit
from purepg.methods.optimizer import Optimizer
from purepg.policies import Softmax, refuse_without_score
from purepg.policies.networks import Params, Table
from purepg.rollout import collection, metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act, Trajectory
from purepg.task import Games, Task
from purepg.training import Method

__all__ = ["CrossEntropy", "CrossEntropyState", "OverParameters", "OverSessions"]


@dataclass(frozen=True)
class OverParameters:
    """Candidates are parameter vectors, drawn from a diagonal Gaussian and played greedily.

    Attributes:
      games: Games of each candidate; the task's games are shared out, num_games / games candidates.
      initial_std: σ of every parameter at the start; μ starts at the network's initial parameters.
    """

    games: int = 1
    initial_std: float = 1.0

    def __post_init__(self):
        if self.games < 1:
            raise InvalidInput(f"games = {self.games}: a candidate needs at least 1 game")
        if not 0 < self.initial_std < math.inf:
            raise InvalidInput(f"initial_std = {self.initial_std}: must be positive and finite")


@dataclass(frozen=True)
class OverSessions:
    """Candidates are games played by the policy, which is then fitted to the best.

    Attributes:
      optimizer: Fits a network, at `hyper.learning_rate`; a table is fitted in closed form.
      steps: Optimiser steps of a fit.
      batch_size: Elite rows in each step, drawn with replacement.
    """

    optimizer: Optimizer = Optimizer()
    steps: int = 20
    batch_size: int = 512

    def __post_init__(self):
        if self.steps < 1 or self.batch_size < 1:
            raise InvalidInput(f"steps = {self.steps}, batch_size = {self.batch_size}: give at least 1")


class CrossEntropyState(NamedTuple):
    """What an update changes."""

    params: Params  # of the policy; over parameters the mean μ
    search: Any  # σ with the structure of `params`, or the optax state of a network's fit, or ()


@dataclass(frozen=True)
class CrossEntropy(Method):
    """The cross-entropy method over a policy's parameters or over its sessions; static.

    It works with every policy and network, discrete or continuous. An update plays the task's N whole games.

    Attributes:
      task: What is played: whole games.
      over: What a candidate is: a parameter vector or a game.
      elite_fraction: Share of the candidates that are elites, in (0, 1]; over parameters at least two are.
      smoothing: ρ in [0, 1): how much of the old distribution is kept; over sessions, for a table alone.
      noise_floor: σ₀: least σ of a parameter; over sessions, for a table, the share of uniform actions, at most 1.

    Raises:
      InvalidInput: the task collects segments, or the games cannot be shared out among candidates.
    """

    task: Task
    over: OverParameters | OverSessions = OverParameters()
    elite_fraction: float = 0.125
    smoothing: float = 0.0
    noise_floor: float = 0.0

    def __post_init__(self):
        if not 0 < self.elite_fraction <= 1:
            raise InvalidInput(f"elite_fraction = {self.elite_fraction}: must lie in (0, 1]")
        if not 0 <= self.smoothing < 1:
            raise InvalidInput(f"smoothing = {self.smoothing}: must lie in [0, 1)")
        if not 0 <= self.noise_floor < math.inf:
            raise InvalidInput(f"noise_floor = {self.noise_floor}: must not be negative or infinite")
        if isinstance(self.over, OverSessions) and self.noise_floor > 1:
            raise InvalidInput(f"noise_floor = {self.noise_floor}: a share of uniform actions lies in [0, 1]")

    def init(self, hyper: Hyperparams, key: jax.Array) -> CrossEntropyState:
        self._check()
        params = self.task.bind_policy().init(key)
        if isinstance(self.over, OverParameters):
            std = self.over.initial_std
            return CrossEntropyState(params, jax.tree.map(lambda x: jnp.full_like(x, std), params))
        if self._has_closed_form:
            return CrossEntropyState(params, ())
        return CrossEntropyState(params, _transformation(self.over, hyper).init(params))

    def update(
        self, hyper: Hyperparams, state: CrossEntropyState, key: jax.Array
    ) -> tuple[CrossEntropyState, Metrics]:
        if isinstance(self.over, OverParameters):
            return self._update_parameters(self.over, hyper, state, key)
        return self._update_sessions(self.over, hyper, state, key)

    def params(self, state: CrossEntropyState) -> Params:
        """What `act` needs of the state."""
        return state.params

    def act(self, params: Params, *, deterministic: bool, env_params: Any = None) -> Act:
        """How this method plays: by the policy's mode, or sampled from it."""
        policy = self.task.bind_policy()
        return collection.by_policy(policy, params, deterministic=deterministic, env_params=env_params)

    def _update_parameters(
        self, over: OverParameters, hyper: Hyperparams, state: CrossEntropyState, key: jax.Array
    ) -> tuple[CrossEntropyState, Metrics]:
        draw_key, play_key = jax.random.split(key)
        mean, unravel = ravel_pytree(state.params)  # [D]
        std = ravel_pytree(state.search)[0]  # [D]
        num_candidates = self.task.collect.num_games // over.games
        noise = jax.random.normal(draw_key, (num_candidates, mean.size))
        candidates = mean[None, :] + std[None, :] * noise  # [C, D]
        params = jax.vmap(unravel)(jnp.repeat(candidates, over.games, axis=0))  # [N, ...]

        act = _each_by_its_own(self.act, params, hyper.env)
        trajectory = collection.collect(self.task, hyper, act, (), play_key)[1]
        achieved = self._returns(hyper, trajectory).reshape((num_candidates, over.games)).mean(axis=1)  # [C]
        weight, threshold = elites(achieved, self.elite_fraction, least=2)
        options = {"smoothing": self.smoothing, "noise_floor": self.noise_floor}
        fitted = refit(mean, std, candidates, weight, **options)
        mean, std = _keep_where(nothing_to_choose(achieved, least=2), (mean, std), fitted)
        numbers = metrics.of_games(trajectory) | {
            "elite_threshold": metrics.once(threshold),
            "search_std": metrics.once(std.mean()),
        }
        return CrossEntropyState(unravel(mean), unravel(std)), numbers

    def _update_sessions(
        self, over: OverSessions, hyper: Hyperparams, state: CrossEntropyState, key: jax.Array
    ) -> tuple[CrossEntropyState, Metrics]:
        play_key, fit_key = jax.random.split(key)
        act = self.act(state.params, deterministic=False, env_params=hyper.env)
        trajectory = collection.collect(self.task, hyper, act, (), play_key)[1]
        achieved = self._returns(hyper, trajectory)  # [N]
        weight, threshold = elites(achieved, self.elite_fraction)
        numbers = metrics.of_games(trajectory) | {"elite_threshold": metrics.once(threshold)}
        if self._has_closed_form:
            options = {"smoothing": self.smoothing, "noise_floor": self.noise_floor}
            weight = jnp.where(trajectory.mask, weight[None, :], 0.0)
            table = fit_table(
                state.params["table"], trajectory.observation, trajectory.action, weight, **options
            )
            fitted = CrossEntropyState({"table": table}, ())
        else:
            fitted = self._fit_network(over, hyper, state, trajectory, weight, fit_key)
        return _keep_where(nothing_to_choose(achieved), state, fitted), numbers

    def _fit_network(
        self,
        over: OverSessions,
        hyper: Hyperparams,
        state: CrossEntropyState,
        trajectory: Trajectory,
        weight: jax.Array,
        key: jax.Array,
    ) -> CrossEntropyState:
        """A few optimiser steps up the elites' log-likelihood, on rows drawn from theirs."""
        policy, transformation = self.task.bind_policy(), _transformation(over, hyper)
        length = trajectory.mask.sum(axis=0)  # [N]; live rows come first
        share = weight * length.astype(jnp.float32)
        odds = share / share.sum()  # [N]

        def loss(params, observation, action):
            distribution = policy.distribution(params, observation)
            gain = distribution.log_prob(action) + hyper.entropy_coefficient * distribution.entropy()
            return -gain.mean()

        def step(state: CrossEntropyState, key: jax.Array):
            game_key, time_key = jax.random.split(key)
            game = jax.random.choice(game_key, odds.size, (over.batch_size,), p=odds)
            time = jax.random.randint(time_key, game.shape, 0, length[game])
            gradient = jax.grad(loss)(
                state.params, trajectory.observation[time, game], trajectory.action[time, game]
            )
            change, moments = transformation.update(gradient, state.search, state.params)
            return in_types_of(
                CrossEntropyState(optax.apply_updates(state.params, change), moments), state
            ), None

        return jax.lax.scan(step, state, jax.random.split(key, over.steps))[0]

    def _returns(self, hyper: Hyperparams, trajectory: Trajectory) -> jax.Array:
        """The discounted return of each game, `[N]`."""
        return returns.reward_to_go(
            trajectory.reward, trajectory.terminated, trajectory.truncated, discount=hyper.discount
        )[0]

    @property
    def _has_closed_form(self) -> bool:
        policy = self.task.policy
        return isinstance(policy, Softmax) and isinstance(policy.network, Table)

    def _check(self) -> None:
        if not isinstance(self.task.collect, Games):
            raise InvalidInput(
                "the cross-entropy method compares whole games: give collect=purepg.Games(num_games)"
            )
        if self.task.normalize_observations:
            raise InvalidInput(
                "the cross-entropy method does not normalise observations: leave normalize_observations off"
            )
        if isinstance(self.over, OverSessions) and not self._has_closed_form:
            refuse_without_score(self.task.policy, "a fit to sessions")
            for name in ("smoothing", "noise_floor"):
                if given := getattr(self, name):
                    raise InvalidInput(
                        f"{name} = {given}: over sessions it is for a table, a network is fitted by steps; leave it 0"
                    )
        num_games = self.task.collect.num_games
        if isinstance(self.over, OverParameters) and num_games % self.over.games:
            raise InvalidInput(
                f"{num_games} games cannot be shared out, {self.over.games} per candidate: give a multiple"
            )
        if isinstance(self.over, OverParameters) and num_games < 2 * self.over.games:
            raise InvalidInput(
                f"{num_games} games are one candidate, which leaves nothing to choose from: "
                f"give num_games >= {2 * self.over.games}, {self.over.games} per candidate"
            )


def _keep_where(condition: jax.Array, old: Any, new: Any) -> Any:
    return jax.tree.map(lambda old, new: jnp.where(condition, old, new), old, new)


def _transformation(over: OverSessions, hyper: Hyperparams) -> optax.GradientTransformation:
    return over.optimizer.transformation(hyper, over.steps)


def _each_by_its_own(act: Any, params: Params, env_params: Any) -> Act:
    """Game n played greedily by parameters n of `[N, ...]`."""

    def choose(key, observation):
        def one(params, observation):
            greedy = act(params, deterministic=True, env_params=env_params)
            return jax.tree.map(lambda x: x[0], greedy(key, observation[None]))

        return jax.vmap(one)(params, observation)

    return choose
