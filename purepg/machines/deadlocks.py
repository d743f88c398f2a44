"""Programs on which XLA's CPU backend waits for ever: batched LAPACK calls inside a compiled program.

Each such call queues its matrices on the very thread pool that it blocks; with two devices one call each is enough.
Nothing in purepg makes them, but a user's network or environment can: `jnp.linalg` or an orthogonal initialiser under
`vmap`. They are found in the lowered program, before it hangs. jaxlib 0.11.1 has it fixed.
"""

import math
import os
import re
import warnings

import jax
import jaxlib.version

_FIXED_IN = (0, 11, 1)
_SMALL = 1e5  # operations; calls of some 2e5 and more are handed to the thread pool
_CALL = re.compile(r"custom_call @lapack_(\w+?)(?:_ffi)?\(.*?\) .*?: \(tensor<((?:\d+x)+)\w+>")
_ENOUGH_THREADS = 32


def warn_of_batched_lapack(lowered: jax.stages.Lowered) -> None:
    """Warns, with the cure, where this program may wait for ever on this machine's CPU devices."""
    if jaxlib.version.__version_info__ >= _FIXED_IN or _has_many_threads():
        return
    if calls := sorted({f"{name} of {shape}" for name, shape in _batched(lowered.as_text())}):
        warnings.warn(
            f"this program calls LAPACK in batches ({', '.join(calls)}), on which jaxlib "
            f"{jaxlib.version.__version__} can wait for ever on CPU: wrap that function in "
            "jax.custom_batching.sequential_vmap, or write it without jnp.linalg, or start the process with "
            f"PJRT_NPROC={_ENOUGH_THREADS} OPENBLAS_NUM_THREADS=1",
            stacklevel=2,
        )


def _batched(program: str) -> list[tuple[str, tuple[int, ...]]]:
    """LAPACK calls on many matrices at once, with enough work to be handed out: names and shapes."""
    calls = [(name, tuple(map(int, dims[:-1].split("x")))) for name, dims in _CALL.findall(program)]
    return [
        (name, shape)
        for name, shape in calls
        if math.prod(shape[:-2]) > 1 and math.prod(shape) * min(shape[-2:]) > _SMALL
    ]


def _has_many_threads() -> bool:
    given = os.environ.get("PJRT_NPROC", "")
    return given.isdigit() and int(given) >= _ENOUGH_THREADS
