import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
from purepg import backend, estimators, seeds
from purepg.errors import InvalidInput
from purepg.seeds import Place

METHOD = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))


def trained(key):
    hyper = purepg.Hyperparams(learning_rate=0.05, discount=0.9)
    return purepg.train(METHOD, hyper, purepg.init(METHOD, hyper, key), 3)[0].learner.params["table"]


def over(numbers, placement="auto"):
    return np.asarray(seeds.map(trained, seeds.keys(np.asarray(numbers)), placement=placement))


def test_a_seed_depends_on_its_number_alone():
    """To the bit when one after another, whatever runs beside it and however many seeds there are."""
    assert len(jax.local_devices()) == 2
    alone = {seed: over([seed], "sequential")[0] for seed in (0, 5)}
    together = over([5, 1, 0])  # three seeds on two devices: padded
    np.testing.assert_array_equal(together[0], alone[5])
    np.testing.assert_array_equal(together[2], alone[0])
    assert (together[1] != together[0]).any()


def test_placements_agree_up_to_rounding():
    np.testing.assert_allclose(over(range(5), "vmap"), over(range(5)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("games", [8, 3])
@pytest.mark.parametrize("name", ["reinforce-loo", "reinforce-value", "gae"])
def test_a_seed_alone_has_every_device_and_the_numbers_of_one(name, games, monkeypatch):
    """Rows that do not divide by chunk and devices too; entropy and value error come back row by row."""
    monkeypatch.setattr(backend, "_ROWS_ON_CPU", 16)
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
from purepg.seeds import keys, map
task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP(initializer="orthogonal")), purepg.Games(2, 3))
method = purepg.PolicyGradient(task, purepg.estimators.make("reinforce"))
for placement in ("sequential", "vmap"):
    one_seed = lambda key: purepg.init(method, purepg.Hyperparams(), key)
    jax.block_until_ready(map(one_seed, keys(range(8)), placement=placement))
print("done")
"""


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
