"""Estimators of ∇E f(x): variances by hand, unbiased against quadrature, biased ones asserted biased, refusals."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from purepg import families, monte_carlo
from purepg.errors import InvalidInput
from purepg.monte_carlo.leave_one_out import sum_of_others
from purepg.policies.distributions import Categorical, Gaussian, TanhGaussian

KEY = jax.random.key(0)
COUNT = 40_000
BASELINES = ("none", 1.5, "loo", "optimal")


def array(*numbers):
    return jnp.asarray(numbers, jnp.float32)


def normal(mean):
    return Gaussian(mean, jnp.ones_like(mean))


def square(x):
    return jnp.sum(x**2)


def assert_unbiased(gradients, truth, standard_errors=4.0):
    """The mean over samples is within 4 standard errors of the truth, component by component.

    Samples share baselines and weights, so that batches of 200 neighbours give the standard error: what neighbours
    share counts once a batch, what all share is of order 1/N.
    """
    for gradient, true in zip(jax.tree.leaves(gradients), jax.tree.leaves(truth), strict=True):
        batches = np.asarray(gradient, np.float64).reshape(-1, 200, *gradient.shape[1:]).mean(1)
        error = batches.std(0, ddof=1) / np.sqrt(len(batches))
        assert (np.abs(batches.mean(0) - true) <= standard_errors * error + 1e-6).all(), (
            batches.mean(0),
            true,
            error,
        )


# Variances of the worked example


def variance_and_its_error(sample):
    """Sample variance v and its standard error √((m₄ − v²) / n), m₄ the fourth central moment."""
    sample = np.asarray(sample, np.float64)
    centred = sample - sample.mean()
    variance = (centred**2).mean()
    return variance, np.sqrt(((centred**4).mean() - variance**2) / len(sample))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "variance"),
    [
        (functools.partial(monte_carlo.score_function, baseline="none"), 87),
        (functools.partial(monte_carlo.score_function, baseline=5.0), 42),
        (functools.partial(monte_carlo.score_function, baseline="loo"), 42),
        (functools.partial(monte_carlo.score_function, baseline=7.0), 38),
        (functools.partial(monte_carlo.score_function, baseline="optimal"), 38),
        (monte_carlo.pathwise, 4),
        (functools.partial(monte_carlo.mixed, baseline="optimal"), 38 * 4 / (38 + 4)),
    ],
)
def test_gradient_and_variances_of_a_square_under_a_normal(estimator, variance):
    gradient = estimator(square, normal, array(2.0), KEY, 200_000)
    assert gradient.shape == (200_000, 1)
    assert_unbiased(gradient, np.array([4.0]))
    measured, error = variance_and_its_error(gradient[:, 0])
    assert abs(measured - variance) < 4 * error
    assert error < 0.05 * variance  # the numbers can be told apart


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p", "baseline", "variance"),
    [(0.5, "none", 0.0625), (0.5, 0.5, 0), (0.9, "none", 0.0009), (0.9, 0.9, 0.0576), (0.9, 0.1, 0)],
)
def test_softmax_bandit_with_one_draw(p, baseline, variance):
    # Rewards (1, 0); b = V = p and b* = 1 − p, by the logit of the better arm. One draw an estimate, all seeds.
    logits = jnp.log(array(p, 1 - p))

    def one_draw(key):
        return monte_carlo.score_function(
            lambda a: a == 0, Categorical, logits, key, num_samples=1, baseline=baseline
        )

    gradient = jax.vmap(one_draw)(jax.random.split(KEY, COUNT))
    assert gradient.shape == (COUNT, 1, 2)
    assert_unbiased(gradient[:, 0], p * (1 - p) * np.array([1, -1]))
    measured, error = variance_and_its_error(gradient[:, 0, 0])
    assert abs(measured - variance) <= 4 * error + 1e-9


@pytest.mark.slow
def test_baselines_against_their_loops():
    gradient = {
        baseline: np.asarray(
            monte_carlo.score_function(square, normal, array(2.0, -1.0), KEY, 6, baseline=baseline)
        )
        for baseline in ("none", 1.0, "loo", "optimal")
    }
    score = gradient["none"] - gradient[1.0]  # s f − s (f − 1)
    value = (gradient["none"] / score)[:, 0]
    for i in range(6):
        others = np.arange(6) != i
        mean = value[others].mean()
        best = (score[others] ** 2 * value[others, None]).sum(0) / (score[others] ** 2).sum(0)
        np.testing.assert_allclose(gradient["loo"][i], score[i] * (value[i] - mean), rtol=1e-3)
        np.testing.assert_allclose(gradient["optimal"][i], score[i] * (value[i] - best), rtol=1e-3)


@pytest.mark.slow
def test_the_optimal_baseline_takes_the_best_constant_of_each_component():
    # f depends on the second component alone: b* is E f for the score of the first, another for the second.
    def f(x):
        return x[1] ** 2

    def variances(baseline):
        sample = monte_carlo.score_function(f, normal, array(0.0, 2.0), KEY, COUNT, baseline=baseline)
        return np.asarray(sample).var(0)

    best = variances("optimal")
    assert (best < 1.01 * variances(5.0)).all()
    assert (best < 1.01 * variances(7.0)).all()
    assert best[1] < 0.95 * variances(5.0)[1]
    assert best[0] < 0.95 * variances(7.0)[0]


def test_an_outlier_does_not_drown_the_others():
    # In float32, 1e9 + 4 − 1e9 is 0.
    total = sum_of_others(array(1.0, 1e9, 3.0))
    np.testing.assert_array_equal(total, array(1e9 + 3, 4.0, 1e9 + 1))


# Unbiased for every family


def wave(x):
    return jnp.sin(x) + 0.1 * x**2


def bump(x):
    return 1 / (1 + (x - 0.5) ** 2)


def expectation(frozen, f):
    """E f under a distribution of scipy, by quadrature on both sides of the median."""
    low, middle, high = frozen.support()[0], frozen.median(), frozen.support()[1]
    return sum(
        scipy.integrate.quad(lambda x: float(f(x)) * frozen.pdf(x), *ends, limit=200, epsabs=1e-11)[0]
        for ends in ((low, middle), (middle, high))
    )


def np_wave(x):
    return np.sin(x) + 0.1 * x**2


class Case(NamedTuple):
    family: type
    params: tuple[float, ...]
    reference: object  # params → frozen distribution of scipy
    f: object = wave
    np_f: object = np_wave


CASES = {
    case.family.__name__: case
    for case in (
        Case(families.Laplace, (0.4, 0.8), scipy.stats.laplace),
        Case(families.Logistic, (0.4, 0.5), scipy.stats.logistic),
        Case(families.Gumbel, (-0.3, 0.7), scipy.stats.gumbel_r),
        Case(families.Cauchy, (-0.3, 0.7), scipy.stats.cauchy, bump, lambda x: 1 / (1 + (x - 0.5) ** 2)),
        Case(families.Uniform, (-0.5, 1.7), lambda low, high: scipy.stats.uniform(low, high - low)),
        Case(families.Exponential, (1.4,), lambda rate: scipy.stats.expon(scale=1 / rate)),
        Case(families.Weibull, (1.3, 1.8), lambda scale, shape: scipy.stats.weibull_min(shape, scale=scale)),
        Case(families.Gamma, (2.2, 1.5), lambda a, rate: scipy.stats.gamma(a, scale=1 / rate)),
    )
}


@functools.cache
@np.errstate(over="ignore")
def true_gradient(name):
    """∇E f by quadrature and central differences."""
    case, step = CASES[name], 1e-3
    gradient = []
    for i in range(len(case.params)):
        up, down = ([x + sign * step * (k == i) for k, x in enumerate(case.params)] for sign in (1, -1))
        ends = [expectation(case.reference(*params), case.np_f) for params in (up, down)]
        gradient.append((ends[0] - ends[1]) / (2 * step))
    return np.array(gradient)


def of(family):
    """params [P] → distribution over one number."""
    return lambda params: family(*params)


SMOOTH = [name for name in CASES if name != "Uniform"]


SCORE = {f"score_function-{b}": functools.partial(monte_carlo.score_function, baseline=b) for b in BASELINES}
ALL = SCORE | {"pathwise": monte_carlo.pathwise, "mixed": monte_carlo.mixed}
FEW = {name: ALL[name] for name in ("score_function-optimal", "pathwise", "mixed")}


def draw(estimators, f, distribution, params, count=COUNT):
    """By name; one program for all, which is quicker to compile than their operations one by one."""

    @jax.jit
    def every(params):
        return {name: make(f, distribution, params, KEY, count) for name, make in estimators.items()}

    return every(params)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_estimator_is_unbiased(name):
    case = CASES[name]
    estimators = ALL if name in SMOOTH else {"pathwise": monte_carlo.pathwise}
    samples = draw(estimators, case.f, of(case.family), array(*case.params))
    for sample in samples.values():
        assert_unbiased(sample, true_gradient(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_densities_and_samples_agree_with_scipy(name):
    case = CASES[name]
    reference = case.reference(*case.params)
    distribution = case.family(*array(*case.params))
    x = reference.ppf(np.linspace(0.01, 0.99, 25))
    got = jax.vmap(distribution.log_prob)(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(got, reference.logpdf(x), rtol=1e-4, atol=1e-4)
    sample = jax.vmap(distribution.sample)(jax.random.split(KEY, 4000))
    assert np.isfinite(sample).all()
    assert scipy.stats.kstest(sample, reference.cdf).pvalue > 1e-4


def test_the_ends_of_the_uniform_noise_give_finite_samples():
    for u in (2.0**-24, 1 - 2.0**-24):
        for family in (families.Laplace, families.Logistic, families.Gumbel, families.Cauchy):
            assert np.isfinite(family.quantile(jnp.float32(u)))


@pytest.mark.slow
def test_gaussian_with_params_of_any_structure():
    # E[cos x] = exp(−σ²/2) cos μ, summed over [2, 3] components whose log-probabilities have shape [2].
    mean, log_std = np.linspace(-1, 1, 6).reshape(2, 3), np.full(3, -0.5)

    def distribution(params):
        std = jnp.broadcast_to(jnp.exp(params["log_std"])[None], params["mean"].shape)
        return Gaussian(params["mean"], std)

    params = {"mean": jnp.float32(mean), "log_std": jnp.float32(log_std)}
    samples = draw(FEW, lambda x: jnp.cos(x).sum(), distribution, params)
    variance = np.exp(2 * log_std)
    fade = np.exp(-variance / 2)
    truth = {"mean": -fade * np.sin(mean), "log_std": (-variance * fade * np.cos(mean)).sum(0)}
    for sample in samples.values():
        assert_unbiased(sample, truth)


@pytest.mark.slow
def test_tanh_gaussian_by_quadrature():
    # x is the u before tanh; f applies it.
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    mean, std = 0.3, 0.6
    slope = 2 * np.tanh(mean + std * nodes) / np.cosh(mean + std * nodes) ** 2  # of tanh²
    truth = weights @ slope, weights @ (slope * nodes)
    samples = draw(
        FEW, lambda u: jnp.sum(jnp.tanh(u) ** 2), lambda p: TanhGaussian(*p), (array(mean), array(std))
    )
    for sample in samples.values():
        assert_unbiased(sample, truth)


@pytest.mark.slow
def test_affine_gaussian():
    # E xᵀHx = tr(H L Lᵀ) + μᵀHμ: 2 H μ by μ, the lower triangle of 2 H L by L.
    H = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, -0.3], [0.0, -0.3, 0.7]])
    mean = np.array([0.5, -1.0, 0.2])
    scale = np.array([[0.8, 9.0, 9.0], [0.4, 0.6, 9.0], [-0.2, 0.1, 1.1]])  # above the diagonal: ignored
    samples = draw(
        FEW,
        lambda x: x @ jnp.float32(H) @ x,
        lambda params: families.AffineGaussian(*params),
        (jnp.float32(mean), jnp.float32(scale)),
    )
    for sample in samples.values():
        assert_unbiased(sample, (2 * H @ mean, np.tril(2 * H @ np.tril(scale))))


def test_affine_gaussian_density_and_no_lapack():
    scale = np.array([[0.8, 0.0], [0.4, 0.6]])
    distribution = families.AffineGaussian(array(0.5, -1.0), jnp.float32(scale))
    x = np.random.default_rng(0).normal(size=(5, 2))
    want = scipy.stats.multivariate_normal([0.5, -1.0], scale @ scale.T).logpdf(x)
    program = jax.jit(jax.vmap(distribution.log_prob))
    np.testing.assert_allclose(program(jnp.float32(x)), want, rtol=1e-5)
    assert "lapack" not in program.lower(jnp.float32(x)).as_text()


@pytest.mark.slow
def test_poisson_has_a_score_function():
    # E x² = λ + λ².
    for sample in draw(SCORE, lambda x: x**2, of(families.Poisson), array(1.7)).values():
        assert_unbiased(sample, np.array([1 + 2 * 1.7]))


@pytest.mark.slow
def test_few_samples_stay_unbiased():
    # Leave-one-out with 2 draws and a mix of 4, many times over: a draw has no say in its own weight.
    def mean_of(estimator, num_samples):
        def one(key):
            return estimator(square, normal, array(2.0), key, num_samples).mean(0)

        return jax.jit(jax.vmap(one))(jax.random.split(KEY, COUNT))

    for baseline in ("loo", "optimal"):
        score = functools.partial(monte_carlo.score_function, baseline=baseline)
        assert_unbiased(mean_of(score, 2), np.array([4.0]))
    assert_unbiased(mean_of(monte_carlo.mixed, 4), np.array([4.0]))
    assert_unbiased(mean_of(monte_carlo.mixed, 5), np.array([4.0]))


@pytest.mark.slow
def test_weights_from_a_draw_itself_would_be_biased():
    # What `mixed` avoids: with 4 draws, weights by the variances of the very draws that they weigh.
    def one(key):
        score_key, path_key = jax.random.split(key)
        score = monte_carlo.score_function(square, normal, array(2.0), score_key, 4, baseline="loo")
        path = monte_carlo.pathwise(square, normal, array(2.0), path_key, 4)
        v_score, v_path = score.var(0), path.var(0)
        return (v_score * path.mean(0) + v_path * score.mean(0)) / (v_score + v_path)

    sample = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, COUNT)))
    assert abs(sample.mean() - 4) > 6 * sample.std() / np.sqrt(COUNT)


@pytest.mark.slow
def test_mixed_follows_the_better_of_the_two():
    # In sin(50 x) the path is the noisy one, in 20 x the score function.
    estimators = {"score": ALL["score_function-loo"], "path": monte_carlo.pathwise, "mix": monte_carlo.mixed}
    for f, better in ((lambda x: jnp.sum(jnp.sin(50 * x)), "score"), (lambda x: jnp.sum(20 * x), "path")):
        variance = {name: float(x.var()) for name, x in draw(estimators, f, normal, array(2.0)).items()}
        best = min(variance["score"], variance["path"])
        assert variance[better] == best
        assert variance["mix"] <= 1.02 * best + 1e-6


# Discrete: exact, and biased

LOGITS = np.array([0.3, -0.5, 0.8])
VALUES = np.array([1.0, -2.0, 0.5])


def curved(y):
    """f on the simplex, whose corners are VALUES, with a curvature that shifts what is in between."""
    return y @ jnp.float32(VALUES) + 12 * jnp.sum(y * (1 - y))


def exact_gradient():
    p = scipy.special.softmax(LOGITS)
    return p * (VALUES - p @ VALUES)


@pytest.mark.slow
def test_enumeration_is_exact():
    def f(x):
        return jnp.float32(VALUES)[x]

    gradient = monte_carlo.enumerate_gradient(f, Categorical, jnp.float32(LOGITS))
    np.testing.assert_allclose(gradient, exact_gradient(), rtol=1e-5)
    listed = monte_carlo.enumerate_gradient(f, Categorical, jnp.float32(LOGITS), support=jnp.array([2, 0, 1]))
    np.testing.assert_allclose(listed, gradient, rtol=1e-5)
    corners = monte_carlo.enumerate_gradient(
        lambda x: curved(jax.nn.one_hot(x, 3)), Categorical, jnp.float32(LOGITS)
    )
    np.testing.assert_allclose(corners, gradient, rtol=1e-4)
    for sample in draw(SCORE, f, Categorical, jnp.float32(LOGITS)).values():
        assert_unbiased(sample, gradient)


@pytest.mark.slow
def test_enumeration_of_joint_actions():
    # Two rows of logits, f a product: E f = E f_1 E f_2.
    logits = np.stack([LOGITS, LOGITS[::-1]])
    gradient = monte_carlo.enumerate_gradient(
        lambda x: jnp.float32(VALUES)[x[0]] * jnp.float32(VALUES)[x[1]], Categorical, jnp.float32(logits)
    )
    p = scipy.special.softmax(logits, axis=1)
    means = p @ VALUES
    want = p * (VALUES - means[:, None]) * means[::-1, None]
    np.testing.assert_allclose(gradient, want, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_gumbel_softmax_is_biased_and_is_what_it_says():
    # Two actions: y_0 = sigmoid((θ_0 − θ_1 + L) / τ) with L standard logistic; quadrature gives its expectation.
    logits, values = np.array([0.4, -0.3]), np.array([1.0, -1.0])

    def f(y):
        return y @ jnp.float32(values)

    p = scipy.special.softmax(logits)
    exact = p * (values - p @ values)

    def relaxed(temperature):
        def integrand(noise):
            y = scipy.special.expit((logits[0] - logits[1] + noise) / temperature)
            return 2 * y * (1 - y) / temperature * scipy.stats.logistic.pdf(noise)

        slope = scipy.integrate.quad(integrand, -40, 40, points=[0], limit=500)[0]
        return np.array([slope, -slope])

    means, variances = [], []
    for temperature in (1.0, 0.1):
        sample = monte_carlo.gumbel_softmax(
            f, Categorical, jnp.float32(logits), KEY, 4 * COUNT, temperature=temperature
        )
        assert_unbiased(sample, relaxed(temperature))
        means.append(np.asarray(sample).mean(0))
        variances.append(float(sample.var()))
    error = np.abs(means[0] - exact).max()
    assert error > 0.05  # although f is linear
    assert np.abs(relaxed(0.1) - exact).max() < 0.1 * error
    assert variances[1] > 3 * variances[0]


@pytest.mark.slow
def test_straight_through_is_biased_by_curvature_alone():
    logits = jnp.float32(LOGITS)
    p = scipy.special.softmax(LOGITS)
    jacobian = np.diag(p) - np.outer(p, p)
    linear = monte_carlo.straight_through(lambda y: y @ jnp.float32(VALUES), Categorical, logits, KEY, COUNT)
    np.testing.assert_allclose(linear.mean(0), exact_gradient(), rtol=1e-4)
    # f'(e_x) is VALUES + 12 − 24 e_x: the mean is known, and not the gradient, though f agrees at every corner.
    sample = monte_carlo.straight_through(curved, Categorical, logits, KEY, COUNT)
    want = jacobian @ (VALUES - 24 * p)
    assert_unbiased(sample, want)
    error = np.asarray(sample).std(0) / np.sqrt(COUNT)
    assert (np.abs(np.asarray(sample).mean(0) - exact_gradient()) > 6 * error).any()
    assert want @ exact_gradient() < 0  # it even leads the other way


@pytest.mark.slow
def test_straight_through_evaluates_corners_only():
    def f(y):
        return jnp.where(jnp.all((y == 0) | (y == 1)), y @ jnp.float32(VALUES), jnp.nan)

    for temperature in (None, 0.5):
        estimator = functools.partial(monte_carlo.straight_through, temperature=temperature)
        assert np.isfinite(draw({"": estimator}, f, Categorical, jnp.float32(LOGITS), 100)[""]).all()


@pytest.mark.slow
def test_straight_through_with_a_temperature_is_biased_for_a_linear_f_too():
    sample = monte_carlo.straight_through(
        lambda y: y @ jnp.float32(VALUES), Categorical, jnp.float32(LOGITS), KEY, COUNT, temperature=1.0
    )
    # For a linear f its gradient is that of the relaxed sample, draw by draw.
    relaxed = monte_carlo.gumbel_softmax(
        lambda y: y @ jnp.float32(VALUES), Categorical, jnp.float32(LOGITS), KEY, COUNT, temperature=1.0
    )
    np.testing.assert_allclose(sample, relaxed, rtol=1e-5, atol=1e-6)
    error = np.asarray(sample).std(0) / np.sqrt(COUNT)
    assert (np.abs(np.asarray(sample).mean(0) - exact_gradient()) > 6 * error).any()


# jit, vmap, precision


@pytest.mark.slow
@pytest.mark.parametrize("estimator", FEW.values(), ids=FEW)
def test_jit_and_vmap_change_nothing(estimator):
    means, keys = jnp.linspace(-1, 2, 3)[:, None], jax.random.split(KEY, 3)

    @jax.jit
    def estimate(mean, key):
        return estimator(square, normal, mean, key, 8)

    batched = jax.jit(jax.vmap(estimate))(means, keys)
    assert batched.shape == (3, 8, 1)
    for got, mean, key in zip(batched, means, keys, strict=True):
        np.testing.assert_allclose(got, estimate(mean, key), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_constant_baseline_and_a_temperature_may_be_traced():
    def variance(b):
        return monte_carlo.score_function(square, normal, array(2.0), KEY, 2000, baseline=b).var()

    curve = jax.jit(jax.vmap(variance))(array(0.0, 5.0, 7.0))
    assert curve[0] > curve[1] > curve[2]
    relaxed = jax.jit(
        lambda t: monte_carlo.gumbel_softmax(curved, Categorical, jnp.float32(LOGITS), KEY, 4, temperature=t)
    )
    assert np.isfinite(relaxed(0.5)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("x64", "dtype"), [(True, jnp.float64), (False, jnp.float32)])
def test_precision_is_that_of_the_params(x64, dtype):
    for name, case in CASES.items():
        estimators = ALL if name in SMOOTH else {"pathwise": monte_carlo.pathwise}
        with jax.enable_x64(x64):
            params = jnp.asarray(case.params)
            samples = jax.eval_shape(lambda p: draw(estimators, case.f, of(case.family), p, 4), params)  # noqa: B023
        assert all(sample.dtype == params.dtype == dtype for sample in samples.values())


@pytest.mark.slow
def test_float64_reaches_further():
    with jax.enable_x64(True):
        gradient = monte_carlo.enumerate_gradient(
            lambda x: jnp.asarray(VALUES)[x], Categorical, jnp.asarray(LOGITS)
        )
        np.testing.assert_allclose(gradient, exact_gradient(), rtol=1e-13)


# Refusals


class Mixture(NamedTuple):
    """Two normals of variance 1 at ±2; the weight moves no sample that has been drawn."""

    weight: jax.Array

    def sample(self, key):
        which, noise = jax.random.split(key)
        side = jnp.where(jax.random.uniform(which) < self.weight, 2.0, -2.0)
        return side + jax.random.normal(noise)

    def log_prob(self, x):
        return jnp.logaddexp(
            jnp.log(self.weight) - 0.5 * (x - 2) ** 2, jnp.log1p(-self.weight) - 0.5 * (x + 2) ** 2
        )


def test_pathwise_refuses_where_there_is_no_path():
    refusals = [
        (
            lambda x: x * 1.0,
            Categorical,
            array(0.0, 0.0),
            "Categorical gives samples of int32: whole numbers",
        ),
        (lambda x: x * 1.0, of(families.Poisson), array(2.0), "Poisson gives samples of int32"),
        (
            lambda x: x,
            Mixture,
            jnp.float32(0.3),
            "params moves the probabilities of Mixture but not its samples",
        ),
        (lambda x: jnp.sum(x > 0), normal, array(2.0), "derivative of f by its sample is 0 by construction"),
        (lambda x: jnp.sum(jnp.sign(x)), normal, array(2.0), "derivative of f by its sample is 0"),
        (lambda x: jnp.where(x[0] > 0, 1.0, -1.0), normal, array(2.0), "derivative of f by its sample is 0"),
    ]
    for f, distribution, params, message in refusals:
        for estimator in (monte_carlo.pathwise, monte_carlo.mixed):
            with pytest.raises(InvalidInput, match=message):
                estimator(f, distribution, params, KEY, 4)
        # The score function takes them all.
        jax.eval_shape(lambda p: monte_carlo.score_function(f, distribution, p, KEY, 4), params)  # noqa: B023


@pytest.mark.slow
def test_the_score_function_of_the_mixture_is_right():
    # E x = 2 w − 2 (1 − w): slope 4, which a derivative along the sample would call 0.
    sample = monte_carlo.score_function(lambda x: x, Mixture, jnp.float32(0.3), KEY, COUNT)
    assert_unbiased(sample, np.array(4.0))


@pytest.mark.slow
def test_the_score_function_refuses_a_moving_support():
    with pytest.raises(InvalidInput, match=r"support of Uniform moves .* take pathwise"):
        monte_carlo.score_function(wave, of(families.Uniform), array(-0.5, 1.7), KEY, 4)

    class Unmarked(families.Uniform):
        moving_support = False

    # Rightly so: E x = (l + h) / 2, but the score is the constant (1, −1) / (h − l), which gives ±E x / (h − l).
    sample = monte_carlo.score_function(lambda x: x, of(Unmarked), array(0.0, 2.0), KEY, COUNT)
    assert_unbiased(sample, np.array([0.5, -0.5]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution",
    [
        lambda p: families.Gamma(p, jnp.float32(1.0)),
        lambda p: families.Gamma(2 * p, jnp.float32(1e8)),
        lambda p: families.Weibull(jnp.float32(1.0), p),
    ],
    ids=["Gamma", "Gamma of high rate", "Weibull"],
)
def test_where_the_logarithm_of_a_sample_is_lost_there_is_no_score(distribution):
    """A sixth of the samples underflow at 0.02, and each made the gradient infinite; the path needs no logarithm."""
    params = jnp.float32(0.02)
    with pytest.raises(
        InvalidInput, match="is 0 in float32, where log x is not finite: give float64 or a larger"
    ):
        monte_carlo.score_function(lambda x: x, distribution, params, KEY, 1000)
    gradient = monte_carlo.score_function(lambda x: x, distribution, jnp.float32(0.4), KEY, 10_000)
    assert np.isfinite(gradient).all()
    if isinstance(distribution(params), families.Gamma):
        assert np.isfinite(monte_carlo.pathwise(lambda x: x, distribution, params, KEY, 1000)).all()


def test_a_list_of_samples_of_two_lengths_and_several_temperatures_are_refused():
    logits = jnp.float32(LOGITS)

    class Both:
        def __init__(self, logits):
            self.logits = logits

        def log_prob(self, x):
            return Categorical(self.logits).log_prob(x[0]) + Categorical(self.logits).log_prob(x[1])

    with pytest.raises(InvalidInput, match=r"support\[1\] has shape \(2,\); .* asks for \(3, ...\)"):
        monte_carlo.enumerate_gradient(
            lambda x: x[0] * 1.0, Both, logits, support=(jnp.arange(3), jnp.arange(2))
        )
    with pytest.raises(InvalidInput, match=r"temperature has shape \(2,\)"):
        monte_carlo.gumbel_softmax(curved, Categorical, logits, KEY, 4, temperature=jnp.ones(2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": jax.random.split(KEY, 3)}, r"key has shape \(3,\); one draw asks for \(\)"),
        ({"num_samples": 0}, "num_samples is 0; baseline 'none' needs at least 1"),
        ({"num_samples": 2.5}, "num_samples is 2.5; give a whole number"),
        ({"num_samples": 1, "baseline": "loo"}, "num_samples is 1; baseline 'loo' needs at least 2"),
        ({"baseline": "mean"}, "baseline is 'mean'; give a number or one of none, loo, optimal"),
        ({"baseline": np.ones(3)}, r"baseline has shape \(3,\); give one number"),
        ({"baseline": float("nan")}, "baseline is nan; give a finite number"),
        ({"params": jnp.array([2])}, "params holds int32; give floats"),
        ({"f": lambda x: x}, "f gives .* one real number"),
        ({"f": lambda x: (x[0], x[0])}, "f gives .* one real number"),
        ({"f": lambda x: 1j * x[0]}, "f gives .* one real number"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"f": square, "distribution": normal, "params": array(2.0), "key": KEY, "num_samples": 4}
    with pytest.raises(InvalidInput, match=message):
        monte_carlo.score_function(**(good | change))


@pytest.mark.slow
def test_bad_input_of_the_others_is_refused():
    logits = jnp.float32(LOGITS)
    with pytest.raises(InvalidInput, match="num_samples is 3; a mix of two halves needs at least 4"):
        monte_carlo.mixed(square, normal, array(2.0), KEY, 3)
    for estimator in (monte_carlo.gumbel_softmax, monte_carlo.straight_through):
        with pytest.raises(InvalidInput, match=r"temperature is 0\.0; give a number above 0"):
            estimator(curved, Categorical, logits, KEY, 4, temperature=0.0)
        with pytest.raises(InvalidInput, match="Gaussian is not Categorical"):
            estimator(curved, normal, logits, KEY, 4, temperature=1.0)
    with pytest.raises(InvalidInput, match="Gaussian does not list its samples; give support"):
        monte_carlo.enumerate_gradient(square, normal, array(2.0))
    with pytest.raises(InvalidInput, match="probabilities of support sum to 0"):
        monte_carlo.enumerate_gradient(lambda x: x, Categorical, logits, support=jnp.array([0, 1]))
    with pytest.raises(InvalidInput, match="177147 joint actions are more than 65536"):
        monte_carlo.enumerate_gradient(lambda x: x.sum(), Categorical, jnp.zeros((11, 3)))
    with pytest.raises(InvalidInput, match=r"f gives shape \(3,\)"):
        monte_carlo.enumerate_gradient(lambda x: jnp.ones(3), Categorical, logits)


def test_a_normal_without_spread_has_no_score():
    """A path it has: x is the parameter itself."""
    from purepg import distributions

    sides = distributions.Sides((True,), (True,))
    for make in (
        lambda mean: distributions.Gaussian(mean, jnp.zeros(1)),
        lambda mean: distributions.ClippedGaussian(mean, jnp.zeros(1), sides),
        lambda mean: distributions.SquashedGaussian(mean, jnp.zeros(1)),
    ):
        with pytest.raises(InvalidInput, match="its std is 0"):
            monte_carlo.score_function(lambda x: x.sum(), make, jnp.ones(1), jax.random.key(0), 3)
        found = monte_carlo.pathwise(lambda x: (x**2).sum(), make, jnp.ones(1), jax.random.key(0), 3)
        np.testing.assert_allclose(found, 2.0)
