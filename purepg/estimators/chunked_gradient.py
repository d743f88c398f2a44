"""Gradients of sums over rows, a chunk of rows at a time.

Memory grows with the chunk, not with T·N; on a CPU a chunk that fits the cache is also 1.3 to 1.5 times as fast as
all rows at once. Chunks without a live row are passed over, so that games which ended early cost nothing; of seeds
mapped side by side those without a live row of any.

Where several devices work on the same seed (`purepg.seeds`, placement "shared"), each takes its share of the chunks.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purepg.errors import InvalidInput
from purepg.machines import branches
from purepg.policies.networks import Params
from purepg.task import AUTOMATIC, ROWS_ELSEWHERE, ROWS_ON_CPU, Backend

__all__ = ["gradient"]


def gradient(
    function: Callable[..., tuple[jax.Array, Any]],
    params: Params,
    mask: jax.Array,
    data: Any,
    backend: Backend = AUTOMATIC,
) -> tuple[Params, Any]:
    """∇_params Σ function(params, *data), and the function's other outputs row by row.

    Args:
      function: of the parameters and a chunk of rows `[B, ...]`: the sum over the chunk's rows, and a pytree of
        float32 arrays `[B]`. Rows outside the mask must add nothing to the sum.
      mask: which rows count, `[T, N]` bool.
      data: pytree of arrays `[T, N, ...]`.
      backend: rows per chunk, and the axis of the devices that share them.

    Returns:
      The gradient, and the arrays `[T, N]`, 0 in chunks that were skipped.

    Raises:
      InvalidInput: no devices share an axis of that name here.
    """
    in_chunks = functools.partial(_in_chunks, function, backend.row_axis)
    # Few rows are one chunk on every platform.
    rows = backend.rows_per_chunk or (ROWS_ELSEWHERE if mask.size <= ROWS_ON_CPU else None)
    if rows is not None:
        return in_chunks(rows, params, mask, data)
    cpu, default = (functools.partial(in_chunks, rows) for rows in (ROWS_ON_CPU, ROWS_ELSEWHERE))
    return jax.lax.platform_dependent(params, mask, data, cpu=cpu, default=default)


def _in_chunks(
    function: Callable, axis: str | None, rows_per_chunk: int, params: Params, mask: jax.Array, data: Any
) -> tuple[Params, Any]:
    num_devices = _num_devices(axis)
    num_chunks = -(-mask.size // (rows_per_chunk * num_devices))
    chunks = jax.tree.map(lambda x: equal_chunks(x, num_chunks, num_devices), (mask, data))
    mine = 0 if num_devices == 1 else jax.lax.axis_index(axis)
    chunks = jax.tree.map(lambda x: x[mine], chunks)
    extra_like = jax.eval_shape(function, params, *jax.tree.map(lambda x: x[0], chunks[1]))[1]

    def add_chunk(gradient, chunk):
        mask, data = chunk

        def pass_over(gradient):
            return gradient, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), extra_like)

        def differentiate(gradient):
            more, extra = jax.grad(function, has_aux=True)(params, *data)
            return jax.tree.map(jnp.add, gradient, more), extra

        return branches.cond(mask.any(), differentiate, pass_over, gradient)

    total, extra = jax.lax.scan(add_chunk, jax.tree.map(jnp.zeros_like, params), chunks)
    if num_devices > 1:
        total = jax.lax.psum(total, axis)
        extra = jax.lax.all_gather(extra, axis)
    return total, jax.tree.map(lambda x: x.reshape(-1)[: mask.size].reshape(mask.shape), extra)


def _num_devices(axis: str | None) -> int:
    """Devices that share this seed's rows."""
    try:
        return 1 if axis is None else jax.lax.axis_size(axis)
    except NameError as error:
        raise InvalidInput(
            f"row_axis = {axis!r}, which no devices share here: inside purepg.seeds.map it is "
            "purepg.seeds.ROW_AXIS, elsewhere leave it out"
        ) from error


def equal_chunks(x: jax.Array, num_chunks: int, num_devices: int) -> jax.Array:
    """Rows `[T, N, ...]` as equal chunks `[devices, chunks, rows, ...]`, the end filled up with zeros, dead rows.

    There are fewer of these than chunks: of any number of rows little is computed in vain.
    """
    x = x.reshape((-1, *x.shape[2:]))
    fill = jnp.zeros((-x.shape[0] % (num_chunks * num_devices), *x.shape[1:]), x.dtype)
    return jnp.concatenate([x, fill]).reshape((num_devices, num_chunks, -1, *x.shape[1:]))
