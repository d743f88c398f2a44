"""A pole on a cart, swung up from hanging and kept up, by a force on the cart.

    q = (F a + m l θ̇² sin θ) / M
    ẍ = q − m l θ̈ cos θ / M,   θ̈ = (g sin θ − q cos θ) / (l (4/3 − m cos²θ / M))
    r = cos θ − k_x (√(1 + e²) − 1) − k_a a²,   e = max(|x| − rail, 0)

x is the cart's position in m and θ the pole's angle in rad from upright, so that its middle is at
x + l sin θ; M is the mass of cart and pole together, m that of the pole, a uniform rod of length 2 l. The
action a in [−1, 1] is a fraction of the greatest force F in N. Both velocities are stepped first, then both
positions with the new velocities (semi-implicit Euler, Δt), which nearly keeps the energy of a free pole,
where explicit Euler gains it.

Nothing ends a game but its limit: a cart beyond the rail pays the soft price above, quadratic at first and
then a straight slope; the stop at a hard end would break the gradient. A game starts within `start_noise` of
hanging at rest. With the defaults hanging on returns −250, and pumping energy, then balancing, about 132.

What it is for: a task with a detour (the pole goes up only by swinging), where the pathwise gradient through
a game is correct but long: while the pole is up, deviations grow by a factor of about exp(4 t / s), and so do
gradients. They flow through state, action and params.

Reference: Barto, Sutton & Anderson (1983) with the correction of Florian, Correct equations for the dynamics
of the cart-pole system (2007), without friction; Deisenroth & Rasmussen, PILCO (2011), for the swing-up.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment

from . import _checks
from ._differentiable import DifferentiableEnvironment, positive


@struct.dataclass
class CartPoleSwingUpState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    x: jax.Array  # [] m
    x_dot: jax.Array  # [] m/s
    theta: jax.Array  # [] rad from upright, not wrapped
    theta_dot: jax.Array  # [] rad/s


@struct.dataclass(kw_only=True)
class CartPoleSwingUpParams(environment.EnvParams):
    """The numbers of the problem, all [] float32."""

    max_steps_in_episode: int = 250
    gravity: jax.Array  # g, m/s²
    cart_mass: jax.Array  # M − m, kg
    pole_mass: jax.Array  # m, kg
    half_length: jax.Array  # l, m
    max_force: jax.Array  # F, N
    time_step: jax.Array  # Δt, s
    rail: jax.Array  # half its length, m
    rail_cost: jax.Array  # k_x
    action_cost: jax.Array  # k_a
    start_noise: jax.Array  # half-width of each component's range at the start


class CartPoleSwingUp(DifferentiableEnvironment[CartPoleSwingUpState, CartPoleSwingUpParams]):
    """Cart-pole swing-up; the observation is (x, ẋ, cos θ, sin θ, θ̇), the action [1] in [−1, 1].

    Args:
        gravity: m/s². cart_mass, pole_mass: kg. half_length: of the pole, m. max_force: N. time_step: s.
        rail: half the length of the rail, m. rail_cost, action_cost: k_x and k_a, at least 0.
        start_noise: x, ẋ, θ − π and θ̇ start uniform within ± this.
        max_steps: a game is truncated after so many steps.
    """

    _action_bounds = (-1.0, 1.0)
    _action_size = 1
    _observation_size = 5

    def __init__(
        self,
        *,
        gravity: float = 9.8,
        cart_mass: float = 1.0,
        pole_mass: float = 0.1,
        half_length: float = 0.5,
        max_force: float = 10.0,
        time_step: float = 0.02,
        rail: float = 2.4,
        rail_cost: float = 1.0,
        action_cost: float = 0.01,
        start_noise: float = 0.1,
        max_steps: int = 250,
    ):
        super().__init__()
        self._numbers = {
            "gravity": _checks.real("gravity", gravity, low=0.0),
            "cart_mass": positive("cart_mass", cart_mass),
            "pole_mass": positive("pole_mass", pole_mass),
            "half_length": positive("half_length", half_length),
            "max_force": positive("max_force", max_force),
            "time_step": positive("time_step", time_step),
            "rail": _checks.real("rail", rail, low=0.0),
            "rail_cost": _checks.real("rail_cost", rail_cost, low=0.0),
            "action_cost": _checks.real("action_cost", action_cost, low=0.0),
            "start_noise": _checks.real("start_noise", start_noise, low=0.0),
        }
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)

    @property
    def default_params(self) -> CartPoleSwingUpParams:
        """The numbers given to the constructor."""
        numbers = {name: jnp.float32(value) for name, value in self._numbers.items()}
        return CartPoleSwingUpParams(max_steps_in_episode=self._max_steps, **numbers)

    def _start(self, key: jax.Array, params: CartPoleSwingUpParams) -> CartPoleSwingUpState:
        noise = params.start_noise
        x, x_dot, theta, theta_dot = noise * jax.random.uniform(key, (4,), noise.dtype, -1.0, 1.0)
        return CartPoleSwingUpState(
            time=jnp.int32(0), x=x, x_dot=x_dot, theta=jnp.pi + theta, theta_dot=theta_dot
        )

    def _transition(
        self, key: jax.Array, state: CartPoleSwingUpState, action: jax.Array, params: CartPoleSwingUpParams
    ) -> tuple[CartPoleSwingUpState, jax.Array]:
        del key
        push = action[0]
        beyond = jnp.maximum(jnp.abs(state.x) - params.rail, 0.0)
        off_rail = params.rail_cost * (jnp.sqrt(1.0 + beyond**2) - 1.0)
        reward = jnp.cos(state.theta) - off_rail - params.action_cost * push**2

        x_ddot, theta_ddot = _accelerations(state, params.max_force * push, params)
        x_dot = state.x_dot + params.time_step * x_ddot
        theta_dot = state.theta_dot + params.time_step * theta_ddot
        after = CartPoleSwingUpState(
            time=state.time + 1,
            x=state.x + params.time_step * x_dot,
            x_dot=x_dot,
            theta=state.theta + params.time_step * theta_dot,
            theta_dot=theta_dot,
        )
        return after, reward

    def _observation(self, state: CartPoleSwingUpState, params: CartPoleSwingUpParams) -> jax.Array:
        del params
        return jnp.stack([state.x, state.x_dot, jnp.cos(state.theta), jnp.sin(state.theta), state.theta_dot])


def _accelerations(
    state: CartPoleSwingUpState, force: jax.Array, params: CartPoleSwingUpParams
) -> tuple[jax.Array, jax.Array]:
    """ẍ and θ̈ under a force on the cart in N."""
    sin, cos = jnp.sin(state.theta), jnp.cos(state.theta)
    total = params.cart_mass + params.pole_mass
    moment = params.pole_mass * params.half_length  # kg m
    q = (force + moment * state.theta_dot**2 * sin) / total
    inertia = params.half_length * (4.0 / 3.0 - params.pole_mass * cos**2 / total)  # m
    theta_ddot = (params.gravity * sin - q * cos) / inertia
    return q - moment * theta_ddot * cos / total, theta_ddot
