import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purepg import returns
from purepg.errors import InvalidInput

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


def episode_return(reward, terminated, truncated, next_value, discount, t, n=10**9):
    """Obvious loop: rewards from row t on, at most n of them, until the episode ends or the rows do."""
    total, weight = 0.0, 1.0
    for k in range(t, len(reward)):
        total += weight * reward[k]
        weight *= discount[k]
        if terminated[k]:
            return total
        if truncated[k] or k == len(reward) - 1 or k - t + 1 == n:
            return total + weight * (0.0 if next_value is None else next_value[k])
    raise AssertionError("unreachable")


def lambda_loop(reward, terminated, truncated, next_value, discount, decay, t):
    """Obvious recursion, forwards."""
    if terminated[t]:
        return reward[t]
    if truncated[t] or t == len(reward) - 1:
        return reward[t] + discount[t] * next_value[t]
    later = lambda_loop(reward, terminated, truncated, next_value, discount, decay, t + 1)
    return reward[t] + discount[t] * ((1 - decay[t]) * next_value[t] + decay[t] * later)


def gae_loop(reward, terminated, truncated, value, next_value, discount, decay, t):
    follows = 0.0 if terminated[t] else next_value[t]
    error = reward[t] + discount[t] * follows - value[t]
    if terminated[t] or truncated[t] or t == len(reward) - 1:
        return error
    later = gae_loop(reward, terminated, truncated, value, next_value, discount, decay, t + 1)
    return error + discount[t] * decay[t] * later


def random_rows(seed, num_rows):
    rng = np.random.default_rng(seed)
    return {
        "reward": rng.normal(size=num_rows).astype(np.float32),
        "terminated": rng.random(num_rows) < 0.2,
        "truncated": rng.random(num_rows) < 0.2,  # both at once happens too: terminated must win
        "value": rng.normal(size=num_rows).astype(np.float32),
        "next_value": rng.normal(size=num_rows).astype(np.float32),
        "discount": rng.random(num_rows).astype(np.float32),
        "decay": rng.random(num_rows).astype(np.float32),
    }


# A few lengths and spans only, so that each compiles once.
rows_strategy = st.builds(random_rows, st.integers(0, 2**31), st.sampled_from([1, 2, 9]))
compiled = {
    name: jax.jit(getattr(returns, name), static_argnames="n" if name == "n_step_return" else ())
    for name in (
        "reward_to_go",
        "total_return",
        "td_target",
        "n_step_return",
        "lambda_return",
        "generalized_advantage",
    )
}


def call(name, *arguments, **options):
    return compiled[name](*arguments, **options)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=rows_strategy, n=st.sampled_from([1, 2, 3, 12]))
def test_every_return_equals_its_loop(rows, n):
    r, te, tr, v, nv = (rows[k] for k in ("reward", "terminated", "truncated", "value", "next_value"))
    g, d = rows["discount"], rows["decay"]
    steps = range(len(r))
    for given_value in (None, nv):
        expected = [episode_return(r, te, tr, given_value, g, t) for t in steps]
        actual = call("reward_to_go", r, te, tr, given_value, discount=g)
        np.testing.assert_allclose(actual, expected, **TOLERANCE)

        start, total = 0, []
        for t in steps:
            total.append(expected[start])
            if te[t] or tr[t]:
                start = t + 1
        actual = call("total_return", r, te, tr, given_value, discount=g)
        np.testing.assert_allclose(actual, total, **TOLERANCE)

    expected = [episode_return(r, te, tr, nv, g, t, n=1) for t in steps]
    np.testing.assert_allclose(call("td_target", r, te, nv, discount=g), expected, **TOLERANCE)
    expected = [episode_return(r, te, tr, nv, g, t, n=n) for t in steps]
    np.testing.assert_allclose(call("n_step_return", r, te, tr, nv, discount=g, n=n), expected, **TOLERANCE)
    expected = [lambda_loop(r, te, tr, nv, g, d, t) for t in steps]
    actual = call("lambda_return", r, te, tr, nv, discount=g, trace_decay=d)
    np.testing.assert_allclose(actual, expected, **TOLERANCE)
    expected = [gae_loop(r, te, tr, v, nv, g, d, t) for t in steps]
    actual = call("generalized_advantage", r, te, tr, v, nv, discount=g, trace_decay=d)
    np.testing.assert_allclose(actual, expected, **TOLERANCE)


@pytest.mark.slow
def test_reward_to_go_by_hand():
    # Three rewards, a termination, two rewards, a truncation, one reward that still runs.
    reward = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    terminated = [False, False, True, False, False, False]
    truncated = [False, False, False, False, True, False]
    actual = returns.reward_to_go(reward, terminated, truncated, discount=0.5)
    np.testing.assert_allclose(actual, [3.0, 4.0, 4.0, 16.0, 16.0, 32.0])
    value = [np.nan] * 4 + [10.0, 100.0]
    actual = returns.reward_to_go(reward, terminated, truncated, value, discount=0.5)
    np.testing.assert_allclose(actual, [3.0, 4.0, 4.0, 18.5, 21.0, 82.0])
    actual = returns.total_return(reward, terminated, truncated, value, discount=0.5)
    np.testing.assert_allclose(actual, [3.0, 3.0, 3.0, 18.5, 18.5, 82.0])


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=rows_strategy, discount=st.floats(0, 1))
def test_identities_between_returns(rows, discount):
    rows = dict(rows)
    num_rows = len(rows["reward"])
    ends = rows["terminated"], rows["truncated"]
    arguments = rows["reward"], *ends, rows["next_value"]
    monte_carlo = call("reward_to_go", *arguments, discount=discount)
    one_step = call("td_target", rows["reward"], rows["terminated"], rows["next_value"], discount=discount)

    np.testing.assert_allclose(
        call("n_step_return", *arguments, discount=discount, n=1), one_step, **TOLERANCE
    )
    for n in (num_rows, num_rows + 3):
        long = call("n_step_return", *arguments, discount=discount, n=n)
        np.testing.assert_allclose(long, monte_carlo, **TOLERANCE)
    for decay, expected in ((0.0, one_step), (1.0, monte_carlo)):
        actual = call("lambda_return", *arguments, discount=discount, trace_decay=decay)
        np.testing.assert_allclose(actual, expected, **TOLERANCE)

    # With consistent values the advantage is the λ-return less the value.
    value = rows["value"]
    inside = ~(ends[0] | ends[1])
    inside[-1] = False
    consistent = np.where(inside, np.append(value[1:], 0.0), rows["next_value"])
    for decay in (0.0, 0.7, 1.0):
        advantage = call(
            "generalized_advantage",
            rows["reward"],
            *ends,
            value,
            consistent,
            discount=discount,
            trace_decay=decay,
        )
        target = call(
            "lambda_return", rows["reward"], *ends, consistent, discount=discount, trace_decay=decay
        )
        np.testing.assert_allclose(advantage, target - value, **TOLERANCE)


def unread(name, terminated, truncated, n):
    """Rows whose next value no return of this name reads."""
    last = np.zeros_like(terminated)
    last[-1] = True
    cut = (truncated | last) & ~terminated
    if name in ("reward_to_go", "total_return", "lambda_return"):  # λ = 1
        return ~cut
    if name == "n_step_return":
        read = cut.copy()
        for t in range(len(terminated) - n + 1):
            if not (terminated | truncated)[t : t + n - 1].any() and not terminated[t + n - 1]:
                read[t + n - 1] = True
        return ~read
    return terminated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reward_to_go", {}),
        ("total_return", {}),
        ("td_target", {}),
        ("n_step_return", {"n": 3}),
        ("lambda_return", {"trace_decay": 1.0}),
        ("generalized_advantage", {"trace_decay": 0.9}),
    ],
)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_unread_next_values_change_nothing(name, options, garbage):

    def weighted(reward, next_value, discount, value, *ends):
        ends = ends[:1] if name == "td_target" else ends
        values = (value, next_value) if name == "generalized_advantage" else (next_value,)
        target = getattr(returns, name)(reward, *ends, *values, discount=discount, **options)
        return jnp.vdot(target, jnp.arange(1.0, 13.0)), target

    gradients = jax.jit(jax.grad(weighted, argnums=(0, 1, 2, 3), has_aux=True))
    for seed in range(5):
        rows = random_rows(seed, 12)
        ends = rows["terminated"], rows["truncated"]
        where = unread(name, rows["terminated"], rows["truncated"], 3)
        assert where.any()
        if name == "lambda_return" and np.isfinite(garbage):
            where = rows["terminated"]  # a finite value in a running row is needed for dG/dλ

        results = []
        for fill in (0.0, garbage):
            next_value = np.where(where, fill, rows["next_value"]).astype(np.float32)
            results.append(gradients(rows["reward"], next_value, rows["discount"], rows["value"], *ends))
        jax.tree.map(np.testing.assert_array_equal, *results)


@pytest.mark.slow
def test_derivative_by_trace_decay_is_right_at_one():
    rows = random_rows(3, 8)

    def first(decay):
        return returns.lambda_return(
            rows["reward"], np.zeros(8, bool), np.zeros(8, bool), rows["next_value"],
            discount=0.9, trace_decay=decay,
        )[0]  # fmt: skip

    numeric = (first(1.0) - first(0.99)) / 0.01
    np.testing.assert_allclose(jax.grad(first)(1.0), numeric, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(7,), (7, 3), (4, 7, 3)])
def test_foreign_code_jits_maps_and_differentiates(shape):
    """On [T], [T, N] and, under the caller's vmap, [S, T, N]: the same numbers as column by column."""
    rng = np.random.default_rng(0)
    reward, value, next_value = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    terminated, truncated = rng.random(shape) < 0.2, rng.random(shape) < 0.2

    def all_returns(reward, terminated, truncated, value, next_value):
        ends = terminated, truncated
        return (
            returns.reward_to_go(reward, *ends, next_value, discount=0.9),
            returns.total_return(reward, *ends, discount=0.9),
            returns.td_target(reward, terminated, next_value, discount=0.9),
            returns.n_step_return(reward, *ends, next_value, discount=0.9, n=3),
            returns.lambda_return(reward, *ends, next_value, discount=0.9, trace_decay=0.8),
            returns.generalized_advantage(reward, *ends, value, next_value, discount=0.9, trace_decay=0.8),
        )

    data = reward, terminated, truncated, value, next_value
    mapped = jax.vmap(all_returns) if len(shape) == 3 else all_returns
    actual = jax.jit(mapped)(*data)
    columns = [np.moveaxis(x, -2 if len(shape) > 1 else 0, 0).reshape(7, -1) for x in data]
    one_column = jax.jit(all_returns)
    expected = [one_column(*(c[:, j] for c in columns)) for j in range(columns[0].shape[1])]
    for k, result in enumerate(actual):
        flat = np.moveaxis(result, -2 if len(shape) > 1 else 0, 0).reshape(7, -1)
        np.testing.assert_allclose(flat.T, [e[k] for e in expected], **TOLERANCE)
    total = jax.jit(jax.grad(lambda *d: sum(jnp.sum(x) for x in mapped(*d)), argnums=(0, 3, 4)))
    gradient = total(*data)
    assert all(np.isfinite(g).all() for g in gradient)


def test_discount_may_vary_by_row_and_by_game():
    rows = [random_rows(seed, 6) for seed in range(3)]
    stacked = {k: np.stack([r[k] for r in rows], axis=1) for k in rows[0]}
    ends = stacked["terminated"], stacked["truncated"]
    by_row = rows[0]["discount"]  # [T] beside [T, N]
    actual = returns.reward_to_go(stacked["reward"], *ends, stacked["next_value"], discount=by_row)
    full = np.repeat(by_row[:, None], 3, axis=1)
    expected = returns.reward_to_go(stacked["reward"], *ends, stacked["next_value"], discount=full)
    np.testing.assert_array_equal(actual, expected)


def test_truncation_as_termination_is_wrong():
    """Reward 1 for ever, γ = 0.9, limit 20: V = 10. Treating the limit as an end loses 0.9^20 of it."""
    reward, nothing, value = np.ones(20), np.zeros(20, bool), np.full(20, 10.0)
    limit = np.arange(20) == 19
    right = returns.reward_to_go(reward, nothing, limit, value, discount=0.9)
    wrong = returns.reward_to_go(reward, limit, nothing, value, discount=0.9)
    np.testing.assert_allclose(right, 10.0, rtol=1e-5)
    np.testing.assert_allclose(wrong[0], 10.0 * (1 - 0.9**20), rtol=1e-5)
    assert wrong[-1] == 1.0


def test_integer_rewards_and_bad_n():
    actual = returns.reward_to_go(np.array([1, 2]), [False, True], [False, False], discount=0.5)
    np.testing.assert_allclose(actual, [2.0, 2.0])
    with pytest.raises(InvalidInput, match="n >= 1"):
        returns.n_step_return([1.0], [False], [False], [0.0], discount=0.9, n=0)


# Nothing passes an end

EVERY = {
    "reward_to_go": {},
    "total_return": {},
    "td_target": {},
    "n_step_return": {"n": 3},
    "lambda_return": {"trace_decay": 0.8},
    "generalized_advantage": {"trace_decay": 0.8},
}


def returned(name, rows, **options):
    ends = (rows["terminated"],) if name == "td_target" else (rows["terminated"], rows["truncated"])
    values = (rows["value"],) if name == "generalized_advantage" else ()
    return getattr(returns, name)(rows["reward"], *ends, *values, rows["next_value"], **options)


def outside(rows, t):
    """The rows of all episodes but the one that row t belongs to."""
    ended = rows["terminated"] | rows["truncated"]
    episode = np.cumsum(ended) - ended
    return episode != episode[t]


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("by_row", [False, True], ids=["scalars", "arrays"])
def test_what_is_not_finite_stays_in_its_episode(name, by_row):
    """Values, gradients by every argument, and gradients of a loss that the broken episode enters too."""

    @jax.jit
    def everything(floats, ends, there):
        def restricted(floats):
            options = {"discount": floats["discount"]}
            if "trace_decay" in EVERY[name]:
                options["trace_decay"] = floats["decay"]
            out = returned(name, floats | ends, **(EVERY[name] | options))
            return jnp.sum(jnp.where(there, out, 0.0) ** 2), out

        def whole(reward):
            return jnp.sum(restricted(floats | {"reward": reward})[1] ** 2)

        gradient, out = jax.grad(restricted, has_aux=True)(floats)
        return out, gradient, jax.grad(whole)(floats["reward"])

    for seed, (planted, field) in enumerate(
        (x, field) for x in (np.nan, np.inf, -np.inf) for field in ("reward", "value", "next_value")
    ):
        rows = random_rows(seed, 12)
        if not by_row:
            rows["discount"], rows["decay"] = np.float32(0.9), np.float32(0.7)
        ends = {k: rows.pop(k) for k in ("terminated", "truncated")}
        there = outside(ends, 7)
        assert there.any()
        clean = everything(rows, ends, there)
        rows[field] = np.where(np.arange(12) == 7, planted, rows[field]).astype(np.float32)
        out, gradient, whole = everything(rows, ends, there)
        np.testing.assert_array_equal(out[there], clean[0][there])
        jax.tree.map(np.testing.assert_array_equal, gradient, clean[1])
        np.testing.assert_array_equal(whole[there], clean[2][there])


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_read_behind_a_discount_of_zero(name):
    options = EVERY[name] | {"discount": 0.0}
    rows = random_rows(0, 6) | {"terminated": np.zeros(6, bool), "truncated": np.zeros(6, bool)}
    rows["reward"][4], rows["next_value"][:] = np.nan, np.inf
    expected = rows["reward"] - (rows["value"] if name == "generalized_advantage" else 0)
    if name == "total_return":
        expected = np.full(6, rows["reward"][0])
    np.testing.assert_array_equal(returned(name, rows, **options), expected)


@pytest.mark.slow
def test_second_derivatives_by_a_discount_of_zero():
    """r_0 + γ r_1 + γ² r_2: 2 r_2."""

    def first(discount):
        return returns.reward_to_go([1.0, 2.0, 3.0], [0, 0, 1], [0, 0, 0], discount=discount)[0]

    assert jax.grad(first)(0.0) == 2.0
    assert jax.hessian(first)(0.0) == 6.0


# Shapes and ranges


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_no_rows_no_returns(name, shape):
    rows = dict.fromkeys(("reward", "value", "next_value"), np.zeros(shape))
    rows |= dict.fromkeys(("terminated", "truncated"), np.zeros(shape, bool))
    assert returned(name, rows, discount=0.9, **EVERY[name]).shape == shape


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("field", ["terminated", "truncated", "value", "next_value"])
def test_an_array_of_another_shape_is_named(name, field):
    """[N] beside [T, N] with N = T would broadcast."""
    rows = dict.fromkeys(("reward", "value", "next_value"), np.zeros((3, 3)))
    rows |= dict.fromkeys(("terminated", "truncated"), np.zeros((3, 3), bool))
    for wrong in ((3,), (), (3, 1), (2, 3)):
        if name == "td_target" and field == "truncated":
            continue
        if name != "generalized_advantage" and field == "value":
            continue
        with pytest.raises(InvalidInput) as caught:
            returned(name, rows | {field: np.zeros(wrong)}, discount=0.9, **EVERY[name])
        assert field in str(caught.value)
        assert str(wrong) in str(caught.value)
        assert "(3, 3)" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "bad", [-0.1, 1.5, np.nan, np.inf, np.array([0.5, np.nan, 0.5]), np.zeros(2), None, "x"]
)
def test_factors_outside_their_range_are_refused_and_traced_ones_pass(name, bad):
    rows = random_rows(0, 3)
    for factor in ("discount", "trace_decay") if "trace_decay" in EVERY[name] else ("discount",):
        with pytest.raises(InvalidInput, match=rf"^{factor} .*(\[0, 1\]|\(3,\))$"):
            returned(name, rows, **({"discount": 0.9} | EVERY[name] | {factor: bad}))
    if isinstance(bad, float):
        out = jax.jit(lambda discount: returned(name, rows, discount=discount, **EVERY[name]))(bad)
        assert out.shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, -1, 1.5, 2.0, True, None])
def test_n_is_a_whole_number_of_steps(n):
    with pytest.raises(InvalidInput, match="n >= 1"):
        returns.n_step_return([1.0], [False], [False], [0.0], discount=0.9, n=n)
    numbers = returns.n_step_return([1.0], [False], [False], [0.0], discount=0.9, n=np.int64(2))
    np.testing.assert_array_equal(numbers, [1.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_whole_numbers_give_floats(name):
    rows = random_rows(0, 4)
    rows |= {field: np.array([1, 2, 3, 4]) for field in ("reward", "value", "next_value")}
    as_floats = {k: x.astype(np.float32) if x.dtype.kind == "i" else x for k, x in rows.items()}
    out = returned(name, rows, discount=0.5, **EVERY[name])
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, returned(name, as_floats, discount=0.5, **EVERY[name]))


def test_rewards_without_a_time_axis_are_refused():
    with pytest.raises(InvalidInput, match="time first"):
        returns.reward_to_go(1.0, terminated=True, truncated=False, discount=0.9)
