"""One job over several processes, on one machine or many: each trains its share of the seeds, and all get the result.

Seeds are independent, so processes meet only twice: when they start, and when the results are gathered. When a process
dies, JAX ends the others too and names the one that is missing.

    from purepg import processes
    processes.start("10.0.0.1:8476", num_processes=2, process_id=0)     # 1 in the other process
    result = processes.run(method, hyper, seeds=512, num_updates=100, directory="runs/everything")
"""

import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from purepg import hyperparams
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.machines import seeds as seed_axis
from purepg.runs import run_folder, run_length, runner, saved_state
from purepg.runs.results import Result
from purepg.training import Method, fitted

__all__ = ["run", "start"]


def start(coordinator: str, num_processes: int, process_id: int, *, timeout_seconds: int = 300) -> None:
    """Joins the processes of a job. Call it in each of them, before anything touches JAX.

    Args:
      coordinator: HOST:PORT of process 0, which the others reach; it listens there and on no other interface.
      num_processes: how many there are.
      process_id: which one this is, 0 … num_processes − 1.
      timeout_seconds: how long to wait for the others.

    Raises:
      InvalidInput: the numbers do not fit, JAX has started already, or a process did not join in time.
    """
    if not 0 <= process_id < num_processes or ":" not in coordinator:
        raise InvalidInput(
            f"coordinator {coordinator!r}, process {process_id} of {num_processes}: give HOST:PORT, and numbers "
            "from 0 to num_processes - 1"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=timeout_seconds,
            coordinator_bind_address=coordinator if process_id == 0 else None,
        )
    except RuntimeError as error:
        line = str(error).strip().splitlines()[0][:200]
        raise InvalidInput(
            f"process {process_id} of {num_processes} cannot join at {coordinator}: {line}; "
            "call purepg.processes.start before the first array and before importing gymnax, in every process"
        ) from error


def run(
    method: Method,
    hyper: Hyperparams | None = None,
    seeds: int | Sequence[int] | np.ndarray = 64,
    num_updates: int | None = None,
    *,
    num_steps: int | None = None,
    directory: str | os.PathLike | None = None,
    **options: Any,
) -> Result:
    """`purepg.run` over all processes: make the same call in each; each gets the whole result.

    Args:
      method: what to train; static.
      hyper: the numbers, the same for every seed, or arrays `[R]`; none: the defaults.
      seeds: how many (numbered from 0), or their numbers; at least one per process.
      num_updates: updates of each seed, at most; none: 100, or with `num_steps` as many as that lasts for.
      num_steps: a budget of environment steps per seed.
      directory: a new folder, which process 0 writes when everything is done; there are no checkpoints before.
      **options: `evaluation_games`, `evaluate_every`, `placement` and `report` of `purepg.run`.

    Raises:
      InvalidInput: fewer seeds than processes, a folder that cannot be written, or what `purepg.run` refuses.
    """
    me, count = jax.process_index(), jax.process_count()
    hyper = Hyperparams() if hyper is None else hyper
    num_updates, num_steps = run_length.checked(num_updates, num_steps)
    numbers = seed_axis.numbered(seeds)
    method, hyper = fitted(method, hyper)
    if len(numbers) < count:
        raise InvalidInput(f"{len(numbers)} seeds for {count} processes: give each at least one")
    if directory is not None:
        _together(lambda: run_folder.check_writable(directory) if me == 0 else None)
    share = slice(len(numbers) * me // count, len(numbers) * (me + 1) // count)
    mine = hyperparams.some(hyper, method.task.env, share)
    part = _together(
        lambda: runner.run(method, mine, numbers[share], num_updates, num_steps=num_steps, **options)
    )
    whole = _gathered(part, hyper, num_updates)
    if directory is not None:
        _together(lambda: whole.save(directory) if me == 0 else None)
    return whole


def _together(action: Callable[[], Any]) -> Any:
    """Succeeds in every process or fails in every process: none waits for one that has given up."""
    result, refusal = None, ""
    try:
        result = action()
    except InvalidInput as error:
        refusal = str(error)
    for refused in map(bytes.decode, _exchange(refusal.encode())):
        if refused:
            raise InvalidInput(refused)
    return result


def _gathered(part: Result, hyper: Hyperparams, num_updates: int | None) -> Result:
    """The result of all seeds from every process's part."""
    import xarray

    state = saved_state.as_numbers(part.state)
    parts = [pickle.loads(sent) for sent in _exchange(pickle.dumps((state, part.dataset)))]
    if not all(run_length.is_done(state, num_updates) for state, _ in parts):
        raise KeyboardInterrupt  # one of them was interrupted
    states, datasets = zip(*parts, strict=True)
    datasets = with_all_counts(datasets)  # with a budget of steps each as long as its longest seed
    none = {str(name): 0 for name in datasets[0] if str(name).endswith("_count")}
    dataset: Any = xarray.concat(
        datasets, "seed", data_vars="all", join="outer", combine_attrs="override", fill_value=none
    )
    for clock in ("compile_seconds", "run_seconds"):
        dataset.attrs[clock] = max(one.attrs[clock] for one in datasets)
    numbers = jax.tree.map(lambda *pieces: np.concatenate(pieces), *states)
    return Result(part.method, hyper, saved_state.from_numbers(numbers, part.state), dataset)


def _exchange(mine: bytes) -> list[bytes]:
    """What every process gives, in their order."""
    gather = multihost_utils.process_allgather
    sizes = np.asarray(gather(np.int32(len(mine)))).reshape(-1)
    filled = np.zeros(max(sizes.max(), 1), np.uint8)
    filled[: len(mine)] = np.frombuffer(mine, np.uint8)
    rows = np.asarray(gather(filled)).reshape(len(sizes), -1)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def with_all_counts(datasets: Sequence[Any]) -> list[Any]:
    """Gives a part without counts (all of its counts are 1) explicit ones, if another part has them.

    Parts of different lengths, as a budget of steps makes them, all get counts: what one lacks at its end counts 0.
    """
    dims = "seed", "iteration"
    names = {str(name) for dataset in datasets for name in dataset if dataset[name].dims == dims}
    counts = {name for name in names if name.endswith("_count")}
    if len({dataset.sizes["iteration"] for dataset in datasets}) > 1:
        counts |= {f"{name}_count" for name in names - counts}

    def completed(dataset):
        missing = [name for name in counts if name not in dataset]
        likes = {name: dataset[name.removesuffix("_count")] for name in missing}
        return dataset.assign({name: (dims, np.ones_like(like)) for name, like in likes.items()})

    return [completed(dataset) for dataset in datasets]
