"""How long a run is: a number of updates, a budget of environment steps for each seed, or the shorter of both.

In whole games nobody knows before how many updates a budget lasts for; a seed's own state says when it is used up.
"""

import numpy as np

from purepg.errors import whole_number
from purepg.task import Task
from purepg.training import MOST_STEPS, TrainState


def checked(num_updates: int | None, num_steps: int | None) -> tuple[int | None, int | None]:
    """The most updates and the budget of steps of a run: 100 updates where there is neither.

    Raises:
      InvalidInput: one is no whole number of at least 1, or the budget larger than 2^32 − 1.
    """
    if num_steps is not None:
        num_steps = whole_number("num_steps", num_steps, 1, MOST_STEPS)
    elif num_updates is None:
        num_updates = 100
    if num_updates is not None:
        num_updates = whole_number("num_updates", num_updates, 1)
    return num_updates, num_steps


def is_done(state: TrainState, num_updates: int | None) -> bool:
    """Whether each of the seeds `[S]` has made all of its updates or used up its budget of steps."""
    updates = np.asarray(state.iteration)
    done = np.zeros(len(updates), bool) if num_updates is None else updates >= num_updates
    return bool((done if state.steps_left is None else done | (np.asarray(state.steps_left) == 0)).all())


def before(task: Task, num_updates: int | None, num_steps: int | None) -> int:
    """The updates of a run before it is begun: where a budget alone ends it, the fewest that it lasts for."""
    if num_updates is not None or num_steps is None:
        return num_updates or 0
    return -(-num_steps // task.steps_an_update[1])


def so_far(state: TrainState, num_updates: int | None, num_steps: int | None) -> int:
    """The updates of a run whose seeds `[S]` are in this state: of a budget by the pace of the one with most left."""
    if num_steps is None or state.steps_left is None:
        return num_updates or 0
    made, spent = int(np.max(state.iteration)), num_steps - int(np.max(state.steps_left))
    lasts = -(-made * num_steps // spent)
    return min(lasts, num_updates or lasts)


def chunk(num_updates: int, multiple_of: int, *, divisor: bool = True) -> int:
    """Updates between two looks at the clock: about 20 looks a run; a divisor, so that one program serves all.

    Where seeds stop by themselves, it need be none.
    """
    most = max(multiple_of, min(num_updates // 20, 50))
    sizes = range(most - most % multiple_of, 0, -multiple_of)
    return next(size for size in sizes if num_updates % size == 0 or not divisor)
