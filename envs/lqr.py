"""Linear dynamics, quadratic cost: the continuous problem whose value and gradient are known exactly.

    x_{t+1} = A x_t + B u_t + w_t,   r_t = −(x_tᵀ Q x_t + u_tᵀ R u_t),   w_t ~ N(0, diag(noise_std²))
    x_0 ~ N(initial_mean, diag(initial_std²))

The reward is of the state before the step, so that J = −E Σ_t γ^t (x_tᵀ Q x_t + u_tᵀ R u_t). Under the policy
u = −K x + σ ε only the second moment S_t = E x_t x_tᵀ matters, and it follows a linear recursion,

    S_{t+1} = (A − BK) S_t (A − BK)ᵀ + σ² B Bᵀ + W,   E r_t = −tr((Q + KᵀRK) S_t) − σ² tr R,

hence `exact_lqr`: the arrays from which J and ∇J follow in closed form. The best gain solves a Riccati
equation; with A = B = Q = R = 1, no discount and no end it is K = 1/φ = 0.618…, at a cost of φ x_0² = 1.618…
x_0².

Games never terminate, and actions have no bounds: a bound would make the dynamics nonlinear. Gradients flow
through state, action and params; with |λ(A − BK)| < 1 they fade along the game, else they grow like the
state.

The default is the double integrator, a cart on a rail pushed to the origin: x = (position in m, velocity in
m/s), u = acceleration in m/s², held over steps of 0.1 s.

Reference: Fazel, Ge, Kakade & Mesbahi, Global Convergence of Policy Gradient Methods for the Linear Quadratic
Regulator (2018).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment
from numpy.typing import ArrayLike

from . import _checks
from ._differentiable import DifferentiableEnvironment


@struct.dataclass
class LQRState(environment.EnvState):
    """Where a game stands."""

    time: Any  # [] int32, steps played
    x: jax.Array  # [n]


@struct.dataclass(kw_only=True)
class LQRParams(environment.EnvParams):
    """The numbers of the problem, n state components and m action components."""

    max_steps_in_episode: int = 100
    A: jax.Array  # [n, n]
    B: jax.Array  # [n, m]
    Q: jax.Array  # [n, n], symmetric, ≥ 0
    R: jax.Array  # [m, m], symmetric, > 0
    initial_mean: jax.Array  # [n]
    initial_std: jax.Array  # [n]
    noise_std: jax.Array | None = None  # [n]; None draws no noise, which is faster than zeros


class ExactLQR(NamedTuple):
    """The problem as arrays."""

    A: jax.Array  # [n, n]
    B: jax.Array  # [n, m]
    Q: jax.Array  # [n, n]
    R: jax.Array  # [m, m]
    initial_second_moment: jax.Array  # [n, n], E x_0 x_0ᵀ
    noise_covariance: jax.Array  # [n, n], E w wᵀ
    horizon: int | jax.Array  # steps of a game: rewards at t = 0 … horizon − 1


class LQR(DifferentiableEnvironment[LQRState, LQRParams]):
    """Linear-quadratic regulator; the observation is x, the action u, without bounds.

    Args:
        A: [n, n]. B: [n, m].
        Q: [n, n], symmetric and positive semidefinite. R: [m, m], symmetric and positive definite.
        noise_std: standard deviation of w, one number or [n].
        initial_mean, initial_std: of x_0, one number or [n].
        max_steps: a game is truncated after so many steps.

    Arrays may be nested tuples or lists, so that the arguments can be hashed.

    Raises:
        ValueError: in one line, whatever is wrong with an argument.
    """

    _action_bounds = (-np.inf, np.inf)

    def __init__(
        self,
        A: ArrayLike = ((1.0, 0.1), (0.0, 1.0)),
        B: ArrayLike = ((0.005,), (0.1,)),
        Q: ArrayLike = ((1.0, 0.0), (0.0, 0.1)),
        R: ArrayLike = ((0.1,),),
        *,
        noise_std: ArrayLike = 0.0,
        initial_mean: ArrayLike = 0.0,
        initial_std: ArrayLike = 1.0,
        max_steps: int = 100,
    ):
        super().__init__()
        a, b = _checks.finite_array("A", A, "[n, n]"), _checks.finite_array("B", B, "[n, m]")
        for name, array, layout in (("A", a, "[n, n]"), ("B", b, "[n, m]")):
            if array.ndim != 2 or 0 in array.shape:
                raise ValueError(f"{name} has shape {list(array.shape)}: give a matrix {layout}, not empty")
        n, m = self._observation_size, self._action_size = a.shape[0], b.shape[1]
        _checks.shape("A", a, "[n, n]", (n, n))
        _checks.shape("B", b, "[n, m]", (n, m))
        spread = _vector("initial_std", initial_std, n, nonnegative=True)
        noise = _vector("noise_std", noise_std, n, nonnegative=True)
        self._arrays = {
            "A": a,
            "B": b,
            "Q": _cost("Q", Q, n, definite=False),
            "R": _cost("R", R, m, definite=True),
            "initial_mean": _vector("initial_mean", initial_mean, n),
            "initial_std": spread,
            "noise_std": noise if noise.any() else None,
        }
        self._max_steps = _checks.integer("max_steps", max_steps, low=1)

    @property
    def default_params(self) -> LQRParams:
        """The numbers given to the constructor."""
        arrays = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), self._arrays)
        return LQRParams(max_steps_in_episode=self._max_steps, **arrays)

    def exact_lqr(self, params: LQRParams | None = None) -> ExactLQR:
        """The problem as arrays (default: of `default_params`)."""
        params = self.default_params if params is None else params
        mean, noise = params.initial_mean, params.noise_std
        return ExactLQR(
            A=params.A,
            B=params.B,
            Q=params.Q,
            R=params.R,
            initial_second_moment=jnp.outer(mean, mean) + jnp.diag(params.initial_std**2),
            noise_covariance=jnp.zeros_like(params.A) if noise is None else jnp.diag(noise**2),
            horizon=params.max_steps_in_episode,
        )

    def _start(self, key: jax.Array, params: LQRParams) -> LQRState:
        mean = params.initial_mean
        x = mean + params.initial_std * jax.random.normal(key, mean.shape, mean.dtype)
        return LQRState(time=jnp.int32(0), x=x)

    def _transition(
        self, key: jax.Array, state: LQRState, action: jax.Array, params: LQRParams
    ) -> tuple[LQRState, jax.Array]:
        x = state.x
        reward = -jnp.sum(x * _times(params.Q, x)) - jnp.sum(action * _times(params.R, action))
        after = _times(params.A, x) + _times(params.B, action)
        if params.noise_std is not None:
            after = after + params.noise_std * jax.random.normal(key, x.shape, x.dtype)
        return LQRState(time=state.time + 1, x=after), reward

    def _observation(self, state: LQRState, params: LQRParams) -> jax.Array:
        del params
        return state.x


class ScalarLQR(LQR):
    """One state, one action: x′ = a x + b u + w, reward −(q x² + r u²).

    Args:
        a, b, q, r: the four numbers, q ≥ 0 and r > 0.
        noise_std: standard deviation of w.
        initial_mean, initial_std: of x_0.
        max_steps: a game is truncated after so many steps.
    """

    def __init__(
        self,
        a: float = 1.0,
        b: float = 1.0,
        q: float = 1.0,
        r: float = 1.0,
        *,
        noise_std: float = 0.0,
        initial_mean: float = 0.0,
        initial_std: float = 1.0,
        max_steps: int = 20,
    ):
        a, b = _checks.real("a", a), _checks.real("b", b)
        q, r = _checks.real("q", q, low=0.0), _checks.real("r", r, low=1e-12)
        super().__init__(
            ((a,),),
            ((b,),),
            ((q,),),
            ((r,),),
            noise_std=noise_std,
            initial_mean=initial_mean,
            initial_std=initial_std,
            max_steps=max_steps,
        )


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Matrix times vector, [n, m] × [m] → [n].

    A sum, not a matrix product: float32 also on accelerators whose products round, and fused into the step.
    """
    return jnp.sum(matrix * vector[None, :], axis=1)


def _vector(name: str, value: ArrayLike, size: int, *, nonnegative: bool = False) -> np.ndarray:
    array = _checks.finite_array(name, value, "one number or [n]")
    _checks.shape(name, array, "one number or [n]", (), (size,))
    if nonnegative and (array < 0).any():
        raise ValueError(f"{name} is {array.tolist()}: a standard deviation is at least 0; correct it")
    return np.broadcast_to(array, (size,)).copy()


def _cost(name: str, value: ArrayLike, size: int, *, definite: bool) -> np.ndarray:
    layout = "[m, m]" if definite else "[n, n]"
    matrix = _checks.finite_array(name, value, layout)
    _checks.shape(name, matrix, layout, (size, size))
    scale = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-6 * scale:
        raise ValueError(f"{name} is not symmetric: give ({name} + {name}ᵀ) / 2, which costs the same")
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -1e-6 * scale or (definite and smallest <= 1e-9 * scale):
        allowed = "positive definite" if definite else "positive semidefinite"
        raise ValueError(f"{name} has the eigenvalue {smallest:.3g}: give a {allowed} matrix")
    return (matrix + matrix.T) / 2
