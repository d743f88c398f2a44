"""Networks: observation → outputs, as frozen records of their sizes.

A network has two pure functions, `init(key, inputs, num_outputs) → params` and
`apply(params, observation, inputs, num_outputs) → [..., num_outputs]`, and hashes by value. Integer observations enter
as one-hot vectors, all others in float32, flattened except for a convolution.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp

from purepg.environments import Inputs
from purepg.errors import InvalidInput, checks
from purepg.names import lookup
from purepg.policies.initializers import INITIALIZERS, scaled

__all__ = [
    "MLP",
    "NAMES",
    "Affine",
    "Conv",
    "Network",
    "Params",
    "Table",
    "checked_outputs",
    "chosen",
    "encode",
    "make",
    "outputs_of",
]

Params = Any  # a pytree of arrays

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": nn.relu, "gelu": nn.gelu, "silu": nn.silu, "elu": nn.elu}


@runtime_checkable
class Network(Protocol):
    """Observation → outputs: a static record, which hashes by value."""

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        """Fresh parameters, a pytree of float arrays.

        Args:
          key: one typed key.
          inputs: shape and kind of one observation, as `purepg.environments.inputs` gives them.
          num_outputs: K, at least 1.

        Raises:
          InvalidInput: the network cannot take such observations.
        """
        ...

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        """Outputs `[..., K]` for observations `[..., *shape]`; inputs and num_outputs as for `init`."""
        ...


@runtime_checkable
class Affine(Protocol):
    """A network that can tell whether it is an affine map."""

    def affine(self, params: Params) -> tuple[jax.Array, jax.Array] | None:
        """Kernel `[O, num_outputs]` and bias `[num_outputs]` on observations as vectors `[O]`; None if not affine.

        Args:
          params: of this network.
        """
        ...


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron on the flattened observation.

    Attributes:
      hidden: Sizes of the hidden layers; none of them makes a linear map.
      activation: After each hidden layer.
      initializer: Of the weights; biases start at 0.
      output_scale: Factor on the last layer's initial weights; a small one starts near the uniform policy.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "gelu", "silu", "elu"] = "tanh"
    initializer: Literal["lecun_normal", "he_normal", "glorot_uniform", "orthogonal"] = "lecun_normal"
    output_scale: float = 0.01

    def __post_init__(self):
        object.__setattr__(
            self, "hidden", checks.sizes("hidden", self.hidden, "every layer needs a size of at least 1")
        )
        _choose("activation", self.activation, _ACTIVATIONS)
        _choose("initializer", self.initializer, INITIALIZERS)

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        example = jnp.zeros((1, *inputs.shape), jnp.float32 if inputs.num_categories is None else jnp.int32)
        return self._module(num_outputs).init(key, encode(example, inputs))["params"]

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        return self._module(num_outputs).apply({"params": params}, encode(observation, inputs))  # pyright: ignore

    def affine(self, params: Params) -> tuple[jax.Array, jax.Array] | None:
        """Kernel `[O, num_outputs]` and bias `[num_outputs]`; None where there are hidden layers."""
        if self.hidden:
            return None
        (layer,) = params.values()
        return layer["kernel"], layer["bias"]

    def _module(self, num_outputs: int) -> nn.Module:
        weights = INITIALIZERS[self.initializer]

        layers = []
        for size in self.hidden:
            layers += [nn.Dense(size, kernel_init=weights), _ACTIVATIONS[self.activation]]
        return nn.Sequential([*layers, nn.Dense(num_outputs, kernel_init=scaled(weights, self.output_scale))])


@dataclass(frozen=True)
class Conv:
    """A small convolution over grid observations `[H, W, C]` (or `[H, W]`), then a perceptron.

    Attributes:
      features: Channels of the convolutions, each followed by relu.
      kernel: Height and width of the kernels; no padding.
      hidden: Sizes of the hidden layers after the convolutions, each followed by relu.
      output_scale: Factor on the last layer's initial weights.
    """

    features: tuple[int, ...] = (16,)
    kernel: int = 3
    hidden: tuple[int, ...] = (64,)
    output_scale: float = 0.01

    def __post_init__(self):
        for name in ("features", "hidden"):
            object.__setattr__(self, name, checks.sizes(name, getattr(self, name), "sizes start at 1"))
        checks.kind(
            "kernel", self.kernel, isinstance(self.kernel, int) and self.kernel > 0, "sizes start at 1"
        )

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        least = (self.kernel - 1) * len(self.features) + 1
        if (
            len(inputs.shape) not in (2, 3)
            or min(inputs.shape[:2]) < least
            or inputs.num_categories is not None
        ):
            raise InvalidInput(
                f"a convolution needs observations [H, W, C] with H and W at least {least}, these have shape "
                f"{inputs.shape}: use an MLP"
            )
        return self._module(num_outputs).init(key, _as_images(jnp.zeros((1, *inputs.shape)), inputs))[
            "params"
        ]

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        batch = observation.shape[: observation.ndim - len(inputs.shape)]
        out: Any = self._module(num_outputs).apply({"params": params}, _as_images(observation, inputs))
        return out.reshape((*batch, num_outputs))

    def _module(self, num_outputs: int) -> nn.Module:
        weights, layers = nn.initializers.he_normal(), []
        for size in self.features:
            layers += [
                nn.Conv(size, (self.kernel, self.kernel), padding="VALID", kernel_init=weights),
                nn.relu,
            ]
        layers.append(lambda x: x.reshape((x.shape[0], -1)))
        for size in self.hidden:
            layers += [nn.Dense(size, kernel_init=weights), nn.relu]
        last = scaled(nn.initializers.lecun_normal(), self.output_scale)
        return nn.Sequential([*layers, nn.Dense(num_outputs, kernel_init=last)])


@dataclass(frozen=True)
class Table:
    """A table with one row of outputs for each of finitely many observations.

    Attributes:
      initial: Initial outputs [observations, outputs]; a single row stands for all, none for zeros.
    """

    initial: tuple[tuple[float, ...], ...] = ()

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        if inputs.num_categories is None:
            raise InvalidInput(
                f"a table needs integer observations, these have shape {inputs.shape}: use an MLP"
            )
        shape = inputs.num_categories, num_outputs
        initial = jnp.asarray(self.initial or 0.0, jnp.float32)
        if initial.ndim and (initial.shape[0] not in (1, shape[0]) or initial.shape[1:] != shape[1:]):
            raise InvalidInput(f"the table's initial values have shape {initial.shape}, expected {shape}")
        return {"table": jnp.broadcast_to(initial.reshape(initial.shape or (1, 1)), shape)}

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        # A row is looked up: the product with its one-hot reads the whole table. Outside the table all outputs are 0.
        index = observation.reshape(observation.shape[: observation.ndim - len(inputs.shape)])
        return params["table"].at[index].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def outputs_of(
    network: Network, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int
) -> jax.Array:
    """The outputs of a network, `[..., num_outputs]`, checked.

    Args:
      network: what is asked.
      params: its parameters.
      observation: [..., *shape].
      inputs: shape and kind of one observation.
      num_outputs: K.

    Raises:
      InvalidInput: they have another shape, or are no floats.
    """
    outputs = network.apply(params, observation, inputs, num_outputs)
    return checked_outputs(type(network).__name__, outputs, observation, inputs, num_outputs)


def checked_outputs(
    whose: str, outputs: Any, observation: jax.Array, inputs: Inputs, num_outputs: int
) -> jax.Array:
    """Outputs of a network, or a clear error where they are not `[..., num_outputs]` floats.

    Args:
      whose: the network's name, for the message.
      outputs: what it returned.
      observation: [..., *shape], what it was given.
      inputs: shape and kind of one observation.
      num_outputs: K.
    """
    checks.kind(f"what {whose} gave", outputs, hasattr(outputs, "dtype"), "an array")
    expected = (*observation.shape[: observation.ndim - len(inputs.shape)], num_outputs)
    if outputs.shape != expected or not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise InvalidInput(
            f"{whose} gave shape {outputs.shape} for observations {observation.shape}, expected {expected} of floats, "
            f"not {outputs.dtype}"
        )
    return outputs


NAMES = {"mlp": MLP, "conv": Conv, "table": Table}


def make(name: str) -> Network:
    """The network of this name with its default fields.

    Args:
      name: a key of `NAMES`.
    """
    return lookup("network", name, NAMES)()


def chosen(network: Network | str) -> Network:
    """The network given, or the one of this name.

    Args:
      network: a record, or a key of `NAMES`.

    Raises:
      InvalidInput: no network has this name, or it is no network.
    """
    network = make(network) if isinstance(network, str) else network
    checks.conforms("network", network, Network)
    return network


def encode(observation: jax.Array, inputs: Inputs) -> jax.Array:
    """Observations `[..., *shape]` as vectors `[..., O]` in float32.

    Args:
      observation: [..., *shape], numbers or, as `inputs` says, integers.
      inputs: shape and kind of one observation.

    Returns:
      [..., O], with O = prod(shape), times the number of categories for integers (one-hot).
    """
    batch = observation.shape[: observation.ndim - len(inputs.shape)]
    if inputs.num_categories is not None:
        observation = jax.nn.one_hot(observation, inputs.num_categories)
    return observation.astype(jnp.float32).reshape((*batch, -1))


def _as_images(observation: jax.Array, inputs: Inputs) -> jax.Array:
    """Observations `[..., H, W]` or `[..., H, W, C]` as `[B, H, W, C]` in float32."""
    shape = inputs.shape if len(inputs.shape) == 3 else (*inputs.shape, 1)
    return observation.astype(jnp.float32).reshape((-1, *shape))


def _choose(field: str, name: str, table: dict) -> None:
    if name not in table:
        raise InvalidInput(f"{field} = {name!r} is not one of {', '.join(table)}")
