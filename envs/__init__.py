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

The classes are imported when first used: `import envs` alone is quick. Their names and modules are in `__init__.pyi`,
where an environment is added; `IDS` takes every one there that can be constructed
without arguments and without an extra.

Where a project has its own package `envs`, purepg finds these beside itself, as `purepg_envs`.
"""

import inspect
import sys
from typing import Any

import lazy_loader

_import, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
_classes = tuple(__all__)
__all__ += ["IDS", "register"]


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
        elif _source(known[env_id]) != _source(environment):
            raise ValueError(
                f"gymnax already has another environment under the id {env_id!r}, {known[env_id]!r}: an id "
                f"is given once; register yours under another one, or construct envs.{env_id} directly"
            )


def __getattr__(name: str) -> Any:
    """Import a class, or the table of classes, when it is first asked for (PEP 562)."""
    if name == "IDS":
        found = {env_id: _import(env_id) for env_id in _classes}
        value = {env_id: made for env_id, made in found.items() if _needs_nothing(made)}
        return globals().setdefault("IDS", value)
    if name not in _classes:
        raise AttributeError(f"module 'envs' has no attribute {name!r}; it has {', '.join(__all__)}")
    return _import(name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _needs_nothing(made: Any) -> bool:
    """Whether it is an environment that can be constructed as it is."""
    from gymnax.environments.environment import Environment

    return (
        issubclass(made, Environment)
        and not hasattr(made, "needs_extra")
        and all(
            parameter.default is not parameter.empty
            or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            for parameter in inspect.signature(made).parameters.values()
        )
    )


def _source(made: Any) -> Any:
    """File and name of a class: this package may be there twice, as `envs` and as `purepg_envs`."""
    file = getattr(sys.modules.get(made.__module__), "__file__", None)
    return (file, made.__qualname__) if file else made
