"""rejax: PPO of one epoch and one minibatch, mapped over the seeds as its documentation shows.

Its networks start from LeCun's normal distribution, so nothing of LAPACK is mapped over the seeds, and JAX's newer CPU
backends, which hang there, are safe with it. Its environments want gymnax 0.0: a step there has five values.
"""

from typing import Any

import jax
import numpy as np
from measuring import EVALUATION_GAMES, Learner, Work, answer, seconds_of

DIFFERS = (
    "PPO: clipped ratio and values, computed as ever although the first step is never clipped; rows shuffled; "
    "advantages standardised; a time limit ends a game's values; a reset at every step; two Adams; "
    "one program mapped over the seeds on one device"
)


def build(work: Work) -> Learner:
    from rejax import PPO  # pyright: ignore[reportMissingImports]
    from rejax.evaluate import evaluate  # pyright: ignore[reportMissingImports]

    per_turn = work.turn * work.games * work.steps
    algorithm = PPO.create(
        env=work.env,
        num_envs=work.games,
        num_steps=work.steps,
        num_epochs=1,
        num_minibatches=1,
        learning_rate=work.learning_rate,
        gamma=work.discount,
        gae_lambda=work.trace_decay,
        ent_coef=work.entropy_coefficient,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": work.hidden},
        total_timesteps=per_turn,
        eval_freq=per_turn,
        skip_initial_evaluation=True,
    ).replace(eval_callback=lambda *_: ())

    def greedy(state, key):
        def act(observation, _):
            mode = lambda actor, x: actor._action_dist(x).mode()  # noqa: E731
            return algorithm.actor.apply(state.actor_ts.params, observation[None], method=mode)[0]

        limit = algorithm.env_params.max_steps_in_episode
        return evaluate(act, key, algorithm.env, algorithm.env_params, EVALUATION_GAMES, limit)[1].mean()

    keys = jax.vmap(jax.random.PRNGKey)(work.seed + np.arange(work.seeds))
    init = jax.jit(jax.vmap(algorithm.init_state))
    start, init_seconds = seconds_of(lambda: init.lower(keys).compile())
    state: Any = jax.block_until_ready(start(keys))
    turn = jax.jit(jax.vmap(lambda state: algorithm.train(train_state=state)[0]))
    update, train_seconds = seconds_of(lambda: turn.lower(state).compile())
    look = jax.jit(jax.vmap(greedy))

    def train():
        nonlocal state
        state = jax.block_until_ready(update(state))

    return Learner(train, init_seconds + train_seconds, lambda: np.asarray(look(state, state.rng)).tolist())


if __name__ == "__main__":
    answer(build, ("rejax", "jax", "gymnax"), DIFFERS)
