"""Categorical against NumPy: values, gradients, frequencies, and actions that are forbidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from purepg.distributions import Categorical

LOGITS = np.array([[0.0, 1.0, -1.0, 0.5], [3.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
FORBIDDEN = np.array([0.5, -np.inf, 1.5])
ROWS, COUNT = np.concatenate([LOGITS, [[0.5, -np.inf, 1.5, 0.0]]]), 20_000
BATCHES = [(), (5,), (2, 3)]


def logits(*batch):
    return np.random.default_rng(0).normal(size=(*batch, 4)).astype(np.float32)


# Sampling


@pytest.fixture(scope="module")
def shares():
    """How often each action of each policy is drawn among COUNT batch elements, [policies, A]."""
    policies = Categorical(jnp.broadcast_to(jnp.asarray(ROWS), (COUNT, *ROWS.shape)))
    samples = np.asarray(policies.sample(jax.random.key(0)))
    return (samples[..., None] == np.arange(4)).mean(axis=0)


def test_frequencies_of_samples(shares):
    """4 standard errors; batch elements are drawn apart, or they would all agree."""
    probability = scipy.special.softmax(ROWS, axis=-1)
    error = np.sqrt(probability * (1 - probability) / COUNT)
    assert (np.abs(shares - probability) <= 4 * error).all()


def test_a_forbidden_action_is_never_drawn(shares):
    assert shares[-1, 1] == 0


# Values


@pytest.mark.parametrize("batch", BATCHES)
def test_log_prob_is_log_softmax(batch):
    values = logits(*batch)
    action = np.random.default_rng(1).integers(4, size=batch)
    expected = scipy.special.log_softmax(values, axis=-1)
    expected = np.take_along_axis(expected, np.asarray(action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(
        Categorical(jnp.asarray(values)).log_prob(jnp.asarray(action)), expected, rtol=1e-5
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_shapes_follow_the_batch(batch):
    def outputs(logits):
        policy = Categorical(logits)
        action = policy.sample(jax.random.key(0))
        return action, policy.mode(), policy.log_prob(action), policy.entropy()

    assert {x.shape for x in jax.eval_shape(outputs, logits(*batch))} == {batch}


@pytest.mark.parametrize("shift", [-200.0, 0.0, 1e4])
def test_a_shift_of_all_logits_changes_nothing(shift):
    plain, shifted = (Categorical(jnp.asarray([1.0, 0.0, -1.0]) + x) for x in (0.0, shift))
    action = jnp.int32(2)
    np.testing.assert_allclose(shifted.log_prob(action), plain.log_prob(action), rtol=1e-3)
    np.testing.assert_allclose(shifted.entropy(), plain.entropy(), rtol=1e-3)


def test_extreme_logits_stay_finite():
    policy = Categorical(jnp.array([[1000.0, 0.0], [1000.0, 0.0]]))
    np.testing.assert_allclose(policy.log_prob(jnp.array([0, 1])), [0.0, -1000.0])
    np.testing.assert_allclose(policy.entropy(), 0.0, atol=1e-6)


def test_log_prob_of_a_forbidden_action():
    policy = Categorical(jnp.asarray(FORBIDDEN, jnp.float32))
    assert policy.log_prob(jnp.int32(1)) == -np.inf
    np.testing.assert_allclose(policy.log_prob(jnp.int32(0)), -np.log1p(np.e), rtol=1e-6)


def test_entropy_is_the_mean_of_minus_log_prob():
    probability = scipy.special.softmax(LOGITS, axis=-1)
    expected = -(probability * np.log(probability)).sum(axis=-1)
    np.testing.assert_allclose(Categorical(jnp.asarray(LOGITS, jnp.float32)).entropy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "entropy"),
    [
        ([0.0, 0.0, 0.0, 0.0], np.log(4)),
        ([0.0, 0.0, -np.inf, -np.inf], np.log(2)),
        ([5.0, -np.inf, -np.inf, -np.inf], 0.0),
    ],
)
def test_entropy_by_hand(values, entropy):
    np.testing.assert_allclose(Categorical(jnp.asarray(values)).entropy(), entropy, rtol=1e-6, atol=1e-7)


def test_mode_is_the_likeliest_action_the_first_among_equals():
    np.testing.assert_array_equal(Categorical(jnp.asarray(LOGITS)).mode(), [1, 0, 0])


def test_mode_is_never_forbidden():
    assert Categorical(jnp.array([-jnp.inf, -3.0])).mode() == 1


# Gradients


@jax.jit
def score(logits, action):
    """∇ log P(action), [A]."""
    return jax.grad(lambda x: Categorical(x).log_prob(action))(logits)


@pytest.mark.parametrize("action", range(4))
def test_gradient_of_log_prob_is_one_hot_minus_p(action):
    expected = np.eye(4)[action] - scipy.special.softmax(LOGITS[0])
    np.testing.assert_allclose(score(LOGITS[0], action), expected, rtol=1e-5, atol=1e-7)


def test_gradient_of_log_prob_beside_a_forbidden_action():
    expected = np.eye(3)[0] - scipy.special.softmax(FORBIDDEN)
    np.testing.assert_allclose(score(FORBIDDEN, 0), expected, rtol=1e-5)


@pytest.mark.parametrize("values", [LOGITS[0], FORBIDDEN, np.array([2.0, -np.inf, -np.inf])])
def test_gradient_of_entropy(values):
    """∂H/∂logit_a = −p_a (log p_a + H); 0 for a forbidden action."""
    probability = scipy.special.softmax(values)
    log = np.log(np.where(probability > 0, probability, 1.0))
    expected = -probability * (log - (probability * log).sum())
    gradient = jax.grad(lambda x: Categorical(x).entropy())(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_the_mean_score_is_zero():
    """Σ_a p_a ∇log p_a = 0, on which every baseline rests."""
    scores = np.array([score(LOGITS[1], action) for action in range(4)])
    np.testing.assert_allclose(scipy.special.softmax(LOGITS[1]) @ scores, 0.0, atol=1e-6)
