"""Diagnostics: known variances, biases found where they are, references with their own error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
from purepg import baselines, diagnostics, estimators
from purepg.errors import InvalidInput

HYPER = purepg.Hyperparams(discount=0.9)


def bandit(probability, num_games=1):
    logit = float(np.log(probability / (1 - probability)))
    env = purepg.environment("Bandit", rewards=np.array([1.0, 0.0]))
    return purepg.Task(env, purepg.Softmax(purepg.Table(((logit, 0.0),))), purepg.Games(num_games))


@pytest.mark.parametrize(("baseline", "variance"), [(0.0, 0.0009), (0.9, 0.0576), (0.1, 0.0)])
def test_variance_on_a_bandit(baseline, variance):
    """p = 0.9 on the arm that pays 1; per logit. 4 standard errors of a variance, √((m₄ − v²)/B)."""
    task = bandit(0.9)
    estimator = estimators.ScoreFunction(baseline=baselines.Constant(baseline))
    params = task.bind_policy().init(jax.random.key(0))
    found = diagnostics.gradient_statistics(task, estimator, HYPER, params, jax.random.key(0), 20_000)
    scores, chances = np.array([0.1, -0.9]), np.array([0.9, 0.1])
    samples = scores * (np.array([1.0, 0.0]) - baseline)
    fourth = chances @ (samples - chances @ samples) ** 4
    assert chances @ (samples - chances @ samples) ** 2 == pytest.approx(variance)
    error = np.sqrt((fourth - variance**2) / found.num_batches)
    np.testing.assert_allclose(found.variance["table"].ravel(), variance, atol=4 * error + 1e-9)
    assert found.largest_bias_z < 4


def test_the_optimal_baseline_is_the_best_constant():
    task = bandit(0.9, num_games=1000)
    params = task.bind_policy().init(jax.random.key(0))
    names = "reinforce", "reinforce-optimal"
    found = diagnostics.compare(
        task, {n: estimators.make(n) for n in names}, HYPER, params, jax.random.key(0), 500
    )
    assert found["reinforce-optimal"].total_variance < 0.2 * found["reinforce"].total_variance
    assert all(s.largest_bias_z < 4 for s in found.values())


def test_biases_are_found_where_they_are():
    """The mean over all games is (N − 1)/N of the gradient, dropping γ^t changes it; leave-one-out does not."""
    task = two_states(num_games=4)
    params = task.bind_policy().init(jax.random.key(0))
    chosen = {
        "loo": estimators.make("reinforce-loo"),
        "mean": estimators.make("reinforce-mean"),
        "value": estimators.make("reinforce-value"),
        "no weighting": estimators.ScoreFunction(discount_weighting=False),
    }
    found = diagnostics.compare(task, chosen, HYPER, params, jax.random.key(0), 10_000)
    assert found["loo"].largest_bias_z < 4
    assert found["value"].largest_bias_z < 4
    assert found["mean"].largest_bias_z > 4
    assert found["no weighting"].largest_bias_z > 4
    np.testing.assert_allclose(
        found["mean"].mean["table"], 0.75 * found["loo"].mean["table"], atol=1e-6
    )  # the same games
    dataset = diagnostics.to_dataset(found)
    np.testing.assert_allclose(dataset["layer_variance"].sum("layer"), dataset["total_variance"])


def test_moments_are_those_of_independent_batches():
    task = two_states(num_games=3)
    estimator = estimators.make("reinforce-loo")
    params = task.bind_policy().init(jax.random.key(0))
    found = diagnostics.gradient_statistics(task, estimator, HYPER, params, jax.random.key(0), 4000)
    state = estimator.init(task, HYPER, params, jax.random.key(0))

    def one(key):
        return estimator.estimate(task, HYPER, params, state, key).policy_gradient["table"]

    samples = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(9), 4000))
    samples = np.asarray(samples, np.float64)
    error = np.sqrt(2) * samples.std(axis=0) / np.sqrt(4000)
    assert (np.abs(found.mean["table"] - samples.mean(axis=0)) <= 4 * error + 1e-9).all()
    ratio = found.total_variance / (3 * samples.var(axis=0, ddof=1).sum())
    assert ratio == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(
        found.standard_error["table"], np.sqrt(found.variance["table"] / 3 / found.num_batches)
    )


def test_a_sampled_reference_has_its_error():
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((2,))), purepg.Games(16, 8))
    params = task.bind_policy().init(jax.random.key(0))
    assert diagnostics.exact_gradient(task, HYPER, params) is None
    mean, error = diagnostics.reference_gradient(task, HYPER, params, jax.random.key(0), num_games=20_000)
    assert all((e > 0).any() for e in jax.tree.leaves(error))
    found = diagnostics.gradient_statistics(
        task, estimators.make("reinforce"), HYPER, params, jax.random.key(1), 200, reference=(mean, error)
    )
    assert found.largest_bias_z < 4.5  # of some 16 components


def test_the_exact_gradient_of_a_network_is_carried_back():
    """By finite differences of J in the network's parameters."""
    from purepg import exact

    task = two_states()
    task = purepg.Task(task.env, purepg.Softmax(purepg.MLP((3,), output_scale=1.0)), task.collect)
    policy = task.bind_policy()
    params = policy.init(jax.random.key(0))
    gradient = diagnostics.exact_gradient(task, HYPER, params)
    model = purepg.environments.exact_model(task.env)

    def objective(params):
        logits = np.asarray(policy.distribution(params, jnp.arange(3)).logits, np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        probabilities /= probabilities.sum(1, keepdims=True)
        return exact.objective(*model, probabilities, 0.9, horizon=task.max_steps)

    direction = jax.tree.map(lambda x: jnp.ones_like(x), params)
    up, down = (
        objective(jax.tree.map(lambda x, d, s=s: x + s * d, params, direction)) for s in (1e-2, -1e-2)
    )
    slope = sum(float(np.sum(x)) for x in jax.tree.leaves(gradient))
    assert slope == pytest.approx((up - down) / 2e-2, rel=1e-2, abs=1e-4)


def test_one_batch_has_no_variance():
    task = bandit(0.5)
    params = task.bind_policy().init(jax.random.key(0))
    with pytest.raises(InvalidInput, match="num_batches = 1"):
        diagnostics.gradient_statistics(task, estimators.ScoreFunction(), HYPER, params, jax.random.key(0), 1)


def test_signal_to_noise_over_training_is_measured_where_the_run_was():
    method = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))
    hyper, key = purepg.Hyperparams(0.3, discount=0.9), jax.random.key(3)
    at, snr = diagnostics.signal_to_noise_over_training(method, hyper, key, 7, num_points=3, num_batches=50)
    np.testing.assert_array_equal(at, [0, 2, 4, 6])
    state, _ = purepg.train(method, hyper, purepg.init(method, hyper, key), 4)
    nothing = jax.tree.map(jnp.zeros_like, state.learner.params)
    there = diagnostics.gradient_statistics(
        method.task, method.estimator, hyper, state.learner.params,
        jax.random.fold_in(diagnostics.measuring_key(key), 4), 50,
        reference=(nothing, nothing),
    )  # fmt: skip
    np.testing.assert_allclose(snr[2], there.snr, rtol=1e-4)


def test_signal_to_noise_of_a_method_without_a_gradient_is_refused():
    with pytest.raises(InvalidInput, match="CrossEntropy estimates no gradient"):
        diagnostics.signal_to_noise_over_training(
            purepg.CrossEntropy(two_states()), purepg.Hyperparams(), jax.random.key(0), 2
        )
