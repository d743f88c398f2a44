"""The pathwise estimator: against closed forms, finite differences of the sampled return, and what it must refuse."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purepg
from purepg import critics, diagnostics, estimators
from purepg.errors import InvalidInput

HYPER = purepg.Hyperparams(discount=0.9)
LINEAR = purepg.Gaussian(purepg.MLP(hidden=()), initial_std=0.5)


def lqr_task(name, num_games=100):
    return purepg.Task(purepg.environment(name, max_steps=10), LINEAR, purepg.Games(num_games))


def with_gain(task, gain):
    params = task.bind_policy().init(jax.random.key(0))
    (layer,) = params["network"]
    kernel = -jnp.asarray(gain, jnp.float32).reshape(params["network"][layer]["kernel"].shape)
    params["network"][layer] = params["network"][layer] | {"kernel": kernel}
    return params


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["pathwise", "reinforce", "reinforce-loo"])
@pytest.mark.parametrize(
    ("name", "gain", "discount"),
    [("ScalarLQR", [0.5], 0.9), ("ScalarLQR", [0.8], 1.0), ("LQR", [1.0, 1.5], 1.0)],
)
def test_both_families_meet_the_exact_gradient_of_an_lqr_problem(estimator, name, gain, discount):
    """4 standard errors at 200 000 games."""
    task, hyper = lqr_task(name), replace(HYPER, discount=discount)
    found = diagnostics.gradient_statistics(
        task, estimators.make(estimator), hyper, with_gain(task, gain), jax.random.key(1), 2000
    )
    assert found.num_batches * found.num_games == 200_000
    assert all((x == 0).all() for x in jax.tree.leaves(found.reference_error))
    assert found.largest_bias_z < 4


@functools.cache
def point_mass(collect):
    task = purepg.Task("PointMass", purepg.Gaussian(purepg.MLP((8,)), initial_std=0.3), collect)
    critic = purepg.OwnCritic(purepg.MLP((4,), output_scale=1.0))
    bootstrap = isinstance(collect, purepg.Segments)
    estimator = estimators.Pathwise(critic, "bootstrap") if bootstrap else estimators.Pathwise()
    params = estimator.bind(task).init(jax.random.key(0))
    state = estimator.init(task, HYPER, params, jax.random.key(1))
    return task, estimator, params, state


def sampled_objective(task, estimator, state, key, params):
    """J of one batch, its noise fixed; V and the state that a segment starts from held."""
    from purepg.rollout import collection

    act = critics.acting(estimator.critic, task, params, state.learned)

    def value(observation):
        return estimator.critic.outputs(task, params, state.learned, observation).value

    value = value if estimator.time_limit == "bootstrap" else None
    rows = collection.collect(task, HYPER, act, state.games, key, value)[1]
    ended = np.asarray(rows.terminated | rows.truncated)
    num_steps, num_games = ended.shape
    total = 0.0
    for n in range(num_games):
        weight = 1.0
        for t in range(num_steps):
            total += weight * float(rows.reward[t, n])
            weight *= HYPER.discount
            if value is not None and (ended[t, n] or t == num_steps - 1):
                total += weight * float(rows.bootstrap_value[t, n])
            weight = 1.0 if ended[t, n] else weight
    return total / num_games / (1 if value is None else num_steps)


@pytest.mark.slow
@pytest.mark.parametrize("collect", [purepg.Games(3, 8), purepg.Segments(3, 6, max_steps=4)])
def test_the_gradient_is_that_of_the_sampled_return(collect):
    """Along random directions, by central differences; resets, cuts and the terminal value included."""
    task, estimator, params, state = point_mass(collect)
    key = jax.random.key(2)
    estimate = jax.jit(lambda p: estimator.estimate(task, HYPER, p, state, key).policy_gradient)(params)
    for seed in range(2):
        keys = jax.random.split(jax.random.key(seed), len(jax.tree.leaves(params)))
        direction = jax.tree.unflatten(
            jax.tree.structure(params),
            [jax.random.normal(k, x.shape) for k, x in zip(keys, jax.tree.leaves(params), strict=True)],
        )
        step = 1e-2
        up, down = (
            sampled_objective(
                task, estimator, state, key, jax.tree.map(lambda x, d, s=s: x + s * d, params, direction)
            )
            for s in (step, -step)
        )
        slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (estimate, direction)), strict=True))
        assert slope == pytest.approx((up - down) / (2 * step), rel=0.02, abs=2e-4)


@pytest.mark.slow
def test_the_state_carried_on_has_no_gradient():
    """A second segment is differentiated from where it starts, not through the one before."""
    task, estimator, params, state = point_mass(purepg.Segments(3, 6, max_steps=4))

    def reward_of_the_next(params):
        after = estimator.estimate(task, HYPER, params, state, jax.random.key(3)).state.games
        return jnp.sum(after.observation)

    gradient = jax.grad(reward_of_the_next)(params)
    assert all((x == 0).all() for x in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_a_policy_without_noise():
    task = purepg.Task("PointMass", purepg.Gaussian(purepg.MLP((4,)), "fixed", 0.0), purepg.Games(2, 5))
    method = purepg.PolicyGradient(task, estimators.Pathwise())
    state, metrics = jax.jit(
        lambda key: purepg.train(method, HYPER, purepg.init(method, HYPER, key), 3)
    )(jax.random.key(0))  # fmt: skip
    assert (metrics["skipped"].sum == 0).all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.learner.params))


@struct.dataclass
class PitState(environment.EnvState):
    x: jax.Array


@struct.dataclass
class PitParams(environment.EnvParams):
    max_steps_in_episode: int = 8


class Pit(environment.Environment[PitState, PitParams]):
    """The reward is √x and a game ends below 0: played on, it would be NaN, as would its derivative."""

    _supports_transition_gradients = True

    @property
    def default_params(self):
        return PitParams()

    def reset_env(self, key, params):
        state = PitState(time=jnp.int32(0), x=jax.random.uniform(key, (), minval=1.0, maxval=4.0))
        return state.x[None], state

    def step_env(self, key, state, action, params):
        after = PitState(time=state.time + 1, x=state.x - 1.0 - 0.1 * action[0])
        return after.x[None], after, jnp.sqrt(state.x), after.x < 0, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def action_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,))

    def observation_space(self, params=None):
        return spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.slow
def test_what_follows_the_end_of_a_game_does_not_poison_the_gradient():
    task = purepg.Task(
        "tests.test_pathwise:Pit" if __name__.startswith("tests") else "test_pathwise:Pit", LINEAR
    )
    task = replace(task, collect=purepg.Games(8))
    estimator = estimators.Pathwise()
    params = estimator.bind(task).init(jax.random.key(0))
    state = estimator.init(task, HYPER, params, jax.random.key(0))
    estimate = jax.jit(lambda key: estimator.estimate(task, HYPER, params, state, key))(jax.random.key(1))
    assert estimate.metrics["length"].sum / estimate.metrics["length"].count < 8
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(estimate.policy_gradient))


@pytest.mark.parametrize(
    ("task", "estimator", "message"),
    [
        (purepg.Task("CartPole-v1"), estimators.Pathwise(), "finitely many actions"),
        (
            purepg.Task("MountainCarContinuous-v0", LINEAR),
            estimators.Pathwise(time_limit="bootstrap"),
            "needs a critic",
        ),
        (purepg.Task("Pendulum-v1", LINEAR), estimators.Pathwise(purepg.SharedCritic()), "own or none"),
        (purepg.Task("Pendulum-v1", LINEAR), estimators.Pathwise(time_limit="never"), "is not one of"),
    ],
)
def test_refusals(task, estimator, message):
    with pytest.raises(InvalidInput, match=message):
        estimator.check(task)


@pytest.mark.slow
def test_the_entropy_bonus_enters_the_update_and_not_the_estimate():
    task, estimator, params, state = point_mass(purepg.Games(3, 8))

    def estimate(coefficient):
        hyper = replace(HYPER, entropy_coefficient=coefficient)
        return jax.jit(lambda h: estimator.estimate(task, h, params, state, jax.random.key(2)))(hyper)

    with_bonus, without = estimate(0.5), estimate(0.0)
    # H of a Gaussian is Σ log σ and a constant: its slope by log σ is 1 a step, whatever the state.
    played = without.metrics["steps"].sum / 3
    np.testing.assert_allclose(with_bonus.other_gradient["log_std"], 0.5 * played, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, with_bonus.policy_gradient, without.policy_gradient)


@pytest.mark.slow
def test_the_parameters_in_use_say_whether_an_environment_is_differentiable():
    """Not the defaults; of several replicates all have to be. What is traced passes."""
    spec = purepg.environment("PointRobot-misc")
    task = purepg.Task(spec, purepg.Gaussian(purepg.MLP((4,))), purepg.Games(2, 5))
    method = purepg.PolicyGradient(task, purepg.estimators.make("pathwise"))

    def hyper(*, dense):
        return purepg.Hyperparams(env=purepg.hyperparams.with_env_params(spec, {"dense_reward": dense}))

    for given in (purepg.Hyperparams(), hyper(dense=False), hyper(dense=np.array([True, False]))):
        with pytest.raises(InvalidInput, match="every pathwise gradient is 0; flip dense_reward"):
            purepg.training.fitted(method, given)
    state = purepg.init(method, hyper(dense=True), jax.random.key(0))
    assert purepg.train(method, hyper(dense=True), state, 1)[1]["gradient_norm"].sum.item() > 0
    jax.eval_shape(lambda h: purepg.init(method, h, jax.random.key(0)), hyper(dense=False))
