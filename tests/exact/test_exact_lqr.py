"""Closed forms of the linear-quadratic regulator against hand computation, differentiation, differences, simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from purepg.errors import InvalidInput
from purepg.exact.lqr import lqr_cost, lqr_gradient, lqr_std_gradient

SCALAR = {
    "A": np.array([[1.0]]),
    "B": np.array([[1.0]]),
    "Q": np.array([[1.0]]),
    "R": np.array([[1.0]]),
    "initial_second_moment": np.array([[1.0]]),
}
INTEGRATOR = {
    "A": np.array([[1.0, 0.1], [0.0, 1.0]]),
    "B": np.array([[0.005], [0.1]]),
    "Q": np.diag([1.0, 0.1]),
    "R": np.array([[0.1]]),
    "initial_second_moment": np.array([[1.0, 0.3], [0.3, 0.5]]),
}
RNG = np.random.default_rng(0)
TWO_ACTIONS = {  # nothing symmetric that need not be
    "A": np.array([[0.9, 0.3, 0.0], [0.0, 0.8, -0.2], [0.1, 0.0, 0.7]]),
    "B": RNG.normal(size=(3, 2)),
    "Q": np.diag([1.0, 0.0, 0.5]) + np.array([[0.0, 0.2, 0.0], [-0.2, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    "R": np.array([[1.0, 0.3], [0.1, 0.6]]),
    "initial_second_moment": np.eye(3) + np.ones((3, 3)),
}
GAINS = [
    (SCALAR, np.array([[0.618]])),
    (SCALAR, np.array([[1.5]])),
    (SCALAR, np.array([[0.05]])),
    (INTEGRATOR, np.array([[1.0, 2.0]])),
    (INTEGRATOR, np.array([[0.1, 0.5]])),
    (INTEGRATOR, np.array([[5.0, 4.0]])),
    (TWO_ACTIONS, np.zeros((2, 3))),
    (TWO_ACTIONS, 0.1 * RNG.normal(size=(2, 3))),
]
SETTINGS = [  # discount, horizon, noise
    (0.9, None, True),
    (0.99, None, True),
    (0.0, None, True),
    (1.0, None, False),
    (0.95, 7, True),
    (1.0, 7, True),
    (0.9, 1, True),
]


def arguments(system, gain, discount, horizon, noise):
    num_states, num_actions = system["B"].shape
    std = np.array(0.7) if num_actions == 1 else np.array([0.7, 0.2])
    covariance = 0.1 * np.eye(num_states) + 0.05 * np.ones((num_states, num_states))
    return dict(
        **system,
        gain=gain,
        discount=discount,
        action_std=std if noise else np.zeros_like(std),
        horizon=horizon,
        noise_covariance=covariance if noise else 0 * covariance,
    )


def central_differences(function, x, step=1e-4):
    """By Richardson extrapolation of two central differences: the error is of fourth order."""

    def difference(index, h):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        return (function(up) - function(down)) / (2 * h)

    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = (4 * difference(index, step) - difference(index, 2 * step)) / 3
    return gradient


# By hand


def test_golden_ratio():
    # A = B = Q = R = 1: P = (1 + K²) / (1 − (1 − K)²), least at K = 1/φ, where it is φ.
    golden = (1 + np.sqrt(5)) / 2
    problem = dict(SCALAR, discount=1, action_std=0)
    np.testing.assert_allclose(lqr_cost(gain=[[1 / golden]], **problem), golden, rtol=1e-14)
    np.testing.assert_allclose(lqr_gradient(gain=[[1 / golden]], **problem), [[0]], atol=1e-14)
    k = 0.3
    slope = (2 * k * (2 * k - k**2) - (1 + k**2) * (2 - 2 * k)) / (2 * k - k**2) ** 2
    np.testing.assert_allclose(lqr_gradient(gain=[[k]], **problem), [[slope]], rtol=1e-13)


@pytest.mark.slow
def test_one_and_two_steps_by_hand():
    # K = 0, σ = 2, E x_0² = 3, W = 0.5: each action costs 4; S_1 = 3 + 4 + 0.5.
    problem = SCALAR | {"initial_second_moment": [[3.0]], "noise_covariance": [[0.5]]}
    problem |= {"gain": [[0.0]], "action_std": 2.0, "discount": 0.5}
    assert lqr_cost(**problem, horizon=1) == 3 + 4
    assert lqr_cost(**problem, horizon=2) == 7 + 0.5 * (7.5 + 4)
    # One step: J = (1 + K²) 3 + σ². Two: + ½ (1 + K²) ((1 − K)² 3 + 4.5) + ½ σ²; at K = 0 its slope is −3.
    assert lqr_gradient(**problem, horizon=1) == 0
    assert lqr_gradient(**problem, horizon=2) == -3
    # By σ: 2 σ, and 2 σ + ½ (2 σ + 2 σ).
    assert lqr_std_gradient(**problem, horizon=1) == 4
    assert lqr_std_gradient(**problem, horizon=2) == 8


def test_noise_without_end_costs_its_price_over_one_minus_discount():
    # K = 1 forgets the state: after the first step E x² = σ² + W, and u = −x + σ ε.
    cost = lqr_cost(**SCALAR, gain=[[1.0]], discount=0.9, action_std=0.5, noise_covariance=[[0.3]])
    np.testing.assert_allclose(cost, (2 * 1 + 0.25) + 9 * (2 * (0.25 + 0.3) + 0.25), rtol=1e-13)


# Against other computations


def plain_cost(A, B, Q, R, gain, initial_second_moment, discount, action_std, horizon, noise_covariance):
    """The recursion of the second moment, as a loop."""
    moment, total, weight = np.array(initial_second_moment), 0.0, 1.0
    variance = np.diag(np.broadcast_to(action_std, B.shape[1]) ** 2)
    for _ in range(horizon):
        actions = gain @ moment @ gain.T + variance
        total += weight * (np.trace(Q @ moment) + np.trace(R @ actions))
        moment = (A - B @ gain) @ moment @ (A - B @ gain).T + B @ variance @ B.T
        moment += 0 if noise_covariance is None else noise_covariance
        weight *= discount
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("discount", "horizon", "noise"), SETTINGS)
@pytest.mark.parametrize(("system", "gain"), GAINS)
def test_cost_is_the_sum_of_its_steps(system, gain, discount, horizon, noise):
    problem = arguments(system, gain, discount, horizon, noise)
    cost = lqr_cost(**problem)
    assert isinstance(cost, np.ndarray)
    assert cost.dtype == np.float64
    np.testing.assert_allclose(cost, plain_cost(**(problem | {"horizon": horizon or 4000})), rtol=1e-11)


DERIVATIVES = jax.jit(
    jax.grad(
        lambda gain, action_std, problem, horizon: lqr_cost(
            gain=gain, action_std=action_std, horizon=horizon, **problem
        ),
        argnums=(0, 1),
    ),
    static_argnums=3,
)


@pytest.mark.slow
@pytest.mark.parametrize(("discount", "horizon", "noise"), SETTINGS)
@pytest.mark.parametrize(("system", "gain"), GAINS)
def test_gradients_are_the_derivatives(system, gain, discount, horizon, noise):
    problem = arguments(system, gain, discount, horizon, noise)
    gradient = lqr_gradient(**problem)
    assert gradient.shape == gain.shape
    traced = {k: v for k, v in problem.items() if k not in ("gain", "action_std", "horizon")}
    with jax.enable_x64(True):
        by_gain, by_std = DERIVATIVES(gain, problem["action_std"], traced, horizon)
    size = np.abs(gradient).max() + 1e-3
    np.testing.assert_allclose(gradient, by_gain, rtol=1e-9, atol=1e-10 * size)
    differences = central_differences(lambda k: lqr_cost(**(problem | {"gain": k})), gain)
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6 * size)
    if noise or horizon is not None:
        slope = lqr_std_gradient(**problem)
        assert slope.shape == problem["action_std"].shape
        np.testing.assert_allclose(slope, by_std, rtol=1e-10)
        differences = central_differences(
            lambda std: lqr_cost(**(problem | {"action_std": std})), problem["action_std"]
        )
        np.testing.assert_allclose(slope, differences, rtol=1e-6)


def simulate(rng, A, B, Q, R, gain, initial_second_moment, discount, action_std, horizon, noise_covariance):
    """The mean cost of many games and its standard error."""
    num_games, (num_states, num_actions) = 30_000, B.shape
    root = np.linalg.cholesky(initial_second_moment)
    noise = np.linalg.cholesky(noise_covariance)
    x = rng.normal(size=(num_games, num_states)) @ root.T
    total = np.zeros(num_games)
    for t in range(horizon):
        u = -x @ gain.T + action_std * rng.normal(size=(num_games, num_actions))
        total += discount**t * (((x @ Q) * x).sum(1) + ((u @ R) * u).sum(1))
        x = x @ A.T + u @ B.T + rng.normal(size=x.shape) @ noise.T
    return total.mean(), total.std() / np.sqrt(num_games)


@pytest.mark.slow
@pytest.mark.parametrize(("discount", "horizon"), [(1.0, 10), (0.9, None)])
@pytest.mark.parametrize(("system", "gain"), [GAINS[0], GAINS[3], GAINS[7]])
def test_against_simulation(system, gain, discount, horizon):
    problem = arguments(system, gain, discount, horizon, noise=True)
    steps = problem | {"horizon": horizon or 100}  # 0.9^100 is 3e-5
    mean, error = simulate(np.random.default_rng(1), **steps)
    assert abs(lqr_cost(**problem) - lqr_cost(**steps)) < 0.05 * error
    assert abs(mean - lqr_cost(**problem)) < 4 * error
    # Without noise it would be another number.
    quiet = problem | {"action_std": 0 * problem["action_std"], "noise_covariance": None}
    assert abs(mean - lqr_cost(**quiet)) > 10 * error


@pytest.mark.slow
@pytest.mark.parametrize("system", [SCALAR, INTEGRATOR, TWO_ACTIONS])
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_gradient_vanishes_at_the_gain_of_the_riccati_equation(system, discount):
    root = np.sqrt(discount)
    A, B = root * system["A"], root * system["B"]
    Q, R = ((system[name] + system[name].T) / 2 for name in "QR")
    value = scipy.linalg.solve_discrete_are(A, B, Q, R)
    gain = np.linalg.solve(R + B.T @ value @ B, B.T @ value @ A)
    noise = discount < 1
    problem = arguments(system, gain, discount, None, noise)
    size = np.abs(lqr_gradient(**(problem | {"gain": 1.1 * gain}))).max()
    assert np.abs(lqr_gradient(**problem)).max() < 1e-9 * size
    # Noise changes the cost, not the best gain.
    quiet = problem | {"action_std": np.zeros_like(problem["action_std"]), "noise_covariance": None}
    assert np.abs(lqr_gradient(**quiet)).max() < 1e-9 * size
    np.testing.assert_allclose(
        lqr_cost(**quiet), np.trace(value @ system["initial_second_moment"]), rtol=1e-10
    )


@pytest.mark.slow
def test_finite_horizon_grows_into_the_infinite_one():
    problem = arguments(*GAINS[3], 0.9, None, noise=True)
    for function in (lqr_cost, lqr_gradient, lqr_std_gradient):
        limit = function(**problem)
        errors = [np.abs(function(**(problem | {"horizon": h})) - limit).max() for h in (20, 500)]
        assert errors[0] > 1e-3 > 1e-11 > errors[1]


def test_an_unstable_gain_is_fine_up_to_a_horizon():
    problem = arguments(SCALAR, np.array([[-0.5]]), 1.0, 5, noise=True)
    np.testing.assert_allclose(lqr_cost(**problem), plain_cost(**problem), rtol=1e-13)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_close_to_instability(gap):
    # M = 1 − gap: P = 1 / (1 − M²), beyond the reach of a sum step by step.
    cost = lqr_cost(
        np.array([[1 - gap]]), [[1.0]], [[1.0]], [[1.0]], [[0.0]], [[1.0]], discount=1, action_std=0
    )
    np.testing.assert_allclose(cost, 1 / (gap * (2 - gap)), rtol=1e-14 / gap + 1e-12)


def test_powers_that_grow_before_they_fade():
    # Jordan block: without the discount the states would grow for ever.
    A = np.array([[1.02, 5.0], [0.0, 1.02]])
    system = INTEGRATOR | {"A": A}
    problem = arguments(system, np.zeros((1, 2)), 0.9, None, noise=True)
    np.testing.assert_allclose(lqr_cost(**problem), plain_cost(**(problem | {"horizon": 4000})), rtol=1e-11)


# Precision, jit and vmap


@pytest.mark.slow
@pytest.mark.parametrize(("discount", "horizon"), [(0.9, None), (0.9, 12)])
@pytest.mark.parametrize("function", [lqr_cost, lqr_gradient, lqr_std_gradient])
def test_traced_agrees_with_concrete_under_jit_and_vmap(function, discount, horizon):
    gains = np.stack([gain for system, gain in GAINS if system is INTEGRATOR])
    problem = arguments(INTEGRATOR, gains[0], discount, horizon, noise=True)
    want = [function(**(problem | {"gain": gain})) for gain in gains]
    batched = jax.jit(jax.vmap(lambda gain: function(**(problem | {"gain": gain}))))
    got = batched(gains)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=2e-4)
    assert "lapack" not in batched.lower(gains).as_text()


def test_traced_and_unstable_is_not_finite():
    problem = arguments(SCALAR, np.array([[0.0]]), 1.0, None, noise=False)
    for gain in (0.0, -0.5, 2.0):
        assert not jnp.isfinite(jax.jit(lambda k: lqr_cost(**(problem | {"gain": k})))(np.array([[gain]])))


@pytest.mark.slow
def test_derivative_by_discount_at_zero():
    # J = x² (1 + γ M² + …) with K = 0: dJ/dγ at 0 is M² = 1, plus σ² + N for the noise.
    problem = arguments(SCALAR, np.array([[0.0]]), 0.0, None, noise=False) | {"action_std": 0.5}
    derivative = jax.grad(lambda discount: lqr_cost(**(problem | {"discount": discount})))(0.0)
    np.testing.assert_allclose(derivative, 1 + 0.25 + 0.25, rtol=1e-6)


# What is refused


@pytest.mark.parametrize("function", [lqr_cost, lqr_gradient, lqr_std_gradient])
def test_an_infinite_cost_is_refused(function):
    problem = SCALAR | {"gain": [[0.5]], "discount": 1.0, "action_std": 0.0}
    for noisy in ({"action_std": 0.1}, {"noise_covariance": [[0.1]]}):
        with pytest.raises(InvalidInput, match=r"discount is 1 and noise .* discount below 1 or a horizon"):
            function(**(problem | noisy))
        assert np.isfinite(function(**(problem | noisy | {"discount": 0.999})))
        assert np.isfinite(function(**(problem | noisy | {"horizon": 9})))
    for gain, discount in ((0.0, 1.0), (2.0, 1.0), (-0.5, 0.5)):
        with pytest.raises(InvalidInput, match=r"does not stabilise.* spectral radius 1.* or a horizon"):
            function(**(problem | {"gain": [[gain]], "discount": discount}))


def test_noise_that_costs_nothing_is_allowed_at_discount_one():
    # The second state is driven by noise, costs nothing and moves nothing that does.
    problem = {
        "A": np.diag([0.5, 0.5]),
        "B": np.array([[1.0], [0.0]]),
        "Q": np.diag([1.0, 0.0]),
        "R": np.array([[1.0]]),
        "gain": np.array([[0.2, 0.0]]),
        "initial_second_moment": np.eye(2),
        "discount": 1.0,
        "action_std": 0.0,
        "noise_covariance": np.diag([0.0, 3.0]),
    }
    np.testing.assert_allclose(lqr_cost(**problem), 1.04 / (1 - 0.3**2), rtol=1e-13)
    # But a gain next to it would act on the noise, for ever.
    with pytest.raises(InvalidInput, match="or at those next to it"):
        lqr_gradient(**problem)
    # And so would exploring.
    with pytest.raises(InvalidInput, match="or at those next to it"):
        lqr_std_gradient(**problem)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"B": np.ones(2)}, r"B has shape \(2,\); give \[n, m\]"),
        ({"A": np.ones((2, 3))}, r"A has shape \(2, 3\); beside B \(2, 1\) give \(2, 2\)"),
        ({"gain": np.ones((2, 1))}, r"gain has shape \(2, 1\).* give \(1, 2\)"),
        ({"action_std": np.ones(2)}, r"action_std has shape .* give \(\) or \(1,\)"),
        ({"action_std": -0.1}, "action_std is -0.1; a standard deviation is at least 0"),
        ({"discount": 1.1}, "discount is 1.1; give a number in"),
        ({"horizon": 0}, "horizon is 0; give a whole number"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"Q": np.diag([1.0, -0.1])}, "Q has the eigenvalue -0.1; give a positive semidefinite matrix"),
        ({"R": [[-1.0]]}, "R has the eigenvalue -1"),
        ({"initial_second_moment": np.array([[1.0, 0.5], [0.0, 1.0]])}, "initial_second_moment is not sym"),
        ({"noise_covariance": -np.eye(2)}, "noise_covariance has the eigenvalue -1"),
        ({"A": np.full((2, 2), np.nan)}, "A holds NaN or infinity"),
        ({"A": np.full((2, 2), 1j)}, "A holds complex128; give real numbers"),
        ({"A": np.eye(2) * 1e30, "horizon": 20}, "overflows float64"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_refused(change, message):
    good = arguments(*GAINS[3], 0.9, None, noise=True)
    with pytest.raises(InvalidInput, match=message):
        lqr_gradient(**(good | change))
