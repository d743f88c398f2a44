"""Environments of purepg, each usable without it: gymnax 1.x `Environment`s built from plain arrays.

| class | the problem | built from |
|---|---|---|
| `FiniteMDP` | any finite Markov decision process | arrays P(s′ | s, a), r(s, a) or r(s, a, s′) |
| `Bandit` | one decision | a reward for each arm |
| `Chain` | a walk between two ends | a length |
| `ShortCorridor` | Sutton & Barto 2018, example 13.1 | nothing |
| `GridWorld` | Russell & Norvig's 4×3 world, or your map | a text map |

    import envs, gymnax

    env = envs.GridWorld(slip=0.2)              # directly, or by name:
    envs.register()
    env, params = gymnax.make("GridWorld", slip=0.2)

All of them know their exact model (`env.exact_model(params)`), so that what a learner estimates can be
compared with what is true. The classes are imported when first used: `import envs` alone is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.bandit import Bandit
    from envs.chain import Chain
    from envs.corridor import ShortCorridor
    from envs.finite_mdp import ExactModel, FiniteMDP, FiniteMDPParams, FiniteMDPState
    from envs.gridworld import GridWorld

__all__ = [
    "IDS",
    "Bandit",
    "Chain",
    "ExactModel",
    "FiniteMDP",
    "FiniteMDPParams",
    "FiniteMDPState",
    "GridWorld",
    "ShortCorridor",
    "register",
]

_MODULE_OF = {
    "Bandit": "bandit",
    "Chain": "chain",
    "ExactModel": "finite_mdp",
    "FiniteMDP": "finite_mdp",
    "FiniteMDPParams": "finite_mdp",
    "FiniteMDPState": "finite_mdp",
    "GridWorld": "gridworld",
    "ShortCorridor": "corridor",
}
_REGISTERED = ("Bandit", "Chain", "ShortCorridor", "GridWorld")

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
