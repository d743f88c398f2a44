"""Q-learning with a network (DQN): a replay makes the rows independent, a target network keeps the targets still.

    L(θ) = E_{(s, a, r, s') from the replay} huber(r + γ Q_θ⁻(s', a*) − Q_θ(s, a))
    a* = argmax_a Q_θ(s', a) (double Q-learning), or argmax_a Q_θ⁻(s', a);   θ⁻ ← θ⁻ + τ (θ − θ⁻) after each step

Nothing follows a termination. A game cut by the limit goes on in the target: the replay keeps the *true* next
observation of every row, the one before any reset.

Gradients flow through Q_θ(s, a) only, not into the target.

Reference: Mnih et al., Human-level control through deep reinforcement learning (2015); van Hasselt et al., Deep
reinforcement learning with double Q-learning (2016). The ring buffer is flashbax's.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp
import optax

from purepg import environments, returns
from purepg.errors import InvalidInput
from purepg.errors.dtypes import in_types_of, usual_promotions
from purepg.hyperparams import Hyperparams
from purepg.machines import branches
from purepg.methods.action_values import (
    ActionValues,
    Exploration,
    action_value_network,
    epsilon_greedy,
    greedy,
)
from purepg.methods.optimizer import Optimizer
from purepg.policies.networks import Params
from purepg.rollout import collection, metrics
from purepg.rollout.metrics import Metrics
from purepg.rollout.trajectory import Act, ActionOutput, ActiveGames, Trajectory
from purepg.task import Task
from purepg.training import Method

__all__ = ["DQN", "DQNState", "Replay", "Transitions"]


@dataclass(frozen=True)
class Replay:
    """The last transitions, drawn from uniformly.

    Attributes:
      capacity: Transitions kept; the oldest make room.
      batch_size: Transitions in each gradient step.
      warm_up: Transitions before the first gradient step.
    """

    capacity: int = 20_000
    batch_size: int = 64
    warm_up: int = 1_000

    def __post_init__(self):
        if not 1 <= self.batch_size <= self.capacity or not 0 <= self.warm_up <= self.capacity:
            raise InvalidInput(
                f"batch_size = {self.batch_size}, warm_up = {self.warm_up}: must not exceed the capacity "
                f"{self.capacity}, and a batch needs at least 1"
            )


class Transitions(NamedTuple):
    """What the replay keeps.

    Attributes:
      observation: [..., *shape].
      action: [...] int.
      reward: [...].
      terminated: [...] bool.
      following: [..., *shape], the true next observation.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    following: jax.Array


class DQNState(NamedTuple):
    """What an update changes."""

    params: Params
    target_params: Params  # θ⁻
    optimizer: Any  # optax state
    replay: Any  # flashbax state
    updates: jax.Array  # [] int32
    running: ActiveGames  # the games, [N, ...]


@dataclass(frozen=True)
class DQN(Method):
    """Q-learning with the network of the task's policy, `Softmax(network)`; static.

    An update plays T steps of N games (`Segments`) ε-greedily, puts them into the replay and takes `steps` gradient
    steps at `hyper.learning_rate`. Targets are in units of `hyper.reward_scale`.

    Attributes:
      task: What is played, in segments; its policy is `Softmax(network)`.
      exploration: How often an action is random.
      optimizer: Of the network.
      replay: Which transitions are kept and drawn.
      steps: Gradient steps per update.
      target_rate: τ in (0, 1]: how far the target network moves towards the learned one after each gradient step.
      double: The learned network chooses the next action, the target network says what it is worth.

    Raises:
      InvalidInput: actions are not finite in number, the policy is no softmax, whole games are asked for, or the replay
        cannot hold the rows of one update.
    """

    task: Task
    exploration: Exploration = Exploration()
    optimizer: Optimizer = Optimizer()
    replay: Replay = Replay()
    steps: int = 16
    target_rate: float = 0.01
    double: bool = True

    def __post_init__(self):
        if self.steps < 1:
            raise InvalidInput(f"steps = {self.steps}: an update needs at least 1 gradient step")
        if not 0 < self.target_rate <= 1:
            raise InvalidInput(f"target_rate = {self.target_rate}: must lie in (0, 1]")

    def init(self, hyper: Hyperparams, key: jax.Array) -> DQNState:
        network, env = action_value_network(self.task), self.task.env
        num_rows = self.task.collect.num_games * self.task.collect.num_steps  # pyright: ignore
        if num_rows > self.replay.capacity:
            raise InvalidInput(
                f"an update plays {num_rows} steps, more than the replay's capacity {self.replay.capacity}: "
                f"give capacity >= {num_rows}, or fewer games or steps"
            )
        params_key, games_key = jax.random.split(key)
        params = network.init(params_key, environments.inputs(env), environments.num_actions(env))
        act = self.act(ActionValues(params, self.exploration.epsilon(jnp.int32(0))), deterministic=False)
        running = collection.start(self.task, hyper, act, games_key)
        example = jax.eval_shape(lambda: self._play(hyper, act, running, games_key)[1])
        blank = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), example[1])
        optimizer = self.optimizer.transformation(hyper, self.steps).init(params)
        return DQNState(params, params, optimizer, self._buffer.init(blank), jnp.int32(0), running)

    def update(self, hyper: Hyperparams, state: DQNState, key: jax.Array) -> tuple[DQNState, Metrics]:
        play_key, learn_key = jax.random.split(key)
        epsilon = self.exploration.epsilon(state.updates)
        act = self.act(ActionValues(state.params, epsilon), deterministic=False)
        running, (trajectory, transitions) = self._play(hyper, act, state.running, play_key)
        state = state._replace(
            running=running,
            replay=self._buffer.add(state.replay, transitions),
            updates=state.updates + 1,
        )
        ready = self._buffer.can_sample(state.replay)

        def step(state: DQNState, key: jax.Array):
            return branches.cond(
                ready,
                lambda state: self._learn(hyper, state, key),
                lambda state: (state, jnp.float32(0)),
                state,
            )

        keys = jax.random.split(learn_key, self.steps)
        state, error = jax.lax.scan(step, state, keys)
        numbers = metrics.of_games(trajectory) | {
            "td_error": metrics.over(error, jnp.broadcast_to(ready, error.shape)),
            "epsilon": metrics.once(epsilon),
        }
        return state, numbers

    def params(self, state: DQNState) -> ActionValues:
        """What `act` needs of the state."""
        last = jnp.maximum(state.updates - 1, 0)
        return ActionValues(state.params, self.exploration.epsilon(last))

    def act(self, params: ActionValues, *, deterministic: bool, env_params: Any = None) -> Act:
        """Greedy, or ε-greedy as the last update played."""

        def choose(key, observation):
            q = self._values(params.network, observation)
            action = greedy(q) if deterministic else epsilon_greedy(key, q, params.epsilon)
            return ActionOutput(action, action)

        return choose

    def target(
        self, hyper: Hyperparams, params: Params, target_params: Params, batch: Transitions
    ) -> jax.Array:
        """y of each transition, `[B]`.

        Args:
          hyper: its `discount` and `reward_scale`.
          params: θ, of the learned network.
          target_params: θ⁻, of the target network.
          batch: B transitions.
        """
        q = self._values(target_params, batch.following)  # [B, A]
        best = greedy(self._values(params, batch.following) if self.double else q)
        value = jnp.take_along_axis(q, best[:, None], axis=-1)[:, 0]
        reward = hyper.reward_scale * batch.reward
        return returns.td_target(reward, batch.terminated, value, discount=hyper.discount)

    def _learn(self, hyper: Hyperparams, state: DQNState, key: jax.Array) -> tuple[DQNState, jax.Array]:
        """One gradient step on a batch from the replay: the state and the mean |y − Q|, []."""
        with usual_promotions():
            batch = self._buffer.sample(state.replay, key).experience
        target = self.target(hyper, state.params, state.target_params, batch)

        def loss(params: Params):
            q = self._values(params, batch.observation)
            error = target - jnp.take_along_axis(q, batch.action[:, None], axis=-1)[:, 0]
            return optax.huber_loss(error).mean(), jnp.abs(error).mean()

        gradient, error = jax.grad(loss, has_aux=True)(state.params)
        change, optimizer = self.optimizer.transformation(hyper, self.steps).update(
            gradient, state.optimizer, state.params
        )
        params: Any = optax.apply_updates(state.params, change)
        target_params = optax.incremental_update(params, state.target_params, self.target_rate)
        learned = state._replace(params=params, target_params=target_params, optimizer=optimizer)
        return in_types_of(learned, state), error.astype(jnp.float32)

    def _play(
        self, hyper: Hyperparams, act: Act, running: ActiveGames, key: jax.Array
    ) -> tuple[ActiveGames, tuple[Trajectory, Transitions]]:
        """T steps of every game: trajectory and transitions `[T, N]`."""
        running, trajectory = collection.collect(self.task, hyper, act, running, key, keep_next=True)
        transitions = Transitions(
            trajectory.observation,
            trajectory.action,
            trajectory.reward,
            trajectory.terminated,
            trajectory.next_observation,
        )
        return running, (trajectory, transitions)

    def _values(self, params: Params, observation: jax.Array) -> jax.Array:
        """Q of observations `[B, *shape]`, `[B, A]`."""
        env = self.task.env
        inputs, num_actions = environments.inputs(env), environments.num_actions(env)
        return action_value_network(self.task).apply(params, observation, inputs, num_actions)

    @property
    def _buffer(self) -> Any:
        return flashbax.make_item_buffer(
            max_length=self.replay.capacity,
            min_length=max(self.replay.warm_up, self.replay.batch_size),
            sample_batch_size=self.replay.batch_size,
            add_sequences=True,
            add_batches=True,
        )
