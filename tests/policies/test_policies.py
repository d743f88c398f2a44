"""Policies: how actions are played, and the Gaussian gradient against finite differences of the objective."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purepg
from purepg import baselines, environments
from purepg.errors import InvalidInput

KEY = jax.random.key(0)
LINEAR = purepg.MLP((), output_scale=1.0)

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


# A bandit with continuous actions: one step, one of three observations


OBSERVATIONS = -1.0, 0.5, 1.0
BOUNDS = np.array([-1.0, -2.0], np.float32), np.array([3.0, 2.0], np.float32)


class Smooth(environment.Environment):
    """Pays −(a₀ − 0.3 o)² + cos(a₁ + o) + a₀ a₁ for an action a = (a₀, a₁), and the game is over."""

    def __init__(self, *, bounded: bool = False, shape: tuple[int, ...] = (2,)):
        super().__init__()
        self.bounded, self.shape = bounded, shape

    def reset_env(self, key, params):
        observation = jax.random.choice(key, jnp.array(OBSERVATIONS))
        return observation[None], environment.EnvState(time=observation)

    def step_env(self, key, state, action, params):
        a0, a1, o = action[0], action[1], state.time
        reward = -((a0 - 0.3 * o) ** 2) + jnp.cos(a1 + o) + a0 * a1
        return o[None], state, reward, True, {}

    def is_truncated(self, state, params):
        return False

    def action_space(self, params=None):
        if not self.bounded:
            return spaces.Box(-jnp.inf, jnp.inf, self.shape)
        low, high = (
            jnp.broadcast_to(x[: self.shape[-1]] if self.shape else x[0], self.shape) for x in BOUNDS
        )
        return spaces.Box(low, high, self.shape)

    def observation_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,))


def smooth(**arguments):
    return purepg.environment("test_policies:Smooth", **arguments)


BOUNDED, UNBOUNDED = smooth(bounded=True), smooth()


# The gradient


def objective(params, std, play, initial_std):
    """J by quadrature on a grid, float64; `params` as the linear policy has them."""
    layer = params["network"]["layers_0"]
    u = np.linspace(-9, 9, 4001)
    total = 0.0
    for o in OBSERVATIONS:
        outputs = np.asarray(layer["kernel"])[0] * o + np.asarray(layer["bias"])
        mean = outputs[:2]
        sigma = {
            "fixed": np.full(2, initial_std),
            "learned": np.exp(params.get("log_std", 0.0)) * np.ones(2),
            "state": initial_std * np.exp(outputs[2:]) if std == "state" else None,
        }[std]
        sample = mean + sigma * u[:, None]  # [U, 2]
        weight = np.exp(-(u**2) / 2)
        weight = weight / weight.sum()
        a = play(sample)
        total += -(weight @ (a[:, 0] - 0.3 * o) ** 2) + weight @ np.cos(a[:, 1] + o)
        total += (weight @ a[:, 0]) * (weight @ a[:, 1])  # independent components
    return total / len(OBSERVATIONS)


def finite_differences(function, params, step=1e-5):
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x, np.float64), params))
    gradient = [np.zeros(x.shape) for x in leaves]
    for leaf, out in zip(leaves, gradient, strict=True):
        for i in np.ndindex(leaf.shape):
            ends, centre = [], leaf[i]
            for sign in (1, -1):
                leaf[i] = centre + sign * step
                ends.append(function(jax.tree.unflatten(structure, leaves)))
            leaf[i] = centre
            out[i] = (ends[0] - ends[1]) / (2 * step)
    return jax.tree.unflatten(structure, gradient)


MIDDLE, HALF_WIDTH = (BOUNDS[0] + BOUNDS[1]) / 2, (BOUNDS[1] - BOUNDS[0]) / 2
PLAYED = {
    "unbounded": (UNBOUNDED, False, lambda u: u),
    "clipped": (BOUNDED, False, lambda u: MIDDLE + HALF_WIDTH * np.clip(u, -1, 1)),
    "squashed": (BOUNDED, True, lambda u: MIDDLE + HALF_WIDTH * np.tanh(u)),
}
INITIAL_STD, BATCHES, GAMES = 0.8, 200, 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("std", "played"),
    [
        ("fixed", "unbounded"),
        ("learned", "clipped"),
        ("state", "squashed"),
        ("learned", "squashed"),
    ],
)
def test_the_score_function_is_the_gradient_of_the_objective(std, played):
    """4 standard errors in each parameter, against finite differences of J by quadrature."""
    env, squash, play = PLAYED[played]
    policy = purepg.Gaussian(LINEAR, std, INITIAL_STD, squash)
    task = purepg.Task(env, policy, purepg.Games(GAMES, 1))
    estimator = purepg.ScoreFunction(baseline=baselines.LeaveOneOut())
    generator = np.random.default_rng(1)
    params = task.bind_policy().init(KEY)
    params = jax.tree.map(
        lambda x: jnp.asarray(x + generator.uniform(-0.4, 0.4, size=x.shape), jnp.float32), params
    )

    state = estimator.init(task, purepg.Hyperparams(), params, KEY)

    def one(key):
        return estimator.estimate(task, purepg.Hyperparams(), params, state, key).policy_gradient

    samples = quick_jit(jax.vmap(one))(jax.random.split(jax.random.key(2), BATCHES))
    expected = finite_differences(lambda p: objective(p, std, play, INITIAL_STD), params)
    assert set(params) == set(expected)
    for sample, reference in zip(jax.tree.leaves(samples), jax.tree.leaves(expected), strict=True):
        sample = np.asarray(sample, np.float64)
        error = sample.std(axis=0, ddof=1) / np.sqrt(BATCHES)
        assert (np.abs(sample.mean(axis=0) - reference) < 4 * error).all()
        assert (np.abs(reference) > 8 * error).any()  # a leaf without signal would prove nothing


# What has parameters


@pytest.mark.parametrize("std", ["fixed", "learned", "state"])
@pytest.mark.parametrize("with_value", [False, True])
def test_parameters_of_each_kind_of_std(std, with_value):
    policy = purepg.Gaussian(LINEAR, std, 0.7).bind(UNBOUNDED, with_value=with_value)
    params = jax.eval_shape(policy.init, KEY)
    num_outputs = (4 if std == "state" else 2) + with_value
    assert params["network"]["layers_0"]["kernel"].shape == (1, num_outputs)
    assert ("log_std" in params) == (std == "learned")
    assert std != "learned" or params["log_std"].shape == (2,)


@pytest.mark.parametrize("std", ["fixed", "learned", "state"])
def test_std_starts_at_its_initial_value(std):
    policy = purepg.Gaussian(purepg.MLP((), output_scale=0.0), std, 0.7).bind(UNBOUNDED)
    distribution = policy.distribution(policy.init(KEY), jnp.ones((3, 1)))
    np.testing.assert_allclose(distribution.std, np.full((3, 2), 0.7), rtol=1e-6)


@pytest.mark.slow
def test_the_value_is_the_last_output_and_no_part_of_the_distribution():
    policy = purepg.Gaussian(LINEAR, "state").bind(UNBOUNDED, with_value=True)
    params, observation = policy.init(KEY), jnp.linspace(-1, 1, 6).reshape(3, 2, 1)
    distribution, value = policy.outputs(params, observation)
    layer = params["network"]["layers_0"]
    np.testing.assert_allclose(
        value, observation[..., 0] * layer["kernel"][0, -1] + layer["bias"][-1], rtol=1e-5
    )
    assert distribution.mean.shape == distribution.std.shape == (3, 2, 2)
    assert distribution.log_prob(distribution.mean).shape == (3, 2)


def test_without_value_there_is_none():
    for policy, env in ((purepg.Gaussian(LINEAR), UNBOUNDED), (purepg.Softmax(LINEAR), "CartPole-v1")):
        bound = policy.bind(purepg.environment(env) if isinstance(env, str) else env)
        size = 1 if isinstance(policy, purepg.Gaussian) else 4
        assert bound.outputs(bound.init(KEY), jnp.zeros(size)).value is None


def test_a_softmax_has_its_value_beside_the_logits():
    policy = purepg.Softmax(LINEAR).bind(purepg.environment("CartPole-v1"), with_value=True)
    params, observation = policy.init(KEY), jnp.arange(20.0).reshape(5, 4)
    distribution, value = policy.outputs(params, observation)
    outputs = np.asarray(observation @ params["layers_0"]["kernel"])
    np.testing.assert_allclose(distribution.logits, outputs[:, :2], rtol=1e-5)
    np.testing.assert_allclose(value, outputs[:, 2], rtol=1e-5)


# The linear form


@pytest.mark.slow
@pytest.mark.parametrize("with_value", [False, True])
@pytest.mark.parametrize("std", ["fixed", "learned"])
def test_a_linear_policy_says_what_it_does(std, with_value):
    """Also beside V, also of several numbers."""
    policy = purepg.Gaussian(LINEAR, std, 0.3).bind(purepg.environment("LQR"), with_value=with_value)
    moved = [x + 0.5 for x in jax.tree.leaves(policy.init(KEY))]
    params = jax.tree.unflatten(jax.tree.structure(policy.init(KEY)), moved)
    seen = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    linear, distribution = policy.linear(params), policy.distribution(params, jnp.asarray(seen))
    np.testing.assert_allclose(seen @ linear.gain.T + linear.offset[None], distribution.mean, rtol=1e-5)
    np.testing.assert_allclose(np.broadcast_to(linear.std, (2, 1)), distribution.std, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "env"),
    [
        (purepg.Gaussian(purepg.MLP((3,))), "LQR"),
        (purepg.Gaussian(LINEAR, "state"), "LQR"),
        (purepg.Gaussian(LINEAR, squash=True), "Pendulum-v1"),
        (purepg.Softmax(LINEAR), "CartPole-v1"),
    ],
)
def test_a_policy_of_another_form_has_no_linear_one(policy, env):
    bound = policy.bind(purepg.environment(env))
    assert bound.linear(bound.init(KEY)) is None


# How actions are played


def play(policy, env, *actions):
    return np.asarray(policy.bind(env).play(jnp.array(actions)))


def test_bounded_actions_are_in_half_widths_from_the_middle_and_clipped():
    """Bounds [−1, 3] × [−2, 2]."""
    actual = play(purepg.Gaussian(), BOUNDED, [0.0, 0.0], [0.5, -0.5], [1.0, -1.0], [7.0, -7.0])
    np.testing.assert_allclose(actual, [[1.0, 0.0], [2.0, -1.0], [3.0, -2.0], [3.0, -2.0]])


def test_squashed_actions_lie_inside_the_bounds():
    u = np.array([[0.0, 0.0], [0.5, -2.0], [50.0, -50.0]])
    actual = play(purepg.Gaussian(squash=True), BOUNDED, *u.tolist())
    np.testing.assert_allclose(actual, MIDDLE + HALF_WIDTH * np.tanh(u), rtol=1e-6)
    assert (actual >= BOUNDS[0]).all()
    assert (actual <= BOUNDS[1]).all()


def test_unbounded_actions_are_played_as_sampled():
    np.testing.assert_allclose(play(purepg.Gaussian(), UNBOUNDED, [5.0, -70.0]), [[5.0, -70.0]])


@pytest.mark.parametrize("shape", [(), (2,), (1, 2), (3, 2)], ids=str)
@pytest.mark.parametrize("batch", [(), (4,), (3, 5)], ids=str)
def test_actions_have_the_shape_of_the_space(shape, batch):
    """A policy's action is a flat vector; the environment gets its own shape, () included."""
    policy = purepg.Gaussian(LINEAR).bind(smooth(bounded=True, shape=shape))

    def act(key):
        action = policy.distribution(policy.init(key), jnp.ones((*batch, 1))).sample(key)
        return action, policy.play(action)

    action, played = jax.eval_shape(act, KEY)
    assert action.shape == (*batch, int(np.prod(shape)))
    assert played.shape == (*batch, *shape)


def test_a_discrete_action_is_played_as_it_is():
    action = jnp.array([0, 1])
    assert purepg.Softmax().bind(purepg.environment("CartPole-v1")).play(action) is action


def test_what_is_remembered_is_the_action_before_clipping():
    """Its log-probability is that of the sample; the clip belongs to the environment."""
    task = purepg.Task(BOUNDED, purepg.Gaussian(LINEAR, initial_std=5.0), purepg.Games(50, 1))
    method = purepg.PolicyGradient(task, purepg.ScoreFunction())
    choice = method.act(task.bind_policy().init(KEY), deterministic=False)(KEY, jnp.ones((50, 1)))
    assert np.abs(choice.action).max() > 2
    np.testing.assert_allclose(
        choice.env_action, MIDDLE + HALF_WIDTH * np.clip(choice.action, -1, 1), rtol=1e-6
    )


@pytest.mark.slow
def test_a_deterministic_evaluation_plays_the_mean():
    """Every game with one observation returns what the mean is worth; sampled games return something else."""
    task = purepg.Task(BOUNDED, purepg.Gaussian(LINEAR), purepg.Games(2, 1))
    method = purepg.PolicyGradient(task, purepg.ScoreFunction())
    params, evaluate = (
        task.bind_policy().init(KEY),
        quick_jit(purepg.evaluate, static_argnums=(0, 4), static_argnames="deterministic"),
    )
    actual, sampled = (
        np.unique(
            np.round(evaluate(method, purepg.Hyperparams(), params, KEY, 64, deterministic=mode).returns, 4)
        )
        for mode in (True, False)
    )
    o = np.array(OBSERVATIONS)[:, None]
    mean = o * np.asarray(params["network"]["layers_0"]["kernel"])[:1]
    a = MIDDLE + HALF_WIDTH * np.clip(mean, -1, 1)
    o = o[:, 0]
    expected = -((a[:, 0] - 0.3 * o) ** 2) + np.cos(a[:, 1] + o) + a[:, 0] * a[:, 1]
    np.testing.assert_allclose(actual, np.sort(expected), atol=2e-4)
    assert len(sampled) > 10


def test_a_fixed_std_of_zero_is_a_deterministic_policy():
    policy = purepg.Gaussian(LINEAR, "fixed", 0.0).bind(UNBOUNDED)
    distribution = policy.distribution(policy.init(KEY), jnp.ones((3, 1)))
    np.testing.assert_array_equal(distribution.sample(KEY), distribution.mode())


@pytest.mark.parametrize("name", ["Reacher-misc", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_bounds_are_known_inside_a_traced_function(name):
    """Some environments make their bounds as JAX arrays at each call."""
    policy, env = purepg.Gaussian(LINEAR), purepg.environment(name)
    size = environments.continuous_actions(env).shape[0]
    played = quick_jit(lambda action: policy.bind(env).play(action))(jnp.full((3, size), 9.0))
    high = environments.resolve(env).action_space(environments.resolve(env).default_params).high
    np.testing.assert_allclose(played, np.broadcast_to(high, (3, size)))


# Bounds of single sides, and bounds that are traced


@struct.dataclass
class Force:
    max_steps_in_episode: int = 1
    force: float = 2.0


class HalfOpen(Smooth):
    """Components bounded below at 3, above at −0.1, on both sides by a force, and not at all; pays Σ a."""

    @property
    def default_params(self):
        return Force()

    def step_env(self, key, state, action, params):
        return state.time[None], state, jnp.sum(action), True, {}

    def action_space(self, params=None):
        force = (params or Force()).force
        low, high = jnp.array([3.0, -jnp.inf, 0, -3.4e38]), jnp.array([jnp.inf, -0.1, 0, 3.4e38])
        return spaces.Box(low.at[2].set(-force), high.at[2].set(force), (4,))


HALF_OPEN = purepg.environment("test_policies:HalfOpen")


@pytest.mark.parametrize("squash", [False, True])
def test_each_finite_bound_is_held_and_no_other(squash):
    played = play(purepg.Gaussian(squash=squash), HALF_OPEN, [-50.0] * 4, [0.0] * 4, [50.0] * 4)
    np.testing.assert_allclose(played[0], [3.0, -51.1 + 0.458675 * squash, -2.0, -50.0], atol=1e-4)
    np.testing.assert_allclose(played[1], [4.0, -1.1, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(played[2], [54.0 - 0.458675 * squash, -0.1, 2.0, 50.0], atol=1e-4)
    assert (played[:, 0] >= 3).all()
    assert (played[:, 1] <= np.float32(-0.1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("squash", [False, True])
def test_bounds_are_those_of_the_parameters_in_use_also_traced(squash):
    bound = purepg.Gaussian(squash=squash).bind(HALF_OPEN)
    far = jnp.full((5, 4), 50.0)

    def greatest(force):
        return bound.play(far, Force(force=force))[:, 2]

    forces = jnp.array([0.5, 10.0])
    np.testing.assert_allclose(jax.vmap(greatest)(forces), np.broadcast_to(forces[:, None], (2, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("squash", [False, True])
def test_the_path_through_half_open_bounds_is_the_gradient_of_the_expectation(squash):
    """∇_μ E Σ a by finite differences of a quadrature over u; zero where an action is clipped."""
    bound, std = purepg.Gaussian(squash=squash).bind(HALF_OPEN), 0.7
    z = np.linspace(-6, 6, 4001)  # clipping has kinks: a fine sum
    weight = np.exp(-(z**2) / 2)
    z, weight = jnp.float32(z), jnp.float32(weight / weight.sum())

    def expectation(mean):
        u = mean[None, :] + std * jnp.broadcast_to(z[:, None], (z.size, 4))
        return weight @ bound.play(u)

    mean = jnp.array([-1.2, 0.9, 0.5, 0.0])
    path = jax.jacrev(expectation)(mean)
    step = 0.05
    for i in range(4):
        shift = step * jnp.eye(4)[i]
        found = (expectation(mean + shift) - expectation(mean - shift))[i] / (2 * step)
        np.testing.assert_allclose(path[i, i], found, atol=0.005)
        assert path[i, i] > 0.2


@pytest.mark.slow
def test_wide_play_keeps_half_open_bounds_in_training_and_evaluation():
    task = purepg.Task(HALF_OPEN, purepg.Gaussian(LINEAR, initial_std=30.0), purepg.Games(64, 1))
    method = purepg.PolicyGradient(task, purepg.ScoreFunction())
    choose = method.act(task.bind_policy().init(KEY), deterministic=False)
    played = np.asarray(choose(KEY, jnp.ones((64, 1))).env_action)
    assert played[:, 0].min() == 3
    assert played[:, 1].max() == np.float32(-0.1)
    assert np.abs(played[:, 2]).max() == 2
    assert np.abs(played[:, 3]).max() > 20


# Refusals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"std": "free"}, "std = 'free' is not one of fixed, learned, state"),
        ({"initial_std": 0.0}, "initial_std = 0.0: must be positive"),
        ({"initial_std": 0.0, "std": "state"}, "initial_std = 0.0: must be positive"),
        ({"initial_std": -1.0, "std": "fixed"}, "initial_std = -1.0: must be positive"),
        ({"initial_std": float("nan")}, "initial_std = nan: must be positive"),
    ],
)
def test_what_makes_no_policy_is_refused(fields, message):
    with pytest.raises(InvalidInput, match=message):
        purepg.Gaussian(**fields)


@pytest.mark.parametrize(
    ("policy", "env", "message"),
    [
        (
            purepg.Gaussian(),
            purepg.environment("CartPole-v1"),
            "needs continuous ones.*take a softmax policy",
        ),
        (purepg.Softmax(), purepg.environment("Pendulum-v1"), "needs a finite set.*take a Gaussian policy"),
        (purepg.Gaussian(squash=True), UNBOUNDED, "unbounded actions, so that there is nothing to squash"),
    ],
)
def test_what_does_not_go_together_is_refused(policy, env, message):
    with pytest.raises(InvalidInput, match=message):
        policy.bind(env)


def test_equal_policies_hash_equal():
    one, other = purepg.Gaussian(LINEAR, "state"), purepg.Gaussian(replace(LINEAR), "state")
    assert (one, hash(one)) == (other, hash(other))
    assert one != purepg.Gaussian(LINEAR, "fixed")
