"""A mass in the plane, pushed to a goal: the easiest control problem with a bound on the force.

    v′ = v + (F a − c v) Δt / m,   p′ = p + v′ Δt                                     (semi-implicit Euler)
    r  = −(√(‖p − g‖² + w²) − w) − k_v ‖v‖² − k_a ‖a‖²

p and g in m, v in m/s, the action a = (a_x, a_y) in [−1, 1]² as a fraction of the greatest force F in N. The
cost of the distance is smooth: quadratic within about w of the goal, a straight slope beyond, so that a far
start does not drown the others. A game starts at rest, anywhere in a square around the origin.

What it is for: a first problem for the pathwise gradient. State, reward and their gradients are bounded by
the time limit, no contact, no chaos; a gradient through the whole game is as good as it gets. It flows
through state, action and params, and is zero in a component of the action that is clipped. Games never
terminate.

Reference: Heess et al., Learning Continuous Control Policies by Stochastic Value Gradients (2015), where
gradients of this kind are compared; the distance is the pseudo-Huber function of Charbonnier et al. (1997).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment
from numpy.typing import ArrayLike

from . import _checks
from ._differentiable import DifferentiableEnvironment, positive


@struct.dataclass
class PointMassState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    position: jax.Array  # [2] m
    velocity: jax.Array  # [2] m/s


@struct.dataclass(kw_only=True)
class PointMassParams(environment.EnvParams):
    """The numbers of the problem, all float32."""

    max_steps_in_episode: int = 50
    mass: jax.Array  # [] m, kg
    drag: jax.Array  # [] c, kg/s
    max_force: jax.Array  # [] F, N
    time_step: jax.Array  # [] Δt, s
    goal: jax.Array  # [2] g, m
    start_range: jax.Array  # [] half the side of the square of starts, m
    smoothing: jax.Array  # [] w, m
    velocity_cost: jax.Array  # [] k_v, s²/m²
    action_cost: jax.Array  # [] k_a


class PointMass(DifferentiableEnvironment[PointMassState, PointMassParams]):
    """Point mass; the observation is (p − g, v), [4], the action in [−1, 1]².

    Args:
        mass: kg. drag: kg/s. max_force: N. time_step: s.
        goal: [2], m.
        start_range: half the side of the square in which games start, m.
        smoothing: distance from the goal within which the cost is quadratic, m.
        velocity_cost, action_cost: k_v and k_a, at least 0.
        max_steps: a game is truncated after so many steps.
    """

    _action_bounds = (-1.0, 1.0)
    _action_size = 2
    _observation_size = 4

    def __init__(
        self,
        *,
        mass: float = 1.0,
        drag: float = 0.1,
        max_force: float = 1.0,
        time_step: float = 0.1,
        goal: ArrayLike = (0.0, 0.0),
        start_range: float = 1.0,
        smoothing: float = 0.1,
        velocity_cost: float = 0.01,
        action_cost: float = 0.01,
        max_steps: int = 50,
    ):
        super().__init__()
        target = _checks.finite_array("goal", goal, "[2]")
        _checks.shape("goal", target, "[2]", (2,))
        self._numbers: dict[str, float | np.ndarray] = {
            "mass": positive("mass", mass),
            "drag": _checks.real("drag", drag, low=0.0),
            "max_force": positive("max_force", max_force),
            "time_step": positive("time_step", time_step),
            "goal": target,
            "start_range": _checks.real("start_range", start_range, low=0.0),
            "smoothing": positive("smoothing", smoothing),
            "velocity_cost": _checks.real("velocity_cost", velocity_cost, low=0.0),
            "action_cost": _checks.real("action_cost", action_cost, low=0.0),
        }
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)

    @property
    def default_params(self) -> PointMassParams:
        """The numbers given to the constructor."""
        numbers = {name: jnp.asarray(value, jnp.float32) for name, value in self._numbers.items()}
        return PointMassParams(max_steps_in_episode=self._max_steps, **numbers)

    def _start(self, key: jax.Array, params: PointMassParams) -> PointMassState:
        dtype = params.goal.dtype
        position = params.start_range * jax.random.uniform(key, (2,), dtype, -1.0, 1.0)
        return PointMassState(time=jnp.int32(0), position=position, velocity=jnp.zeros(2, dtype))

    def _transition(
        self, key: jax.Array, state: PointMassState, action: jax.Array, params: PointMassParams
    ) -> tuple[PointMassState, jax.Array]:
        del key
        p, v, dt = state.position, state.velocity, params.time_step
        distance = jnp.sqrt(jnp.sum((p - params.goal) ** 2) + params.smoothing**2) - params.smoothing
        costs = params.velocity_cost * jnp.sum(v**2) + params.action_cost * jnp.sum(action**2)

        v = v + (params.max_force * action - params.drag * v) * dt / params.mass
        return PointMassState(time=state.time + 1, position=p + v * dt, velocity=v), -distance - costs

    def _observation(self, state: PointMassState, params: PointMassParams) -> jax.Array:
        return jnp.concatenate([state.position - params.goal, state.velocity])
