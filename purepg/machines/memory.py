"""What a run needs of memory at least, told before anything is compiled, and an allocator's failure in the same words.

The state of a seed is known to the byte without computing it. Of the rows of an update one copy is counted, though a
gradient keeps several: what does not fit by this count does not fit.
"""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from purepg import environments
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.task import Games, Task

_METRICS = 12 * 8  # bytes of an update's metrics: about as many sums and counts
_ROW = 20  # bytes of a row beside observation and action: reward, ends, mask, time, return
_REMEDY = "give fewer seeds or games at a time, shorter ones, or a smaller network"


def free() -> int:
    """Bytes that are free on the devices that compute; where that cannot be told a petabyte."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        stats = [device.memory_stats() or {} for device in devices]
        return sum(s.get("bytes_limit", 2**50) - s.get("bytes_in_use", 0) for s in stats)
    return min(_of_machine(), _of_container())


def check_training(
    task: Task,
    init: Callable[[Hyperparams, jax.Array], Any],
    hyper: Hyperparams,
    num_seeds: int,
    num_updates: int,
    at_a_time: int,
) -> None:
    """
    Args:
      init: a seed's state from its numbers and its key.
      at_a_time: seeds whose rows are there together.

    Raises:
      InvalidInput: more is needed than there is.
    """
    with explained():
        state = num_bytes(jax.eval_shape(init, hyper, jax.random.key(0)))
    steps = task.max_steps if isinstance(task.collect, Games) else task.collect.num_steps
    _refuse(
        f"{num_seeds:,} seeds of {task.collect.num_games:,} games",
        {
            f"state ({_shown(state)} for each seed)": num_seeds * state,
            "the rows of an update": at_a_time * _rows(task, task.collect.num_games, steps),
            "metrics": num_seeds * num_updates * _METRICS,
        },
    )


def check_batch(task: Task) -> None:
    """
    Raises:
      InvalidInput: a batch of whole games needs more than there is.
    """
    rows = _rows(task, task.collect.num_games, task.max_steps)
    _refuse(f"{task.collect.num_games:,} games", {"their rows": rows})


def check_evaluation(task: Task, num_games: int, num_seeds: int, at_a_time: int) -> None:
    """
    Raises:
      InvalidInput: so many games of each seed need more than there is.
    """
    observation = math.prod(environments.inputs(task.env).shape)
    running = num_games * (2 * 4 * observation + _ROW)  # games between two steps, before and after
    _refuse(
        f"{num_games:,} games of each of {num_seeds:,} seeds",
        {
            "games": at_a_time * running,
            "steps": at_a_time * num_games * task.max_steps,
            "returns": num_seeds * num_games * 8,
        },
    )


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """
    Raises:
      InvalidInput: in place of an allocator's failure.
    """
    try:
        yield
    except MemoryError as error:
        raise _ran_out(error) from error
    except (jax.errors.JaxRuntimeError, OverflowError, ValueError) as error:
        words = ("resource_exhausted", "out of memory", "too big", "too large", "maximum allowed dimension")
        if isinstance(error, InvalidInput) or not any(word in str(error).lower() for word in words):
            raise
        raise _ran_out(error) from error


def num_bytes(tree: Any) -> int:
    """Of all arrays of a tree, or of their shapes."""
    return sum(math.prod(x.shape) * _itemsize(x.dtype) for x in jax.tree.leaves(tree))


def _itemsize(dtype: Any) -> int:
    return dtype.itemsize or 8  # a key's


def _rows(task: Task, num_games: int, num_steps: int) -> int:
    observation = math.prod(environments.inputs(task.env).shape)
    discrete = environments.is_discrete(task.env)
    action = 1 if discrete else math.prod(environments.continuous_actions(task.env).shape)
    return num_games * num_steps * (4 * (observation + action) + _ROW)


def _refuse(what: str, parts: dict[str, int]) -> None:
    needed, there = sum(parts.values()), free()
    if needed > there:
        largest = max(parts, key=lambda name: parts[name])
        raise InvalidInput(
            f"{what} need at least {_shown(needed)} of memory, most of it for {largest}; {_shown(there)} are free: "
            f"{_REMEDY}"
        )


def _ran_out(error: BaseException) -> InvalidInput:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return InvalidInput(f"memory ran out, {_shown(free())} are free now ({first}): {_REMEDY}")


def _shown(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024  # pyright: ignore
    return f"{size:,.1f} TiB"


def _of_machine() -> int:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2**50


def _of_container() -> int:
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        held = int((group / "memory.current").read_text()) - int(pages["file"])  # files' pages are given up
        return int((group / "memory.max").read_text()) - held
    except (OSError, ValueError, KeyError):  # none, or no limit
        return 2**50
