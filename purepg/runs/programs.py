"""What a run compiles: some updates, and games of evaluation, as functions of one seed's numbers and state."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from purepg.evaluation import Evaluation, evaluate
from purepg.hyperparams import Hyperparams
from purepg.machines import branches
from purepg.rollout.metrics import Average, Metrics
from purepg.runs.plans import Plan
from purepg.training import Method, TrainState, train

# Numbers that no update of a run folds into its key.
EVALUATION_STREAM = 2**31  # the games that end a run; those among the updates have the next one
FRESH_STREAM = EVALUATION_STREAM + 2


def training(method: Method, plan: Plan, num_updates: int) -> Callable:
    """Some updates as a function of one seed's numbers and state, with the evaluations among them.

    The last of a run's updates end where the run does: those beyond change nothing.
    """
    total = plan.num_updates
    stop_at = total if total is not None and total % num_updates else None
    if not plan.evaluate_every:
        return lambda hyper, state: train(method, hyper, state, num_updates, stop_at=stop_at)

    def stretch(hyper: Hyperparams, before: TrainState) -> tuple[TrainState, Metrics]:
        state, numbers = train(method, hyper, before, plan.evaluate_every, stop_at=stop_at)
        key = jax.random.fold_in(jax.random.fold_in(state.key, EVALUATION_STREAM + 1), state.iteration)

        def mean_return(state: TrainState) -> jax.Array:
            params = method.params(state.learner)
            return evaluate(method, hyper, params, key, plan.evaluation_games).returns.mean()

        # A seed that had finished before makes no update, and is not evaluated again.
        last = before.iteration + plan.evaluate_every == state.iteration
        at_the_end = (jnp.arange(plan.evaluate_every) == plan.evaluate_every - 1) & last
        played = branches.cond(last, mean_return, lambda _: jnp.float32(0), state)
        value = Average(jnp.where(at_the_end, played, 0.0), at_the_end.astype(jnp.float32))
        return state, numbers | {"greedy_return": value}

    def stretches(hyper: Hyperparams, state: TrainState) -> tuple[TrainState, Metrics]:
        count = num_updates // plan.evaluate_every
        state, numbers = jax.lax.scan(lambda state, _: stretch(hyper, state), state, length=count)
        return state, jax.tree.map(lambda x: x.reshape(num_updates), numbers)

    return stretches


def evaluation(method: Method, num_games: int, *stream: int, deterministic: bool) -> Callable:
    """Evaluation as a function of one seed's numbers and state."""

    def play(hyper: Hyperparams, state: TrainState) -> Evaluation:
        key = functools.reduce(jax.random.fold_in, stream, state.key)
        return evaluate(
            method, hyper, method.params(state.learner), key, num_games, deterministic=deterministic
        )

    return play
