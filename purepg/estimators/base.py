"""What an estimator is: games in, an estimate of ∇J out.

To write one, derive a frozen dataclass from `Estimator` and define `estimate`. Everything else has a default, which
suits an estimator that plays whole games, learns nothing besides the parameters and needs no V.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import jax

from purepg.errors import InvalidInput, checks
from purepg.estimators.critics import Critic, acting
from purepg.hyperparams import Hyperparams
from purepg.policies import BoundPolicy
from purepg.policies.networks import Params
from purepg.rollout import collection
from purepg.rollout.metrics import Metrics
from purepg.task import Task

__all__ = [
    "Estimate",
    "Estimator",
    "EstimatorState",
    "WithCritic",
    "check_estimate",
    "check_state",
    "named_parts",
]


class EstimatorState(NamedTuple):
    """What an estimator keeps from update to update; arrays only.

    Attributes:
      games: the running games (`trajectory.ActiveGames`); () where an update plays whole ones.
      learned: averages, critics: all that does not belong to these games.
    """

    games: Any = ()
    learned: Any = ()


class Estimate(NamedTuple):
    """Ascent directions in the shape of the parameters.

    A gradient that the caller leaves unused costs nothing under `jit`: XLA drops its computation.

    Attributes:
      policy_gradient: the estimate of ∇J alone, which diagnostics measure.
      gradient: what an update follows: ∇J and the other terms, such as the entropy bonus.
      state: the next state.
      observed: moments of the observations, where the task normalises by them.
    """

    policy_gradient: Params
    gradient: Params
    state: EstimatorState
    metrics: Metrics
    observed: Any = ()

    @property
    def other_gradient(self) -> Params:
        """What `gradient` adds to `policy_gradient`."""
        return jax.tree.map(lambda g, p: g - p, self.gradient, self.policy_gradient)


@runtime_checkable
class Estimator(Protocol):
    """A way to estimate ∇J: a static record, which hashes by value and holds no arrays."""

    @property
    def collects(self) -> Literal["games", "segments"]:
        """How it collects unless the task says otherwise."""
        return "games"

    @property
    def shares_value(self) -> bool:
        """Whether V is an output of the policy's network, so that it is in the parameters."""
        return False

    def with_critic(self, critic: Critic) -> Self:
        """The same estimator with another critic.

        Args:
          critic: takes the place of the one it has.

        Raises:
          InvalidInput: it has no critic, or cannot have this one.
        """
        raise InvalidInput(f"{type(self).__name__} has no critic: leave it out")

    def check(self, task: Task) -> None:
        """Refuses a task that this estimator cannot be right for.

        Args:
          task: what is played.

        Raises:
          InvalidInput: this estimator cannot be right for the task.
        """

    def check_numbers(self, task: Task, hyper: Hyperparams) -> None:
        """Refuses numbers with which it cannot be right.

        Args:
          task: what is played.
          hyper: concrete numbers, scalars or arrays `[S]`; traced ones pass.

        Raises:
          InvalidInput: it cannot be right with these concrete numbers, scalars or `[S]`; traced ones pass.
        """

    def bind(self, task: Task) -> BoundPolicy:
        """The policy that this estimator trains, with V as one more output where a critic shares its network.

        Args:
          task: what is played, and by which policy.
        """
        return task.bind_policy()

    def init(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> EstimatorState:
        """Running games (`collection.start`), and whatever is learned besides the parameters.

        Args:
          task: what is played.
          hyper: numbers, traced; scalars.
          params: of the policy as `bind(task)` makes it.
          key: one typed key.
        """
        act = collection.by_policy(self.bind(task), params, deterministic=False, env_params=hyper.env)
        return EstimatorState(collection.start(task, hyper, act, key))

    def estimate(
        self, task: Task, hyper: Hyperparams, params: Params, state: EstimatorState, key: jax.Array
    ) -> Estimate:
        """Collects experience with the policy of `params` and estimates the gradient there.

        Args:
          task: what is played.
          hyper: numbers, traced; scalars.
          params: of the policy as `bind(task)` makes it.
          state: from `init` or the estimate before.
          key: one typed key.
        """
        ...


class WithCritic(Estimator):
    """An estimator with a critic, in the field `critic`, and a meaning of the time limit, in the field `time_limit`.

    It collects segments where the critic continues what the limit cut, otherwise whole games.
    """

    critic: Critic
    time_limit: Literal["objective", "bootstrap"]

    @property
    def collects(self) -> Literal["games", "segments"]:
        return "segments" if self.time_limit == "bootstrap" else "games"

    @property
    def shares_value(self) -> bool:
        return self.critic.shares_value

    def with_critic(self, critic: Critic) -> Self:
        return dataclasses.replace(self, critic=critic)  # pyright: ignore

    def bind(self, task: Task) -> BoundPolicy:
        return self.critic.bind(task)

    def start(self, task: Task, hyper: Hyperparams, params: Params, key: jax.Array) -> tuple[Any, Any]:
        """Running games, each played to its age by the policy, and the critic's own state.

        Args:
          task: what is played.
          hyper: numbers, traced; scalars.
          params: of the policy as `bind(task)` makes it.
          key: one typed key.

        Returns:
          The running games, `()` for whole games, and the critic's state.
        """
        critic_key, games_key = jax.random.split(key)
        critic = self.critic.init(task, hyper, critic_key)
        act = acting(self.critic, task, params, critic, hyper.env)
        return collection.start(task, hyper, act, games_key), critic


def named_parts(record: Any, **tables: Any) -> None:
    """Replaces names in some fields of a new record by the parts that they name.

    Args:
      record: a frozen record in its `__post_init__`.
      **tables: field → module with `make(name)` and `NAMES`.

    Raises:
      InvalidInput: a field holds an unknown name, or neither a name nor such a part.
    """
    for field, table in tables.items():
        if isinstance(given := getattr(record, field), str):
            object.__setattr__(record, field, table.make(given))
        else:
            fits = hasattr(given, "init") and not isinstance(given, type)
            checks.kind(field, given, fits, f"a record, or one of {', '.join(table.NAMES)}")


def check_state(estimator: Estimator, state: Any) -> None:
    """Refuses a state that is no `EstimatorState`.

    Args:
      estimator: what returned it.
      state: what `init` or `estimate` returned.

    Raises:
      InvalidInput: it is none.
    """
    wanted = "EstimatorState(games, learned)"
    checks.kind(f"the state of {type(estimator).__name__}", state, isinstance(state, EstimatorState), wanted)


def check_estimate(estimator: Estimator, estimate: Any, params: Params, state: EstimatorState) -> None:
    """Refuses an estimate that does not fit the parameters and the state it was made from.

    Args:
      estimator: what returned it.
      estimate: what `estimate` returned.
      params: the parameters it was asked at.
      state: the state it was given.

    Raises:
      InvalidInput: names the part whose kind, structure, shape or type is wrong.
    """
    whose = f"of {type(estimator).__name__}"
    checks.kind(
        f"the estimate {whose}", estimate, isinstance(estimate, Estimate), "an estimators.Estimate(…)"
    )
    numbers = estimate.metrics
    checks.kind(f"metrics {whose}", numbers, isinstance(numbers, dict), "a dict of names and metrics.Average")
    check_state(estimator, estimate.state)
    checks.same_arrays(f"policy_gradient {whose}", estimate.policy_gradient, "the parameters", params)
    checks.same_arrays(f"gradient {whose}", estimate.gradient, "the parameters", params)
    checks.same_arrays(f"the state {whose}", estimate.state, "the state before", state)
