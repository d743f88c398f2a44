"""Taxi: fetch a passenger and bring them where they want to go.

    +---------+
    |R: | : :G|        R, G, Y, B   where passengers wait and want to go, numbers 0 to 3
    | : | : : |        :            an open way between two columns
    | : : : : |        |            a wall
    | | : | : |
    |Y| : |B: |
    +---------+

Every step pays −1; picking up or dropping off where that is not possible −10 instead, dropping the passenger off at the
destination +20, which ends the game. Passenger, destination and taxi start anywhere, the passenger not at the
destination. Games are truncated after 200 steps; the best policy needs 13 on average and its return is 7.93 over
uniform starts.

States, actions, transitions, rewards and starts are those of Gymnasium's Taxi-v3 (and of Taxi-v4 without rain and
fickle passengers), one by one. States with the passenger at the destination are terminal: a game enters them only by
the last drop-off.

Gradients: as `FiniteMDP`.

Reference: Dietterich, Hierarchical reinforcement learning with the MAXQ value function decomposition, Journal of
Artificial Intelligence Research 13 (2000).
"""

from typing import Any

import numpy as np

from .deterministic_mdp import DeterministicMDP

SOUTH, NORTH, EAST, WEST, PICK_UP, DROP_OFF = range(6)

_MAP = (
    "|R: | : :G|",
    "| : | : : |",
    "| : : : : |",
    "| | : | : |",
    "|Y| : |B: |",
)
_SIZE = 5
_PLACES = ((0, 0), (0, 4), (4, 0), (4, 3))  # [4, 2], (row, column) of R, G, Y, B
_IN_TAXI = 4  # the passenger's place


class Taxi(DeterministicMDP):
    """State = ((row·5 + column)·5 + passenger)·4 + destination; the passenger is at place 0 to 3 or, 4, in the taxi.

    Actions are 0 = south, 1 = north, 2 = east, 3 = west, 4 = pick up, 5 = drop off.

    Args:
        max_steps: a game is truncated after so many steps.
    """

    def __init__(self, max_steps: int = 200):
        shape = _SIZE, _SIZE, _IN_TAXI + 1, len(_PLACES)
        states: Any = list(np.ndindex(*shape))
        outcomes = [[_outcome(state, action) for action in range(6)] for state in states]
        after = np.array([[np.ravel_multi_index(s, shape) for s, _ in row] for row in outcomes])  # [S, A]
        passenger, destination = np.array(states)[:, 2:].T  # [S]
        waits = (passenger != _IN_TAXI) & (passenger != destination)
        super().__init__(
            after,
            np.array([[reward for _, reward in row] for row in outcomes]),
            waits / waits.sum(),
            terminal=passenger == destination,
            max_steps=max_steps,
        )


_State = tuple[int, int, int, int]  # row, column, passenger, destination


def _outcome(state: _State, action: int) -> tuple[_State, float]:
    """The state after the action, and the reward."""
    row, column, passenger, destination = state
    if action == SOUTH:
        return (min(row + 1, _SIZE - 1), column, passenger, destination), -1.0
    if action == NORTH:
        return (max(row - 1, 0), column, passenger, destination), -1.0
    if action == EAST:
        return (row, column + (_MAP[row][2 * column + 2] == ":"), passenger, destination), -1.0
    if action == WEST:
        return (row, column - (_MAP[row][2 * column] == ":"), passenger, destination), -1.0
    here = _PLACES.index((row, column)) if (row, column) in _PLACES else None
    if action == PICK_UP and passenger == here:
        return (row, column, _IN_TAXI, destination), -1.0
    if action == DROP_OFF and passenger == _IN_TAXI and here is not None:
        return (row, column, here, destination), 20.0 if here == destination else -1.0
    return state, -10.0
