"""Gymnasium's NumPy environments, played by a trained policy: does what was learned here hold there?

gymnax's environments are modelled on Gymnasium's. Here a policy plays the original of the same name, or its newest
version if the name here has none: Taxi plays Taxi-v4, FrozenLake-misc FrozenLake-v1. N games run side by side so that
the policy sees all their observations at once. Each is played to its first end and never reset: the first N games to
end, if games restarted, would include too many short ones.

Gymnasium's own time limit holds; where it has none, the task's.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from purepg import environments, hyperparams
from purepg.analysis.animation import Game
from purepg.environments import env_params
from purepg.errors import InvalidInput
from purepg.runs.results import Result
from purepg.training import Method

__all__ = ["caveat", "evaluate_seeds", "play", "record"]


def play(
    method: Method,
    params: Any,
    num_games: int,
    *,
    seed: int = 0,
    deterministic: bool = True,
    env_id: str | None = None,
    params_in_use: Any = None,
) -> np.ndarray:
    """Undiscounted returns `[num_games]` of whole games of Gymnasium's environment, with one seed's parameters.

    Args:
      method: whose policy plays.
      params: of one seed, as `Result.params` gives them.
      num_games: played side by side.
      seed: number that the games' starts and the policy's samples come from.
      deterministic: by the policy's mode; else sampled from it.
      env_id: Gymnasium's id; none: that of the task's environment.
      params_in_use: the environment's parameters that the policy was trained with; none: the defaults.

    Raises:
      InvalidInput: Gymnasium lacks this environment, or its observations or actions are not those of ours.
    """
    act = _jitted(method, deterministic=deterministic)
    with _games(method, num_games, env_id, params=params_in_use) as games:
        return _returns(act, (params, params_in_use), games, [seed])


def evaluate_seeds(
    result: Result,
    num_games: int = 100,
    *,
    deterministic: bool = True,
    stream: int = 0,
    env_id: str | None = None,
) -> np.ndarray:
    """As `play`, for every seed of a run: `[S, num_games]`.

    Args:
      result: of the run.
      num_games: per seed, at least 1.
      deterministic: play the policy's mode, else samples from it.
      stream: number that, with each seed's own, the games' randomness comes from.
      env_id: Gymnasium's id; none: that of the task's environment.

    Raises:
      InvalidInput: as `play`.
    """
    method = result.method
    act, params = (
        _jitted(method, deterministic=deterministic),
        jax.device_get(method.params(result.state.learner)),
    )
    params = params, _params_in_use(result)
    with _games(method, num_games, env_id, params=params[1]) as games:
        returns = [
            _returns(act, jax.tree.map(lambda x, i=i: x[i], params), games, [stream, int(seed)])
            for i, seed in enumerate(result.seeds)
        ]
    return np.stack(returns)


def record(result: Result, seed: int, *, deterministic: bool = True, stream: int = 0) -> Game:
    """One game of one seed's policy, with a picture by Gymnasium's own renderer after every step.

    Args:
      result: of the run.
      seed: the seed's number.
      deterministic: play the policy's mode, else samples from it.
      stream: number that, with the seed's own, the game's randomness comes from.

    Raises:
      InvalidInput: as `play`; Gymnasium cannot draw the environment; or the run changed the environment.
    """
    if changes := _changes(result):
        raise InvalidInput(f"Gymnasium's game is not the one of this run, which changed its {changes}")
    act, params = (
        _jitted(result.method, deterministic=deterministic),
        (result.params(seed), None),
    )  # the default parameters
    from gymnasium.error import DependencyNotInstalled

    # pygame looks for a sound card, and complains without one.
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    with _games(result.method, 1, render_mode="rgb_array") as games:
        try:
            steps = [(step, games[0].render()) for step in _steps(act, params, games, [stream, seed])]
        except DependencyNotInstalled as error:
            raise InvalidInput("Gymnasium draws with pygame: pip install 'purepg[gymnasium]'") from error
    rows, pictures = zip(*steps, strict=True)
    if not isinstance(pictures[0], np.ndarray):
        raise InvalidInput("Gymnasium has no picture of this environment")
    observation, action, reward = (np.concatenate(x) for x in zip(*rows, strict=True))
    title = f"{result.method.task.env.name} in Gymnasium, seed {seed}"
    return Game(title, observation, action, reward, np.stack(pictures))


def caveat(result: Result) -> str:
    """How the games of this run differ from Gymnasium's, as far as can be told; empty where they do not.

    Args:
      result: of the run.
    """
    task, params = result.method.task, _params_in_use(result)
    with _games(result.method, 1, params=params) as games:
        limit = games[0].spec.max_episode_steps
    words = [f"the run changed its {changes}"] if (changes := _changes(result)) else []
    limits = {environments.time_limit(task.env, one) for one in env_params.distinct(task.env, params)}
    ours = sorted({min(task.max_steps, one) for one in limits})
    if ours != [limit]:
        words.append(f"games end after {' or '.join(map(str, ours))} steps here and {limit} there")
    return "; ".join(words)


class _Step(NamedTuple):
    """One step of N games."""

    observation: np.ndarray  # [N, *shape]
    action: np.ndarray  # [N, *action]
    reward: np.ndarray  # [N] float64, 0 after a game's end


# (params, the environment's parameters), key, time, observation [N, *shape] → env_action [N, *action]
_Act = Callable[..., jax.Array]


def _jitted(method: Method, *, deterministic: bool) -> _Act:
    @jax.jit
    def act(params, key, time, observation):
        choose = method.act(params[0], deterministic=deterministic, env_params=params[1])
        return choose(jax.random.fold_in(key, time), observation).env_action

    return act


def _steps(act: _Act, params: Any, games: list[Any], seeds: list[int]) -> Iterator[_Step]:
    """Every game to its first end."""
    numbers = np.random.SeedSequence(seeds).generate_state(1 + len(games))
    key = jax.random.key(numbers[0])
    observation = np.stack(
        [game.reset(seed=int(number))[0] for game, number in zip(games, numbers[1:], strict=True)]
    )
    live, time = np.ones(len(games), bool), 0
    while live.any():
        action = np.asarray(act(params, key, time, observation))
        seen, reward = observation.copy(), np.zeros(len(games))
        for i in np.flatnonzero(live):
            observation[i], reward[i], terminated, truncated, _ = games[i].step(action[i])
            live[i] = not (terminated or truncated)
        yield _Step(seen, action, reward)
        time += 1


def _returns(act: _Act, params: Any, games: list[Any], seeds: list[int]) -> np.ndarray:
    """[N]"""
    return np.sum([step.reward for step in _steps(act, params, games, seeds)], axis=0)


@contextlib.contextmanager
def _games(
    method: Method,
    num_games: int,
    env_id: str | None = None,
    render_mode: str | None = None,
    params: Any = None,
) -> Iterator[list[Any]]:
    """Gymnasium's environment, `num_games` times, with observations and actions like those of the task's."""
    try:
        import gymnasium
    except ImportError as error:
        raise InvalidInput(
            "to play Gymnasium's environments install it: pip install 'purepg[gymnasium]'"
        ) from error
    if num_games < 1:
        raise InvalidInput(f"num_games = {num_games}: give at least 1")
    task = method.task
    spec = _find(gymnasium.registry, env_id or task.env.name)
    limit = spec.max_episode_steps or task.max_steps  # without one a policy that walks in circles never ends
    options: dict[str, Any] = {"max_episode_steps": limit, "disable_env_checker": True}
    options |= {"render_mode": render_mode} if render_mode else {}  # not every constructor takes one
    games = []
    try:
        games.extend(gymnasium.make(spec, **options) for _ in range(num_games))
        _check_spaces(task.env, params, spec.id, games[0])
        yield games
    except gymnasium.error.DependencyNotInstalled as error:
        raise InvalidInput(f"Gymnasium cannot make {spec.id!r}: {error}") from error
    finally:
        for game in games:
            game.close()


def _find(registry: dict[str, Any], name: str) -> Any:
    """Gymnasium's spec of this id, or the newest of the same name."""
    if name in registry:
        return registry[name]
    base = name.partition("-")[0]
    found = [spec for spec in registry.values() if spec.name == base and spec.version is not None]
    if not found:
        raise InvalidInput(
            f"Gymnasium has no environment {name!r}: only what it has too, such as CartPole-v1, can be played there"
        )
    return max(found, key=lambda spec: spec.version)


def _check_spaces(env: environments.EnvironmentSpec, params: Any, env_id: str, game: Any) -> None:
    """
    Raises:
      InvalidInput: observations or actions are not the same here and there.
    """
    shape, num_categories = environments.inputs(env)
    here = ("Discrete", num_categories) if num_categories else ("Box", shape)
    _check_same("observations", env.name, here, env_id, _outline(game.observation_space))
    there = _outline(game.action_space)
    if environments.is_discrete(env):
        _check_same("actions", env.name, ("Discrete", environments.num_actions(env)), env_id, there)
        return
    if there[0] == "Box":
        there += _bounds(game.action_space.low, game.action_space.high)
    for one in env_params.distinct(env, params):
        here = (
            "Box",
            environments.continuous_actions(env).shape,
            *_bounds(*environments.action_bounds(env, one)),
        )
        _check_same("actions", env.name, here, env_id, there)


def _check_same(what: str, our_id: str, here: tuple, their_id: str, there: tuple) -> None:
    if here != there:
        raise InvalidInput(
            f"{their_id} of Gymnasium differs from {our_id!r}: its {what} are {there}, ours {here}"
        )


def _outline(space: Any) -> tuple:
    kind = type(space).__name__
    return (kind, int(space.n)) if kind == "Discrete" else (kind, space.shape)


def _bounds(low: Any, high: Any) -> tuple[float, ...]:
    """Flat; a side without a bound is infinite however large the float is that says so."""
    values = np.ravel([low, high]).astype(float)
    return tuple(np.where(np.abs(values) < 1e30, values, np.sign(values) * np.inf).tolist())


def _changes(result: Result) -> str:
    """What the run changed in the environment."""
    env, params = result.method.task.env, result.hyper.env
    changed = bool(env_params.changed(env, params))
    return " and ".join(["arguments"] * bool(env.arguments) + ["parameters"] * changed)


def _params_in_use(result: Result) -> Any:
    """The environment's parameters of every seed, `[S, ...]`."""
    return hyperparams.over_seeds(result.hyper, result.method.task.env, len(result.seeds)).env
