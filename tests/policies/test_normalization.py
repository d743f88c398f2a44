"""Normalisation of observations: by what has been observed, and that this is not learned."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from purepg import baselines, critics, estimators
from purepg.errors import InvalidInput
from purepg.policies import normalization
from purepg.policies.running_moments import Moments, merge

KEY = jax.random.key(0)

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)

# What the policy sees


def task(**fields):
    policy = purepg.Softmax(purepg.MLP((4,), output_scale=1.0))
    return purepg.Task(
        "CartPole-v1", policy, purepg.Games(5, 40), **({"normalize_observations": True} | fields)
    )


@pytest.fixture(scope="module")
def policy_and_params():
    policy = task().bind_policy()
    return policy, quick_jit(policy.init)(KEY)


@pytest.mark.slow
def test_before_the_first_update_observations_are_as_they_are(policy_and_params):
    policy, params = policy_and_params
    assert params.observed.count == 0
    seen = np.random.default_rng(0).uniform(-900, 900, size=(6, 4)).astype(np.float32)
    np.testing.assert_allclose(policy.see(params, jnp.asarray(seen)), seen, rtol=1e-6)
    plain = task(normalize_observations=False).bind_policy()
    np.testing.assert_allclose(
        policy.distribution(params, jnp.asarray(seen)).logits,
        plain.distribution(params.policy, jnp.asarray(seen)).logits,
        rtol=1e-5,
    )


def with_observed(params, count, mean, std):
    """Parameters that have observed this mean and deviation, [4]."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return params._replace(observed=Moments(jnp.float32(count), mean, std**2 * count))


MEAN, STD = np.array([1.0, -20.0, 0.0, 300.0]), np.array([0.1, 5.0, 1.0, 100.0])
SHIFT = np.array([1.0, -1.0, 0.0, 1.0])


@pytest.mark.parametrize("batch", [(), (6,), (3, 2)])
def test_observations_are_shifted_and_scaled(batch, policy_and_params):
    policy, params = policy_and_params
    z = np.random.default_rng(1).uniform(-3, 3, size=(*batch, 4))
    seen = policy.see(with_observed(params, 50, MEAN, STD), jnp.asarray(MEAN + STD * z, jnp.float32))
    np.testing.assert_allclose(seen, z, atol=1e-4)


def test_what_is_seen_is_bounded_also_where_a_component_never_changed(policy_and_params):
    policy, params = policy_and_params
    seen = policy.see(with_observed(params, 50, MEAN, [0.0] * 4), jnp.asarray(MEAN + SHIFT, jnp.float32))
    np.testing.assert_array_equal(seen, [10.0, -10.0, 0.0, 10.0])
    one = policy.see(with_observed(params, 1, MEAN, [0.0] * 4), jnp.asarray(MEAN + SHIFT, jnp.float32))
    np.testing.assert_array_equal(one, [1.0, -1.0, 0.0, 1.0])  # one observation has no spread yet


def test_no_gradient_reaches_the_statistics(policy_and_params):
    policy, params = policy_and_params
    params = with_observed(params, 50, MEAN, STD)

    def total(params):
        return policy.distribution(params, jnp.ones((3, 4))).logits[:, 0].sum()

    gradient = quick_jit(jax.grad(total))(params)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), gradient.observed)
    assert any(np.abs(x).max() > 0 for x in jax.tree.leaves(gradient.policy))


def test_a_critic_of_its_own_sees_what_the_policy_sees(policy_and_params):
    """V of an observation far off is that of the plain network at its normalised place."""
    policy, params = policy_and_params
    params = with_observed(params, 50, MEAN, STD)
    critic, hyper = critics.OwnCritic(purepg.MLP((), output_scale=1.0)), purepg.Hyperparams()
    state, z = critic.init(task(), hyper, KEY), np.array([[1.0, -1.0, 0.5, 2.0]], np.float32)
    layer = state.params["layers_0"]
    value = critic.outputs(task(), params, state, jnp.asarray(MEAN + STD * z, jnp.float32)).value
    np.testing.assert_allclose(value, (z @ layer["kernel"])[:, 0] + layer["bias"][0], atol=1e-4)
    np.testing.assert_allclose(policy.see(params, jnp.asarray(MEAN + STD * z, jnp.float32)), z, atol=1e-4)


# In training


@pytest.mark.slow
def test_an_update_merges_the_moments_of_its_live_rows_and_nothing_else():
    """With Adam, entropy bonus and critic: the statistics after an update are those before and the rows' own."""
    estimator = purepg.ScoreFunction(baseline=baselines.Value(), critic=critics.SharedCritic())
    method = purepg.PolicyGradient(task(), estimator, purepg.Optimizer("adam"))
    hyper = purepg.Hyperparams(entropy_coefficient=0.1)

    @quick_jit
    def update(key):
        state = method.init(hyper, key)
        state = state._replace(
            params=with_observed(state.params, 30.0, [0.1, 0.2, 0.0, -0.1], [0.5, 1, 1, 2])
        )
        estimate = estimator.estimate(task(), hyper, state.params, state.estimator, key)
        after, numbers = method.update(hyper, state, key)
        return state.params, after.params, estimate.observed, estimate.gradient.observed, numbers["steps"].sum

    before, after, observed, gradient, steps = update(KEY)
    assert observed.count == steps
    assert 5 <= steps < 5 * 40
    expected = merge(before.observed, observed)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-6), after.observed, expected)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), gradient)


@pytest.fixture(scope="module")
def result():
    method = purepg.PolicyGradient(task(), estimators.make("reinforce-loo"))
    return purepg.run(method, purepg.Hyperparams(), seeds=2, num_updates=3, evaluation_games=0)


@pytest.mark.slow
def test_statistics_grow_by_the_live_rows_of_every_update(result):
    steps = result.dataset["steps"].sum("iteration").values
    assert (steps > 15).all()
    for seed, expected in zip(result.seeds, steps, strict=True):
        assert result.params(seed).observed.count == expected


def test_statistics_are_saved_with_the_run(result, tmp_path):
    loaded = purepg.load(result.save(tmp_path / "run"))
    assert loaded.method == result.method
    for seed in result.seeds:
        jax.tree.map(np.testing.assert_array_equal, loaded.params(seed), result.params(seed))


@pytest.mark.slow
def test_evaluation_sees_normalised_observations(result):
    """Both the policy's modes: other statistics are another policy, unless the network undoes them."""
    params = result.params(0)
    act = result.method.act(params, deterministic=True)
    seen = jnp.asarray(np.random.default_rng(0).normal(size=(200, 4)), jnp.float32)
    plain = task(normalize_observations=False).bind_policy()
    z = (seen - params.observed.mean[None]) / jnp.sqrt(params.observed.deviation / params.observed.count)[
        None
    ]
    expected = plain.distribution(params.policy, jnp.clip(z, -10, 10)).mode()
    np.testing.assert_array_equal(act(KEY, seen).action, expected)
    shifted = with_observed(params, 10, [50.0] * 4, [0.1] * 4)  # every observation looks the same from there
    assert len(np.unique(result.method.act(shifted, deterministic=True)(KEY, seen).action)) == 1


def test_switched_off_the_parameters_are_the_networks_own():
    """And the same numbers as without the wrapper."""
    off, on = (quick_jit(task(normalize_observations=x).bind_policy().init)(KEY) for x in (False, True))
    assert not isinstance(off, normalization.Normalized)
    jax.tree.map(np.testing.assert_array_equal, off, on.policy)


def test_switched_off_nothing_is_observed():
    estimator, plain, hyper = purepg.ScoreFunction(), task(normalize_observations=False), purepg.Hyperparams()

    def observed(key):
        params = plain.bind_policy().init(key)
        return estimator.estimate(
            plain, hyper, params, estimator.init(plain, hyper, params, key), key
        ).observed

    assert jax.eval_shape(observed, KEY) == ()


def test_integer_observations_are_refused():
    finite = replace(task(), env=purepg.environment("Chain"))
    with pytest.raises(InvalidInput, match="observes integers, which cannot be normalized"):
        finite.bind_policy()
