"""The logistic map, nudged: where the gradient through the dynamics is exact and useless.

    x′ = ρ y (1 − y),   y = x + k a x (1 − x),   a in [−1, 1]
    reward = −(x − x*)² − c a²,   x* = 1 − 1/ρ (the unstable fixed point) unless another target is given

x is in [0, 1], without units, and stays there for 0 ≤ ρ ≤ 4 and k ≤ 1. The action shifts the state by at most
k/4, a little. The unforced map at ρ = 4 doubles small deviations at every step on average, as x_t = sin²(2^t
arcsin √x_0):

    ∂x_T/∂x_0 = Π_t ρ (1 − 2 x_t),   (1/T) log|∂x_T/∂x_0| → Lyapunov exponent ln 2

A pathwise gradient adds such products, so its standard deviation grows like 2^T with the horizon, while the
return is of order T; the score function's grows about like a power of T. Below ρ = 3 the map settles at x*
and the pathwise gradient fades; ρ = 3.5 is periodic. Sweep ρ (a param) or the horizon (`max_steps`) to see
either one win.

The task can be solved: wait until the orbit comes near x*, then hold it there by small nudges. With the
defaults half of the games get there within 50 steps.

Gradients flow through state, action and params. Games never terminate. At ρ = 4 one step in about 10⁴ rounds
to x = 1 in float32, after which x would be 0 for ever: y is kept one rounding below 1.

Reference: Ott, Grebogi & Yorke, Controlling Chaos (1990); Metz, Freeman, Schoenholz & Kachman, Gradients Are
Not All You Need (2021).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from . import _checks
from ._differentiable import DifferentiableEnvironment


@struct.dataclass
class LogisticMapState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    x: jax.Array  # [] in [0, 1]


@struct.dataclass(kw_only=True)
class LogisticMapParams(environment.EnvParams):
    """The numbers of the problem, all [] float32."""

    max_steps_in_episode: int = 50
    growth: jax.Array  # ρ, 0..4
    nudge: jax.Array  # k, 0..1
    target: jax.Array  # x*
    action_cost: jax.Array  # c
    start_low: jax.Array  # x_0 is uniform between these two
    start_high: jax.Array


class LogisticMap(DifferentiableEnvironment[LogisticMapState, LogisticMapParams]):
    """Controlled logistic map; the observation is (x,), the action [1] in [−1, 1].

    Args:
        growth: ρ in [0, 4]; 4 is chaos.
        nudge: k in [0, 1], what the action can do.
        target: x* in [0, 1]; default: the fixed point 1 − 1/ρ, or 0 where ρ ≤ 1. It does not follow when
            `growth` is replaced in the params.
        action_cost: c, at least 0.
        start_low, start_high: x_0 is uniform between them.
        max_steps: the horizon: a game is truncated after so many steps.
    """

    _action_bounds = (-1.0, 1.0)
    _action_size = 1
    _observation_size = 1

    def __init__(
        self,
        *,
        growth: float = 4.0,
        nudge: float = 0.1,
        target: float | None = None,
        action_cost: float = 0.01,
        start_low: float = 0.1,
        start_high: float = 0.9,
        max_steps: int = 50,
    ):
        super().__init__()
        growth = _checks.real("growth", growth, low=0.0, high=4.0)
        fixed_point = 1.0 - 1.0 / max(growth, 1.0)
        start_low = _checks.real("start_low", start_low, low=0.0, high=1.0)
        self._numbers = {
            "growth": growth,
            "nudge": _checks.real("nudge", nudge, low=0.0, high=1.0),
            "target": fixed_point if target is None else _checks.real("target", target, low=0.0, high=1.0),
            "action_cost": _checks.real("action_cost", action_cost, low=0.0),
            "start_low": start_low,
            "start_high": _checks.real("start_high", start_high, low=start_low, high=1.0),
        }
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)

    @property
    def default_params(self) -> LogisticMapParams:
        """The numbers given to the constructor."""
        numbers = {name: jnp.float32(value) for name, value in self._numbers.items()}
        return LogisticMapParams(max_steps_in_episode=self._max_steps, **numbers)

    def observation_space(self, params: LogisticMapParams | None = None) -> spaces.Box:
        """The interval [0, 1]."""
        del params
        return spaces.Box(0.0, 1.0, (1,))

    def _start(self, key: jax.Array, params: LogisticMapParams) -> LogisticMapState:
        low, high = params.start_low, params.start_high
        x = low + (high - low) * jax.random.uniform(key, (), low.dtype)
        return LogisticMapState(time=jnp.int32(0), x=x)

    def _transition(
        self, key: jax.Array, state: LogisticMapState, action: jax.Array, params: LogisticMapParams
    ) -> tuple[LogisticMapState, jax.Array]:
        del key
        x, push = state.x, action[0]
        reward = -((x - params.target) ** 2) - params.action_cost * push**2
        y = x + params.nudge * push * x * (1.0 - x)
        last = 1.0 - jnp.finfo(x.dtype).epsneg  # below 1
        y = y - jax.lax.stop_gradient(jnp.maximum(y - last, 0.0))  # the gradient is that of the map
        return LogisticMapState(time=state.time + 1, x=params.growth * y * (1.0 - y)), reward

    def _observation(self, state: LogisticMapState, params: LogisticMapParams) -> jax.Array:
        del params
        return state.x[None]
