"""Playing: N games side by side, time-major `[T, N, ...]`.

trajectory   the types: steps, running games, players
rollout      the scan over time; whole games, segments with auto-reset
collection   games as a task asks for them: the one entry point for playing
metrics      of an update: named sums with their counts
"""

from purepg.rollout.collection import (
    by_policy,
    check_rows,
    collect,
    collect_and_learn,
    ends,
    episode_returns,
    next_values,
    observed,
    row_scale,
    start,
)
from purepg.rollout.trajectory import Act, ActionOutput, ActiveGames, Learner, Trajectory, Value

__all__ = [
    "Act",
    "ActionOutput",
    "ActiveGames",
    "Learner",
    "Trajectory",
    "Value",
    "by_policy",
    "check_rows",
    "collect",
    "collect_and_learn",
    "ends",
    "episode_returns",
    "next_values",
    "observed",
    "row_scale",
    "start",
]
