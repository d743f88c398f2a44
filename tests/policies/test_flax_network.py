"""Your own modules as networks: what they see, their parameters, training, saving, and what is refused."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import purepg
from purepg import Flax
from purepg.environments import Inputs
from purepg.errors import InvalidInput
from purepg.runs import configuration

KEY = jax.random.key(0)
VECTOR = Inputs((3,), None)
IMAGE = Inputs((4, 3, 2), None)
CATEGORIES = Inputs((), 5)


class Net(nn.Module):
    """A field without a name to be found by, functions, and modules in a tuple."""

    num_outputs: int = 2
    width: int = 3
    activation: Callable = nn.relu
    kernel_init: Callable = nn.initializers.orthogonal()
    body: tuple[nn.Module, ...] = ()

    @nn.compact
    def __call__(self, x):
        x = x.reshape((len(x), -1))
        for layer in self.body:
            x = layer(x)
        x = self.activation(nn.Dense(self.width, kernel_init=self.kernel_init)(x))
        return nn.Dense(self.num_outputs)(x)


def linen(num_outputs):
    return Net(num_outputs, body=(nn.Dense(4), nn.LayerNorm()))


class NNX(nnx.Module):
    def __init__(self, num_inputs, num_outputs, *, rngs):
        sizes = (num_inputs, 3, num_outputs)
        self.layers = nnx.List(nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes))

    def __call__(self, x):
        x = x.reshape((len(x), -1))
        return self.layers[1](nnx.relu(self.layers[0](x)))


def of_nnx(num_inputs, num_outputs, key):
    return NNX(num_inputs, num_outputs, rngs=nnx.Rngs(key))


@jax.tree_util.register_pytree_with_keys_class
class Pytree:
    """Of one observation, as equinox's modules are: arrays and a function are leaves, a name is none."""

    def __init__(self, num_inputs, num_outputs, key):
        keys = jax.random.split(key)
        self.weights = (
            jax.random.normal(keys[0], (num_inputs, 3)),
            jax.random.normal(keys[1], (3, num_outputs)),
        )
        self.activation = jnp.tanh

    def __call__(self, x):
        return self.activation(x.reshape(-1) @ self.weights[0]) @ self.weights[1]

    def tree_flatten_with_keys(self):
        name = jax.tree_util.GetAttrKey
        return [(name("weights"), self.weights), (name("activation"), self.activation)], None

    @classmethod
    def tree_unflatten(cls, _, children):
        module = object.__new__(cls)
        module.weights, module.activation = children
        return module


def of_pytree(num_inputs, num_outputs, key):
    return Pytree(num_inputs, num_outputs, key)


NETWORKS = {
    "linen instance": Flax(Net(width=4, activation=nn.tanh, body=(nn.Dense(4, name="first"),))),
    "linen class": Flax(Net),
    "linen function": Flax(linen),
    "nnx class": Flax(NNX),
    "nnx function": Flax(of_nnx),
    "pytree class": Flax(Pytree),
    "pytree by name": Flax(f"{__name__}:of_pytree"),
}
FOLLOWING = {name: network for name, network in NETWORKS.items() if name != "linen instance"}


def of_each(networks):
    return pytest.mark.parametrize("network", networks.values(), ids=networks)


def observations(inputs, *batch):
    generator = np.random.default_rng(0)
    if inputs.num_categories is not None:
        return jnp.asarray(generator.integers(inputs.num_categories, size=(*batch, *inputs.shape)), jnp.int32)
    return jnp.asarray(generator.normal(size=(*batch, *inputs.shape)), jnp.float32)


@of_each(FOLLOWING)
def test_the_number_of_outputs_follows(network):
    for inputs, batch, num_outputs in [(VECTOR, (), 1), (IMAGE, (5, 2), 4), (CATEGORIES, (7,), 3)]:

        def outputs(key, inputs=inputs, batch=batch, num_outputs=num_outputs):
            params = network.init(key, inputs, num_outputs)
            return network.apply(params, observations(inputs, *batch), inputs, num_outputs)

        assert jax.eval_shape(outputs, KEY).shape == (*batch, num_outputs)


@pytest.mark.slow
@of_each(NETWORKS)
def test_each_key_makes_its_own_weights_and_each_row_is_alone(network):
    keys = jax.random.split(KEY, 3)
    params = jax.vmap(lambda key: network.init(key, VECTOR, 2))(keys)
    assert all(len(np.unique(x, axis=0)) in (1, 3) for x in jax.tree.leaves(params))
    assert any(len(np.unique(x, axis=0)) == 3 for x in jax.tree.leaves(params))
    one, x = jax.tree.map(lambda x: x[1], params), observations(VECTOR, 4, 2)
    together = network.apply(one, x, VECTOR, 2)
    np.testing.assert_allclose(network.apply(one, x[2, 1], VECTOR, 2), together[2, 1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        (VECTOR, (3,)),
        (IMAGE, (4, 3, 2)),
        (CATEGORIES, (5,)),
        (Inputs((2,), 3), (6,)),
        (Inputs((), None), (1,)),
    ],
)
def test_a_module_sees_vectors_one_hot_vectors_and_images(inputs, shape):
    seen = []

    class Seeing(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen.append((x.shape[1:], x.dtype))
            return nn.Dense(2)(x.reshape((len(x), -1)))

    network = Flax(Seeing())
    network.apply(network.init(KEY, inputs, 2), observations(inputs, 5, 2), inputs, 2)
    assert set(seen) == {(shape, jnp.dtype("float32"))}


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.slow
def test_the_outputs_are_those_of_numpy():
    def of(network, inputs):
        x = observations(inputs, 6)
        params = network.init(KEY, inputs, 2)
        return jax.tree.map(np.asarray, (params, network.apply(params, x, inputs, 2), x.reshape(6, -1)))

    p, out, x = of(Flax(nn.Dense(2)), VECTOR)
    np.testing.assert_allclose(out, x @ p["kernel"] + p["bias"], atol=1e-5)
    p, out, x = of(Flax(NNX), IMAGE)
    first, last = (p["layers"][i] for i in "01")
    hidden = relu(x @ first["kernel"] + first["bias"])
    np.testing.assert_allclose(out, hidden @ last["kernel"] + last["bias"], atol=1e-5)
    p, out, x = of(Flax(Pytree), IMAGE)
    np.testing.assert_allclose(out, np.tanh(x @ p["weights"]["0"]) @ p["weights"]["1"], atol=1e-5)


# Training and saving


def method_of(network):
    task = purepg.Task("CartPole-v1", purepg.Softmax(network), purepg.Games(4, max_steps=6))
    return purepg.PolicyGradient(task, purepg.estimators.make("reinforce-value"))


@pytest.mark.slow
@of_each({name: FOLLOWING[name] for name in ("linen function", "nnx class", "pytree class")})
def test_a_module_is_trained_with_a_shared_critic_and_saved(network, tmp_path):
    result = purepg.run(method_of(network), seeds=2, num_updates=2, evaluation_games=1)
    before = jax.vmap(result.method.task.bind_policy(with_value=True).init)(jax.random.split(KEY, 2))
    after = result.method.params(result.state.learner)
    assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
    assert (result.dataset["gradient_norm"] > 0).all()
    loaded = purepg.load(result.save(tmp_path / "run"))
    assert loaded.method == result.method
    jax.tree.map(np.testing.assert_array_equal, loaded.params(1), result.params(1))


@of_each(NETWORKS)
def test_a_record_is_read_back_by_value(network):
    data = json.loads(json.dumps(configuration.encode(method_of(network))))
    again = configuration.decode(data)
    assert again == method_of(network)
    assert hash(again) == hash(method_of(network))


def test_equal_modules_are_equal_records():
    assert Flax(Net(width=4)) == Flax(Net(width=4))
    assert len({Flax(Net(width=4)), Flax(Net(width=4)), Flax(Net(width=5)), Flax(Net), Flax(NNX)}) == 4


def test_an_equal_module_is_not_traced_again():
    traced = []

    def forward(network, key):
        traced.append(1)
        return network.init(key, VECTOR, 2)

    jitted = jax.jit(forward, static_argnums=0)
    for _ in range(2):
        jitted.lower(Flax(Net(body=(nn.Dense(2),))), KEY)
    assert len(traced) == 1


def test_equinox():
    eqx = pytest.importorskip("equinox")

    def make(num_inputs, num_outputs, key):
        return eqx.nn.MLP(num_inputs, num_outputs, width_size=3, depth=1, key=key)

    network = Flax(make)
    params = network.init(KEY, VECTOR, 2)
    x = observations(VECTOR, 4)
    assert network.apply(params, x, VECTOR, 2).shape == (4, 2)
    first, last = (params["layers"][i] for i in "01")
    hidden = relu(x @ first["weight"].T + np.tile(first["bias"], (4, 1)))
    expected = hidden @ last["weight"].T + np.tile(last["bias"], (4, 1))
    np.testing.assert_allclose(network.apply(params, x, VECTOR, 2), expected, atol=1e-5)
    with pytest.raises(InvalidInput, match="has its weights already"):
        Flax(make(3, 2, KEY))


# What is refused


class Silent(nn.Module):
    width: int = 3


class BatchNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.BatchNorm(use_running_average=True)(x))


class Dropout(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=False)(x))


class NNXDropout(NNX):
    def __init__(self, num_inputs, num_outputs, *, rngs):
        super().__init__(num_inputs, num_outputs, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)


@jax.tree_util.register_pytree_with_keys_class
class Counting(Pytree):
    """Keeps an array of integers."""

    def __init__(self, num_inputs, num_outputs, key):
        super().__init__(num_inputs, num_outputs, key)
        self.activation = jnp.arange(3)


DENSE = nn.Dense(2)


@dataclass(frozen=True)
class Needy:
    width: int


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flax(3), r"Flax\(int\) cannot be called: a flax module .*, or a class or function"),
        (lambda: Flax(Silent()), r"Flax\(Silent\) cannot be called: a flax module with a `__call__`"),
        (
            lambda: Flax(NNX(3, 2, rngs=nnx.Rngs(0))),
            r"Flax\(NNX\) has its weights already, .* give its class",
        ),
        (lambda: Flax(Pytree(3, 2, KEY)), r"Flax\(Pytree\) has its weights already, .* give its class"),
        (
            lambda: Flax(nn.Sequential([nn.Dense(2)])),
            r"Flax\(Sequential\) does not hash: .* tuples in place of lists",
        ),
        (lambda: Flax(Net(body=(DENSE, DENSE))), r"Flax\(Net\) holds the same module twice"),
        (lambda: Flax(nn.Dense(2).bind({"params": {}})), "bind no variables to it"),
        (lambda: Flax(Needy), r"Flax\(Needy\) needs width, and is given num_outputs, .* write a function"),
        (lambda: Flax(nn.Dense), r"Flax\(Dense\) needs features, and is given"),
        (lambda: Flax(dict), r"Flax\(dict\) makes dict, expected a linen, nnx or equinox module"),
        (lambda: Flax("no_such_module:Net"), "cannot import 'no_such_module:Net'"),
        (
            lambda: Flax(nn.Dense(3)),
            r"outputs \(2, 3\) for observations \(2, 3\), expected \(2, 2\).*`num_outputs`",
        ),
        (lambda: Flax(lambda: lambda x: x), r"makes .*lambda.*, expected a linen, nnx or equinox module"),
        (
            lambda: Flax(BatchNorm()),
            r"BatchNorm keeps batch_stats beside its parameters.* leave batch statistics",
        ),
        (lambda: Flax(Dropout()), r"Flax\(Dropout\) fails for observations \(2, 3\): InvalidRngError: "),
        (
            lambda: Flax(NNXDropout),
            r"NNXDropout keeps dropout\.rngs\.count \(RngCount\), .*norm\.mean \(BatchStat\)",
        ),
        (lambda: Flax(Counting), r"Counting keeps activation \(int32\) beside its parameters"),
        (
            lambda: Flax(nn.Embed(3, 2)),
            r"Flax\(Embed\) fails for observations \(2, 3\): ValueError: Input type must be",
        ),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(make, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        make().init(KEY, VECTOR, 2)
    assert "\n" not in str(caught.value)


def test_one_output_too_few_for_a_shared_critic_is_said_before_training():
    with pytest.raises(InvalidInput, match=r"outputs \(2, 2\) for .* expected \(2, 3\)"):
        purepg.run(method_of(Flax(Net())), seeds=1, num_updates=1)
