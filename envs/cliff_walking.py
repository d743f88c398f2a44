"""Cliff walking: the shortest way home runs along a cliff.

    . . . . . . . . . . . .        S  start          .  floor, r = −1
    . . . . . . . . . . . .        G  goal, ends the game, r = −1
    . . . . . . . . . . . .        x  cliff: r = −100 and back to the start; the game goes on
    S x x x x x x x x x x G

The best way takes 13 steps along the edge. That is what Q-learning finds: it learns about the greedy policy. A player
that explores falls off that edge now and then, so SARSA and expected SARSA, which learn about the policy that explores,
keep away from it (17 steps over the top row, or 15). With γ = 1 the start is worth −13, or −17 the safe way.

States, actions, transitions and rewards are those of Gymnasium's CliffWalking-v0 and -v1, one by one. Gymnasium sets no
time limit; here a game is truncated after `max_steps`. Its slippery variant is not offered: there two ways lead from
one state to the start with different rewards, and r(s, a, s′) is no number.

Gradients: as `FiniteMDP`.

Reference: Sutton & Barto, Reinforcement Learning (2018), example 6.6.
"""

import numpy as np

from .deterministic_mdp import DeterministicMDP

UP, RIGHT, DOWN, LEFT = range(4)

_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # [A, 2], (row, column), clockwise from up
_ROWS, _COLUMNS = 4, 12
_START, _GOAL = 36, 47


class CliffWalking(DeterministicMDP):
    """State = 12·row + column, of 4 rows and 12 columns; actions 0 = up, 1 = right, 2 = down, 3 = left.

    Args:
        max_steps: a game is truncated after so many steps.
    """

    def __init__(self, max_steps: int = 200):
        num_states = _ROWS * _COLUMNS
        cell = np.stack(np.divmod(np.arange(num_states), _COLUMNS), axis=-1)  # [S, 2]
        ahead = cell[:, None, :] + np.asarray(_MOVES)  # [S, A, 2]
        ahead = np.clip(ahead, 0, (_ROWS - 1, _COLUMNS - 1))
        after = ahead @ np.array([_COLUMNS, 1])  # [S, A]
        falls = (after > _START) & (after < _GOAL)
        super().__init__(
            np.where(falls, _START, after),
            np.where(falls, -100.0, -1.0),
            np.eye(num_states)[_START],
            terminal=np.arange(num_states) == _GOAL,
            max_steps=max_steps,
        )
