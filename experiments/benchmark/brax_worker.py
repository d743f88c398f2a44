"""Brax's own learners on its environments: PPO of one epoch and one minibatch, and analytic policy gradients (APG).

Both are closed loops that train one seed and say after each turn how long it took. The first two turns compile.
"""

import functools
import itertools
import json
import sys
import warnings
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from measuring import Work, tell

# pyright: reportMissingImports=false

COMPILING = 2  # turns: the second one gets arrays of other kinds than the first

PPO = (
    "PPO: clipped ratio, advantages standardised; σ = softplus; a time limit ends a game's values; games restart at "
    "their first state; one Adam for both networks"
)
APG = (
    "APG: no V at the segment's end, rewards undiscounted; Adam with β = (0.7, 0.95), observations' moments are "
    "counted; layers normalised; games restart at their first state"
)


def run(work: Work) -> list[float]:
    """Seconds of each turn, its evaluation apart."""
    from brax import envs
    from brax.training.agents.apg import networks as apg_networks
    from brax.training.agents.apg import train as apg
    from brax.training.agents.ppo import networks as ppo_networks
    from brax.training.agents.ppo import train as ppo

    env = envs.get_environment(work.env, backend="spring")
    num_turns = work.updates // work.turn + COMPILING
    walltimes = [0.0]
    common: dict[str, Any] = {
        "environment": env,
        "episode_length": 1000,
        "num_envs": work.games,
        "learning_rate": work.learning_rate,
        "seed": work.seed,
        "num_evals": num_turns + 1,
        "num_eval_envs": 1,
        "max_devices_per_host": 1,
        "progress_fn": lambda _, metrics: (
            walltimes.append(metrics["training/walltime"]) if "training/walltime" in metrics else None
        ),
    }
    if work.estimator == "gae":
        ppo.train(
            **common,
            num_timesteps=num_turns * work.turn * work.games * work.steps,
            run_evals=False,
            unroll_length=work.steps,
            batch_size=work.games,
            num_minibatches=1,
            num_updates_per_batch=1,
            discounting=work.discount,
            gae_lambda=work.trace_decay,
            entropy_cost=work.entropy_coefficient,
            network_factory=functools.partial(
                ppo_networks.make_ppo_networks,
                policy_hidden_layer_sizes=work.hidden,
                value_hidden_layer_sizes=work.hidden,
                activation=nn.tanh,
            ),
        )
    else:
        apg.train(
            **common,
            policy_updates=num_turns * work.turn,
            horizon_length=work.steps,
            network_factory=functools.partial(  # pyright: ignore[reportArgumentType]
                apg_networks.make_apg_networks, hidden_layer_sizes=work.hidden, activation=nn.tanh
            ),
        )
    return [later - before for before, later in itertools.pairwise(walltimes)]


def _replicate(tree: Any, devices: Any) -> Any:
    return jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    # Brax still calls this function, which JAX no longer has.
    jax.device_put_replicated = _replicate  # pyright: ignore[reportAttributeAccessIssue]
    work = Work(**json.loads(sys.argv[1]))
    work = work._replace(hidden=tuple(work.hidden))
    turns = run(work)
    first, turns = turns[:COMPILING], turns[COMPILING:]
    looks = [((i + 1) * work.turn, sum(turns[: i + 1]), 0.0) for i in range(len(turns))]
    compile_seconds = sum(first) - COMPILING * sum(turns) / len(turns)
    differs = PPO if work.estimator == "gae" else APG
    tell(work, looks, compile_seconds, ("brax", "jax", "mujoco"), differs)
