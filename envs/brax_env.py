"""Brax's environments behind gymnax's API: rigid bodies whose simulation carries a gradient.

    env = envs.Brax("inverted_pendulum")                                # or by name:
    spec = purepg.environment("envs:Brax", env_name="reacher", backend="spring")
    purepg train envs:Brax --env-arguments env_name=reacher backend=spring --estimator gae      # from the shell

Brax's own `reset` and `step` are used as they are, without its wrappers: its automatic reset loses the last observation
and repeats the first state. Where Brax says "done", the game has terminated; the time limit, 1000 steps as in Brax's
training, truncates. Actions lie in [−1, 1], as Brax's own do, and are clipped to that.

Gradients flow through the reward always, and from one state to the next after `with_transition_gradients()`. The spring
backend's agree with finite differences; that of MuJoCo (mjx) stops its solver by a condition, which reverse mode
cannot pass.

Brax is an extra, `pip install 'purepg[brax]'`, and no longer developed; it was tested with version 0.14.2.

Reference: Freeman et al., Brax: A Differentiable Physics Engine for Large Scale Rigid Body Simulation (2021).
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment

from . import _checks
from ._differentiable import DifferentiableEnvironment

BACKENDS = ("spring", "positional", "generalized", "mjx")


@struct.dataclass
class BraxState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    inner: Any  # brax.envs.State: physics, observation, reward, done, metrics


@struct.dataclass(kw_only=True)
class BraxParams(environment.EnvParams):
    """What can be changed without making the environment anew."""

    max_steps_in_episode: int = 1000


class Brax(DifferentiableEnvironment[BraxState, BraxParams]):
    """An environment of Brax; observations and actions are its vectors.

    Args:
        env_name: Brax's name of it, "inverted_pendulum", "reacher", "halfcheetah", …
        backend: how bodies are simulated, one of `BACKENDS`.
        max_steps: a game is truncated after so many steps.

    Raises:
        ImportError: Brax is not installed.
        ValueError: it has no such environment or backend.
    """

    needs_extra = "brax"  # so that no id is registered that may not be made
    _action_bounds = (-1.0, 1.0)

    def __init__(
        self, env_name: str = "inverted_pendulum", *, backend: str = "spring", max_steps: int = 1000
    ):
        super().__init__()
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)
        if backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}: give one of {', '.join(BACKENDS)}")
        with _leniently():
            self._env = _find(env_name)(backend=backend)
            first = jax.eval_shape(self._env.reset, jax.random.key(0))
        if not hasattr(first.obs, "shape"):
            raise ValueError(
                f"env_name is {env_name!r}, which observes a structure of arrays: give one that observes a vector"
            )
        self._observation_size = first.obs.shape[-1]
        self._action_size = int(self._env.action_size)

    @property
    def default_params(self) -> BraxParams:
        """The time limit given to the constructor."""
        return BraxParams(max_steps_in_episode=self._max_steps)

    def is_terminated(self, state: BraxState, params: BraxParams) -> jax.Array:
        """Whether Brax says "done"."""
        del params
        return state.inner.done > 0.5

    def _start(self, key: jax.Array, params: BraxParams) -> BraxState:
        del params
        with _leniently():
            return BraxState(time=jnp.int32(0), inner=_strong(self._env.reset(key)))

    def _transition(
        self, key: jax.Array, state: BraxState, action: jax.Array, params: BraxParams
    ) -> tuple[BraxState, jax.Array]:
        del key, params
        with _leniently():
            inner = _strong(self._env.step(state.inner, action))
        return BraxState(time=state.time + 1, inner=inner), inner.reward

    def _observation(self, state: BraxState, params: BraxParams) -> jax.Array:
        del params
        return state.inner.obs


def _find(name: str) -> Any:
    """Brax's class of this name."""
    try:
        from brax import envs as theirs  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"Brax's {name!r} needs Brax, which cannot be imported ({error}): pip install 'purepg[brax]'"
        ) from error
    known = theirs._envs  # Brax has no public list
    if name not in known:
        raise ValueError(f"env_name is {name!r}: give one of Brax's environments, {', '.join(known)}")
    return known[name]


def _strong(tree: Any) -> Any:
    """Some steps give Python's numbers where the reset gave arrays: a scan wants one type for both."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), tree)


@contextlib.contextmanager
def _leniently() -> Iterator[None]:
    """Brax warns that it, and what it uses of others, is no longer developed, and adds arrays of unequal rank."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Brax System")
        yield
