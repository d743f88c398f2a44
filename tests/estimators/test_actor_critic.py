"""Targets that a critic continues: without bias where V = V^π, with exactly the known bias elsewhere."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import purepg
from purepg import baselines, critics, exact, returns
from purepg.errors import InvalidInput
from purepg.rollout import collection
from purepg.rollout.trajectory import Trajectory

GAMMA, DECAY = 0.9, 0.6
FLOAT = {"rtol": 1e-5, "atol": 2e-6}

# States 0 to 3 are passed upwards, 4 is the end: every game is over after at most 4 steps, no limit shows.
TRANSITION = np.array(
    [
        [[0.0, 0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 0.75, 0.25, 0.0]],
        [[0.0, 0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 0.25, 0.75]],
        [[0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.5, 0.5]],
        [[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0]],
        [[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0]],
    ]
)
REWARD = np.array([[1.0, 2.0], [-1.0, 3.0], [0.5, -2.0], [2.0, -1.0], [0.0, 0.0]])
INITIAL = np.array([0.75, 0.25, 0.0, 0.0, 0.0])
LOGITS = np.array([[0.3, -0.2], [-0.4, 0.1], [0.0, 0.5], [0.2, -0.3], [0.0, 0.0]])
POLICY = scipy.special.softmax(LOGITS, axis=1)
MODEL = TRANSITION, REWARD, INITIAL
END, STEPS = 4, 5
VALUE = exact.policy_evaluation(TRANSITION, REWARD, POLICY, GAMMA).v
WRONG = np.array([1.0, -2.0, 3.0, 0.5, 7.0])  # the end's own value is not to be read

HYPER = purepg.Hyperparams(discount=GAMMA, trace_decay=DECAY, critic_learning_rate=0.0)
PARAMS = {"table": jnp.asarray(LOGITS, jnp.float32)}
OWN = critics.OwnCritic(purepg.Table())

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


def task(collect, *, with_value=False):
    """The policy of LOGITS; `with_value` for a shared critic: its table has a column for V."""
    env = purepg.environment(
        "envs.finite_mdp:FiniteMDP", transition=TRANSITION, reward=REWARD, initial=INITIAL, max_steps=50
    )
    initial = np.c_[LOGITS, np.zeros(END + 1)] if with_value else LOGITS
    table = purepg.Table(tuple(map(tuple, initial.tolist())))
    return purepg.Task(env, purepg.Softmax(table), collect)


def actor_critic(target, **fields):
    options = {"baseline": baselines.Value(), "critic": OWN, "time_limit": "bootstrap"}
    return purepg.ScoreFunction(target, **(options | fields))


TARGETS = {
    "td": actor_critic("td"),
    "n_step": actor_critic("n_step", n=2),
    "lambda": actor_critic("lambda"),
    "reward_to_go": actor_critic("reward_to_go"),
}


# Every game that can happen


def every_game(steps=STEPS):
    """Rows [K, T, 1] of all games of at most `steps` steps, without values, and their probabilities [K]."""

    def play(t, state, path, probability):
        if t == steps or state == END:
            yield path, probability
            return
        for action, after in np.ndindex(2, END + 1):
            odds = POLICY[state, action] * TRANSITION[state, action, after]
            if odds > 0:
                yield from play(t + 1, after, [*path, (state, action, after)], probability * odds)

    games = [game for s in np.flatnonzero(INITIAL) for game in play(0, s, [], INITIAL[s])]
    length = np.array([len(path) for path, _ in games])
    filled = np.array([path + path[-1:] * (steps - len(path)) for path, _ in games])  # [K, T, 3]
    observation, action, after = np.moveaxis(filled, 2, 0)
    time = np.broadcast_to(np.arange(steps), observation.shape)
    mask, last = time < length[:, None], time == length[:, None] - 1
    reward = np.where(mask, REWARD[observation, action], 0.0)
    rows = Trajectory(
        observation.astype(np.int32),
        action.astype(np.int32),
        reward.astype(np.float32),
        last & (after == END),
        last & (after != END),
        mask,
        time.astype(np.int32),
        np.cumsum(reward, axis=1, dtype=np.float32),
    )
    probability = np.array([p for _, p in games])
    assert np.isclose(probability.sum(), 1.0)
    return jax.tree.map(lambda x: x[..., None], rows), probability, after[..., None]


def with_values(rows, after, value):
    """The rows as a rollout with this V [S] gives them."""
    cut = np.where(rows.truncated, value[after], 0.0)
    return rows._replace(value=np.float32(value[rows.observation]), bootstrap_value=np.float32(cut))


@functools.cache
def estimating(estimator):
    """The compiled policy gradient [K, S, A] of rows [K, T, 1]."""
    games = task(purepg.Games(1, STEPS))
    state = estimator.init(games, HYPER, PARAMS, jax.random.key(0))

    def one(rows):
        return estimator.estimate_from(games, HYPER, PARAMS, state, rows).policy_gradient["table"]

    return quick_jit(jax.vmap(one))


def mean_estimate(estimator, value, steps=STEPS):
    """E[g] by enumeration, [S, A]. Nothing is sampled."""
    rows, probability, after = every_game(steps)
    gradients = estimating(estimator)(with_values(rows, after, value))
    return np.tensordot(probability, np.asarray(gradients, np.float64), 1)


# What must come out


def weighted_visits(steps):
    """Σ_{t<steps} γ^t P(s_t = s), [S]."""
    chain = np.einsum("sa,sab->sb", POLICY, TRANSITION)
    weights = [INITIAL]
    for _ in range(steps - 1):
        weights.append(GAMMA * weights[-1] @ chain)
    return np.sum(weights, axis=0)


def direction(q, steps=STEPS):
    """Σ_{t<steps} γ^t E ∇log π(a|s) q(s, a), [S, A]: what multiplies ∇log π has the mean q [S, A]."""
    advantage = q - (POLICY * q).sum(axis=1, keepdims=True)
    return weighted_visits(steps)[:, None] * POLICY * advantage


def n_step_values(value, n):
    """q [S, A]: the mean of r_0 + … + γ^{n−1} r_{n−1} + γ^n V(s_n), nothing after the end."""
    value = np.where(np.arange(END + 1) == END, 0.0, value)
    for _ in range(n):
        q = REWARD + GAMMA * TRANSITION @ value
        value = (POLICY * q).sum(axis=1)
    return q


EXACT = exact.policy_gradient(*MODEL, LOGITS, GAMMA)


def test_the_reference_agrees_with_the_exact_gradient():
    q = exact.policy_evaluation(TRANSITION, REWARD, POLICY, GAMMA).q
    np.testing.assert_allclose(direction(q), EXACT, rtol=1e-9, atol=1e-12)


# Without bias where V = V^π


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_with_the_exact_value_the_expectation_is_the_gradient_by_enumeration(target):
    np.testing.assert_allclose(mean_estimate(TARGETS[target], VALUE), EXACT, **FLOAT)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_limit_cuts_off_late_rows_and_nothing_else(target):
    """After 2 steps V continues: Σ_{t<2} γ^t E ∇log π Q^π with the Q of the game without limit."""
    q = exact.policy_evaluation(TRANSITION, REWARD, POLICY, GAMMA).q
    expected = direction(q, steps=2)
    np.testing.assert_allclose(mean_estimate(TARGETS[target], VALUE, steps=2), expected, **FLOAT)
    assert np.abs(expected - exact.policy_gradient(*MODEL, LOGITS, GAMMA, horizon=2)).max() > 0.01


@pytest.mark.slow
def test_a_limit_of_the_problem_is_left_to_the_rewards():
    """time_limit "objective" with a critic as mere baseline, whatever its V: ∇ of the return up to the limit."""
    estimator = actor_critic("reward_to_go", time_limit="objective")
    expected = exact.policy_gradient(*MODEL, LOGITS, GAMMA, horizon=2)
    np.testing.assert_allclose(mean_estimate(estimator, WRONG, steps=2), expected, **FLOAT)


# With a known bias elsewhere


def test_with_a_wrong_value_td_is_biased_by_what_the_model_says():
    """E Σ γ^t ∇log π (r + γ V(s') − V(s)) from the arrays, V the wrong one; it is not the gradient."""
    expected = direction(REWARD + GAMMA * TRANSITION @ np.where(np.arange(END + 1) == END, 0.0, WRONG))
    np.testing.assert_allclose(mean_estimate(TARGETS["td"], WRONG), expected, **FLOAT)
    assert np.abs(expected - EXACT).max() > 0.05


def test_n_steps_put_the_wrong_value_off():
    expected = direction(n_step_values(WRONG, 2))
    np.testing.assert_allclose(mean_estimate(TARGETS["n_step"], WRONG), expected, **FLOAT)
    td_bias = np.abs(direction(n_step_values(WRONG, 1)) - EXACT).max()
    assert 0.01 < np.abs(expected - EXACT).max() < td_bias


def test_lambda_mixes_the_biases_of_all_n():
    """(1 − λ) Σ_n λ^{n−1} q_n; from n = 4 on there is none."""
    shares = [(1 - DECAY) * DECAY ** (n - 1) for n in (1, 2, 3)]
    q = sum(share * n_step_values(WRONG, n) for share, n in zip(shares, (1, 2, 3), strict=True))
    expected = direction(q + DECAY**3 * n_step_values(WRONG, 4))
    np.testing.assert_allclose(mean_estimate(TARGETS["lambda"], WRONG), expected, **FLOAT)
    assert np.abs(expected - EXACT).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reward_to_go", "n_step"])
def test_a_wrong_value_that_is_only_subtracted_biases_nothing(name):
    estimator = replace(TARGETS[name], n=STEPS)
    np.testing.assert_allclose(mean_estimate(estimator, WRONG), EXACT, **FLOAT)


# Played


@pytest.mark.slow
def test_actor_critic_by_sampling():
    """4 standard errors, V^π in the critic's table: the values in the rows are those of the right states."""
    games = task(purepg.Games(20))
    value = {"table": jnp.asarray(VALUE, jnp.float32)[:, None]}
    num_batches = 300

    estimator = TARGETS["lambda"]  # reads every value that there is

    def one(key):
        state = estimator.init(games, HYPER, PARAMS, key)
        state = state._replace(
            learned=state.learned._replace(critic=state.learned.critic._replace(params=value, copy=value))
        )
        return estimator.estimate(games, HYPER, PARAMS, state, key).policy_gradient["table"]

    sample = quick_jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num_batches))
    sample = np.asarray(sample, np.float64)[:, :END]
    error = sample.std(axis=0, ddof=1) / np.sqrt(num_batches)
    assert (np.abs(sample.mean(axis=0) - EXACT[:END]) < 4 * error).all()
    assert (np.abs(EXACT[:END]) > 8 * error).any()


# Relations between the targets

SEGMENT_STEPS, SEGMENT_GAMES = 6, 4
COLLECT = purepg.Segments(SEGMENT_GAMES, SEGMENT_STEPS)
SEGMENTS = task(COLLECT)


def segment_rows(seed=0):
    """Rows of running games: each ends here and there, terminated and cut; the ages in the first row differ."""
    generator = np.random.default_rng(seed)
    shape = SEGMENT_STEPS, SEGMENT_GAMES
    terminated = generator.random(shape) < 0.2
    truncated = (generator.random(shape) < 0.2) & ~terminated
    assert terminated.any()
    assert truncated[:-1].any()
    time = np.zeros(shape, np.int32)
    time[0] = np.array([0, 3, 7, 2])
    for t in range(1, SEGMENT_STEPS):
        time[t] = np.where(terminated[t - 1] | truncated[t - 1], 0, time[t - 1] + 1)
    reward = generator.normal(size=shape).astype(np.float32)
    cut = truncated | (np.arange(SEGMENT_STEPS)[:, None] == SEGMENT_STEPS - 1) & ~terminated
    return Trajectory(
        generator.integers(END, size=shape).astype(np.int32),
        generator.integers(2, size=shape).astype(np.int32),
        reward,
        terminated,
        truncated,
        np.ones(shape, bool),
        time,
        reward,
        generator.normal(size=shape).astype(np.float32),
        np.where(cut, generator.normal(size=shape), 0.0).astype(np.float32),
    )


@functools.cache
def estimating_segments(estimator):
    segments = task(COLLECT, with_value=True)

    @quick_jit
    def start(key):
        params = estimator.bind(segments).init(key)
        return params, estimator.init(segments, HYPER, params, key)

    estimate = functools.partial(estimator.estimate_from, segments)
    return *start(jax.random.key(0)), quick_jit(estimate)


def segment_estimate(estimator, rows, **numbers):
    """The whole estimate but its running games: both gradients and the metrics."""
    params, state, estimate = estimating_segments(estimator)
    numbers = {"value_coefficient": 0.5, "trace_decay": DECAY} | numbers
    hyper = purepg.Hyperparams(discount=GAMMA, **{k: jnp.float32(v) for k, v in numbers.items()})
    done = estimate(hyper, params, state, rows)
    return done.policy_gradient, done.gradient, done.metrics


def assert_close(actual, expected):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6), actual, expected)


SHARED = {name: replace(e, critic=critics.SharedCritic()) for name, e in TARGETS.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("trace_decay", "same"), [(0.0, "td"), (1.0, "reward_to_go")])
def test_gae_at_its_ends(trace_decay, same):
    """λ = 0 is TD(0), λ = 1 the Monte-Carlo return: the whole estimates, gradient for gradient."""
    rows = segment_rows()
    gae = segment_estimate(SHARED["lambda"], rows, trace_decay=trace_decay)
    assert_close(gae, segment_estimate(SHARED[same], rows))
    assert np.abs(gae[0]["table"]).max() > 0.01


def test_gae_is_the_textbooks():
    """y − V of the λ target is `generalized_advantage`, so is what multiplies ∇log π."""
    rows = segment_rows()
    advantage = returns.generalized_advantage(
        *(rows.reward, rows.terminated, rows.truncated, rows.value),
        next_value=collection.next_values(jax.tree.map(jnp.asarray, rows)),
        discount=GAMMA,
        trace_decay=DECAY,
    )
    actual = segment_estimate(SHARED["lambda"], rows)[0]["table"][:, :2]
    np.testing.assert_allclose(actual, weighted_scores(rows, np.asarray(advantage)), rtol=1e-4, atol=1e-6)


def weighted_scores(rows, advantage):
    """(1/NT) Σ_rows γ^time ∇log π(a|s) advantage by a loop, [S, A]."""
    gradient = np.zeros((END + 1, 2))
    for t, n in np.ndindex(advantage.shape):
        s, a = rows.observation[t, n], rows.action[t, n]
        score = np.eye(2)[a] - POLICY[s]
        gradient[s] += GAMMA ** rows.time[t, n] * score * advantage[t, n]
    return gradient / advantage.size


def test_rows_are_weighted_by_the_games_own_time():
    """γ^t with t since the game's start, not since the segment's."""
    rows = segment_rows()
    following = np.where(
        rows.truncated, rows.bootstrap_value, np.concatenate([rows.value[1:], rows.bootstrap_value[-1:]])
    )
    advantage = rows.reward + GAMMA * np.where(rows.terminated, 0.0, following) - rows.value
    actual = segment_estimate(SHARED["td"], rows)[0]["table"][:, :2]
    np.testing.assert_allclose(actual, weighted_scores(rows, advantage), rtol=1e-4, atol=1e-6)
    wrong = rows._replace(time=np.broadcast_to(np.arange(SEGMENT_STEPS)[:, None], rows.time.shape))
    assert np.abs(weighted_scores(wrong, advantage) - actual).max() > 0.01


@pytest.mark.slow
def test_segments_are_weighted_by_time_when_played():
    """The estimate is that of the rows which the same key collects; their times go on from segment to segment."""
    estimator = TARGETS["td"]

    @quick_jit
    def two_segments(key):
        state = estimator.init(SEGMENTS, HYPER, PARAMS, key)
        first = estimator.estimate(SEGMENTS, HYPER, PARAMS, state, jax.random.fold_in(key, 0))
        key = jax.random.fold_in(key, 1)

        def value(observation):
            return estimator.critic.outputs(SEGMENTS, PARAMS, first.state.learned.critic, observation).value

        act = critics.acting(estimator.critic, SEGMENTS, PARAMS, first.state.learned.critic)
        _, rows = collection.collect(SEGMENTS, HYPER, act, first.state.games, key, value)
        second = estimator.estimate(SEGMENTS, HYPER, PARAMS, first.state, key)
        return first.state.games.time, rows, second.policy_gradient["table"]

    time, rows, actual = jax.tree.map(np.asarray, two_segments(jax.random.key(4)))
    np.testing.assert_array_equal(rows.time[0], time)
    assert (rows.time[0] > 0).any()
    np.testing.assert_array_equal(rows.value, 0.0)
    np.testing.assert_allclose(actual, weighted_scores(rows, rows.reward), rtol=1e-4, atol=1e-6)


# What is not to be read


GARBAGE = [np.nan, np.inf, 1e30]


def with_garbage(rows, garbage):
    """Rows of whole games with garbage in every value that means nothing."""
    unread = ~rows.truncated
    return rows._replace(
        value=np.where(rows.mask, rows.value, np.float32(garbage)),
        bootstrap_value=np.where(unread, np.float32(garbage), rows.bootstrap_value),
    )


@functools.cache
def estimating_batches(estimator):
    games = task(purepg.Games(3, STEPS), with_value=estimator.critic == critics.SharedCritic())
    params = estimator.bind(games).init(jax.random.key(0))
    hyper = replace(HYPER, critic_learning_rate=0.1)
    state = estimator.init(games, hyper, params, jax.random.key(0))
    return quick_jit(lambda rows: estimator.estimate_from(games, hyper, params, state, rows))


def batch(steps):
    """Three games of different lengths, terminated and (with 3 steps) cut."""
    rows, _, after = every_game(steps)
    rows = with_values(rows, after, WRONG)
    length = rows.mask.sum(axis=(1, 2))
    chosen = [int(np.flatnonzero(length == n)[-1]) for n in (1, 2)] + [
        int(np.argmax(rows.truncated.any((1, 2))))
    ]
    return jax.tree.map(lambda x: np.moveaxis(x[chosen, ..., 0], 0, 1), rows)


@pytest.mark.slow
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize(
    "estimator",
    [
        TARGETS["td"],
        TARGETS["n_step"],
        TARGETS["reward_to_go"],
        SHARED["lambda"],
        replace(SHARED["td"], normalize_advantages=True),
    ],
    ids=["td", "n_step", "reward_to_go", "shared lambda", "shared td normalized"],
)
def test_values_that_mean_nothing_are_not_read(estimator, garbage):
    """Values in rows after a game's end, next values elsewhere than at a cut: not in any gradient, not in V's."""
    rows = batch(steps=3)
    assert not rows.mask.all()
    assert rows.truncated.any()
    estimate = estimating_batches(estimator)
    plain, odd = (estimate(jax.tree.map(jnp.asarray, r)) for r in (rows, with_garbage(rows, garbage)))
    jax.tree.map(np.testing.assert_array_equal, odd, plain)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(odd))


@pytest.mark.slow
def test_next_values_after_a_termination_inside_a_segment_are_not_read():
    """The next row's value there is a fresh game's; `bootstrap_value` is read at cuts and in the last row only."""
    rows = segment_rows()
    last = np.arange(SEGMENT_STEPS)[:, None] == SEGMENT_STEPS - 1
    read = (rows.truncated | last) & ~rows.terminated
    odd = rows._replace(bootstrap_value=np.where(read, rows.bootstrap_value, np.float32(np.nan)))
    for estimator in SHARED.values():
        actual, expected = (segment_estimate(estimator, r) for r in (odd, rows))
        jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_a_total_return_in_segments_is_refused():
    with pytest.raises(InvalidInput, match="needs whole games"):
        actor_critic("total", discount_weighting=False).check(SEGMENTS)
