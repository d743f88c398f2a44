"""Distributions against NumPy and SciPy: values, gradients, samples, and actions that are forbidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from purepg.policies.distributions import (
    Categorical,
    ClippedGaussian,
    Gaussian,
    Sides,
    SquashedGaussian,
    TanhGaussian,
    squash,
)

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


@pytest.mark.slow
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


@pytest.mark.slow
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


# Gaussians

MEAN = np.array([[0.3, -1.0, 2.0], [0.0, 5.0, -0.5]])
STD = np.array([[0.5, 2.0, 0.1], [1.0, 0.3, 0.7]])
NORMAL = {"gaussian": Gaussian, "tanh": TanhGaussian}


def normal(kind, mean=MEAN, std=STD):
    return NORMAL[kind](jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))


def points(spread=2.0):
    return MEAN + STD * np.random.default_rng(0).uniform(-spread, spread, size=MEAN.shape)


def log_slope(u):
    """log(1 − tanh²u) = −2 log cosh u, float64."""
    return -2 * (np.logaddexp(u, -u) - np.log(2))


def test_gaussian_log_prob_is_scipys():
    u = points()
    expected = scipy.stats.norm(MEAN, STD).logpdf(u).sum(axis=-1)
    np.testing.assert_allclose(normal("gaussian").log_prob(jnp.asarray(u, jnp.float32)), expected, rtol=1e-4)


def test_gaussian_entropy_is_scipys():
    expected = scipy.stats.norm(MEAN, STD).entropy().sum(axis=-1)
    np.testing.assert_allclose(normal("gaussian").entropy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.7, 1.0), (-1.5, 0.3)])
def test_density_of_a_squashed_action_is_the_slope_of_its_distribution_function(mean, std):
    """P(a < x) = Φ((artanh x − μ)/σ) by SciPy, its slope by differences; the density integrates to 1."""
    edges = np.tanh(np.linspace(mean - 8 * std, mean + 8 * std, 4001))
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    slope = np.diff(scipy.stats.norm(mean, std).cdf(np.arctanh(edges))) / width
    u = np.arctanh(middle)
    distribution = normal("tanh", np.full((4000, 1), mean), np.full((4000, 1), std))
    density = np.exp(np.asarray(distribution.log_prob(jnp.asarray(u[:, None], jnp.float32)), np.float64))
    np.testing.assert_allclose(density, slope, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(density @ width, 1.0, rtol=1e-4)


def test_components_of_a_squashed_action_add_up():
    u = points()
    expected = (scipy.stats.norm(MEAN, STD).logpdf(u) - log_slope(u)).sum(axis=-1)
    actual = normal("tanh").log_prob(jnp.asarray(u, jnp.float32))
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0, 2.0])
def test_entropy_of_a_squashed_action(mean, std):
    """−∫ p log p on a fine grid; what is promised is 1e-3 nats up to σ = 2."""
    z = np.linspace(-10, 10, 20_001)
    weight = np.exp(-(z**2) / 2)
    weight, u = weight / weight.sum(), mean + std * z
    expected = -weight @ (scipy.stats.norm(mean, std).logpdf(u) - log_slope(u))
    assert abs(normal("tanh", [mean], [std]).entropy() - expected) < 1e-3


@pytest.mark.parametrize("u", [0.0, 1e-20, 9.0, 20.0, -20.0, 100.0, 1e4, -1e4])
def test_log_prob_of_a_squashed_action_where_tanh_rounds_to_one(u):
    """Its value by log cosh in float64, and finite gradients in μ, σ and u."""
    mean, std = 0.5, 2.0

    def log_prob(mean, std, u):
        return TanhGaussian(mean, std).log_prob(u)

    arguments = (jnp.full(1, x, jnp.float32) for x in (mean, std, u))
    value, gradient = jax.value_and_grad(log_prob, (0, 1, 2))(*arguments)
    np.testing.assert_allclose(value, scipy.stats.norm(mean, std).logpdf(u) - log_slope(u), rtol=1e-5)
    z = (u - mean) / std
    expected = z / std, (z**2 - 1) / std, -z / std + 2 * np.tanh(u)
    np.testing.assert_allclose(np.concatenate(gradient), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("u", [9.0, 20.0, -1e4])
@pytest.mark.parametrize("std", [0.1, 2.0])
def test_entropy_of_a_squashed_action_far_out_is_finite(u, std):
    value, gradient = jax.value_and_grad(lambda mean, std: TanhGaussian(mean, std).entropy(), (0, 1))(
        jnp.full(1, u, jnp.float32), jnp.full(1, std, jnp.float32)
    )
    assert np.isfinite(value)
    assert np.isfinite(np.concatenate(gradient)).all()
    # The slope is 4 e^{−2|u|} there: H = H(u) + 2 log 2 − 2 |μ|.
    np.testing.assert_allclose(
        value, scipy.stats.norm(u, std).entropy() + 2 * np.log(2) - 2 * abs(u), rtol=1e-3
    )


@pytest.mark.parametrize("kind", NORMAL)
def test_moments_of_samples(kind):
    """4 standard errors; batch elements and components are drawn apart. A squashed sample is its u."""
    mean, std = (np.broadcast_to(x, (COUNT, *x.shape)) for x in (MEAN, STD))
    sample = np.asarray(normal(kind, mean, std).sample(jax.random.key(3)), np.float64)
    z = (sample - MEAN) / STD
    assert (np.abs(z.mean(axis=0)) < 4 / np.sqrt(COUNT)).all()
    assert (np.abs(z.var(axis=0) - 1) < 4 * np.sqrt(2 / COUNT)).all()
    correlation = np.corrcoef(z.reshape(COUNT, -1).T) - np.eye(MEAN.size)
    assert (np.abs(correlation) < 4 / np.sqrt(COUNT)).all()


@pytest.mark.parametrize("kind", NORMAL)
def test_gradients_of_a_sample_are_reparameterized(kind):
    """u = μ + σ ε: du/dμ = 1, du/dσ = ε."""

    def sample(mean, std):
        return NORMAL[kind](mean, std).sample(jax.random.key(0)).sum()

    mean, std = jnp.asarray(MEAN, jnp.float32), jnp.asarray(STD, jnp.float32)
    epsilon = (NORMAL[kind](mean, std).sample(jax.random.key(0)) - mean) / std
    by_mean, by_std = jax.grad(sample, (0, 1))(mean, std)
    np.testing.assert_allclose(by_mean, np.ones_like(MEAN))
    np.testing.assert_allclose(by_std, epsilon, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_mean_gradient_of_a_reparameterized_sample_is_that_of_the_expectation():
    """E u² = μ² + σ²: gradients 2 μ and 2 σ, 4 standard errors."""
    mean, std = jnp.full((COUNT, 1), 0.7), jnp.full((COUNT, 1), 0.4)
    gradients = jax.grad(lambda m, s: (Gaussian(m, s).sample(jax.random.key(5)) ** 2).sum(), (0, 1))(
        mean, std
    )
    for gradient, expected in zip(gradients, (1.4, 0.8), strict=True):
        gradient = np.asarray(gradient, np.float64)
        assert abs(gradient.mean() - expected) < 4 * gradient.std() / np.sqrt(COUNT)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", NORMAL)
def test_shapes_of_normal_actions_follow_the_batch(kind, batch):
    def outputs(mean):
        policy = NORMAL[kind](mean, jnp.ones_like(mean))
        action = policy.sample(jax.random.key(0))
        return action, policy.mode(), policy.log_prob(action), policy.entropy()

    shapes = [x.shape for x in jax.eval_shape(outputs, logits(*batch))]
    assert shapes == [(*batch, 4), (*batch, 4), batch, batch]


@pytest.mark.parametrize("kind", NORMAL)
def test_mode_of_a_normal_action_is_the_mean_of_u(kind):
    np.testing.assert_array_equal(normal(kind).mode(), normal(kind).mean)


def test_a_std_of_zero_samples_the_mean():
    np.testing.assert_array_equal(
        normal("gaussian", std=np.zeros_like(STD)).sample(jax.random.key(0)), np.float32(MEAN)
    )


# Bounds on some sides

NONE, BELOW, ABOVE, BOTH = (Sides((a,), (b,)) for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)))
SIDES = {"none": NONE, "below": BELOW, "above": ABOVE, "both": BOTH}


def squashed(mean, std, sides):
    return SquashedGaussian(jnp.float32([mean]), jnp.float32([std]), sides)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_an_action_keeps_its_bounds_and_reaches_near_them(name):
    u = jnp.linspace(-60.0, 60.0, 4001)[:, None]
    played = np.asarray(squash(u, SIDES[name]))[:, 0]
    low, high = (bool(side[0]) for side in SIDES[name])
    np.testing.assert_allclose(played.min(), -1 if low else -60 + 0.46 * high, atol=1e-2)
    np.testing.assert_allclose(played.max(), 1 if high else 60 - 0.46 * low, atol=1e-2)
    assert played.min() >= -1 or not low
    assert played.max() <= 1 or not high
    assert (np.diff(played) >= -1e-6).all()
    np.testing.assert_allclose(squash(jnp.zeros((1, 1)), SIDES[name]), 0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (-1.5, 1.0), (2.0, 3.0)])
def test_the_density_of_a_squashed_action_sums_to_one_and_gives_its_entropy(name, mean, std):
    """By integration over the played action, where the densities of samples are."""
    distribution = squashed(mean, std, SIDES[name])
    every = SquashedGaussian(*(jnp.full((40_001, 1), x, jnp.float32) for x in (mean, std)), SIDES[name])
    u = np.linspace(mean - 7 * std, mean + 7 * std, 40_001)
    played = np.asarray(squash(jnp.float32(u)[:, None], SIDES[name]), np.float64)[:, 0]
    # The slope by the definition, in float64: a = squash(u) rounds where it is flat.
    c = np.log(np.expm1(1.0))
    slope = {
        "none": np.ones_like(u),
        "below": scipy.special.expit(u + c),
        "above": scipy.special.expit(c - u),
        "both": 1 / np.cosh(u) ** 2,
    }[name]
    np.testing.assert_allclose(np.gradient(played, u)[100:-100:50], slope[100:-100:50], atol=2e-3)
    log_prob = np.asarray(every.log_prob(jnp.float32(u)[:, None]), np.float64)
    weight = np.exp(log_prob) * slope * (u[1] - u[0])
    np.testing.assert_allclose(weight.sum(), 1.0, atol=1e-4)
    np.testing.assert_allclose(distribution.entropy(), -(weight @ log_prob), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_the_entropy_of_a_squashed_action_holds_at_any_width(name):
    """Against a fine sum: σ from narrow to very wide, means far out, gradients too."""
    c, z = np.log(np.expm1(1.0)), np.linspace(-10, 10, 200_001)
    weight = np.exp(-(z**2) / 2)
    weight = weight / weight.sum()
    log_slope = {
        "none": lambda u: 0 * u,
        "below": lambda u: -np.logaddexp(0, -(u + c)),
        "above": lambda u: -np.logaddexp(0, u - c),
        "both": lambda u: 2 * (np.log(2) - np.abs(u) - np.log1p(np.exp(-2 * np.abs(u)))),
    }[name]

    def exact(mean, std):
        return np.log(std) + 0.5 * np.log(2 * np.pi * np.e) + weight @ log_slope(mean + std * z)

    @jax.jit
    def found(mean, std):
        return jax.value_and_grad(lambda mean, std: squashed(mean, std, SIDES[name]).entropy(), (0, 1))(
            mean, std
        )

    for mean in (-8.0, 0.0, 0.3, 50.0):
        for std in (0.01, 0.5, 0.99, 1.01, 1.99, 2.01, 3.0, 30.0, 300.0):
            value, (by_mean, by_std) = found(mean, std)
            step = 1e-4 * std
            slopes = [
                (exact(mean + step, std) - exact(mean - step, std)) / (2 * step),
                (exact(mean, std + step) - exact(mean, std - step)) / (2 * step) * std,
            ]
            np.testing.assert_allclose(value, exact(mean, std), atol=1e-4)
            np.testing.assert_allclose([by_mean, by_std * std], slopes, atol=1e-4)


def test_a_bonus_on_the_entropy_has_an_end_where_both_sides_are_bounded():
    """Clipped: no gradient beyond σ = 1, one of log σ before; squashed: it pushes σ back."""

    def slope(make, std, sides):
        return float(jax.grad(lambda std: make(jnp.zeros(1), std[None], sides).entropy())(jnp.float32(std)))

    assert slope(ClippedGaussian, 3.0, BOTH) == slope(ClippedGaussian, 300.0, BOTH) == 0
    np.testing.assert_allclose(slope(ClippedGaussian, 0.5, BOTH), 2.0, rtol=1e-6)
    np.testing.assert_allclose(slope(ClippedGaussian, 4.0, BELOW), 0.25, rtol=1e-6)
    assert slope(SquashedGaussian, 3.0, BOTH) < 0 < slope(SquashedGaussian, 0.5, BOTH)


@pytest.mark.slow
def test_components_go_their_own_ways():
    """A vector with one component of each kind is the sum of its parts."""
    sides = Sides((False, True, False, True), (False, False, True, True))
    mean, std, u = (
        jnp.float32(x) for x in ([0.1, -0.2, 0.3, 0.4], [0.5, 1.5, 2.5, 3.5], [1.0, 2.0, -3.0, 0.2])
    )
    parts = [SquashedGaussian(mean[i, None], std[i, None], one) for i, one in enumerate(SIDES.values())]
    whole = SquashedGaussian(mean, std, sides)
    np.testing.assert_allclose(whole.entropy(), sum(p.entropy() for p in parts), rtol=1e-5)
    each = [p.log_prob(u[i, None]) for i, p in enumerate(parts)]
    np.testing.assert_allclose(whole.log_prob(u), sum(each), rtol=1e-5)
