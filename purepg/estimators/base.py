"""What an estimator is: rows of experience in, an estimate of ∇J out."""

from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import jax

from purepg import checks
from purepg.hyperparams import Hyperparams
from purepg.metrics import Metrics
from purepg.networks import Params
from purepg.policies import BoundPolicy
from purepg.task import Task


def named_parts(record: Any, **tables: Any) -> None:
    """Turns the names among some fields of a new record into what they name, by the modules that have the names.

    Raises:
      InvalidInput: a field holds an unknown name, or neither a name nor such a part.
    """
    for field, table in tables.items():
        if isinstance(given := getattr(record, field), str):
            object.__setattr__(record, field, table.make(given))
        else:
            checks.kind(field, given, hasattr(given, "init"), f"a record, or one of {', '.join(table.NAMES)}")


class Estimate(NamedTuple):
    """Ascent directions in the shape of the parameters.

    Whichever of the two gradients a caller leaves unused costs nothing under `jit`: XLA drops what it needs.
    """

    policy_gradient: Params  # the estimate of ∇J alone: what diagnostics measure
    gradient: Params  # what an update follows: ∇J and the other terms, the entropy bonus among them
    state: Any  # the estimator's next state
    metrics: Metrics
    observed: Any = ()  # moments of the observations, where the task normalises by them

    @property
    def other_gradient(self) -> Params:
        """What `gradient` adds to `policy_gradient`."""
        return jax.tree.map(lambda g, p: g - p, self.gradient, self.policy_gradient)


class Estimator(Protocol):
    """Static record: hashes by value, holds no arrays."""

    @property
    def collects(self) -> Literal["games", "segments"]:
        """How it collects by nature, where nobody asks for the other way."""
        return "games"

    @property
    def shares_value(self) -> bool:
        """Whether V is an output of the policy's network, and so in the parameters."""
        return False

    def with_critic(self, critic: Any) -> Self:
        """The same estimator with another critic."""
        ...

    def check(self, task: Task) -> None:
        """Raises `InvalidInput` where this estimator cannot be right for the task."""
        ...

    def bind(self, task: Task) -> BoundPolicy:
        """The policy that this estimator trains: with a value beside it where a critic shares its network."""
        ...

    def init(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> Any:
        """The estimator's own state: running games, averages, a critic."""
        ...

    def estimate(
        self, task: Task, hyper: Hyperparams, params: Params, state: Any, key: jax.Array
    ) -> Estimate:
        """Collects experience with the policy of `params` and estimates the gradient there."""
        ...


@runtime_checkable
class ChecksNumbers(Protocol):
    """An estimator that cannot be right with all numbers."""

    def check_numbers(self, task: Task, hyper: Hyperparams) -> None:
        """Raises `InvalidInput` for concrete numbers, scalars or `[S]`, that it cannot use; traced ones pass."""
        ...
