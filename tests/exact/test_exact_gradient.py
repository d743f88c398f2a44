"""The policy gradient theorem against differentiation, finite differences and enumeration of all games."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purepg import exact
from purepg.errors import InvalidInput

S, A = 4, 3


def random_mdp(seed, ends=0.0):
    """transition [S, A, S], reward [S, A], initial [S], logits [S, A]; a step is the last with P = `ends`."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(S), (S, A)) * (1 - ends)
    return transition, rng.normal(size=(S, A)), rng.dirichlet(np.ones(S)), rng.normal(size=(S, A))


def softmax(logits):
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def objective(transition, reward, initial, logits, discount, **options):
    policy = softmax(logits) if isinstance(logits, np.ndarray) else jax.nn.softmax(logits)
    return exact.objective(transition, reward, initial, policy, discount, **options)


DERIVATIVE = jax.jit(jax.grad(objective, argnums=3), static_argnames="horizon")


def finite_differences(function, x, step=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def test_bandit_by_hand():
    # One step from one state, p(better) = 0.9, rewards 1 and 0: p (1 − p) = 0.09, whatever the discount.
    logits = np.log([[0.9, 0.1]])
    for discount in (0, 0.5, 1):
        gradient = exact.policy_gradient(np.zeros((1, 2, 1)), [[1.0, 0.0]], [1.0], logits, discount)
        np.testing.assert_allclose(gradient, [[0.09, -0.09]], rtol=1e-14)


@pytest.mark.slow
def test_two_states_by_hand():
    # Action 0 stays and pays 1, action 1 ends: v = p / (1 − γp), dv/dp = 1 / (1 − γp)², dp/dθ₀ = p (1 − p).
    transition = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    reward, initial = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0])
    logits = np.log([[0.8, 0.2], [0.5, 0.5]])
    for discount in (0.5, 1):
        slope = 0.8 * 0.2 / (1 - discount * 0.8) ** 2
        gradient = exact.policy_gradient(transition, reward, initial, logits, discount)
        np.testing.assert_allclose(gradient, [[slope, -slope], [0, 0]], rtol=1e-12)
    # Without γ^t the visits are 1 / (1 − p) = 5 instead of 1 / (1 − γp); the advantage is the same.
    gradient = exact.policy_gradient(transition, reward, initial, logits, 0.5, discount_weighting=False)
    slope = 5 * 0.8 * 0.2 / (1 - 0.5 * 0.8)
    np.testing.assert_allclose(gradient, [[slope, -slope], [0, 0]], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("discount", "ends"), [(0.0, 0.0), (0.9, 0.0), (0.999, 0.0), (1.0, 0.2)])
def test_theorem_is_the_derivative(discount, ends):
    transition, reward, initial, logits = random_mdp(0, ends)
    gradient = exact.policy_gradient(transition, reward, initial, logits, discount)
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-12 * np.abs(gradient).max())
    with jax.enable_x64(True):
        derivative = DERIVATIVE(transition, reward, initial, logits, discount)
    np.testing.assert_allclose(gradient, derivative, rtol=1e-9, atol=1e-11 * np.abs(gradient).max())
    differences = finite_differences(lambda x: objective(transition, reward, initial, x, discount), logits)
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.slow
def test_theorem_up_to_a_horizon_is_the_derivative():
    transition, reward, initial, logits = random_mdp(1)
    for discount in (0.0, 0.9, 1.0):
        gradient = exact.policy_gradient(transition, reward, initial, logits, discount, horizon=7)
        with jax.enable_x64(True):
            derivative = DERIVATIVE(transition, reward, initial, logits, discount, horizon=7)
        np.testing.assert_allclose(gradient, derivative, rtol=1e-10, atol=1e-13)


def enumerate_games(transition, reward, initial, logits, discount, horizon):
    """J, ∇J and its version without γ^t: the mean of REINFORCE over all games of up to `horizon` steps."""
    policy = softmax(logits)
    num_states, num_actions = logits.shape
    value, gradient, dropped = 0.0, np.zeros_like(logits), np.zeros_like(logits)
    steps = list(itertools.product(range(num_states), range(num_actions)))
    for length in range(1, horizon + 1):
        for game in itertools.product(steps, repeat=length):
            probability = initial[game[0][0]]
            for t, (s, a) in enumerate(game):
                stops = 1 - transition[s, a].sum() if length < horizon else 1.0  # at the limit either way
                following = transition[s, a, game[t + 1][0]] if t + 1 < length else stops
                probability *= policy[s, a] * following
            paid = [reward[s, a] for s, a in game]
            for t, (s, a) in enumerate(game):
                to_go = sum(discount**k * r for k, r in enumerate(paid[t:]))
                score = np.zeros_like(logits)
                score[s] = np.eye(num_actions)[a] - policy[s]
                gradient += probability * discount**t * score * to_go
                dropped += probability * score * to_go
            value += probability * sum(discount**k * r for k, r in enumerate(paid))
    return value, gradient, dropped


@pytest.mark.slow
@pytest.mark.parametrize("discount", [0.7, 1.0])
def test_against_enumeration_of_all_games(discount):
    rng = np.random.default_rng(2)
    transition = rng.dirichlet(np.ones(4), (3, 2))[:, :, :3]  # what is missing ends the game
    model = (
        transition,
        rng.normal(size=(3, 2)),
        rng.dirichlet(np.ones(3)),
        rng.normal(size=(3, 2)),
        discount,
    )
    value, gradient, dropped = enumerate_games(*model, horizon=4)
    np.testing.assert_allclose(objective(*model, horizon=4), value, rtol=1e-12)
    np.testing.assert_allclose(exact.policy_gradient(*model, horizon=4), gradient, atol=1e-13)
    without = exact.policy_gradient(*model, horizon=4, discount_weighting=False)
    np.testing.assert_allclose(without, dropped, atol=1e-13)
    if discount < 1:
        assert np.abs(gradient - dropped).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("weighting", [True, False])
def test_finite_horizon_grows_into_the_infinite_one(weighting):
    model = (*random_mdp(3, ends=0.3), 0.9)
    limit = exact.policy_gradient(*model, discount_weighting=weighting)
    errors = [
        np.abs(exact.policy_gradient(*model, discount_weighting=weighting, horizon=h) - limit).max()
        for h in (7, 200)
    ]
    assert errors[0] > 1e-5 > 1e-13 > errors[1]


def test_without_discount_weighting_states_are_weighted_by_plain_visits():
    transition, reward, initial, logits = random_mdp(4, ends=0.1)
    discounted = exact.occupancy(transition, initial, softmax(logits), 0.8)
    plain = exact.occupancy(transition, initial, softmax(logits), 1)
    gradient = exact.policy_gradient(transition, reward, initial, logits, 0.8)
    dropped = exact.policy_gradient(transition, reward, initial, logits, 0.8, discount_weighting=False)
    np.testing.assert_allclose(dropped, gradient * (plain / discounted)[:, None], rtol=1e-12)
    # With logits of its own for each state, that still leads uphill, but not along the gradient.
    cosine = (gradient * dropped).sum() / np.linalg.norm(gradient) / np.linalg.norm(dropped)
    assert 0 < cosine < 0.999
    # And at discount 1 there is no difference.
    np.testing.assert_allclose(
        exact.policy_gradient(transition, reward, initial, logits, 1, discount_weighting=False),
        exact.policy_gradient(transition, reward, initial, logits, 1),
        rtol=1e-14,
    )


@pytest.mark.slow
def test_without_discount_weighting_shared_logits_are_led_downhill():
    # Three steps 0 → 1 → 2 → end under the same two logits. Action 0 pays 1 at the start, action 1 pays 2 at
    # the end, worth 2 γ² = ½: J = p + (1 − p) / 2 grows with p, but 1 − 2 < 0 once γ² is dropped.
    transition = np.zeros((3, 2, 3))
    transition[0, :, 1] = transition[1, :, 2] = 1
    reward = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    initial, shared = np.array([1.0, 0.0, 0.0]), np.array([0.3, -0.2])

    def value(x):
        return objective(transition, reward, initial, np.stack([x] * 3), 0.5)

    def direction(**options):
        logits = np.stack([shared] * 3)
        return exact.policy_gradient(transition, reward, initial, logits, 0.5, **options).sum(0)

    gradient, dropped = direction(), direction(discount_weighting=False)
    np.testing.assert_allclose(gradient, finite_differences(value, shared), rtol=1e-8)
    np.testing.assert_allclose(dropped, -2 * gradient, rtol=1e-12)
    assert value(shared + 0.1 * dropped) < value(shared) < value(shared + 0.1 * gradient)


def test_short_corridor_gradient_of_the_shared_logits_vanishes_at_the_optimum():
    transition = np.zeros((4, 2, 4))
    for state, (left, right) in enumerate([(0, 1), (2, 0), (1, 3), (3, 3)]):
        transition[state, 0, left] = transition[state, 1, right] = 1
    reward = np.array([[-1.0, -1.0]] * 3 + [[0.0, 0.0]])
    for p in (0.2, 2 - np.sqrt(2), 0.9):
        logits = np.log([[1 - p, p]] * 4)
        gradient = exact.policy_gradient(transition, reward, [1, 0, 0, 0], logits, 1).sum(0)
        slope = (2 * p**2 - 8 * p + 4) / (p * (1 - p)) ** 2  # dv/dp of v = (2p − 4) / (p (1 − p))
        np.testing.assert_allclose(gradient[1], slope * p * (1 - p), rtol=1e-10, atol=1e-11)


def test_reward_by_next_state_counts_its_expectation():
    transition, _, initial, logits = random_mdp(5)
    reward = np.random.default_rng(6).normal(size=(S, A, S))
    np.testing.assert_allclose(
        exact.policy_gradient(transition, reward, initial, logits, 0.9),
        exact.policy_gradient(transition, (transition * reward).sum(2), initial, logits, 0.9),
        atol=1e-13,
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"discount_weighting": False, "horizon": 7}])
def test_traced_agrees_with_concrete_under_jit_and_vmap(options):
    transition, reward, initial, _ = random_mdp(7, ends=0.1)
    batch = np.random.default_rng(8).normal(size=(3, S, A))
    want = [exact.policy_gradient(transition, reward, initial, x, 0.9, **options) for x in batch]
    assert all(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in want)

    @jax.jit
    @jax.vmap
    def batched(logits):
        return exact.policy_gradient(transition, reward, initial, logits, 0.9, **options)

    got = batched(batch)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_grad_of_the_objective_under_jit_and_vmap_is_the_theorem():
    transition, reward, initial, _ = random_mdp(9, ends=0.2)
    batch = np.random.default_rng(10).normal(size=(3, S, A))
    want = [exact.policy_gradient(transition, reward, initial, x, 1) for x in batch]
    with jax.enable_x64(True):
        batched = jax.vmap(DERIVATIVE, in_axes=(None, None, None, 0, None))
        np.testing.assert_allclose(
            batched(transition, reward, initial, batch, 1), want, rtol=1e-10, atol=1e-12
        )


def test_endless_games_are_refused_where_the_answer_is_infinite():
    model = random_mdp(11)
    with pytest.raises(InvalidInput, match="discount is 1, but the episode never ends"):
        exact.policy_gradient(*model, 1)
    with pytest.raises(
        InvalidInput, match=r"discount_weighting False, but .*discount_weighting=True or a horizon"
    ):
        exact.policy_gradient(*model, 0.9, discount_weighting=False)
    assert np.isfinite(exact.policy_gradient(*model, 1, discount_weighting=False, horizon=7)).all()
    # An endless part that pays nothing adds nothing; one that is never entered does not count.
    transition = np.array([[[0.0, 1.0, 0.0]] * 2, [[0.0, 0.0, 1.0]] * 2, [[0.0, 1.0, 0.0]] * 2])
    reward, logits = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), np.zeros((3, 2))
    want = [[0.25, -0.25], [0, 0], [0, 0]]
    for options in ({}, {"discount_weighting": False}):
        gradient = exact.policy_gradient(transition, reward, [1, 0, 0], logits, 1, **options)
        np.testing.assert_allclose(gradient, want, atol=1e-15)
    transition[0] = 0
    reward[1:] = 1
    np.testing.assert_allclose(
        exact.policy_gradient(transition, reward, [1, 0, 0], logits, 1), want, atol=1e-15
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((A, S))}, r"logits has shape \(3, 4\)"),
        ({"logits": np.full((S, A), -np.inf)}, "logits holds NaN or infinity"),
        ({"discount_weighting": None}, "discount_weighting is None; give True or False"),
        ({"horizon": -1}, "horizon is -1"),
    ],
)
def test_bad_input_is_refused(change, message):
    names = ("transition", "reward", "initial", "logits")
    good = dict(zip(names, random_mdp(12), strict=True), discount=0.9)
    with pytest.raises(InvalidInput, match=message):
        exact.policy_gradient(**(good | change))
