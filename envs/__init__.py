"""Environments of purepg, each usable without it: gymnax 1.x `Environment`s built from plain arrays.

| class | the problem | built from |
|---|---|---|
| `FiniteMDP` | any finite Markov decision process | arrays P(s′ | s, a), r(s, a) or r(s, a, s′) |
| `Bandit` | one decision | a reward for each arm |
| `Chain` | a walk between two ends | a length |
| `ShortCorridor` | Sutton & Barto 2018, example 13.1 | nothing |
| `GridWorld` | Russell & Norvig's 4×3 world, or your map | a text map |
| `CliffWalking` | Sutton & Barto 2018, example 6.6; Gymnasium's | nothing |
| `Taxi` | Dietterich's taxi; Gymnasium's Taxi-v3 | nothing |
| `LQR`, `ScalarLQR` | linear dynamics, quadratic cost | matrices A, B, Q, R, or four numbers |
| `PointMass` | a mass in the plane, pushed to a goal | physical numbers |
| `CartPoleSwingUp` | a pole on a cart, swung up and kept up | physical numbers |
| `BallAgainstWall` | one throw, whose reward jumps in the action | physical numbers |
| `LogisticMap` | chaos, nudged | a growth rate and a horizon |
| `Brax` | rigid bodies; an extra, `pip install 'purepg[brax]'` | Brax's name of an environment |

    import envs, gymnax

    env = envs.GridWorld(slip=0.2)              # directly, or by name:
    envs.register()
    env, params = gymnax.make("GridWorld", slip=0.2)

What a learner estimates can be compared with what is true: those with finitely many states and actions, up to
`Taxi`, know their exact model (`env.exact_model(params)`), `LQR` its matrices (`env.exact_lqr(params)`), and
`BallAgainstWall` its mean reward (`env.expected_reward(mean, std, params)`). Those from `LQR` on have
continuous states and actions, and gradients flow through them after `env.with_transition_gradients()`.

The classes are imported when first used: `import envs` alone is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.ball import BallAgainstWall
    from envs.bandit import Bandit
    from envs.brax_env import Brax
    from envs.cartpole_swing_up import CartPoleSwingUp
    from envs.chain import Chain
    from envs.chaos import LogisticMap
    from envs.cliff_walking import CliffWalking
    from envs.corridor import ShortCorridor
    from envs.finite_mdp import ExactModel, FiniteMDP, FiniteMDPParams, FiniteMDPState
    from envs.gridworld import GridWorld
    from envs.lqr import LQR, ExactLQR, ScalarLQR
    from envs.point_mass import PointMass
    from envs.taxi import Taxi

__all__ = [
    "IDS",
    "LQR",
    "BallAgainstWall",
    "Bandit",
    "Brax",
    "CartPoleSwingUp",
    "Chain",
    "CliffWalking",
    "ExactLQR",
    "ExactModel",
    "FiniteMDP",
    "FiniteMDPParams",
    "FiniteMDPState",
    "GridWorld",
    "LogisticMap",
    "PointMass",
    "ScalarLQR",
    "ShortCorridor",
    "Taxi",
    "register",
]

_MODULE_OF = {
    "BallAgainstWall": "ball",
    "Bandit": "bandit",
    "Brax": "brax_env",
    "CartPoleSwingUp": "cartpole_swing_up",
    "Chain": "chain",
    "CliffWalking": "cliff_walking",
    "ExactLQR": "lqr",
    "ExactModel": "finite_mdp",
    "FiniteMDP": "finite_mdp",
    "FiniteMDPParams": "finite_mdp",
    "FiniteMDPState": "finite_mdp",
    "GridWorld": "gridworld",
    "LQR": "lqr",
    "LogisticMap": "chaos",
    "PointMass": "point_mass",
    "ScalarLQR": "lqr",
    "ShortCorridor": "corridor",
    "Taxi": "taxi",
}
_REGISTERED = (
    "Bandit",
    "Chain",
    "ShortCorridor",
    "GridWorld",
    "CliffWalking",
    "Taxi",
    "LQR",
    "ScalarLQR",
    "PointMass",
    "CartPoleSwingUp",
    "BallAgainstWall",
    "LogisticMap",
)

IDS: dict[str, Any]  # gymnax id → class, for every environment that needs no arguments


def register() -> None:
    """Make every environment in `IDS` known to `gymnax.make`, under its class name; calling it again is fine.

    Raises:
        ValueError: one of the ids already belongs to something else.
    """
    import gymnax.registration as registration

    known = registration._registry  # gymnax has no public way to ask what an id stands for
    for env_id, environment in __getattr__("IDS").items():
        if env_id not in known:
            registration.register(env_id, environment)
        elif known[env_id] is not environment:
            raise ValueError(
                f"gymnax already has another environment under the id {env_id!r}, {known[env_id]!r}: an id "
                f"is given once; register yours under another one, or construct envs.{env_id} directly"
            )


def __getattr__(name: str) -> Any:
    """Import a class, or the table of classes, when it is first asked for (PEP 562)."""
    if name == "IDS":
        value = {env_id: getattr(_module(env_id), env_id) for env_id in _REGISTERED}
    elif name in _MODULE_OF:
        value = getattr(_module(name), name)
    else:
        raise AttributeError(f"module 'envs' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
