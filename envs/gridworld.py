"""Grid worlds from a text map.

    ...G        S  start (several: each equally likely)      .  floor
    .#.H        G  goal, ends the game                       #  wall
    S...        H  hole, ends the game

Four actions move one cell; a move into a wall or off the map stays put. With probability `slip` the move goes
to one of the two sides instead, half of it each. Every step pays `step_reward`; entering a goal or a hole
pays `goal_reward` or `hole_reward` on top.

The default map and rewards are Russell & Norvig's 4×3 world; with `slip=0.2` it is theirs exactly, and
without discount the best policy is worth 0.705 from the start.

Reference: Russell & Norvig, Artificial Intelligence: A Modern Approach (3rd ed., 2010), section 17.1.
"""

import numpy as np

from . import _checks
from .finite_mdp import FiniteMDP

DEFAULT_MAP = """
...G
.#.H
S...
"""

UP, RIGHT, DOWN, LEFT = range(4)

_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # [A, 2], (row, column), clockwise from up
_MEANINGS = "S start, G goal, H hole, # wall, . floor"


class GridWorld(FiniteMDP):
    """States are the cells that are no wall, row by row; actions 0 = up, 1 = right, 2 = down, 3 = left.

    Args:
        map: rows of `S`, `G`, `H`, `#` and `.`, one a line; blanks around a line, and blank lines before and
            after the map, are ignored.
        slip: probability of moving to a side instead, in [0, 1], half of it to each.
        step_reward: paid on every step, the last one included.
        goal_reward, hole_reward: paid besides on entering a goal, a hole.
        max_steps: a game is truncated after so many steps.

    Attributes:
        map: the rows, a tuple of strings.
        states: [rows, columns] int32, the state of each cell, −1 for a wall.
        cell_of_state: [S, 2] int32, (row, column) of each state; to draw values v [S] as a picture:
            `picture = np.full(env.states.shape, np.nan); picture[tuple(env.cell_of_state.T)] = v`.
    """

    def __init__(
        self,
        map: str = DEFAULT_MAP,
        slip: float = 0.0,
        *,
        step_reward: float = -0.04,
        goal_reward: float = 1.0,
        hole_reward: float = -1.0,
        max_steps: int = 100,
    ):
        self.map = _rows(map)
        tiles = np.array([list(row) for row in self.map])  # [rows, columns]
        floor = tiles != "#"
        self.states = np.where(floor, np.cumsum(floor).reshape(floor.shape) - 1, -1).astype(np.int32)
        self.cell_of_state = np.argwhere(floor).astype(np.int32)
        tile = tiles[floor]  # [S]
        starts, goals, holes = tile == "S", tile == "G", tile == "H"

        reward = np.full(tile.shape, _checks.real("step_reward", step_reward))  # [S], by the cell entered
        reward[goals] += _checks.real("goal_reward", goal_reward)
        reward[holes] += _checks.real("hole_reward", hole_reward)
        super().__init__(
            _transition(self.states, self.cell_of_state, _checks.real("slip", slip, low=0.0, high=1.0)),
            np.broadcast_to(reward, (tile.size, 4, tile.size)),
            starts / starts.sum(),
            terminal=goals | holes,
            max_steps=max_steps,
        )


def _rows(text: str) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise ValueError(
            f"map is a {type(text).__name__}: give one string with a line for each row ({_MEANINGS})"
        )
    rows = tuple(line.strip() for line in text.strip().splitlines())
    for number, row in enumerate(rows, start=1):
        for column, character in enumerate(row, start=1):
            if character not in "SGH#.":
                raise ValueError(
                    f"map has {character!r} in row {number}, column {column}: allowed are {_MEANINGS}; "
                    "replace it"
                )
    if len({len(row) for row in rows}) > 1:
        raise ValueError(
            f"map has rows of lengths {[len(row) for row in rows]}: all must be equally long; "
            "fill them up with '#' or '.'"
        )
    for character, meaning in (("S", "start"), ("G", "goal")):
        if not any(character in row for row in rows):
            raise ValueError(f"map has no {meaning}: it needs at least one; mark it with '{character}'")
    return rows


def _transition(states: np.ndarray, cells: np.ndarray, slip: float) -> np.ndarray:
    """P(s′ | s, a), [S, 4, S]."""
    inside = np.pad(states, 1, constant_values=-1)  # a wall all around
    here = np.arange(len(cells))
    after = np.empty((len(cells), 4), int)  # [S, A], where a move leads
    for move, (down, right) in enumerate(_MOVES):
        ahead = inside[cells[:, 0] + 1 + down, cells[:, 1] + 1 + right]
        after[:, move] = np.where(ahead >= 0, ahead, here)
    lands = np.eye(len(cells))[after]  # [S, A, S]
    sides = np.roll(lands, 1, axis=1) + np.roll(lands, -1, axis=1)
    return (1.0 - slip) * lands + 0.5 * slip * sides
