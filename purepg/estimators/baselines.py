"""Baselines b[t, n], subtracted from the return of row t of game n to lower the variance.

A baseline leaves the gradient unbiased when b[t, n] does not depend on game n's own actions from t on, because
E[∇log π(a|s) b] = b ∇Σ_a π(a|s) = 0. Here G is the target, [T, N], 0 after a game's end, N the number of games:

    none       b = 0
    constant   b = a given number
    mean       b[t] = (1/N) Σ_m G[t, m]                  contains G[t, n] itself: G − b is (N − 1)/N that of `loo`
    loo        b[t, n] = (1/(N−1)) Σ_{m≠n} G[t, m]       unbiased
    moving     b[t] = an average of `mean` over past updates, used before the current one enters it: unbiased
    value      b[t, n] = V(s_t), what the critic says before it learns from these rows: unbiased
    optimal    the constant of least variance, from the other games: unbiased

With A_n = Σ_t w_t ∇log π G[t, n] and S_n = Σ_t w_t ∇log π of game n (w the weights γ^t, or 1), the estimate is the mean
of A_n − b S_n, and the constant of least total variance is b* = E⟨A, S⟩ / E‖S‖²; for the total return R, where
A = R S, this is E[R ‖S‖²] / E[‖S‖²]. b[·, n] averages over the games m ≠ n.

Finished games count as 0. A mean over only the games still running, the row's own included, is not offered, since its
direction is biased: the fewer games are left, the larger the row's own share in it, so that late steps shrink more than
early ones.

Reference: Williams, Simple Statistical Gradient-Following Algorithms (1992); Greensmith, Bartlett and Baxter,
Variance Reduction Techniques for Gradient Estimates in Reinforcement Learning (2004).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from purepg.errors import InvalidInput
from purepg.monte_carlo.leave_one_out import sum_of_others
from purepg.names import lookup
from purepg.rollout.trajectory import Trajectory
from purepg.task import Games, Task

__all__ = [
    "NAMES",
    "Baseline",
    "Constant",
    "LeaveOneOut",
    "Mean",
    "Moving",
    "NoBaseline",
    "Optimal",
    "ScoreProducts",
    "Scores",
    "Value",
    "make",
]


class ScoreProducts(NamedTuple):
    """Inner products of each game's sums A = Σ w ∇log π G and S = Σ w ∇log π.

    Attributes:
      product: [N] ⟨A, S⟩.
      square: [N] ‖S‖².
    """

    product: jax.Array
    square: jax.Array


Scores = Callable[[], ScoreProducts]


@runtime_checkable
class Baseline(Protocol):
    """A static record; whatever it learns is in its state, a pytree of arrays."""

    @property
    def needs_value(self) -> bool:
        """Whether it reads V of the rows, which a critic provides."""
        ...

    def check(self, task: Task) -> None:
        """Refuses a task that the baseline cannot be right for.

        Args:
          task: what is played.

        Raises:
          InvalidInput: it compares whole games and the task plays segments, or it needs more games.
        """
        ...

    def init(self, task: Task) -> Any:
        """The state before the first update, a pytree of arrays.

        Args:
          task: what is played.
        """
        ...

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        """b `[T, N]`.

        Args:
          state: from `init` or the last `update`.
          returns: the targets G `[T, N]`, 0 after a game's end.
          trajectory: the rows `[T, N]` that these belong to.
          scores: computes the `ScoreProducts` of all games when called, which takes one gradient per game.
        """
        ...

    def update(self, state: Any, returns: jax.Array, trajectory: Trajectory) -> Any:
        """The state after these rows; called after `values`, with the same arguments.

        Args:
          state, returns, trajectory: as for `values`.
        """
        ...


class _Stateless:
    """For baselines that learn nothing and suit every task."""

    needs_value = False

    def check(self, task: Task) -> None:
        pass

    def init(self, task: Task) -> Any:
        return ()

    def update(self, state: Any, returns: jax.Array, trajectory: Trajectory) -> Any:
        return state


def _need_two_games(name: str, task: Task) -> None:
    if task.collect.num_games < 2:
        raise InvalidInput(f"baseline {name!r} averages the other games: give num_games >= 2, not 1")


class _AcrossGames(_Stateless):
    """For baselines that compare games step by step."""

    def check(self, task: Task) -> None:
        if not isinstance(task.collect, Games):
            raise InvalidInput(
                "baselines mean, loo, moving and optimal compare whole games: collect games; "
                "in segments take baseline value"
            )


@dataclass(frozen=True)
class NoBaseline(_Stateless):
    """b = 0."""

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        return jnp.zeros_like(returns)


@dataclass(frozen=True)
class Constant(_Stateless):
    """b = value.

    Attributes:
      value: In units of the (scaled) return.
    """

    value: float = 0.0

    def __post_init__(self):
        if not math.isfinite(self.value):
            raise InvalidInput(f"value = {self.value}: a constant baseline is a finite number")

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        return jnp.full_like(returns, self.value)


@dataclass(frozen=True)
class Mean(_AcrossGames):
    """The mean over all games at each time step, the row's own game included."""

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        return jnp.broadcast_to(returns.mean(axis=1, keepdims=True), returns.shape)


@dataclass(frozen=True)
class LeaveOneOut(_AcrossGames):
    """The mean over all other games at each time step."""

    def check(self, task: Task) -> None:
        super().check(task)
        _need_two_games("loo", task)

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        return sum_of_others(returns, axis=1) / (returns.shape[1] - 1)


class _Moving(NamedTuple):
    mean: jax.Array  # [T], decaying sum of past means
    weight: jax.Array  # [], decaying sum of ones


@dataclass(frozen=True)
class Moving(_AcrossGames):
    """An exponentially decaying average of past updates' means at each time step; 0 in the first update.

    Attributes:
      decay: Weight of the past at each update, in [0, 1).
    """

    decay: float = 0.9

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise InvalidInput(f"decay = {self.decay}: must lie in [0, 1)")

    def init(self, task: Task) -> _Moving:
        return _Moving(jnp.zeros(task.max_steps), jnp.zeros(()))

    def values(
        self, state: _Moving, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        average = state.mean / jnp.where(state.weight > 0, state.weight, 1.0)
        return jnp.broadcast_to(average[:, None], returns.shape)

    def update(self, state: _Moving, returns: jax.Array, trajectory: Trajectory) -> _Moving:
        now = _Moving(returns.mean(axis=1), jnp.ones(()))
        return jax.tree.map(lambda past, new: self.decay * past + (1 - self.decay) * new, state, now)


@dataclass(frozen=True)
class Value(_Stateless):
    """V(s) of the estimator's critic."""

    needs_value = True

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        return trajectory.value


@dataclass(frozen=True)
class Optimal(_AcrossGames):
    """The constant of least variance, estimated for each game from the scores of the others."""

    def check(self, task: Task) -> None:
        super().check(task)
        _need_two_games("optimal", task)

    def values(
        self, state: Any, returns: jax.Array, trajectory: Trajectory, scores: Scores | None = None
    ) -> jax.Array:
        assert scores is not None, "the estimator gives scores"
        products, squares = scores()
        others = sum_of_others(squares)
        best = sum_of_others(products) / jnp.where(others > 0, others, 1.0)
        return jnp.broadcast_to(best, returns.shape)


NAMES = {
    "none": NoBaseline,
    "constant": Constant,
    "mean": Mean,
    "loo": LeaveOneOut,
    "moving": Moving,
    "value": Value,
    "optimal": Optimal,
}


def make(name: str) -> Baseline:
    """The baseline of this name with its default fields.

    Args:
      name: a key of `NAMES`.
    """
    return lookup("baseline", name, NAMES)()
