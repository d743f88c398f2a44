"""What environments are called in results: a name, and whatever differs from what the name alone stands for."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from purepg.environments import env_params, specs
from purepg.environments.specs import EnvironmentSpec

__all__ = ["label", "name_of", "shared_label"]


def label(spec: EnvironmentSpec, params: Any = None, max_steps: int | None = None) -> str:
    """What an environment is called in results: its name, and whatever differs from what the name alone stands for.

    What is known of a name, such as the return that counts as solved, holds for no other label.

    Args:
      spec: the environment.
      params: its parameters; None: the defaults.
      max_steps: the task's limit; None: the environment's own.
    """
    changes = dict(spec.arguments) | env_params.changed(spec, specs.parameters(spec, params))
    with jax.ensure_compile_time_eval():  # also inside a caller's jit
        own_limit = getattr(specs.parameters(spec, None), "max_steps_in_episode", math.inf)
    if spec.name in specs.SOLVED_AT and max_steps is not None and max_steps < own_limit:
        changes |= {"max_steps": max_steps}  # fewer steps are another return
    return (
        f"{spec.name} ({', '.join(f'{k}={_brief(v)}' for k, v in changes.items())})" if changes else spec.name
    )


def shared_label(labels: Iterable[str]) -> str:
    """One label for results whose labels may differ, but whose environments share a name.

    Args:
      labels: of `label`.
    """
    found = sorted(set(labels))
    return found[0] if len(found) == 1 else f"{name_of(found[0])} (parameters vary)"


def name_of(label: str) -> str:
    """The environment's name in a label.

    Args:
      label: of `label`.
    """
    return label.partition(" (")[0]


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        numbers = np.unique(np.asarray(value, float))
    except (TypeError, ValueError):
        return "…"
    return f"{numbers[0]:g}" if numbers.size == 1 else "…"
