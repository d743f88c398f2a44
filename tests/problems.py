"""Small problems whose answers are known, shared by the tests."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purepg
from purepg.rollout.trajectory import Trajectory

# Two states and an end. In state 0, action 0 stays or moves on, action 1 ends the game or moves on; state 1 likewise
# with other odds: games of one batch end at different times.
TRANSITION = np.array(
    [
        [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]],
        [[0.25, 0.0, 0.75], [0.0, 0.5, 0.5]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
    ]
)
REWARD = np.array([[1.0, 2.0], [-1.0, 3.0], [0.0, 0.0]])
INITIAL = np.array([0.75, 0.25, 0.0])
HORIZON = 3
LOGITS = np.array([[0.3, -0.2], [-0.4, 0.1], [0.0, 0.0]])


def two_states(num_games: int = 2, initial_logits=LOGITS) -> purepg.Task:
    env = purepg.environment(
        "envs.finite_mdp:FiniteMDP",
        transition=TRANSITION,
        reward=REWARD,
        initial=INITIAL,
        max_steps=HORIZON,
    )
    table = purepg.Table(tuple(map(tuple, np.asarray(initial_logits).tolist())))
    return purepg.Task(env, purepg.Softmax(table), purepg.Games(num_games))


class Batches(NamedTuple):
    """Every batch of N games that can happen."""

    rows: Trajectory  # [K, T, N]
    probability: np.ndarray  # [K]


def every_batch(num_games: int = 2, logits=LOGITS) -> Batches:
    """All batches of `num_games` whole games of `two_states`, each with its probability."""
    policy = np.asarray(jax.nn.softmax(jnp.asarray(logits)), np.float64)
    games = list(_games(policy))
    index = np.indices((len(games),) * num_games).reshape(num_games, -1).T  # [K, N]
    arrays = [np.stack([g[field] for g in games]) for field in range(6)]  # [games, T]
    observation, action, reward, terminated, truncated, mask = (
        np.moveaxis(a[index], 1, 2) for a in arrays  # [K, T, N]
    )  # fmt: skip
    time = np.broadcast_to(np.arange(HORIZON)[None, :, None], mask.shape)
    return_so_far = np.cumsum(reward, axis=1)
    rows = Trajectory(observation, action, reward, terminated, truncated, mask, time, return_so_far)
    probability = np.array([g[6] for g in games])[index].prod(axis=1)
    assert np.isclose(probability.sum(), 1.0)
    return Batches(jax.tree.map(jnp.asarray, rows), probability)


def _games(policy):
    """(observation, action, reward, terminated, truncated, mask, probability) of every game, fields [T]."""

    def play(t, state, steps, probability):
        if t == HORIZON or state == 2:
            yield _pack(steps, probability)
            return
        for action in range(2):
            for after in range(3):
                odds = policy[state, action] * TRANSITION[state, action, after]
                if odds > 0:
                    step = state, action, REWARD[state, action], after == 2, t == HORIZON - 1 and after != 2
                    yield from play(t + 1, after, [*steps, step], probability * odds)

    for state in range(3):
        if INITIAL[state] > 0:
            yield from play(0, state, [], INITIAL[state])


def _pack(steps, probability):
    dead = [(steps[-1][0], 0, 0.0, False, False)] * (HORIZON - len(steps))
    columns = list(zip(*[*steps, *dead], strict=True))
    dtypes = np.int32, np.int32, np.float32, bool, bool
    mask = np.arange(HORIZON) < len(steps)
    return *(np.array(c, d) for c, d in zip(columns, dtypes, strict=True)), mask, probability
