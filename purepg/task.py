"""The task: what is played, by which policy, and how games are collected. Static: it hashes by value."""

from dataclasses import dataclass

from purepg import environments
from purepg.environments import EnvironmentSpec
from purepg.errors import InvalidInput
from purepg.policies import BoundPolicy, Policy, Softmax


@dataclass(frozen=True)
class Games:
    """N fresh games an update, each to its end or the limit; rows after a game's end are masked."""

    num_games: int = 64
    """Games played side by side for each update (N)."""
    max_steps: int | None = None
    """Longest game in steps (T), a longer one is cut there; none: the environment's own limit."""

    def __post_init__(self):
        if self.num_games < 1:
            raise InvalidInput(f"num_games = {self.num_games}: at least 1 game is needed for an update")
        if self.max_steps is not None and self.max_steps < 1:
            raise InvalidInput(f"max_steps = {self.max_steps}: a game needs at least 1 step")


@dataclass(frozen=True)
class Task:
    """Environment, policy and collection. A name in place of the spec is turned into one."""

    env: EnvironmentSpec
    policy: Policy = Softmax()
    collect: Games = Games()

    def __post_init__(self):
        if isinstance(self.env, str):
            object.__setattr__(self, "env", environments.environment(self.env))

    @property
    def max_steps(self) -> int:
        """T, the rows a game can have."""
        return self.collect.max_steps or environments.time_limit(self.env)

    def bind_policy(self) -> BoundPolicy:
        return self.policy.bind(self.env)
