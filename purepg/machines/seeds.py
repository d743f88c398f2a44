"""The seed axis: a function of one seed, mapped over seeds that are split over the devices.

Which placement is faster depends on the platform. A CPU core does best with one seed at a time ("sequential"): its
arrays fit the cache, and early stops save time. A GPU or TPU does best with many at once ("vmap"). A seed's numbers
depend on its key alone, up to floating-point order; sequential ones are the same to the bit whatever else runs.

With fewer seeds than devices, devices can be "shared": each seed has several, which all play the same games and split
the rows whose gradient they take, the larger part of an update. Their sum is rounded in another order.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from purepg.errors import InvalidInput, whole_number
from purepg.machines import deadlocks
from purepg.names import did_you_mean
from purepg.task import for_platform

__all__ = [
    "PLACEMENTS",
    "RENAMED",
    "ROW_AXIS",
    "Place",
    "checked",
    "compiled",
    "count",
    "keys",
    "map",
    "numbered",
    "use_all_cores",
]

PLACEMENTS = ("auto", "sequential", "vmap", "shared")
RENAMED = {"one-after-another": "sequential", "side-by-side": "vmap", "spread": "shared"}  # older names
ROW_AXIS = "row"  # of the devices that share one seed's rows

_OVER_SEEDS = PartitionSpec("seed")
_NUMBERS = 2**32  # of seeds: a key is made of 32 bits


def use_all_cores(num_devices: int | None = None) -> None:
    """Makes every core of this machine a JAX CPU device. Call it before anything touches JAX.

    Args:
      num_devices: how many devices instead, at least 1; none: one per core.

    Raises:
      InvalidInput: JAX has already started with another number of devices.
    """
    num_devices = num_devices or _num_cores()
    try:
        jax.config.update("jax_num_cpu_devices", num_devices)
    except RuntimeError as error:
        if len(jax.devices("cpu")) != num_devices:
            raise InvalidInput(
                f"JAX has already started with {len(jax.devices('cpu'))} CPU devices, {num_devices} are wanted: "
                "call purepg.seeds.use_all_cores() before the first array and before importing gymnax, which makes one"
            ) from error


def numbered(seeds: Any) -> np.ndarray:
    """The seed numbers, `[S]` int64.

    Args:
      seeds: how many (numbered from 0), or a sequence of numbers, each from 0 to 2^32 − 1.

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
    """How many seeds there are, without making their numbers.

    Args:
      seeds: how many, or a sequence of numbers.

    Raises:
      InvalidInput: it is neither, or there are none.
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


def keys(seeds: Sequence[int] | np.ndarray) -> jax.Array:
    """One typed key per seed, `[S]`, which depends on the seed's number alone.

    Args:
      seeds: `[S]`, numbers from 0 to 2^32 − 1.
    """
    key = functools.partial(jax.random.key, impl="threefry2x32")  # others depend on how many run beside
    return jax.vmap(key)(jnp.asarray(seeds, jnp.uint32))


def map(function: Callable, *arguments: Any, placement: str = "auto") -> Any:
    """Maps a function of one seed over all seeds, along the first axis of every array of its arguments.

        def one_seed(rate, key):
            hyper = purepg.Hyperparams(learning_rate=rate)
            state, metrics = purepg.train(method, hyper, purepg.init(method, hyper, key), 100)
            return metrics["return"].sum[-1]

        returns = purepg.seeds.map(one_seed, rates, purepg.seeds.keys(range(64)))  # [64], as `rates` are

    Args:
      function: a pure function of the arrays of one seed; it closes over what all seeds share.
      *arguments: arrays `[S, ...]` of NumPy or JAX, or pytrees of them.
      placement: "sequential": one seed after another on each device; "vmap": all of a device's seeds at once;
        "shared": sequential, but if there are fewer seeds than devices, each seed has several, which split the rows of
        gradients where the task has `backend=purepg.Backend(row_axis=purepg.seeds.ROW_AXIS)`, and otherwise all compute
        the same. "auto": sequential on a CPU, vmap elsewhere.

    Returns:
      What `function` returns, with the seed axis in front of every array. Each call compiles anew: use
      `compiled` for what is called often, or timed.

    Raises:
      InvalidInput: there is no such placement, or the first axes of the arrays differ.
    """
    place = Place(_count_of(arguments), placement)
    padded = place.pad(arguments)
    return place.unpad(place.compile(function, *padded)(*padded))


def compiled(function: Callable, *arguments: Any, placement: str = "auto") -> Callable:
    """`map` for arguments of these shapes and types, compiled now: a function of such arguments.

    Args:
      function, placement: as for `map`.
      *arguments: as for `map`; only their shapes and types matter.

    Raises:
      InvalidInput: as `map`; the returned function, for another number of seeds.
    """
    place = Place(_count_of(arguments), placement)
    program = place.compile(function, *place.pad(arguments))

    def mapped(*arguments: Any) -> Any:
        if (given := _count_of(arguments)) != place.num_seeds:
            raise InvalidInput(
                f"compiled for {place.num_seeds} seeds, called with {given}: compile it for these"
            )
        return place.unpad(program(*place.pad(arguments)))

    return mapped


def checked(placement: Any) -> str:
    """The placement, if there is one of this name.

    Args:
      placement: one of `PLACEMENTS`.

    Raises:
      InvalidInput: there is no such placement.
    """
    if isinstance(placement, str) and placement in RENAMED:
        raise InvalidInput(f"placement = {placement!r} is called {RENAMED[placement]!r} now: give that")
    if placement not in PLACEMENTS:
        close = did_you_mean(placement, PLACEMENTS) if isinstance(placement, str) else ""
        raise InvalidInput(f"placement = {placement!r} is not one of {', '.join(PLACEMENTS)}{close}")
    return placement


class Place:
    """Where seeds are computed: on which devices, how many at once on each.

    Its programs take and return arrays `[padded, ...]`: `pad` repeats the last seed to fill all devices evenly.
    """

    def __init__(self, num_seeds: int, placement: str = "auto", *, may_share: bool = False):
        """Chooses the devices.

        Args:
          num_seeds: S.
          placement: one of `PLACEMENTS`.
          may_share: whether "auto" may give each seed several devices, as "shared" does, where there are fewer seeds
            than devices; for functions that split their rows by `backend`.
        """
        devices = jax.local_devices()
        platform, places = devices[0].platform, min(num_seeds, len(devices))
        if checked(placement) == "auto":
            sequential = "shared" if may_share and num_seeds < len(devices) else "sequential"
            placement = sequential if platform == "cpu" else "vmap"
        is_shared = placement == "shared" and not jax.config.jax_disable_jit  # pyright: ignore
        each = len(devices) // places if is_shared else 1
        self.num_seeds = num_seeds
        self.padded = -(-num_seeds // places) * places
        # Seeds that are computed together, on all devices.
        self.at_a_time = num_seeds if placement == "vmap" else places
        self.backend = for_platform(platform, ROW_AXIS if each > 1 else None)
        self._vmap, self._on_cpu = placement == "vmap", platform == "cpu"
        self._mesh = jax.make_mesh(
            (places, each),
            ("seed", ROW_AXIS),
            devices=devices[: places * each],
            axis_types=(AxisType.Auto,) * 2,
        )

    def pad(self, tree: Any) -> Any:
        """`[padded, ...]`, on the devices.

        Args:
          tree: arrays `[S, ...]`.
        """
        if self.padded > self.num_seeds:
            index = np.minimum(np.arange(self.padded), self.num_seeds - 1)
            tree = jax.tree.map(lambda x: x[index], tree)
        return jax.device_put(tree, NamedSharding(self._mesh, _OVER_SEEDS))

    def unpad(self, tree: Any) -> Any:
        """`[S, ...]`.

        Args:
          tree: arrays `[padded, ...]`.
        """
        if self.padded == self.num_seeds:
            return tree
        return jax.tree.map(lambda x: x[: self.num_seeds], tree)

    def compile(self, function: Callable, *arguments: Any) -> Callable:
        """The program that maps a function over the seeds; a Python loop where JAX's compilation is switched off.

        Args:
          function: of the arrays of one seed.
          *arguments: arrays `[padded, ...]`, for their shapes and types.
        """

        def on_one_device(*arguments):
            if self._vmap:
                return jax.vmap(function)(*arguments)
            return jax.lax.map(lambda one: function(*one), arguments)

        if jax.config.jax_disable_jit:  # pyright: ignore
            return functools.partial(self._one_by_one, function)
        mapped = jax.shard_map(
            on_one_device, mesh=self._mesh, in_specs=_OVER_SEEDS, out_specs=_OVER_SEEDS, check_vma=False
        )
        lowered = jax.jit(mapped).lower(*arguments)
        if not self._on_cpu:
            return lowered.compile()
        deadlocks.warn_of_batched_lapack(lowered)
        # LLVM's first level: a fifth or more of the compile time less, and the programs run as fast.
        options: Any = {"xla_backend_optimization_level": 1}
        return lowered.compile(options)

    def _one_by_one(self, function: Callable, *arguments: Any) -> Any:
        seeds = [function(*jax.tree.map(lambda x, i=i: x[i], arguments)) for i in range(self.padded)]
        return jax.tree.map(lambda *x: jnp.stack(x), *seeds)


def _count_of(arguments: tuple) -> int:
    """The length of the first axis, which all arrays share."""
    sizes: dict[Any, str] = {}
    for path, x in jax.tree_util.tree_leaves_with_path(arguments):
        is_array = isinstance(x, jax.Array | np.ndarray) and x.ndim
        sizes.setdefault(x.shape[0] if is_array else "no axis", f"arguments{jax.tree_util.keystr(path)}")
    if len(sizes) != 1 or not isinstance(size := next(iter(sizes)), int) or not size:
        found = ", ".join(f"{size} in {where}" for size, where in sizes.items()) or "none at all"
        raise InvalidInput(
            f"first axes of the arguments: {found}; give arrays with an entry for each seed, all of one length, and "
            "leave what the seeds share to the function"
        )
    return size


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
