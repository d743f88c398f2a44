"""Running moments against NumPy's, added one by one or merged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purepg.policies.running_moments import Moments, add, merge, of, zero

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)
NONE = Moments(jnp.zeros(()), jnp.zeros(3), jnp.zeros(3))


def observations(seed, *shape, size=3):
    """Of different means and scales."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(*shape, size)) * [1.0, 10.0, 0.1] + [0.0, -50.0, 3.0]).astype(np.float32)


def assert_moments(actual, rows):
    """Of rows [K, 3], by NumPy."""
    rows = np.asarray(rows, np.float64)
    assert actual.count == len(rows)
    np.testing.assert_allclose(actual.mean, rows.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(actual.deviation, rows.var(axis=0) * len(rows), rtol=1e-3, atol=1e-3)


def test_moments_are_numpys_mean_and_variance_of_the_rows_that_count():
    rows, live = observations(0, 5, 4), np.random.default_rng(1).random((5, 4)) < 0.6
    assert_moments(of(jnp.asarray(rows), jnp.asarray(live)), rows[live])


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_rows_that_do_not_count_may_hold_anything(garbage):
    rows, live = observations(0, 5, 4), np.random.default_rng(1).random((5, 4)) < 0.6
    odd = np.where(live[..., None], rows, np.float32(garbage))
    plain, actual = (of(jnp.asarray(x), jnp.asarray(live)) for x in (rows, odd))
    jax.tree.map(np.testing.assert_array_equal, actual, plain)


def test_moments_of_no_rows_are_zeros():
    rows = of(jnp.full((2, 3, 3), jnp.nan), jnp.zeros((2, 3), bool))
    jax.tree.map(np.testing.assert_array_equal, rows, NONE)


def test_images_are_normalised_pixel_by_pixel():
    images = np.random.default_rng(0).normal(size=(5, 4, 2, 3, 1)).astype(np.float32)
    actual = of(jnp.asarray(images), jnp.ones((5, 4), bool))
    np.testing.assert_allclose(actual.mean, images.mean(axis=(0, 1)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(actual.deviation / 20, images.var(axis=(0, 1)), rtol=1e-4)


@pytest.mark.slow
@settings(deadline=None, max_examples=30, database=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_merged_in_any_split_they_are_those_of_all_rows(sizes):
    """Parts without a row included."""
    rows = observations(2, sum(sizes) + 1)
    merged, start = NONE, 0
    for size in [*sizes, 1]:
        live = np.arange(7) < size
        part = np.zeros((7, 3), np.float32)
        part[:size] = rows[start : start + size]
        merged, start = JITTED_MERGE(merged, JITTED_MOMENTS(part[:, None], live[:, None])), start + size
    assert_moments(merged, rows)


JITTED_MOMENTS, JITTED_MERGE = quick_jit(of), quick_jit(merge)


def test_merging_is_symmetric_and_none_is_neutral():
    a, b = (JITTED_MOMENTS(observations(i, 7, 1), np.ones((7, 1), bool)) for i in (3, 4))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), merge(a, b), merge(b, a))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), merge(NONE, a), a)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), merge(a, NONE), a)


def test_added_one_by_one_they_are_those_of_all_rows():
    """Of a tree, component by component, from a mean far from 0."""
    rows = observations(5, 40)
    tree = {"a": rows[:, :2], "b": rows[:, 2]}
    start = zero({"a": jnp.zeros(2), "b": jnp.zeros(())})
    added = quick_jit(lambda tree: jax.lax.scan(lambda m, x: (add(m, x), None), start, tree)[0])(tree)
    mean, deviation = (np.append(x["a"], x["b"]) for x in (added.mean, added.deviation))
    assert_moments(Moments(added.count, mean, deviation), rows)


def test_numpys_float64_stays_what_it_is():
    a, b = (
        jax.tree.map(np.float64, JITTED_MOMENTS(observations(i, 7, 1), np.ones((7, 1), bool))) for i in (6, 7)
    )
    merged = merge(a, b)
    assert {x.dtype for x in jax.tree.leaves(merged)} == {np.dtype(np.float64)}
    assert all(isinstance(x, np.ndarray | np.float64) for x in jax.tree.leaves(merged))
    assert_moments(merged, np.concatenate([observations(i, 7, 1)[:, 0] for i in (6, 7)]))
