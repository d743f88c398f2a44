import dataclasses
import functools
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
import purepg.task
from purepg import estimators, seeds
from purepg import task as backend
from purepg.errors import InvalidInput
from purepg.estimators import chunked_gradient
from purepg.machines.seeds import Place

METHOD = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))


def trained(key):
    hyper = purepg.Hyperparams(learning_rate=0.05, discount=0.9)
    return purepg.train(METHOD, hyper, purepg.init(METHOD, hyper, key), 3)[0].learner.params["table"]


def over(numbers, placement="auto"):
    return np.asarray(seeds.map(trained, seeds.keys(np.asarray(numbers)), placement=placement))


@pytest.mark.slow
def test_a_seed_depends_on_its_number_alone():
    """To the bit when one after another, whatever runs beside it and however many seeds there are."""
    assert len(jax.local_devices()) == 2
    alone = {seed: over([seed], "sequential")[0] for seed in (0, 5)}
    together = over([5, 1, 0])  # three seeds on two devices: padded
    np.testing.assert_array_equal(together[0], alone[5])
    np.testing.assert_array_equal(together[2], alone[0])
    assert (together[1] != together[0]).any()


@pytest.mark.slow
def test_placements_agree_up_to_rounding():
    np.testing.assert_allclose(over(range(5), "vmap"), over(range(5)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("games", [8, 3])
@pytest.mark.parametrize("name", ["reinforce-loo", "reinforce-value", "gae"])
def test_a_seed_alone_has_every_device_and_the_numbers_of_one(name, games, monkeypatch):
    """Rows that do not divide by chunk and devices too; entropy and value error come back row by row."""
    monkeypatch.setattr(backend, "ROWS_ON_CPU", 16)
    collect = purepg.Segments(games, 7, 12) if name == "gae" else purepg.Games(games, 9)
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((8,))), collect)
    method = purepg.PolicyGradient(task, estimators.make(name))
    runs = [purepg.run(method, seeds=1, num_updates=3, placement=p) for p in ("auto", "sequential")]
    shared, alone = (jax.tree.leaves(run.params(0)) for run in runs)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(runs[0].state.learner.params)} == {2}
    for x, y in zip(shared, alone, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    for metric in runs[0].dataset:
        np.testing.assert_allclose(runs[0].dataset[metric], runs[1].dataset[metric], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 8])
def test_padding_is_taken_off_again(num_seeds):
    place = Place(num_seeds)
    x = place.pad(jnp.arange(num_seeds))
    assert x.shape[0] == place.padded
    np.testing.assert_array_equal(place.unpad(place.compile(lambda x: x + 1, x)(x)), np.arange(num_seeds) + 1)


# A function of one seed

SHIFT = jnp.arange(3.0)


def shifted(tree, key):
    """What a user writes: arrays of NumPy in a tree, a typed key, an array of its own, several results."""
    drawn = tree["x"].sum() + SHIFT + jax.random.normal(key, (3,))
    return {"drawn": drawn, "nothing": None}, jax.random.fold_in(key, 1)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("placement", ["sequential", "vmap", "shared", "auto"])
def test_mapped_is_one_seed_after_another(placement, num_devices, monkeypatch):
    devices = jax.devices()[:num_devices]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    tree, keys = {"x": np.arange(6.0).reshape(3, 2)}, seeds.keys(range(3))
    found, their_keys = seeds.map(shifted, tree, keys, placement=placement)
    assert found["nothing"] is None
    assert found["drawn"].shape == (3, 3)
    assert found["drawn"].sharding.device_set == set(devices)
    for i in range(3):
        one, key = shifted({"x": tree["x"][i]}, keys[i])
        np.testing.assert_allclose(found["drawn"][i], one["drawn"], rtol=1e-6, atol=1e-6)
        assert their_keys[i] == key


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (({"x": np.zeros((3, 2))}, np.zeros(4)), r"3 in arguments\[0\]\['x'\], 4 in arguments\[1\]"),
        ((np.zeros(3), 1e-2), r"3 in arguments\[0\], no axis in arguments\[1\]"),
        (
            (np.zeros(3), purepg.Hyperparams()),
            r"3 in arguments\[0\], no axis in arguments\[1\].learning_rate",
        ),
        (("CartPole-v1",), r"no axis in arguments\[0\]"),
        ((np.zeros((0, 3)),), r"0 in arguments\[0\]"),
        ((), "none at all"),
    ],
)
def test_arrays_that_are_not_one_entry_a_seed_are_refused(arguments, found):
    for mapped in (seeds.map, seeds.compiled):
        with pytest.raises(InvalidInput, match=f"^first axes of the arguments: {found}; give arrays"):
            mapped(lambda *x: x, *arguments)


def test_compiled_once_and_called_often():
    traced = []

    def double(x):
        traced.append(x)
        return 2 * x

    doubled = seeds.compiled(double, np.zeros(3))
    assert len(traced) == 1
    for x in (np.arange(3.0), jnp.ones(3)):
        np.testing.assert_array_equal(doubled(x), 2 * x)
    assert len(traced) == 1
    with pytest.raises(InvalidInput, match="compiled for 3 seeds, called with 4"):
        doubled(np.zeros(4))


@pytest.mark.slow
def test_a_loop_where_jax_is_not_to_compile():
    with jax.disable_jit():
        (found, _) = seeds.map(shifted, {"x": np.ones((3, 2))}, seeds.keys(range(3)), placement="shared")
    assert found["drawn"].shape == (3, 3)


# What the machine decides


def squares(backend_of_task):
    """A sum over 400 rows, and what it needs to be one of a seed."""

    def one(params):
        mask, data = jnp.ones((20, 20), bool), (jnp.arange(400.0).reshape(20, 20),)
        loss = lambda params, x: (jnp.sum(params * jnp.sin(x)), x)  # noqa: E731
        return chunked_gradient.gradient(loss, params, mask, data, backend_of_task)[0]

    return one


@pytest.mark.slow
def test_rows_are_shared_by_name():
    """With the axis named each device has its part of the rows; without it each has all; elsewhere it is refused."""
    params = jnp.ones((1, 2))[:, 0]
    named, alone = (squares(purepg.Backend(row_axis=axis)) for axis in (seeds.ROW_AXIS, None))
    programs = [Place(1, "shared").compile(one, params).as_text() for one in (named, alone)]  # pyright: ignore
    assert ["all-reduce" in program for program in programs] == [True, False]
    found = [seeds.map(named, params, placement=p) for p in ("shared", "sequential", "vmap")]
    for gradient in found:
        np.testing.assert_allclose(gradient, [np.sin(np.arange(400.0)).sum()], rtol=1e-4)
    with pytest.raises(InvalidInput, match=r"row_axis = 'row', which no devices share here"):
        named(1.0)


@pytest.mark.slow
def test_a_program_for_a_platform_that_is_not_here():
    """Training compiled for a GPU has the chunks of its backend, whether that is said or left to the platform."""
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((4,))), purepg.Games(60, 9))
    method = purepg.PolicyGradient(task, estimators.make("reinforce-loo"))
    hyper, key = purepg.Hyperparams(), jax.random.key(0)
    state = jax.eval_shape(functools.partial(purepg.init, method, hyper), key)

    def in_chunks(count, given, platform):  # the observations of 540 rows
        on_it = purepg.task.on(method, given)
        update = jax.jit(lambda state: purepg.train(on_it, hyper, state, 1)[0])
        exported = jax.export.export(update, platforms=[platform])(state)
        assert exported.platforms == (platform,)
        return f"tensor<{count}x{540 // count}x4xf32>" in exported.mlir_module()

    assert in_chunks(1, backend.for_platform("cuda"), "cuda")
    assert in_chunks(1, purepg.Backend(), "cuda")
    assert in_chunks(3, backend.for_platform("cpu"), "cuda")  # of at most 256 rows
    assert in_chunks(3, purepg.Backend(), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("env", "estimator"), [("CartPole-v1", "gae"), ("Pendulum-v1", "pathwise-short")])
def test_the_backend_reaches_every_gradient_of_rows(env, estimator, monkeypatch):
    """Those of the estimator and of a critic of its own: traced alone."""
    reached = []

    def gradient(function, params, mask, data, backend):
        reached.append(backend)
        return params, jax.tree.map(
            lambda x: jnp.zeros(mask.shape), jax.eval_shape(function, params, *data)[1]
        )

    monkeypatch.setattr(chunked_gradient, "gradient", gradient)
    policy = purepg.Gaussian() if env.startswith("Pendulum") else purepg.Softmax()
    task = purepg.Task(env, policy, purepg.Segments(3, 4), backend=purepg.Backend(512))
    given = dataclasses.replace(estimators.make(estimator), critic=purepg.OwnCritic())
    method = purepg.PolicyGradient(task, given)
    hyper = purepg.Hyperparams(entropy_coefficient=0.1)
    jax.eval_shape(
        lambda key: purepg.train(method, hyper, purepg.init(method, hyper, key), 1), jax.random.key(0)
    )
    assert len(reached) >= 2
    assert set(reached) == {purepg.Backend(512)}


def test_the_backend_is_no_part_of_what_was_trained():
    from purepg.runs import configuration, records

    given = purepg.task.on(METHOD, purepg.Backend(512))
    assert "backend" not in str(configuration.encode(METHOD))
    with pytest.raises(InvalidInput, match="cannot be saved"):
        configuration.encode(given)
    for refused in (
        lambda: purepg.run(given, seeds=1, num_updates=1),
        lambda: purepg.compare({"one": (given, purepg.Hyperparams(), 1)}, 1),
        lambda: records.changed(METHOD, purepg.Hyperparams(), {"task.backend.rows_per_chunk": 512}),
    ):
        with pytest.raises(InvalidInput, match="backend"):
            refused()


def test_unknown_placement_and_late_set_up_are_refused():
    with pytest.raises(InvalidInput, match="sequential, vmap, shared, did you mean 'sequential'"):
        Place(2, "sequentially")
    for older, name in seeds.RENAMED.items():
        with pytest.raises(InvalidInput, match=f"'{older}' is called '{name}' now"):
            Place(2, older)
    seeds.use_all_cores(2)  # as it is already
    with pytest.raises(InvalidInput, match="before the first array"):
        seeds.use_all_cores(3)


HANG_TEST = """
import purepg
purepg.seeds.use_all_cores(2)
import jax
keys, map = purepg.seeds.keys, purepg.seeds.map
task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP(initializer="orthogonal")), purepg.Games(2, 3))
method = purepg.PolicyGradient(task, purepg.estimators.make("reinforce"))
for placement in ("sequential", "vmap"):
    one_seed = lambda key: purepg.init(method, purepg.Hyperparams(), key)
    jax.block_until_ready(map(one_seed, keys(range(8)), placement=placement))
print("done")
"""


@pytest.mark.slow
def test_orthogonal_initialisation_of_many_seeds_does_not_hang():
    """A batched QR on two devices would deadlock XLA's CPU backend; ours runs one matrix at a time."""
    done = subprocess.run([sys.executable, "-c", HANG_TEST], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize(
    "given", [3, np.int64(3), np.array(3), [0, 1, 2], (0, 1, 2), range(3), np.arange(3), jnp.arange(3)]
)
def test_a_count_or_numbers(given):
    numbers = seeds.numbered(given)
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    assert numbers.dtype == np.int64


@pytest.mark.parametrize(
    "given",
    [
        *(0, -1, True, 2.0, None, "64", {1, 2}, iter([1]), float("nan"), 2**32 + 1),
        *(
            [],
            [[0, 1]],
            [0.5, 1.5],
            [1.0],
            ["1"],
            [True],
            [-1],
            [2**32],
            [0, [1]],
            np.ones((2, 2), int),
            np.array([0.5]),
        ),
    ],
)
def test_what_numbers_no_seeds_is_refused(given):
    with pytest.raises(
        InvalidInput, match=r"^seeds = .* give how many, or their numbers .* from 0 to 2\*\*32 - 1$"
    ):
        seeds.numbered(given)


def test_the_largest_number_has_a_key_of_its_own():
    keys = jax.random.key_data(seeds.keys(seeds.numbered([0, 1, 2**31, 2**32 - 1])))
    assert len(np.unique(keys, axis=0)) == 4


def test_keys_name_their_implementation():
    with jax.default_prng_impl("rbg"):
        keys = seeds.keys(np.arange(2))
    assert str(jax.random.key_impl(keys)) == "threefry2x32"
    np.testing.assert_array_equal(*(jax.random.key_data(k) for k in (keys, seeds.keys(np.arange(2)))))
