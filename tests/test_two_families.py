"""Score function and pathwise estimate the same gradient, measured apart and compared with each other.

On every environment that is differentiable and in which nothing jumps with the state. Left out, since the path is
biased there: BallAgainstWall (its reward jumps) and MountainCarContinuous-v0 (its end depends on the state).
PointRobot-misc carries the robot elsewhere from the goal, which is a jump too, and pays nothing differentiable by
default: `NoGoal` changes both. Clipped actions have kinks but no jumps, and do not disturb.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.misc.point_robot import PointRobot

import purepg
from purepg import environments, estimators, hyperparams

NUM_GAMES = 50
# Environment → steps: enough for actions to matter, and few for LogisticMap, where the path's variance grows fourfold
# with every step.
STEPS = {
    "Pendulum-v1": 10,
    "Reacher-misc": 40,
    "Swimmer-misc": 30,
    "LQR": 10,
    "ScalarLQR": 10,
    "PointMass": 10,
    "CartPoleSwingUp": 10,
    "LogisticMap": 4,
    f"{__name__}:NoGoal": 10,
}
CHANGES = {"Reacher-misc": {"torque_scale": 10.0}}  # else the actions hardly matter
JUMPS = {"BallAgainstWall", "MountainCarContinuous-v0", "PointRobot-misc"}
DOWNLOADS = {"MNISTBandit-bsuite"}  # when constructed


class NoGoal(PointRobot):
    """PointRobot-misc with its dense reward and a goal without size."""

    @property
    def default_params(self):
        return super().default_params.replace(dense_reward=True, goal_radius=0.0)


def test_no_differentiable_environment_is_forgotten():
    found = set()
    for name in set(environments.names()) - DOWNLOADS:
        env = environments.resolve(environments.environment(name))
        if getattr(env, "supports_transition_gradients", False):
            found.add(name)
    assert found - JUMPS == {name for name in STEPS if ":" not in name}
    assert found >= JUMPS


def mean_and_error(task, preset, hyper, params, key, num_batches):
    """Of independent batches' gradients, [parameters] each, in float64."""
    estimator = estimators.make(preset)

    def one(key):
        state_key, key = jax.random.split(key)
        state = estimator.init(task, hyper, params, state_key)
        gradient = estimator.estimate(task, hyper, params, state, key).policy_gradient
        return jnp.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])

    samples = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(key), num_batches))
    samples = np.asarray(samples, np.float64)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(num_batches)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_both_families_estimate_the_same_gradient(name):
    """Within 4 standard errors of the difference, parameter by parameter.

    The linear policies of all environments have 106 parameters together, one of which would stray further by chance in
    1 of 150 suites, were the seeds not fixed. Both gradients are told from 0.
    """
    spec = environments.environment(name)
    env = hyperparams.with_env_params(spec, CHANGES.get(name, {}))
    hyper = purepg.Hyperparams(discount=0.95, env=env)
    policy = purepg.Gaussian(purepg.MLP((), output_scale=0.3), initial_std=0.5)
    task = purepg.Task(spec, policy, purepg.Games(NUM_GAMES, STEPS[name]))
    params = task.bind_policy().init(jax.random.key(0))
    # Swimmer itself adds vectors to matrices, which the suite forbids.
    with jax.numpy_rank_promotion("allow" if name == "Swimmer-misc" else "raise"):
        score, score_error = mean_and_error(task, "reinforce-loo", hyper, params, 1, 2000)
        path, path_error = mean_and_error(task, "pathwise", hyper, params, 2, 500)
    z = np.abs(score - path) / np.sqrt(score_error**2 + path_error**2)
    assert z.max() < 4
    assert np.max(np.abs(score / score_error)) > 5
    assert np.max(np.abs(path / path_error)) > 5
