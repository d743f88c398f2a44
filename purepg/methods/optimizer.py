"""An optax optimiser as a record: its name and its learning-rate schedule."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import optax

from purepg.errors import InvalidInput, whole_number
from purepg.estimators import differentiable_steps
from purepg.hyperparams import Hyperparams

__all__ = ["Optimizer"]

_OPTIMIZERS = {"sgd": optax.sgd, "adam": differentiable_steps.adam, "rmsprop": optax.rmsprop}


@dataclass(frozen=True)
class Optimizer:
    """An optax optimiser and its learning-rate schedule.

    Attributes:
      name: The update rule.
      schedule: How the learning rate falls from its start to 0 over `horizon` updates.
      horizon: Updates until the schedule ends; apart from the number of updates, so that a run can be continued.
    """

    name: Literal["adam", "sgd", "rmsprop"] = "adam"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    horizon: int = 0

    def __post_init__(self):
        for field, allowed in (("name", _OPTIMIZERS), ("schedule", ("constant", "linear", "cosine"))):
            if getattr(self, field) not in allowed:
                raise InvalidInput(
                    f"optimizer {field} = {getattr(self, field)!r} is not one of {', '.join(allowed)}"
                )
        if self.schedule != "constant" and self.horizon < 1:
            raise InvalidInput(f"a {self.schedule} schedule needs horizon >= 1 updates, not {self.horizon}")
        if isinstance(self.horizon, int):  # other kinds are refused where numbers are checked
            whole_number("optimizer horizon", self.horizon, 0, 2**31 - 1)

    def transformation(self, hyper: Hyperparams, steps_per_update: int = 1) -> optax.GradientTransformation:
        """Clips by the global norm of the whole gradient, then takes the optimiser's step.

        Args:
          hyper: its `learning_rate` and `max_gradient_norm`; traced.
          steps_per_update: gradient steps in each update, at least 1: the schedule is stretched by that factor.
        """
        horizon = max(self.horizon * steps_per_update, 1)

        def learning_rate(count):
            progress = jnp.clip(count / horizon, 0.0, 1.0)
            falls = {
                "constant": 1.0,
                "linear": 1.0 - progress,
                "cosine": (1.0 + jnp.cos(jnp.pi * progress)) / 2.0,
            }
            return hyper.learning_rate * falls[self.schedule]

        clip = differentiable_steps.clip_by_global_norm(hyper.max_gradient_norm)
        return optax.chain(clip, _OPTIMIZERS[self.name](learning_rate))
