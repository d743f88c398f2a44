"""A branch stays a branch in whatever way it is mapped, and what it computes stays what it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import purepg
from purepg.machines.branches import any_mapped
from purepg.rollout import collection
from purepg.rollout.trajectory import ActionOutput

XS = jnp.linspace(-1.0, 1.0, 8)


def rare(x, w):
    """A costly branch for x > 0, which leaves others as they are."""

    def costly(x):
        return jnp.where(x > 0, jnp.sin(x * w), x)

    return jax.lax.cond(any_mapped(x > 0), costly, lambda x: x, x)


def plain(x, w):
    return jnp.where(x > 0, jnp.sin(x * w), x)


def over_devices(function):
    mesh = jax.make_mesh((2,), ("seed",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("seed")
    return lambda xs: jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec)(xs)


WAYS = {
    "alone": lambda f: lambda xs: f(xs[0], 2.0),
    "vmap": lambda f: jax.vmap(lambda x: f(x, 2.0)),
    "nested": lambda f: lambda xs: jax.vmap(jax.vmap(lambda x: f(x, 2.0)))(xs.reshape(2, 4)),
    "batches": lambda f: lambda xs: jax.lax.map(lambda x: f(x, 2.0), xs, batch_size=3),
    "devices": lambda f: over_devices(lambda x: f(x, 2.0)),
    "grad inside": lambda f: jax.vmap(lambda x: jax.grad(f, (0, 1))(x, 2.0)),
    "grad outside": lambda f: jax.grad(lambda xs: jax.vmap(lambda x: f(x, 2.0))(xs).sum()),
    "jvp": lambda f: lambda xs: jax.jvp(jax.vmap(lambda x: f(x, 2.0)), (xs,), (xs,)),
    "checkpoint": lambda f: jax.grad(lambda xs: jax.vmap(jax.checkpoint(lambda x: f(x, 2.0)))(xs).sum()),
    "compiled inside": lambda f: jax.vmap(jax.jit(lambda x: f(x, 2.0))),
}


def branches(function, *arguments):
    return jax.jit(function).lower(*arguments).as_text().count("stablehlo.case")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_branch_stays_and_its_value_too(way):
    mapped = WAYS[way](rare)
    assert branches(mapped, XS) >= 1
    for xs in (XS, -jnp.abs(XS)):
        jax.tree.map(np.testing.assert_array_equal, jax.jit(mapped)(xs), jax.jit(WAYS[way](plain))(xs))


def test_without_it_the_branch_is_gone():
    def select(x):
        return jax.lax.cond(x > 0, jnp.sin, lambda x: x, x)

    assert branches(jax.vmap(select), XS) == 0


def test_one_answer_for_all():
    np.testing.assert_array_equal(jax.vmap(any_mapped)(XS > 0.9), np.ones(8, bool))
    np.testing.assert_array_equal(jax.vmap(any_mapped)(XS > 2), np.zeros(8, bool))
    np.testing.assert_array_equal(jax.vmap(lambda _: any_mapped(jnp.bool_(True)))(XS), np.ones(8, bool))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_it_is_exported_for_accelerators(platform):
    exported = jax.export.export(jax.jit(WAYS["grad inside"](rare)), platforms=[platform])(XS)
    assert "stablehlo.case" in exported.mlir_module()


TASK = purepg.Task("CartPole-v1", purepg.Softmax(), purepg.Games(4, 100))


def one_seed(key):
    """Games of a random policy: all are over long before the limit."""

    def act(key, observation):
        action = jax.random.bernoulli(key, 0.5, observation.shape[:1]).astype(jnp.int32)
        return ActionOutput(action, action)

    return collection.collect(TASK, purepg.Hyperparams(), act, (), key)[1]


@pytest.mark.slow
def test_seeds_side_by_side_stop_early_and_play_the_same_games():
    keys = jax.random.split(jax.random.key(0), 3)
    assert branches(jax.vmap(one_seed), keys) >= 1
    side_by_side, one_by_one = (
        jax.jit(f)(keys) for f in (jax.vmap(one_seed), lambda keys: jax.lax.map(one_seed, keys))
    )
    lengths = one_by_one.mask.sum(1).max(-1)
    assert len(set(lengths.tolist())) > 1  # otherwise no seed waits for another
    assert lengths.max() < 90
    for name in ("mask", "reward", "terminated", "truncated", "time", "return_so_far", "observation"):
        np.testing.assert_array_equal(getattr(side_by_side, name), getattr(one_by_one, name), err_msg=name)
