"""Your own pair of pure functions as a network."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from purepg.environments import Inputs
from purepg.names import import_object
from purepg.policies.networks import Params, checked_outputs

__all__ = ["Functions"]


@dataclass(frozen=True)
class Functions:
    """Two pure functions of yours as a network, on observations as the environment gives them.

    With O the shape of one observation (`()` where observations are integers) and K the number of outputs that the
    policy reads, for a softmax policy one per action, their signatures are

        init(key, observation) -> params
          key          one typed key, as of jax.random.key(0)
          observation  [*O] zeros, in the environment's type: float32, or int32 for integers
          params       any pytree of float arrays

        apply(params, observation) -> outputs
          params       what init returned, or the same structure after some updates
          observation  [B, *O]; B is the number of games, or of rows in an update. There may also be several leading
                       axes or none: [..., *O] gives [..., K]
          outputs      [B, K] floats. K is the number of actions of a softmax policy, the number of components of the
                       action for a Gaussian one (twice that where std is "state"), and one more, the last, for a
                       critic that shares the network

    JAX traces both: use jax.numpy, do not branch on values in Python, and draw no random numbers in apply. For
    example, a linear policy for CartPole (O = (4,), K = 2 actions):

        def init(key, observation):
            return {"w": 0.01 * jax.random.normal(key, (observation.size, 2))}

        def apply(params, observation):
            return observation @ params["w"]

        task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.Functions(init, apply)))

    Equal functions compile once: define them at module level, since a lambda written anew is compiled anew. Only
    functions that can be imported by name are saved with a run. A flax or equinox module goes into `purepg.Flax`.

    Attributes:
      init_function: `init` as above, or "module:name" of it.
      apply_function: `apply` as above, or "module:name" of it.

    Raises:
      InvalidInput: when the network is used and `apply` returned another shape, or no floats.
    """

    init_function: Callable[..., Params] | str
    apply_function: Callable[..., jax.Array] | str

    def init(self, key: jax.Array, inputs: Inputs, num_outputs: int) -> Params:
        return _function(self.init_function)(key, jnp.zeros(inputs.shape, inputs.dtype))

    def apply(self, params: Params, observation: jax.Array, inputs: Inputs, num_outputs: int) -> jax.Array:
        outputs = _function(self.apply_function)(params, observation)
        return checked_outputs("your apply function", outputs, observation, inputs, num_outputs)


def _function(function: Callable | str) -> Callable:
    return import_object(function) if isinstance(function, str) else function
