"""What a run is to do, and config.json, which says it."""

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from purepg import __version__, hyperparams
from purepg.hyperparams import Hyperparams
from purepg.machines import files
from purepg.runs import configuration, old_runs
from purepg.training import Method

FORMAT = 7


class Plan(NamedTuple):
    """What a run is to do."""

    method: Method
    hyper: Hyperparams  # scalars, or arrays [R] with one number per replicate
    seeds: np.ndarray  # [R] int
    num_updates: int | None  # at most; none: as many as the budget of steps lasts
    evaluation_games: int
    placement: str
    evaluate_every: int = 0  # updates between two evaluations during training; 0 for none
    num_steps: int | None = None  # each seed's budget of environment steps; none: its updates alone end a run


_NUMBERS = ("num_updates", "evaluation_games", "placement", "evaluate_every", "num_steps")


def encode(plan: Plan) -> str:
    """What config.json says.

    Raises:
      InvalidInput: the plan holds something that would not be read back as what it is.
    """
    return json.dumps(_encoded(plan), indent=1)


def _encoded(plan: Plan) -> dict[str, Any]:
    config = {
        "format": FORMAT,
        "purepg": __version__,
        "jax": jax.__version__,
        "method": configuration.encode(plan.method),
        "hyper": hyperparams.encode(plan.hyper, plan.method.task.env),
        "seeds": np.asarray(plan.seeds).tolist(),
    }
    config |= {name: getattr(plan, name) for name in _NUMBERS}
    return config | {"checksum": checksum(config)}


def decode(config: dict[str, Any]) -> Plan:
    """The plan that config.json of any format that can be read says."""
    config = config if config["format"] == FORMAT else old_runs.upgraded(config)
    method = configuration.decode(config["method"])
    hyper = hyperparams.decode(config["hyper"], method.task.env)
    numbers = {name: config[name] for name in _NUMBERS}
    return Plan(method, hyper, np.asarray(config["seeds"]), **numbers)


def checksum(config: dict[str, Any]) -> str:
    """Of everything that config.json says beside it."""
    plain = {name: value for name, value in config.items() if name != "checksum"}
    return files.checksum(json.dumps(plain, sort_keys=True).encode())
