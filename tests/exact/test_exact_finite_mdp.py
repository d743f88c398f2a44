"""Values, objective and occupancy against hand computation, loops in NumPy, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purepg import exact
from purepg.errors import InvalidInput

S, A = 4, 2


def random_mdp(seed, ends=0.0):
    """transition [S, A, S], reward [S, A], initial [S], policy [S, A]; a step is the last with P = `ends`."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(S), (S, A)) * (1 - ends)
    return transition, rng.normal(size=(S, A)), rng.dirichlet(np.ones(S)), rng.dirichlet(np.ones(A), S)


def corridor():
    """Sutton & Barto, example 13.1: states 0, 1, 2, goal 3; actions left, right, swapped in state 1."""
    transition = np.zeros((4, 2, 4))
    for state, (left, right) in enumerate([(0, 1), (2, 0), (1, 3), (3, 3)]):
        transition[state, 0, left] = transition[state, 1, right] = 1
    return transition, np.array([[-1.0, -1.0]] * 3 + [[0.0, 0.0]])


def aliased(right):
    return np.array([[1 - right, right]] * 4)


# Two states: in 0, action 0 stays and pays 1, action 1 goes to 1; state 1 is terminal.
STAY_OR_GO = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
STAY_PAYS = np.array([[1.0, 0.0], [0.0, 0.0]])
START = np.array([1.0, 0.0])


@pytest.mark.slow
def test_two_states_by_hand():
    policy = np.array([[0.5, 0.5], [0.5, 0.5]])
    v, q = exact.policy_evaluation(STAY_OR_GO, STAY_PAYS, policy, 0.5)
    # v = ½ (1 + ½ v), so v = ⅔
    np.testing.assert_allclose(v, [2 / 3, 0], rtol=1e-15)
    np.testing.assert_allclose(q, [[4 / 3, 0], [0, 0]], rtol=1e-15)
    np.testing.assert_allclose(exact.occupancy(STAY_OR_GO, START, policy, 0.5), [4 / 3, 0], rtol=1e-15)
    np.testing.assert_allclose(exact.objective(STAY_OR_GO, STAY_PAYS, START, policy, 1), 1, rtol=1e-15)
    # Σ_t<7 (½·½)^t ½
    np.testing.assert_allclose(
        exact.objective(STAY_OR_GO, STAY_PAYS, START, policy, 0.5, horizon=7),
        0.5 * (1 - 0.25**7) / 0.75,
        rtol=1e-15,
    )


@pytest.mark.slow
def test_endless_reward_of_one_is_worth_ten_at_discount_nine_tenths():
    v, q = exact.policy_evaluation([[[1.0]]], [[1.0]], [0], 0.9)
    np.testing.assert_allclose([v[0], q[0, 0]], [10, 10], rtol=1e-14)
    visits = exact.occupancy([[[1.0]]], [1.0], [0], 0.9, reward=[[1.0]])
    np.testing.assert_allclose(visits, [10], rtol=1e-14)
    assert exact.occupancy([[[1.0]]], [1.0], [0], 0.9) == 0  # without the reward it looks terminal


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.05, 0.3, 2 - np.sqrt(2), 0.95])
def test_short_corridor_closed_form(p):
    v, _ = exact.policy_evaluation(*corridor(), aliased(p), 1)
    np.testing.assert_allclose(v[0], (2 * p - 4) / (p * (1 - p)), rtol=1e-12)
    assert v[3] == 0
    steps = exact.occupancy(corridor()[0], [1, 0, 0, 0], aliased(p), 1)
    np.testing.assert_allclose(steps.sum(), -v[0], rtol=1e-12)
    assert steps[3] == 0


def test_short_corridor_optimum():
    best = -(6 + 4 * np.sqrt(2))
    value = [
        exact.objective(*corridor(), [1, 0, 0, 0], aliased(2 - np.sqrt(2) + d), 1) for d in (-0.01, 0, 0.01)
    ]
    np.testing.assert_allclose(value[1], best, rtol=1e-12)
    assert value[0] < value[1] > value[2]
    np.testing.assert_allclose(
        exact.policy_evaluation(*corridor(), aliased(0.05), 1).v[0], -82.105, atol=5e-4
    )
    np.testing.assert_allclose(
        exact.policy_evaluation(*corridor(), aliased(0.95), 1).v[0], -44.211, atol=5e-4
    )


@pytest.mark.parametrize("discount", [0, 0.5, 0.9, 0.99])
def test_against_iterated_bellman_equation(discount):
    transition, reward, initial, policy = random_mdp(0)
    v, weight, visits = np.zeros(S), initial, np.zeros(S)
    for _ in range(4000):
        q = reward + discount * transition @ v
        v = (policy * q).sum(1)
        visits = visits + weight
        weight = discount * np.einsum("s,sa,sat->t", weight, policy, transition)
    got = exact.policy_evaluation(transition, reward, policy, discount)
    np.testing.assert_allclose(got.v, v, rtol=1e-11)
    np.testing.assert_allclose(got.q, q, rtol=1e-11)
    np.testing.assert_allclose(exact.occupancy(transition, initial, policy, discount), visits, rtol=1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_against_lapack_and_identities(seed):
    discount = [0.3, 0.9, 0.999, 1 - 1e-6][seed % 4]
    transition, reward, initial, policy = random_mdp(seed)
    chain, paid = np.einsum("sa,sat->st", policy, transition), (policy * reward).sum(1)
    v, q = exact.policy_evaluation(transition, reward, policy, discount)
    size = np.abs(v).max()
    np.testing.assert_allclose(
        v, np.linalg.solve(np.eye(S) - discount * chain, paid), rtol=0, atol=1e-9 * size
    )
    np.testing.assert_allclose(v, (policy * q).sum(1), rtol=0, atol=1e-13 * size)
    visits = exact.occupancy(transition, initial, policy, discount)
    np.testing.assert_allclose(visits.sum() * (1 - discount), 1, rtol=1e-9)
    value = exact.objective(transition, reward, initial, policy, discount)
    np.testing.assert_allclose(value, initial @ v, rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(value, visits @ paid, rtol=0, atol=1e-9 * size)


def test_substochastic_rows_are_an_explicit_absorbing_state():
    transition, reward, initial, policy = random_mdp(1, ends=0.1)
    missing = np.ones((S + 1, A, S + 1)) * (np.arange(S + 1) == S)
    missing[:S, :, :S] = transition
    missing[:S, :, S] = 0.1
    ended = [np.vstack([reward, np.zeros((1, A))]), np.vstack([policy, policy[:1]])]
    for discount in (0.9, 1):
        v, q = exact.policy_evaluation(transition, reward, policy, discount)
        v_ended, q_ended = exact.policy_evaluation(missing, *ended, discount)
        np.testing.assert_allclose(v_ended, [*v, 0], rtol=1e-13)
        np.testing.assert_allclose(q_ended, np.vstack([q, np.zeros((1, A))]), rtol=1e-12)
        visits = exact.occupancy(missing, [*initial, 0], ended[1], discount)
        np.testing.assert_allclose(
            visits, [*exact.occupancy(transition, initial, policy, discount), 0], rtol=1e-13
        )
    np.testing.assert_allclose(visits.sum(), 10, rtol=1e-13)  # each step is the last with probability 0.1


def test_reward_by_next_state_counts_its_expectation():
    transition, _, _, policy = random_mdp(2)
    reward = np.random.default_rng(3).normal(size=(S, A, S))
    expected = (transition * reward).sum(2)
    for got, want in zip(
        exact.policy_evaluation(transition, reward, policy, 0.9),
        exact.policy_evaluation(transition, expected, policy, 0.9),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_actions_are_a_deterministic_policy():
    transition, reward, _, _ = random_mdp(4)
    actions = np.array([1, 0, 1, 1], np.int32)
    np.testing.assert_array_equal(
        exact.policy_evaluation(transition, reward, actions, 0.9).v,
        exact.policy_evaluation(transition, reward, np.eye(A)[actions], 0.9).v,
    )


def test_finite_horizon_grows_into_the_infinite_one():
    transition, reward, initial, policy = random_mdp(5)
    limit = exact.objective(transition, reward, initial, policy, 0.8)
    assert exact.objective(transition, reward, initial, policy, 0.8, horizon=1) == pytest.approx(
        initial @ (policy * reward).sum(1), rel=1e-14
    )
    for horizon in (7, 100):
        error = exact.objective(transition, reward, initial, policy, 0.8, horizon=horizon) - limit
        assert abs(error) <= 0.8**horizon * np.abs(reward).max() / 0.2 + 1e-14


@pytest.mark.slow
def test_discount_one_needs_an_end_only_where_it_matters():
    go, stay = np.array([1, 0]), np.array([0, 0])
    v, q = exact.policy_evaluation(STAY_OR_GO, STAY_PAYS, go, 1)
    np.testing.assert_array_equal(v, [0, 0])
    np.testing.assert_array_equal(q, [[1, 0], [0, 0]])
    with pytest.raises(InvalidInput, match=r"never ends from state\(s\) 0 .*discount below 1"):
        exact.policy_evaluation(STAY_OR_GO, STAY_PAYS, stay, 1)
    with pytest.raises(InvalidInput, match="horizon"):
        exact.objective(STAY_OR_GO, STAY_PAYS, START, stay, 1)
    with pytest.raises(InvalidInput, match=r"never ends from state\(s\) 0"):
        exact.occupancy(STAY_OR_GO, START, stay, 1)
    # The same endless state, but the game does not begin there; a time limit; nothing paid there.
    assert exact.objective(STAY_OR_GO, STAY_PAYS, [0, 1], stay, 1) == 0
    np.testing.assert_array_equal(exact.occupancy(STAY_OR_GO, [0, 1], stay, 1), [0, 0])
    assert exact.objective(STAY_OR_GO, STAY_PAYS, START, stay, 1, horizon=7) == 7
    assert exact.objective(STAY_OR_GO, [[0, 5], [0, 0]], START, stay, 1) == 0


def test_rewards_that_cancel_in_an_endless_loop_have_no_sum():
    there_and_back = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    with pytest.raises(InvalidInput, match="never ends"):
        exact.policy_evaluation(there_and_back, [[1.0], [-1.0]], [0, 0], 1)
    assert (exact.policy_evaluation(there_and_back, [[0.0], [0.0]], [0, 0], 1).v == 0).all()


def test_concrete_is_float64_numpy_whatever_the_caller_has():
    transition, reward, initial, policy = (jnp.asarray(x) for x in random_mdp(6))
    assert transition.dtype == jnp.float32
    for result in (
        *exact.policy_evaluation(transition, reward, policy, 0.9),
        exact.objective(transition, reward, initial, policy, jnp.float32(0.5)),
        exact.occupancy(transition, initial, policy, 0.9),
    ):
        assert isinstance(result, np.ndarray)
        assert result.dtype == np.float64
        assert result.flags.writeable
    # float32 rounding of the rows is taken out: nothing leaks away in a hundred thousand steps.
    visits = exact.occupancy(transition, initial, policy, 1 - 1e-5)
    np.testing.assert_allclose(visits.sum(), 1e5, rtol=1e-9)


def test_concrete_inside_a_trace_stays_concrete():
    transition, reward, initial, policy = random_mdp(6)

    def inside(x):
        value = exact.objective(transition, reward, initial, policy, 0.9)
        assert isinstance(value, np.ndarray)
        return x + value.item()

    want = exact.objective(transition, reward, initial, policy, 0.9)
    np.testing.assert_allclose(jax.jit(inside)(0.0), want, rtol=1e-6)


@pytest.mark.slow
def test_traced_agrees_with_concrete_under_jit_and_vmap():
    transition, reward, initial, _ = random_mdp(7)
    policies = np.random.default_rng(8).dirichlet(np.ones(A), (5, S))

    def everything(policy, discount):
        return (
            *exact.policy_evaluation(transition, reward, policy, discount),
            exact.objective(transition, reward, initial, policy, discount),
            exact.objective(transition, reward, initial, policy, discount, horizon=10),
            exact.occupancy(transition, initial, policy, discount),
        )

    want = [np.stack(x) for x in zip(*[everything(policy, 0.9) for policy in policies], strict=True)]
    batched = jax.jit(jax.vmap(everything, in_axes=(0, None)))
    for got, x in zip(batched(policies, 0.9), want, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, x, rtol=1e-4, atol=1e-5)
    actions = jnp.array([1, 0, 1, 1])
    got = jax.jit(lambda a: exact.objective(transition, reward, initial, a, 0.9))(actions)
    np.testing.assert_allclose(
        got, exact.objective(transition, reward, initial, actions, 0.9), rtol=1e-4, atol=1e-5
    )


def test_traced_infinite_values_are_not_finite():
    stay = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    v, q = jax.jit(lambda p: exact.policy_evaluation(STAY_OR_GO, STAY_PAYS, p, 1))(stay)
    np.testing.assert_array_equal(v, [np.nan, 0])
    np.testing.assert_array_equal(q, [[np.nan, 0], [0, 0]])
    visits = jax.jit(lambda p: exact.occupancy(STAY_OR_GO, START, p, 1))(stay)
    np.testing.assert_array_equal(visits, [np.inf, 0])


def test_no_lapack_in_the_compiled_program():
    def values(policy):
        transition, reward, initial, _ = random_mdp(9)
        return exact.objective(transition, reward, initial, policy, 0.9)

    policies = np.full((2, S, A), 1 / A)
    program = jax.jit(jax.vmap(jax.value_and_grad(values))).lower(policies).as_text()
    assert "lapack" not in program
    eye = np.stack([np.eye(S)] * 2)
    assert "lapack" in jax.jit(jax.vmap(jnp.linalg.inv)).lower(eye).as_text()  # the word to look for


GOOD = dict(zip(("transition", "reward", "initial", "policy"), random_mdp(10), strict=True), discount=0.9)
NEGATIVE = np.where(np.arange(S) == 0, -0.5, 0.5) * np.ones((S, A, S))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": np.ones((S, S))}, r"transition has shape \(4, 4\); give \[S, A, S\]"),
        ({"transition": np.ones((S, A, S + 1))}, r"transition has shape"),
        ({"transition": np.zeros((0, A, 0))}, r"transition has shape"),
        ({"transition": NEGATIVE}, "transition has entries down to -0.5 .* at least 0"),
        ({"transition": GOOD["transition"] * 1.00001}, "rows that sum to up to 1.00001.* at most 1"),
        ({"transition": GOOD["transition"] * np.nan}, "transition holds NaN or infinity"),
        ({"transition": [["a"]]}, "transition"),
        ({"reward": np.zeros((S, A + 1))}, r"reward has shape \(4, 3\).* give \(4, 2\) or \(4, 2, 4\)"),
        ({"reward": np.full((S, A), np.inf)}, "reward holds NaN or infinity"),
        ({"reward": np.full((S, A), 1j)}, "reward holds complex128; give real numbers"),
        ({"initial": np.ones(S + 1)}, r"initial has shape \(5,\)"),
        ({"initial": np.full(S, 0.1)}, "initial has rows that sum to only 0.4"),
        ({"policy": np.full((S, A), 0.6)}, "policy has entries .* at most 1"),
        ({"policy": np.full((S, A), 0.1)}, "policy has rows that sum to only 0.2"),
        ({"policy": np.full(S, 0.5)}, "policy of shape .* no integers"),
        ({"policy": np.full(S, A)}, "policy holds actions from 2 to 2; give actions from 0 to 1"),
        ({"discount": 1.01}, r"discount is 1.01; give a number in \[0, 1\]"),
        ({"discount": -0.1}, "discount is -0.1"),
        ({"discount": np.nan}, "discount holds NaN"),
        ({"discount": [0.9]}, r"discount has shape \(1,\)"),
        ({"horizon": 0}, "horizon is 0; give a whole number of at least 1"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"horizon": True}, "horizon is True"),
        ({"reward": np.full((S, A), 1e308)}, "overflows float64"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    with pytest.raises(InvalidInput, match=message) as error:
        exact.objective(**(GOOD | change))
    assert "\n" not in str(error.value)


def test_shapes_are_checked_in_a_trace_too():
    with pytest.raises(InvalidInput, match="policy has shape"):
        jax.jit(lambda p: exact.policy_evaluation(GOOD["transition"], GOOD["reward"], p, 0.9))(
            np.ones((A, S))
        )
