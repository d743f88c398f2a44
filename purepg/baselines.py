"""Baselines: b[t, n], subtracted from the return of row t of game n to lower the variance.

A baseline leaves the gradient unbiased when b[t, n] does not depend on game n's own actions from t on, because
E[∇log π(a|s) b] = b ∇Σ_a π(a|s) = 0. Here G is the return, [T, N], 0 after a game's end, N the number of games:

    none       b = 0
    constant   b = a given number
    mean       b[t] = (1/N) Σ_m G[t, m]                  contains G[t, n] itself: exactly (N − 1)/N of `loo`
    loo        b[t, n] = (1/(N−1)) Σ_{m≠n} G[t, m]       unbiased
    moving     b[t] = an average of `mean` over past updates, used before the current one enters it: unbiased

Finished games count 0. A mean over the games still alive, the row's own included, is biased in direction and not
offered: the row's own return is a larger share of it the fewer games are left, so late steps shrink more than early
ones.

Reference: Williams, Simple Statistical Gradient-Following Algorithms (1992); Greensmith, Bartlett and Baxter,
Variance Reduction Techniques for Gradient Estimates in Reinforcement Learning (2004).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from purepg.environments import closest
from purepg.errors import InvalidInput
from purepg.rollout import Rows
from purepg.task import Task


class Baseline(Protocol):
    """Static record; what it learns is its state, a pytree."""

    def check(self, task: Task) -> None: ...
    def init(self, task: Task) -> Any: ...
    def values(self, state: Any, returns: jax.Array, rows: Rows) -> jax.Array: ...  # [T, N]
    def update(self, state: Any, returns: jax.Array, rows: Rows) -> Any: ...  # after use


class _Stateless:
    """For baselines that learn nothing and suit every task."""

    def check(self, task: Task) -> None:
        pass

    def init(self, task: Task) -> Any:
        return ()

    def update(self, state: Any, returns: jax.Array, rows: Rows) -> Any:
        return state


@dataclass(frozen=True)
class NoBaseline(_Stateless):
    """b = 0."""

    def values(self, state: Any, returns: jax.Array, rows: Rows) -> jax.Array:
        return jnp.zeros_like(returns)


@dataclass(frozen=True)
class Constant(_Stateless):
    """b = value."""

    value: float = 0.0
    """In units of the (scaled) return."""

    def values(self, state: Any, returns: jax.Array, rows: Rows) -> jax.Array:
        return jnp.full_like(returns, self.value)


@dataclass(frozen=True)
class Mean(_Stateless):
    """The mean over all games at each time step, the row's own game included."""

    def values(self, state: Any, returns: jax.Array, rows: Rows) -> jax.Array:
        return jnp.broadcast_to(returns.mean(axis=1, keepdims=True), returns.shape)


@dataclass(frozen=True)
class LeaveOneOut(_Stateless):
    """The mean over all other games at each time step."""

    def check(self, task: Task) -> None:
        if task.collect.num_games < 2:
            raise InvalidInput("baseline 'loo' averages the other games: give num_games >= 2, not 1")

    def values(self, state: Any, returns: jax.Array, rows: Rows) -> jax.Array:
        total = returns.sum(axis=1, keepdims=True)
        return (total - returns) / (returns.shape[1] - 1)


class _Moving(NamedTuple):
    mean: jax.Array  # [T], decaying sum of past means
    weight: jax.Array  # [], decaying sum of ones


@dataclass(frozen=True)
class Moving(_Stateless):
    """An exponentially decaying average of past updates' means at each time step; 0 in the first update."""

    decay: float = 0.9
    """Weight of the past at each update, in [0, 1)."""

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise InvalidInput(f"decay = {self.decay}: must lie in [0, 1)")

    def init(self, task: Task) -> _Moving:
        return _Moving(jnp.zeros(task.max_steps), jnp.zeros(()))

    def values(self, state: _Moving, returns: jax.Array, rows: Rows) -> jax.Array:
        average = state.mean / jnp.where(state.weight > 0, state.weight, 1.0)
        return jnp.broadcast_to(average[:, None], returns.shape)

    def update(self, state: _Moving, returns: jax.Array, rows: Rows) -> _Moving:
        now = _Moving(returns.mean(axis=1), jnp.ones(()))
        return jax.tree.map(lambda past, new: self.decay * past + (1 - self.decay) * new, state, now)


NAMES = {"none": NoBaseline, "constant": Constant, "mean": Mean, "loo": LeaveOneOut, "moving": Moving}


def make(name: str) -> Baseline:
    """The baseline of this name with its default fields."""
    if name not in NAMES:
        raise InvalidInput(f"unknown baseline {name!r}{closest(name, NAMES)}; known: {', '.join(NAMES)}")
    return NAMES[name]()
