"""purepg: `gae` or `pathwise-short` over segments with a critic of its own, as `purepg.run` drives it."""

import dataclasses
import functools

import jax
import numpy as np
from measuring import EVALUATION_GAMES, Learner, Work, answer, seconds_of

import purepg
from purepg import critics, environments, estimators, evaluation, hyperparams, seeds

DIFFERS = (
    "seeds split over the cores, one after another on each, 256 rows differentiated at a time; resets only where "
    "games end; values go on behind a time limit; starts staggered, the policy's last layer scaled by 0.01; two Adams; "
    "metrics and a check for finite numbers"
)


def build(work: Work) -> Learner:
    seeds.use_all_cores()
    network = purepg.MLP(work.hidden, "tanh")
    critic = critics.OwnCritic(dataclasses.replace(network, output_scale=1.0))
    estimator = dataclasses.replace(estimators.make(work.estimator), critic=critic)  # pyright: ignore
    if work.physics == "brax":
        env = environments.environment("envs:Brax", env_name=work.env)
        policy = purepg.Gaussian(network, std="state", squash=True)
    else:
        env, policy = environments.environment(work.env), purepg.Softmax(network)
    shared = purepg.Backend(row_axis=seeds.ROW_AXIS)
    task = purepg.Task(env, policy, purepg.Segments(work.games, work.steps), backend=shared)
    method = purepg.PolicyGradient(task, estimator)
    numbers = purepg.Hyperparams(
        learning_rate=work.learning_rate,
        critic_learning_rate=work.learning_rate,
        discount=work.discount,
        trace_decay=work.trace_decay,
        entropy_coefficient=work.entropy_coefficient,
    )

    def start(hyper, key):
        return purepg.init(method, hyper, key)

    def chunk(hyper, state):
        return purepg.train(method, hyper, state, work.turn)

    def play(hyper, state):
        key = jax.random.fold_in(state.key, state.iteration)
        params = method.params(state.learner)
        return evaluation.evaluate(method, hyper, params, key, EVALUATION_GAMES).returns.mean()

    hyper = hyperparams.over_seeds(numbers, task.env, work.seeds)
    keys = seeds.keys(work.seed + np.arange(work.seeds))
    compiled = functools.partial(seeds.compiled, placement="shared")
    begin, init_seconds = seconds_of(lambda: compiled(start, hyper, keys))
    state = jax.block_until_ready(begin(hyper, keys))
    update, train_seconds = seconds_of(lambda: compiled(chunk, hyper, state))

    def train():
        nonlocal state
        state, metrics = jax.block_until_ready(update(hyper, state))
        jax.device_get(metrics)

    compile_seconds = init_seconds + train_seconds
    if work.physics == "brax":
        return Learner(train, compile_seconds)
    look = compiled(play, hyper, state)
    return Learner(train, compile_seconds, lambda: np.asarray(look(hyper, state)).tolist())


if __name__ == "__main__":
    answer(build, ("purepg", "jax", "gymnax"), DIFFERS)
