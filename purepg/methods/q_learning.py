"""Q-learning on a table, with SARSA and expected SARSA: one update, three targets.

    Q(s, a) ← Q(s, a) + α (y − Q(s, a))

    Q-learning       y = r + γ max_a' Q(s', a')                  the greedy policy's values, whatever is played
    SARSA            y = r + γ Q(s', a'), a' ~ ε-greedy          the values of the policy that is played
    expected SARSA   y = r + γ Σ_a' π_ε(a'|s') Q(s', a')         the same without the noise of a'

Nothing follows a termination, y = r there; a game cut by the limit goes on in y from the *true* next observation. The
games are played ε-greedily: with probability ε any action, each as likely, else the best; ε falls with the updates.

N games play at once and each step updates the table. k games in the same cell count as if they had come one after
another: with targets from the table as it was before the step, and in the mean over their order, the cell moves by the
share 1 − (1 − α)^k towards the mean of their targets. One game is the textbook's algorithm.

There are no gradients: nothing here is differentiated.

Reference: Watkins and Dayan, Q-learning (1992); Sutton and Barto (2018), sections 6.4 to 6.6.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purepg import environments, returns
from purepg.errors import InvalidInput
from purepg.hyperparams import Hyperparams
from purepg.methods.action_values import (
    ActionValues,
    Exploration,
    action_value_network,
    epsilon_greedy,
    greedy,
    next_value,
)
from purepg.policies.networks import Table
from purepg.rollout import collection, metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act, ActionOutput, ActiveGames, Learner, Trajectory
from purepg.task import Task
from purepg.training import Method

__all__ = ["QLearning", "QLearningState", "move"]

_TARGETS = ("q_learning", "sarsa", "expected_sarsa")


class QLearningState(NamedTuple):
    """What an update changes."""

    table: jax.Array  # [O, A]
    updates: jax.Array  # [] int32
    running: ActiveGames  # the games, [N, ...]
    following: Any  # [N] int32, SARSA's next actions; () for the other targets


@dataclass(frozen=True)
class QLearning(Method):
    """Q-learning, SARSA or expected SARSA on a table of action values; static.

    The table is that of the task's policy, `Softmax(Table(...))`, whose initial values are Q's. An update is T steps of
    N running games (`Segments`), each step followed by an update of the table: α is `hyper.learning_rate`, in (0, 1],
    γ `hyper.discount`.

    Attributes:
      task: What is played, in segments; its policy is `Softmax(Table())`.
      target: What the table is moved towards.
      exploration: How often an action is random.

    Raises:
      InvalidInput: actions or observations are not finite in number, the policy is no table, whole games are asked
        for, or a concrete α is outside (0, 1].
    """

    task: Task
    target: Literal["q_learning", "sarsa", "expected_sarsa"] = "q_learning"
    exploration: Exploration = Exploration()

    def __post_init__(self):
        if self.target not in _TARGETS:
            raise InvalidInput(f"target = {self.target!r} is not one of {', '.join(_TARGETS)}")

    def check_numbers(self, hyper: Hyperparams) -> None:
        """Refuses a concrete α (scalar or `[S]`) outside (0, 1]: beyond it a table moves past its targets."""
        rate = hyper.learning_rate
        if not isinstance(rate, Tracer) and not ((np.asarray(rate) > 0) & (np.asarray(rate) <= 1)).all():
            raise InvalidInput(f"learning_rate = {rate}: Q-learning moves a share of the way, give (0, 1]")

    def init(self, hyper: Hyperparams, key: jax.Array) -> QLearningState:
        self.check_numbers(hyper)
        network = action_value_network(self.task)
        if not isinstance(network, Table):
            raise InvalidInput(
                f"Q-learning keeps a table, the policy has {network}: take Softmax(Table()), or DQN for a network"
            )
        env = self.task.env
        table_key, games_key, action_key = jax.random.split(key, 3)
        params = network.init(table_key, environments.inputs(env), environments.num_actions(env))
        epsilon = self.exploration.epsilon(jnp.int32(0))
        act = self.act(ActionValues(params, epsilon), deterministic=False)
        running = collection.start(self.task, hyper, act, games_key)
        following = act(action_key, running.observation).action if self.target == "sarsa" else ()
        return QLearningState(params["table"], jnp.int32(0), running, following)

    def update(
        self, hyper: Hyperparams, state: QLearningState, key: jax.Array
    ) -> tuple[QLearningState, Metrics]:
        epsilon = self.exploration.epsilon(state.updates)
        learner = self._learner(hyper, state, epsilon)
        running, (table, following), (rows, error) = collection.collect_and_learn(
            self.task, hyper, learner, state.running, key
        )
        numbers = metrics.of_games(rows) | {
            "td_error": metrics.over(jnp.abs(error), rows.mask),
            "epsilon": metrics.once(epsilon),
        }
        return QLearningState(table, state.updates + 1, running, following), numbers

    def params(self, state: QLearningState) -> ActionValues:
        """What `act` needs of the state."""
        last = jnp.maximum(state.updates - 1, 0)
        return ActionValues({"table": state.table}, self.exploration.epsilon(last))

    def act(self, params: ActionValues, *, deterministic: bool, env_params: Any = None) -> Act:
        """Greedy, or ε-greedy as the last update played."""

        def choose(key, observation):
            q = jnp.asarray(params.network["table"])[observation]
            action = greedy(q) if deterministic else epsilon_greedy(key, q, params.epsilon)
            return ActionOutput(action, action)

        return choose

    def _learner(self, hyper: Hyperparams, state: QLearningState, epsilon: jax.Array) -> Learner:
        """Of the table and SARSA's next actions; it keeps of each row what is reported, and y − Q `[N]`."""
        sarsa = self.target == "sarsa"

        def act(learned: tuple[jax.Array, Any], key: jax.Array, observation: jax.Array) -> ActionOutput:
            table, following = learned
            action = following if sarsa else epsilon_greedy(key, table[observation], epsilon)
            return ActionOutput(action, action)

        def learn(learned: tuple[jax.Array, Any], key: jax.Array, rows: Trajectory, observation: jax.Array):
            table, following = learned
            q = table[rows.next_observation]
            chosen = epsilon_greedy(key, q, epsilon) if sarsa else None
            value = next_value(q, epsilon, chosen, self.target)
            reward = hyper.reward_scale * rows.reward
            target = returns.td_target(reward, rows.terminated, value, discount=hyper.discount)
            if sarsa:  # the same actions, and those of fresh games
                following = epsilon_greedy(key, table[observation], epsilon)
            table, error = move(table, rows.observation, rows.action, target, hyper.learning_rate)
            kept = rows._replace(observation=(), action=(), next_observation=None)  # pyright: ignore
            return (table, following), (kept, error)

        return Learner((state.table, state.following), act, learn)


def move(
    table: jax.Array,
    observation: jax.Array,
    action: jax.Array,
    target: jax.Array,
    rate: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The table `[O, A]` after N targets, and how far each target lay from the table before, `[N]`.

    Args:
      table: `[O, A]`, action values.
      observation: `[N]` int, from 0 to O − 1.
      action: `[N]` int, from 0 to A − 1.
      target: `[N]`.
      rate: α in [0, 1], the share of the way that one target moves its cell.
    """
    before = table[observation, action]
    error = (target - before).astype(table.dtype)
    count = jnp.zeros_like(table).at[observation, action].add(1.0)[observation, action]
    total = jnp.zeros_like(table).at[observation, action].add(error)[observation, action]
    share = -jnp.expm1(count * jnp.log1p(-rate))  # 1 − (1 − rate)^count, also of small rates
    # Games in the same cell write the same number.
    return table.at[observation, action].set(before + share * total / count), error
