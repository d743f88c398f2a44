"""Where the seed axis goes: split over the devices, then one seed after another or all side by side on each.

Which is faster depends on the backend. A CPU core is fullest with one seed at a time, whose arrays fit its cache and
whose early stops are real; a GPU or TPU with many at once. A seed's numbers depend on its key alone up to
floating-point order; one after another they are the same to the bit whatever else runs.

With fewer seeds than devices the seeds are "spread": each has several devices, which all play its games, the same ones,
and share the rows out whose gradient they take, the larger part of an update. Their sum is rounded in another order.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from purepg import deadlocks, row_chunks
from purepg.errors import InvalidInput, whole_number

PLACEMENTS = ("auto", "one-after-another", "side-by-side", "spread")

_OVER_SEEDS = PartitionSpec("seed")
_NUMBERS = 2**32  # of seeds: a key is made of 32 bits


def use_all_cores(num_devices: int | None = None) -> None:
    """Makes every core of this machine (or `num_devices`) a JAX CPU device. Call it before anything touches JAX.

    Raises:
      InvalidInput: JAX has started already, with another number of devices.
    """
    num_devices = num_devices or _num_cores()
    try:
        jax.config.update("jax_num_cpu_devices", num_devices)
    except RuntimeError as error:
        if len(jax.devices("cpu")) != num_devices:
            raise InvalidInput(
                f"JAX has started already with {len(jax.devices('cpu'))} CPU devices, {num_devices} are wanted: "
                "call purepg.seeds.use_all_cores() before the first array and before importing gymnax, which makes one"
            ) from error


def numbered(seeds: Any) -> np.ndarray:
    """The seed numbers `[S]` (int64, from 0 to 2^32 − 1) that a count or a sequence of numbers stands for.

    Raises:
      InvalidInput: it is neither, or a number has no key of its own.
    """
    num_seeds = count(seeds)
    try:
        if not _several(seeds):
            return np.arange(num_seeds)
        if isinstance(seeds, range):  # its ends are its extremes
            whole_number("seed", seeds[0], 0, _NUMBERS - 1)
            whole_number("seed", seeds[-1], 0, _NUMBERS - 1)
            return np.array(seeds)
        return np.array([whole_number("seed", seed, 0, _NUMBERS - 1) for seed in seeds])
    except InvalidInput:
        raise _no_seeds(seeds) from None


def count(seeds: Any) -> int:
    """How many seeds a count or a sequence of numbers stands for, without making them.

    Raises:
      InvalidInput: none, or it is neither.
    """
    try:
        return whole_number("seeds", len(seeds) if _several(seeds) else seeds, 1, _NUMBERS)
    except InvalidInput:
        raise _no_seeds(seeds) from None


def _several(seeds: Any) -> bool:
    return isinstance(seeds, Sequence) or (isinstance(seeds, np.ndarray | jax.Array) and seeds.ndim > 0)


def _no_seeds(seeds: Any) -> InvalidInput:
    given = repr(seeds) if len(repr(seeds)) <= 80 else f"{repr(seeds)[:77]}..."
    return InvalidInput(
        f"seeds = {given}: give how many, or their numbers one after another, each from 0 to 2**32 - 1"
    )


def keys(seeds: np.ndarray) -> jax.Array:
    """One typed key a seed, `[S]`: seed number i always has the key of i."""
    key = functools.partial(jax.random.key, impl="threefry2x32")  # others depend on how many run beside
    return jax.vmap(key)(jnp.asarray(seeds, jnp.uint32))


def at_a_time(num_seeds: int, placement: str = "auto") -> int:
    """How many seeds are computed together, on all devices."""
    devices = jax.local_devices()
    return (
        num_seeds
        if _resolved(placement, num_seeds, devices) == "side-by-side"
        else min(num_seeds, len(devices))
    )


def _resolved(placement: str, num_seeds: int, devices: list[Any]) -> str:
    if placement not in PLACEMENTS:
        raise InvalidInput(f"placement = {placement!r} is not one of {', '.join(PLACEMENTS)}")
    if placement != "auto":
        return placement
    if devices[0].platform != "cpu":
        return "side-by-side"
    return "spread" if num_seeds < len(devices) else "one-after-another"


class Placed:
    """A function of one seed, mapped over the seed axis of its arguments and results.

    Calls take and return arrays `[padded, ...]`: `pad` repeats the last seed until every device has as many.
    """

    def __init__(self, function: Callable, num_seeds: int, placement: str = "auto"):
        devices = jax.local_devices()
        self._on_cpu = devices[0].platform == "cpu"
        placement = _resolved(placement, num_seeds, devices)
        places = min(num_seeds, len(devices))
        each = len(devices) // places if placement == "spread" else 1
        self._function = function
        self.num_seeds = num_seeds
        self.padded = -(-num_seeds // places) * places
        mesh = jax.make_mesh(
            (places, each),
            ("seed", row_chunks.DEVICES),
            devices=devices[: places * each],
            axis_types=(AxisType.Auto,) * 2,
        )
        self._sharding = NamedSharding(mesh, _OVER_SEEDS)

        def on_one_device(*arguments):
            if placement == "side-by-side":
                return jax.vmap(function)(*arguments)
            return jax.lax.map(lambda one: function(*one), arguments)

        mapped = jax.shard_map(
            on_one_device, mesh=mesh, in_specs=_OVER_SEEDS, out_specs=_OVER_SEEDS, check_vma=False
        )
        self._jitted = jax.jit(mapped)
        # LLVM's first level: on CPU a fifth or more of the compile time less, and the programs run as fast.
        self._compiler_options: Any = {"xla_backend_optimization_level": 1} if self._on_cpu else {}

    def pad(self, tree: Any) -> Any:
        """`[S, ...]` → `[padded, ...]`, on the devices."""
        if self.padded > self.num_seeds:
            index = np.minimum(np.arange(self.padded), self.num_seeds - 1)
            tree = jax.tree.map(lambda x: x[index], tree)
        return jax.device_put(tree, self._sharding)

    def unpad(self, tree: Any) -> Any:
        """`[padded, ...]` → `[S, ...]`."""
        if self.padded == self.num_seeds:
            return tree
        return jax.tree.map(lambda x: x[: self.num_seeds], tree)

    def _one_by_one(self, *arguments: Any) -> Any:
        seeds = [self._function(*jax.tree.map(lambda x, i=i: x[i], arguments)) for i in range(self.padded)]
        return jax.tree.map(lambda *x: jnp.stack(x), *seeds)

    def compile(self, *arguments: Any) -> Callable:
        """The compiled function for arguments of these shapes; a loop over the seeds where JAX is not to compile."""
        if jax.config.jax_disable_jit:  # pyright: ignore
            return self._one_by_one
        lowered = self._jitted.lower(*arguments)
        if self._on_cpu:
            deadlocks.warn_of_batched_lapack(lowered)
        return lowered.compile(self._compiler_options)


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
