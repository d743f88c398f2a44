"""Value and policy iteration against enumeration of all policies, each other, and a linear solve."""

import itertools

import jax
import numpy as np
import pytest

from purepg import exact
from purepg.errors import InvalidInput

S, A = 5, 3


def random_mdp(seed):
    """transition [S, A, S] with few successors, reward [S, A]."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(S, 0.3), (S, A))
    return transition, rng.normal(size=(S, A))


def maze(step_cost):
    """Cells 0 … 4 in a row, the goal to the right of 4 pays 1; actions left, stay, right."""
    transition, reward = np.zeros((5, 3, 5)), np.full((5, 3), -step_cost)
    for cell in range(5):
        transition[cell, 0, max(cell - 1, 0)] = transition[cell, 1, cell] = 1
        if cell < 4:
            transition[cell, 2, cell + 1] = 1
    reward[4, 2] += 1
    return transition, reward


def evaluate(transition, reward, actions, discount):
    states = np.arange(len(actions))
    chain = transition[states, actions]
    return np.linalg.solve(np.eye(len(actions)) - discount * chain, reward[states, actions])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_against_all_policies(seed):
    transition, reward = random_mdp(seed)
    policies = itertools.product(range(A), repeat=S)
    best = np.max([evaluate(transition, reward, np.array(p), 0.9) for p in policies], axis=0)
    result = exact.policy_iteration(transition, reward, 0.9)
    np.testing.assert_allclose(result.v, best, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.policy, result.q.argmax(1))
    assert result.policy.dtype == np.int64
    assert result.v.dtype == result.q.dtype == np.float64


def test_both_agree_with_a_linear_solve_on_a_hundred_models():
    discounts = np.random.default_rng(0).uniform(0, 0.999, 100)
    discounts[:3] = 0, 0.999, 0.99
    for seed, discount in enumerate(discounts):
        transition, reward = random_mdp(seed)
        by_value = exact.value_iteration(transition, reward, discount, 1e-6)
        by_policy = exact.policy_iteration(transition, reward, discount)
        assert by_value.error_bound <= 1e-6
        np.testing.assert_allclose(by_value.v, by_policy.v, rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_value.q, by_policy.q, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(by_value.policy, by_policy.policy)
        linear = evaluate(transition, reward, by_policy.policy, discount)
        np.testing.assert_allclose(by_policy.v, linear, rtol=0, atol=1e-9)
        np.testing.assert_allclose(by_policy.v, by_policy.q.max(1), rtol=0, atol=1e-9)  # Bellman's equation
        assert by_policy.sweeps <= 10


@pytest.mark.parametrize("tolerance", [1.0, 1e-3, 1e-9])
def test_error_bound_holds_and_is_not_idle(tolerance):
    transition, reward = random_mdp(1)
    truth = exact.policy_iteration(transition, reward, 0.95)
    result = exact.value_iteration(transition, reward, 0.95, tolerance)
    error = max(np.abs(result.v - truth.v).max(), np.abs(result.q - truth.q).max())
    assert error <= result.error_bound <= tolerance
    assert result.error_bound > tolerance / 2  # it stopped as soon as it could
    np.testing.assert_array_equal(result.v, result.q.max(1))


def test_value_iteration_stops_at_rounding_and_says_so():
    transition, reward = random_mdp(2)
    result = exact.value_iteration(transition, reward, 0.99, 1e-300)
    assert 1e-300 < result.error_bound < 1e-9
    assert result.sweeps < 10_000
    truth = exact.policy_iteration(transition, reward, 0.99).v
    assert np.abs(result.v - truth).max() <= result.error_bound
    # Nothing at all to learn, and a limit on the sweeps.
    assert exact.value_iteration(transition, 0 * reward, 0.99, 1e-9).sweeps == 1
    cut = exact.value_iteration(transition, reward, 0.99, 1e-9, max_sweeps=3)
    assert cut.sweeps == 3
    assert np.abs(cut.v - truth).max() <= cut.error_bound


@pytest.mark.parametrize("discount", [0.9, 1.0])
@pytest.mark.parametrize("step_cost", [0.0, 0.01])
def test_maze_is_left_by_the_shortest_way(discount, step_cost):
    transition, reward = maze(step_cost)
    steps = np.arange(5, 0, -1)
    want = [sum(-step_cost * discount**k for k in range(n)) + discount ** (n - 1) for n in steps]
    by_policy = exact.policy_iteration(transition, reward, discount)
    by_value = exact.value_iteration(transition, reward, discount, 1e-10)
    for result in (by_policy, by_value):
        # Without costs, at discount 1, every action has the same value; the policy still arrives.
        np.testing.assert_array_equal(result.policy, [2] * 5)
        np.testing.assert_allclose(result.v, want, rtol=1e-12)
    assert np.isinf(by_value.error_bound) == (discount == 1)


def test_rewards_of_a_potential_do_not_send_the_first_policy_round_in_circles():
    # r(s, a) = Φ(s') − Φ(s) makes all actions equal at discount 1, and a circle sums to nothing at all.
    transition, reward = maze(0.0)
    potential = np.random.default_rng(3).normal(size=5)
    reward = reward + transition @ potential - (transition.sum(2) > 0) * potential[:, None]
    reward[4, 2] = 1 - potential[4]
    result = exact.policy_iteration(transition, reward, 1)
    np.testing.assert_allclose(result.v, 1 - potential, rtol=1e-12)


def test_discount_one_against_all_policies_that_end():
    # Sparse models where loops, ties and endings abound; refused exactly where some loop pays for ever.
    rng, solved = np.random.default_rng(0), 0
    policies = np.array(list(itertools.product(range(A), repeat=S)))  # [P, S]
    for _ in range(60):
        following = rng.integers(0, S + 1, (S, A))  # S: the end
        transition = (following[:, :, None] == np.arange(S)) * rng.choice([1, 1, 0.5], (S, A))[:, :, None]
        reward = rng.integers(-2, 2, (S, A)).astype(float)
        chain, paid = transition[range(S), policies], reward[range(S), policies]  # [P, S, S], [P, S]
        one_round = np.zeros_like(paid)
        for _ in range(60):  # every loop has a length that divides 60
            one_round = paid + (chain @ one_round[:, :, None])[:, :, 0]
        late = np.linalg.matrix_power(chain, 3600)
        loops_pay = (late @ one_round[:, :, None] > 1e-9).any()
        ends = late.max((1, 2)) < 1e-9
        uniform_ends = np.linalg.matrix_power(transition.mean(1), 10_000).max() < 1e-9
        if loops_pay:
            with pytest.raises(InvalidInput, match="never ends"):
                exact.policy_iteration(transition, reward, 1)
        elif uniform_ends:
            solved += 1
            best = np.linalg.solve(np.eye(S) - chain[ends], paid[ends][:, :, None]).max(0)[:, 0]
            np.testing.assert_allclose(exact.policy_iteration(transition, reward, 1).v, best, atol=1e-9)
    assert solved > 10


@pytest.mark.slow
def test_ties_keep_the_old_action_and_stop():
    transition, reward = random_mdp(4)
    once, twice = ([0, 1, 1], [0, 0, 1])  # the same two actions, one of them given twice
    result = exact.policy_iteration(transition[:, twice], reward[:, twice], 0.999)
    assert result.sweeps <= 10
    other = exact.policy_iteration(transition[:, once], reward[:, once], 0.999)
    np.testing.assert_allclose(result.v, other.v, rtol=1e-11)
    np.testing.assert_array_equal(np.take(twice, result.policy), np.take(once, other.policy))
    nothing = exact.policy_iteration(transition, 0 * reward, 1)
    assert nothing.sweeps == 1
    assert (nothing.v == 0).all()


def test_infinite_optima_are_refused():
    transition, reward = random_mdp(5)
    with pytest.raises(InvalidInput, match=r"never ends from state\(s\) 0, 1, 2"):
        exact.policy_iteration(transition, reward, 1)
    with pytest.raises(InvalidInput, match="sweep 100 still changed the values"):
        exact.value_iteration(transition, reward + 3, 1, 1e-6, max_sweeps=100)
    # The uniform policy ends; staying in cell 0, which pays, is better than ever leaving.
    stay_pays = maze(0.01)[1]
    stay_pays[0, 1] = 1
    with pytest.raises(InvalidInput, match="never ends"):
        exact.policy_iteration(maze(0.01)[0], stay_pays, 1)


@pytest.mark.slow
def test_jit_and_vmap_agree_with_concrete():
    transition = np.stack([random_mdp(seed)[0] for seed in range(3)])
    reward = np.stack([random_mdp(seed)[1] for seed in range(3)])
    discount = np.array([0.5, 0.9, 0.99])

    @jax.jit
    @jax.vmap
    def both(t, r, g):
        return exact.value_iteration(t, r, g, 1e-9), exact.policy_iteration(t, r, g)

    with jax.enable_x64(True):
        batched = jax.tree.map(np.asarray, both(transition, reward, discount))
    for i, model in enumerate(zip(transition, reward, discount, strict=True)):
        want = exact.value_iteration(*model, 1e-9), exact.policy_iteration(*model)
        for got, single in zip(jax.tree.leaves(batched), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(got[i], single, rtol=1e-9, atol=1e-10)


def test_ambient_precision_in_a_trace():
    transition, reward = random_mdp(0)
    result = jax.jit(lambda r: exact.value_iteration(transition, r, 0.9, 1e-9))(reward)
    assert result.v.dtype == np.float32
    want = exact.value_iteration(transition, reward, 0.9, 1e-9).v
    assert np.abs(result.v - want).max() <= result.error_bound < 1e-3  # float32 cannot do 1e-9, and says so


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0}, "tolerance is 0; give a number above 0"),
        ({"tolerance": np.nan}, "tolerance holds NaN"),
        ({"tolerance": 1e-6, "max_sweeps": 0}, "max_sweeps is 0"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        exact.value_iteration(*random_mdp(6), 0.9, **options)
