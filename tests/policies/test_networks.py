"""Networks: shapes, the forward pass against NumPy, initial weights by their statistics, records by value."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from purepg.environments import Inputs
from purepg.errors import InvalidInput
from purepg.policies.function_network import Functions
from purepg.policies.networks import MLP, Conv, Table, encode

KEY = jax.random.key(0)
VECTOR = Inputs((3,), None)
IMAGE = Inputs((4, 3, 2), None)
CATEGORIES = Inputs((), 5)
SIZE = {VECTOR: 3, IMAGE: 24, CATEGORIES: 5}
BATCHES = [(), (7,), (2, 3)]


def observations(inputs, *batch):
    generator = np.random.default_rng(0)
    if inputs.num_categories is not None:
        return jnp.asarray(generator.integers(inputs.num_categories, size=(*batch, *inputs.shape)), jnp.int32)
    return jnp.asarray(generator.normal(size=(*batch, *inputs.shape)), jnp.float32)


def layers(params, np=np):
    """(weights, biases) from the first layer to the last."""
    names = sorted(params, key=lambda name: int(name.split("_")[1]))
    return [(np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])) for name in names]


# MLP


@pytest.mark.parametrize("inputs", SIZE)
@pytest.mark.parametrize("hidden", [(), (6,), (6, 8)])
def test_layer_sizes(inputs, hidden):
    params = jax.eval_shape(lambda key: MLP(hidden).init(key, inputs, 2), KEY)
    sizes = SIZE[inputs], *hidden, 2
    shapes = sorted(x.shape for x in jax.tree.leaves(params))
    assert shapes == sorted([*itertools.pairwise(sizes), *((n,) for n in sizes[1:])])


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("inputs", SIZE)
def test_output_shape_follows_the_batch(inputs, batch):
    network = MLP((6,))

    def outputs(key):
        return network.apply(network.init(key, inputs, 2), observations(inputs, *batch), inputs, 2)

    assert jax.eval_shape(outputs, KEY).shape == (*batch, 2)


ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
}


def random_params(network, inputs, num_outputs):
    """Parameters of the network's structure, biases too at random."""
    generator = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda key: network.init(key, inputs, num_outputs), KEY)
    return jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape) / 4, x.dtype), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_pass(activation):
    network, observation = MLP((6, 5), activation), observations(IMAGE, 7)
    params = random_params(network, IMAGE, 2)
    x = np.asarray(observation).reshape(7, -1)
    *inner, (last, bias) = layers(params)
    for weights, biases in inner:
        x = ACTIVATIONS[activation](x @ weights + biases)
    actual = network.apply(params, observation, IMAGE, 2)
    np.testing.assert_allclose(actual, x @ last + bias, rtol=1e-4, atol=1e-5)


def test_without_hidden_layers_it_is_linear():
    params, x = random_params(MLP(()), VECTOR, 2), observations(VECTOR, 4)
    ((weights, bias),) = layers(params)
    expected = np.asarray(x) @ weights + bias
    np.testing.assert_allclose(MLP(()).apply(params, x, VECTOR, 2), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": (4, 0)}, r"hidden = \(4, 0\): every layer needs a size of at least 1"),
        ({"activation": "sine"}, "activation = 'sine' is not one of tanh, relu"),
        ({"initializer": "ones"}, "initializer = 'ones' is not one of lecun_normal, he_normal"),
    ],
)
def test_what_makes_no_network_is_refused(fields, message):
    with pytest.raises(InvalidInput, match=message):
        MLP(**fields)


# Observations


def test_integers_enter_as_one_hot_vectors():
    expected = np.eye(5)[[3, 0]]
    actual = encode(jnp.array([3, 0]), CATEGORIES)
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == jnp.float32


@pytest.mark.parametrize("batch", BATCHES)
def test_everything_else_is_flattened(batch):
    observation = observations(IMAGE, *batch)
    np.testing.assert_array_equal(encode(observation, IMAGE), np.asarray(observation).reshape(*batch, 24))


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.uint8])
def test_other_types_become_floats(dtype):
    actual = encode(jnp.asarray(np.array([[1, 0, 1]], dtype)), VECTOR)
    assert actual.dtype == jnp.float32
    np.testing.assert_array_equal(actual, [[1.0, 0.0, 1.0]])


# Initial weights

WIDE = Inputs((64,), None)


INITIALIZERS = "lecun_normal", "he_normal", "glorot_uniform"


@pytest.fixture(scope="module")
def initial():
    """First layer's weights [64, 256] of each initialiser."""

    @jax.jit
    def all_weights(key):
        return {n: MLP((256,), initializer=n).init(key, WIDE, 2)["layers_0"]["kernel"] for n in INITIALIZERS}

    return jax.tree.map(np.asarray, all_weights(jax.random.key(1)))


@pytest.mark.parametrize(
    ("name", "variance"),
    [("lecun_normal", 1 / 64), ("he_normal", 2 / 64), ("glorot_uniform", 2 / (64 + 256))],
)
def test_mean_and_variance_of_initial_weights(name, variance, initial):
    """4 standard errors; the fourth moment of these laws is at most that of a normal one."""
    weights = initial[name]
    assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)
    assert abs(weights.var() / variance - 1) < 4 * np.sqrt(2 / weights.size)


def test_glorot_uniform_is_bounded(initial):
    bound = np.sqrt(6 / (64 + 256))
    assert 0.99 * bound < np.abs(initial["glorot_uniform"]).max() <= bound


def orthogonal(key):
    """Weights [3, 6] and [6, 4], wide and tall, the last ones scaled by 1/2."""
    params = MLP((6,), initializer="orthogonal", output_scale=0.5).init(key, VECTOR, 4)
    (wide, _), (tall, _) = layers(params, np=jnp)
    return wide, tall


KEYS = jax.random.split(jax.random.key(2), 100)


@pytest.fixture(scope="module")
def mapped():
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(orthogonal))(KEYS))


@pytest.mark.slow
def test_orthogonal_weights(mapped):
    """Qᵀ Q = I where there are more rows than columns, Q Qᵀ = I elsewhere."""
    wide, tall = mapped
    eye = np.broadcast_to(np.eye(3), (100, 3, 3))
    np.testing.assert_allclose(wide @ wide.mT, eye, atol=1e-5)
    eye = np.broadcast_to(np.eye(4), (100, 4, 4))
    np.testing.assert_allclose(tall.mT @ tall, 0.25 * eye, atol=1e-5)


def test_orthogonal_weights_have_no_preferred_sign(mapped):
    """The Q of a QR alone has. Uniform over orthogonal matrices E Q = 0 and E Q² = 1/columns; 4 standard errors."""
    wide, _ = mapped
    assert (np.abs(wide.mean(axis=0)) < 4 * wide.std(axis=0) / np.sqrt(100)).all()
    square = wide**2
    assert (np.abs(square.mean(axis=0) - 1 / 6) < 4 * square.std(axis=0) / np.sqrt(100)).all()


def test_orthogonal_weights_mapped_over_keys_are_those_of_one_by_one(mapped):
    alone = jax.jit(orthogonal)
    for i, key in enumerate(KEYS[:3]):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=1e-6), mapped, alone(key))  # noqa: B023


def test_no_batched_decomposition_in_the_mapped_program():
    """Batched QR can hang XLA's CPU backend: the initialiser takes one matrix at a time whatever maps it."""
    text = jax.jit(jax.vmap(orthogonal)).lower(KEYS).as_text()
    calls = [line for line in text.splitlines() if "custom_call" in line and "geqrf" in line]
    assert calls
    assert not any(re.search(r"tensor<\d+x\d+x\d+x", line) for line in calls)


def test_output_scale_is_a_factor_on_the_last_weights_alone():
    one, scaled = (
        layers(MLP((4,), initializer="glorot_uniform", output_scale=scale).init(KEY, VECTOR, 2))
        for scale in (1.0, 0.25)
    )
    np.testing.assert_array_equal(one[0][0], scaled[0][0])
    np.testing.assert_allclose(scaled[1][0], 0.25 * one[1][0], rtol=1e-6)


def test_biases_start_at_zero():
    assert not any(
        bias.any() for _, bias in layers(MLP((4,), initializer="glorot_uniform").init(KEY, VECTOR, 2))
    )


def test_the_default_policy_starts_near_uniform():
    network = MLP((4,))
    outputs = network.apply(network.init(KEY, VECTOR, 2), observations(VECTOR, 100), VECTOR, 2)
    assert np.abs(outputs).max() < 0.1


def test_other_keys_give_other_weights():
    one, other = (
        layers(MLP((4,), initializer="glorot_uniform").init(jax.random.key(i), VECTOR, 2))[0][0]
        for i in (0, 1)
    )
    assert (one != other).all()


# Table

ROWS = tuple((float(i), 10.0 * i) for i in range(5))


@pytest.mark.parametrize(
    ("initial", "expected"),
    [((), np.zeros((5, 2))), (((0.7, 0.3),), np.tile([0.7, 0.3], (5, 1))), (ROWS, np.array(ROWS))],
    ids=["none", "one row", "all rows"],
)
def test_initial_table(initial, expected):
    table = Table(initial).init(KEY, CATEGORIES, 2)["table"]
    np.testing.assert_allclose(table, expected)
    assert table.dtype == jnp.float32


@pytest.mark.parametrize("batch", BATCHES)
def test_a_table_reads_its_row(batch):
    table = Table(ROWS)
    observation = observations(CATEGORIES, *batch)
    actual = table.apply(table.init(KEY, CATEGORIES, 2), observation, CATEGORIES, 2)
    np.testing.assert_allclose(actual, np.array(ROWS)[np.asarray(observation)])


@pytest.mark.parametrize(
    "initial", [((1.0,),), ((1.0, 2.0, 3.0),), ((1.0, 2.0),) * 4, ((1.0, 2.0),) * 6, (1.0, 2.0)]
)
def test_initial_values_of_another_shape_are_refused(initial):
    with pytest.raises(InvalidInput, match=r"initial values have shape .*, expected \(5, 2\)"):
        Table(initial).init(KEY, CATEGORIES, 2)


def test_a_table_needs_integer_observations():
    with pytest.raises(
        InvalidInput, match=r"needs integer observations, these have shape \(3,\): use an MLP"
    ):
        Table().init(KEY, VECTOR, 2)


# Functions


def linear_init(key, observation):
    return {"w": jax.random.normal(key, (observation.size, 2))}


def linear_apply(params, observation):
    return observation @ params["w"]


def table_init(key, observation):
    assert observation.dtype == jnp.int32
    return jnp.arange(10.0).reshape(5, 2)


def table_apply(params, observation):
    return params[observation]


OWN = Functions(linear_init, linear_apply)
NAMED = Functions(f"{__name__}:linear_init", f"{__name__}:linear_apply")


@pytest.mark.parametrize("network", [OWN, NAMED], ids=["functions", "names"])
@pytest.mark.parametrize("batch", BATCHES)
def test_your_own_functions(network, batch):
    params, observation = network.init(KEY, VECTOR, 2), observations(VECTOR, *batch)
    np.testing.assert_array_equal(params["w"], linear_init(KEY, jnp.zeros(3))["w"])
    np.testing.assert_allclose(
        network.apply(params, observation, VECTOR, 2), observation @ params["w"], rtol=1e-5
    )


def test_your_own_functions_see_observations_as_they_are():
    network = Functions(table_init, table_apply)
    outputs = network.apply(network.init(KEY, CATEGORIES, 2), jnp.array([4, 0]), CATEGORIES, 2)
    np.testing.assert_array_equal(outputs, [[8.0, 9.0], [0.0, 1.0]])


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(
        InvalidInput, match=r"gave shape \(7, 2\) for observations \(7, 3\), expected \(7, 5\)"
    ):
        OWN.apply(OWN.init(KEY, VECTOR, 5), observations(VECTOR, 7), VECTOR, 5)


def test_a_function_that_is_not_there_is_refused():
    with pytest.raises(InvalidInput, match="cannot import 'no_such_module:f'"):
        Functions("no_such_module:f", linear_apply).init(KEY, VECTOR, 2)


# Records


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP((3, 4), "relu", "orthogonal", 0.1),
        lambda: Table(tuple((float(i), 0.0) for i in range(3))),
        lambda: Functions(linear_init, linear_apply),
        lambda: Functions("a:b", "c:d"),
        lambda: purepg.Softmax(MLP((3,))),
    ],
    ids=["MLP", "Table", "Functions", "named functions", "Softmax"],
)
def test_equal_records_hash_equal(make):
    assert make() is not make()
    assert make() == make()
    assert hash(make()) == hash(make())


def test_other_fields_make_other_records():
    assert len({MLP(), MLP((64,)), MLP(activation="relu"), MLP(output_scale=1.0), Table(), OWN, NAMED}) == 7


# Conv

GRID = Inputs((5, 6, 2), None)
FLAT_GRID = Inputs((5, 6), None)


@pytest.mark.parametrize("inputs", [GRID, FLAT_GRID], ids=["H W C", "H W"])
@pytest.mark.parametrize("batch", [*BATCHES, (4, 3, 2)], ids=str)
def test_a_convolutions_output_shape_follows_the_batch(inputs, batch):
    network = Conv((4,), hidden=(3,))

    def outputs(key):
        return network.apply(network.init(key, inputs, 2), observations(inputs, *batch), inputs, 2)

    shape = jax.eval_shape(outputs, KEY)
    assert (shape.shape, shape.dtype) == ((*batch, 2), jnp.float32)


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        (Conv((4,), 3, (7,)), [(3, 3, 2, 4), (4,), (3 * 4 * 4, 7), (7,), (7, 2), (2,)]),
        (Conv((4, 3), 2, ()), [(2, 2, 2, 4), (4,), (2, 2, 4, 3), (3,), (3 * 4 * 3, 2), (2,)]),
        (Conv((), 3, ()), [(5 * 6 * 2, 2), (2,)]),
    ],
    ids=["one", "two", "none"],
)
def test_sizes_of_a_convolution(network, sizes):
    """Without padding every convolution takes kernel − 1 from height and width."""
    params = jax.eval_shape(lambda key: network.init(key, GRID, 2), KEY)
    assert sorted(x.shape for x in jax.tree.leaves(params)) == sorted(sizes)


def convolution_by_loop(x, kernel, bias):
    """y[i, j, f] = b_f + Σ_{a, b, c} x[i + a, j + b, c] k[a, b, c, f], then relu."""
    height, width = (size - k + 1 for size, k in zip(x.shape[:2], kernel.shape[:2], strict=True))
    y = np.zeros((height, width, kernel.shape[3]))
    for i, j, f in np.ndindex(y.shape):
        window = x[i : i + kernel.shape[0], j : j + kernel.shape[1]]
        y[i, j, f] = (window * kernel[..., f]).sum() + bias[f]
    return np.maximum(y, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [GRID, FLAT_GRID], ids=["H W C", "H W"])
def test_a_convolution_is_that_of_a_loop(inputs):
    network, x = Conv((3, 2), 2, (4,)), observations(inputs, 2)
    params = random_params(network, inputs, 2)
    first, second, hidden, last = layers(params)
    expected = []
    for image in np.asarray(x).reshape(2, 5, 6, -1):
        y = convolution_by_loop(convolution_by_loop(image, *first), *second).ravel()
        y = np.maximum(y @ hidden[0] + hidden[1], 0.0)
        expected.append(y @ last[0] + last[1])
    np.testing.assert_allclose(network.apply(params, x, inputs, 2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32])
def test_a_convolution_of_other_types(dtype):
    network, x = (
        Conv((3,), hidden=()),
        np.random.default_rng(3).integers(2, size=(7, *GRID.shape)).astype(dtype),
    )
    params = random_params(network, GRID, 2)
    expected = network.apply(params, jnp.asarray(x, jnp.float32), GRID, 2)
    np.testing.assert_array_equal(network.apply(params, jnp.asarray(x), GRID, 2), expected)


def test_gradients_reach_all_parameters_of_a_convolution():
    network, x = Conv((3, 2), 2, (8,)), observations(GRID, 20)
    params = random_params(network, GRID, 2)
    gradient = jax.jit(jax.grad(lambda p: (network.apply(p, x, GRID, 2) ** 2).sum()))(params)
    assert len(jax.tree.leaves(gradient)) == 8
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (Conv(), VECTOR),
        (Conv(), CATEGORIES),
        (Conv(), Inputs((5, 6), 4)),
        (Conv(), Inputs((2, 6, 1), None)),
        (Conv(), Inputs((6, 2, 1), None)),
        (Conv((4, 4), 3), Inputs((4, 9, 1), None)),
        (Conv(), Inputs((5, 5, 5, 1), None)),
    ],
    ids=["vector", "integer", "integers", "low", "narrow", "low for two", "four axes"],
)
def test_observations_that_are_no_image_or_too_small_are_refused(network, inputs):
    with pytest.raises(InvalidInput, match=r"needs observations .* use an MLP"):
        network.init(KEY, inputs, 2)


def test_the_smallest_image_that_is_taken():
    network, inputs = Conv((4, 3), 3, ()), Inputs((5, 5, 1), None)
    params = jax.eval_shape(lambda key: network.init(key, inputs, 2), KEY)
    assert (3, 2) in [x.shape for x in jax.tree.leaves(params)]


@pytest.mark.parametrize("fields", [{"kernel": 0}, {"features": (4, 0)}, {"hidden": (0,)}], ids=str)
def test_what_makes_no_convolution_is_refused(fields):
    with pytest.raises(InvalidInput, match="sizes start at 1"):
        Conv(**fields)


@pytest.mark.slow
def test_the_last_layer_of_a_convolution_starts_small():
    network = Conv((4,))
    outputs = jax.jit(lambda key, x: network.apply(network.init(key, GRID, 2), x, GRID, 2))
    assert np.abs(outputs(KEY, observations(GRID, 50))).max() < 0.1


def test_equal_convolutions_hash_equal():
    assert (Conv((3,), 2), hash(Conv((3,), 2))) == (Conv((3,), 2), hash(Conv((3,), 2)))
    assert len({Conv(), Conv((8,)), Conv(kernel=2), Conv(hidden=())}) == 4
