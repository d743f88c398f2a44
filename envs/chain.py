"""The random walk of Sutton & Barto's example 6.2, with a player who chooses the direction.

    [0] ← 1 ↔ 2 ↔ 3 ↔ 4 ↔ 5 → [6]        (length 5; the game starts in the middle and ends at either end)

Reaching the right end pays 1. Games last as long as the walk takes, so they end at different times. Under the
uniform policy and without discount, v(s) = s / (length + 1): 1/6, 2/6, …, 5/6.

With a small `left_reward` and `start=1` it becomes an exploration problem: the small reward is one step away,
the large one `length`.

Reference: Sutton & Barto, Reinforcement Learning (2018), example 6.2.
"""

import numpy as np

from . import _checks
from .finite_mdp import FiniteMDP


class Chain(FiniteMDP):
    """States 0..length+1 from left to right, both ends terminal; actions 0 = left, 1 = right.

    Args:
        length: number of states between the ends, at least 1.
        slip: probability that a step goes the other way, in [0, 1].
        left_reward, right_reward: paid on reaching that end.
        step_reward: paid on every step, besides.
        start: the first state, 1..length; default: the middle one (of two, the left one).
        max_steps: a game is truncated after so many steps.
    """

    def __init__(
        self,
        length: int = 5,
        slip: float = 0.0,
        *,
        left_reward: float = 0.0,
        right_reward: float = 1.0,
        step_reward: float = 0.0,
        start: int | None = None,
        max_steps: int = 1000,
    ):
        length = _checks.integer("length", length, low=1)
        slip = _checks.real("slip", slip, low=0.0, high=1.0)
        first = (length + 1) // 2 if start is None else _checks.integer("start", start, low=1, high=length)
        end = length + 1

        transition = np.zeros((length + 2, 2, length + 2))
        for state in range(1, end):
            transition[state, :, state - 1] = 1.0 - slip, slip
            transition[state, :, state + 1] = slip, 1.0 - slip
        transition[0, :, 0] = transition[end, :, end] = 1.0

        reward = np.full((length + 2, 2, length + 2), _checks.real("step_reward", step_reward))
        reward[:, :, 0] += _checks.real("left_reward", left_reward)
        reward[:, :, end] += _checks.real("right_reward", right_reward)

        terminal = np.zeros(length + 2, bool)
        terminal[[0, end]] = True
        super().__init__(
            transition, reward, np.eye(length + 2)[first], terminal=terminal, max_steps=max_steps
        )
