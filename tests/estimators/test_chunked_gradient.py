"""Row chunks: whatever their size, the gradient of the whole sum, and every row's extra in its place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purepg.estimators import chunked_gradient
from purepg.task import Backend

STEPS, GAMES = 9, 50  # 450 rows: more than a default chunk, no multiple of one

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


def weighted(params, x, index, weight):
    """Σ_rows weight · tanh(x·w + b)[index], and two extras of each row."""
    y = jnp.tanh(x @ params["w"] + params["b"][None])
    chosen = jnp.take_along_axis(y, index[:, None], axis=1)[:, 0]
    return jnp.vdot(weight, chosen), {"chosen": chosen, "largest": (y.max(axis=1), y[:, 0])}


def problem():
    """Parameters, live rows [T, N] of games that end at different times, and data [T, N, ...]."""
    generator = np.random.default_rng(0)
    params = {"w": generator.normal(size=(3, 4)), "b": generator.normal(size=4)}
    length = generator.integers(1, STEPS + 1, size=GAMES)
    mask = np.arange(STEPS)[:, None] < length
    x = generator.normal(size=(STEPS, GAMES, 3))
    index = generator.integers(4, size=(STEPS, GAMES))
    weight = np.where(mask, generator.normal(size=mask.shape), 0.0)
    params, x, weight = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, x, weight))
    return params, jnp.asarray(mask), (x, jnp.asarray(index, jnp.int32), weight)


@functools.cache
def in_chunks(rows_per_chunk):
    return quick_jit(
        lambda params, mask, data: chunked_gradient.gradient(
            weighted, params, mask, data, Backend(rows_per_chunk)
        )
    )


@pytest.fixture(scope="module")
def whole():
    """The gradient by `jax.grad` of the sum over all rows, and the extras [T, N]."""
    params, mask, data = problem()
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), data)
    gradient, extra = quick_jit(jax.grad(weighted, has_aux=True))(params, *flat)
    return gradient, jax.tree.map(lambda x: np.asarray(x).reshape(mask.shape), extra)


def assert_close(actual, expected):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5), actual, expected)


SIZES = [1, 3, 256, 450, 1000, 0]


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_chunk", SIZES)
def test_the_gradient_is_that_of_the_whole_sum(rows_per_chunk, whole):
    gradient, _ = in_chunks(rows_per_chunk)(*problem())
    assert_close(gradient, whole[0])


@pytest.mark.parametrize("rows_per_chunk", [3, 256, 1000])
def test_extras_come_back_in_their_places(rows_per_chunk, whole):
    """In chunks with a live row for every row, in the others 0."""
    params, mask, data = problem()
    _, extra = in_chunks(rows_per_chunk)(params, mask, data)
    chunk = np.arange(mask.size) // rows_per_chunk
    alive = np.isin(chunk, chunk[np.asarray(mask).ravel()]).reshape(mask.shape)
    assert alive.all() == (rows_per_chunk > 3)
    assert_close(extra, jax.tree.map(lambda x: np.where(alive, x, 0.0), whole[1]))


def dead_from(row):
    """All games are over from this row on; there the data are NaN."""
    params, mask, (x, index, weight) = problem()
    over = jnp.arange(STEPS)[:, None] >= row
    mask, weight = mask & ~over, jnp.where(over, jnp.nan, weight)
    return params, mask, (jnp.where(over[..., None], jnp.nan, x), index, weight)


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_chunk", [10, 50])
def test_chunks_without_a_live_row_add_nothing_whatever_is_in_them(rows_per_chunk):
    """Chunks that divide a step's 50 games, so that the NaN rows fill chunks of their own."""
    params, mask, data = dead_from(4)
    gradient, extra = in_chunks(rows_per_chunk)(params, mask, data)
    first = jax.tree.map(lambda x: x[:4], (mask, data))
    assert_close(gradient, in_chunks(0)(params, *first)[0])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(extra))
    assert all((x[4:] == 0).all() for x in jax.tree.leaves(extra))


def test_no_live_row_at_all_is_a_gradient_of_zero():
    gradient, extra = in_chunks(256)(*dead_from(0))
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), (gradient, extra))


@pytest.mark.slow
def test_chunks_are_passed_over_only_where_all_rows_are_dead():
    """One live row in the last place keeps its chunk."""
    params, mask, (x, index, _) = problem()
    last = jnp.zeros_like(mask).at[-1, -1].set(True)
    weight = jnp.where(last, 2.0, 0.0)
    gradient, _ = in_chunks(7)(params, last, (x, index, weight))
    one_row = x[-1, -1:], index[-1, -1:], jnp.array([2.0])
    expected, _ = quick_jit(jax.grad(weighted, has_aux=True))(params, *one_row)
    assert_close(gradient, expected)


@pytest.mark.slow
def test_mapped_over_seeds_as_one_by_one():
    """A chunk that another seed needs is not passed over; wholly dead ones still add nothing, NaN or not."""
    cases = [dead_from(row) for row in (2, 4, 9)]
    chunked = functools.partial(chunked_gradient.gradient, weighted, backend=Backend(50))
    together = quick_jit(jax.vmap(chunked))(*jax.tree.map(lambda *x: jnp.stack(x), *cases))
    alone = in_chunks(50)
    for i, case in enumerate(cases):
        assert_close(jax.tree.map(lambda x: x[i], together), alone(*case))  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 2, 8])
@pytest.mark.parametrize("limit", [256, 65_536])
def test_little_is_computed_in_vain(limit, num_devices):
    """Chunks of the limit itself would nearly double the work of 500 × 132 rows at 65,536 a chunk."""
    for rows in [*range(1, 600), 500 * 132, 66_000, 65_537, 131_073, 1_000_003]:
        num_chunks = -(-rows // (limit * num_devices))
        chunks = jax.eval_shape(
            lambda x, n=num_chunks: chunked_gradient.equal_chunks(x, n, num_devices), jnp.zeros((rows, 1))
        )
        assert chunks.shape[2] <= limit
        filled = chunks.size - rows
        assert filled < num_chunks * num_devices
        assert filled <= 0.05 * rows or filled < num_devices


def test_a_single_row():
    params, _, (x, index, _) = problem()
    one = jnp.ones((1, 1))
    gradient, extra = in_chunks(0)(params, jnp.ones((1, 1), bool), (x[:1, :1], index[:1, :1], one))
    expected, _ = quick_jit(jax.grad(weighted, has_aux=True))(params, x[0, :1], index[0, :1], one[0])
    assert_close(gradient, expected)
    assert extra["chosen"].shape == (1, 1)
