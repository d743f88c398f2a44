"""Running games: segments that go on from one another, fresh states, values where games are cut, staggered starts."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purepg
from purepg import estimators
from purepg.rollout.rollout import fresh_games, play_and_learn, play_games, play_segment, staggered_games
from purepg.rollout.trajectory import ActionOutput, Learner, Trajectory

KEY = jax.random.key(0)

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


# A game that tells where it is


@struct.dataclass
class MarkedState(environment.EnvState):
    time: int
    mark: jax.Array


@struct.dataclass
class MarkedParams(environment.EnvParams):
    length: int = 3
    max_steps_in_episode: int = 4
    share: float = 0.5


class Marked(environment.Environment):
    """Shows its time and a random mark of its own; those with a mark below `share` terminate, the others are cut."""

    @property
    def default_params(self):
        return MarkedParams()

    def reset_env(self, key, params):
        mark = jax.random.uniform(key)
        return jnp.stack([mark, 0.0]), MarkedState(time=0, mark=mark)

    def step_env(self, key, state, action, params):
        state = MarkedState(time=state.time + 1, mark=state.mark)
        terminated = (state.time >= params.length) & (state.mark < params.share)
        observation = jnp.stack([state.mark, jnp.float32(state.time)])
        return observation, state, self.reward(state.mark, state.time - 1), terminated, {}

    def reward(self, mark, time):
        return mark + time

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params=None):
        return spaces.Box(0.0, jnp.inf, (2,))


ENV, NUM_GAMES, STEPS = Marked(), 8, 9
LENGTH, LIMIT, SHARE = 3, 4, 0.5


def act(key, observation):
    action = jax.random.bernoulli(key, shape=observation.shape[:1]).astype(jnp.int32)
    return ActionOutput(action, action, value(observation))


def value(observation):
    """Tells every observation apart."""
    return 100.0 + 10.0 * observation[:, 0] + observation[:, 1]


def segment(key, running, params, num_steps=STEPS, max_steps=50, **options):
    options |= {"num_steps": num_steps, "max_steps": max_steps, "value": value}
    return play_segment(ENV, params, act, key, running, **options)


def staggered(key, params, num_games=NUM_GAMES, max_steps=50):
    return staggered_games(ENV, params, act, key, num_games=num_games, max_steps=max_steps)


@pytest.fixture(scope="module")
def two_segments():
    """The games before the first segment, and the rows of both, NumPy arrays."""

    @quick_jit
    def play(key):
        keys, params = jax.random.split(key, 3), ENV.default_params
        start = staggered(keys[0], params, max_steps=LIMIT)
        middle, first = segment(keys[1], start, params, keep_next=True)
        end, second = segment(keys[2], middle, params, keep_next=True)
        return start, middle, end, first, second

    start, middle, end, first, second = jax.tree.map(np.asarray, play(KEY))
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second)
    ends_last = both.terminated[[STEPS - 1, -1]], both.truncated[[STEPS - 1, -1]]
    assert ends_last[0].any()  # both segments together show every kind of last row
    assert ends_last[1].any()
    assert not (ends_last[0] | ends_last[1]).all()
    return start, middle, end, both


def continuing_games(start, rows):
    """The rows as they must be, by a loop; of `rows` the actions and the marks of fresh games are taken."""
    expected = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), rows)
    for n in range(NUM_GAMES):
        mark, time, return_so_far = start.state.mark[n], int(start.time[n]), start.return_so_far[n]
        for t in range(2 * STEPS):
            reward, after = mark + time, time + 1
            terminated = after >= LENGTH and mark < SHARE
            truncated = after >= LIMIT and not terminated
            running_on = t % STEPS == STEPS - 1 and not terminated
            bootstrap_value = 100 + 10 * mark + after if truncated or running_on else 0.0
            return_so_far = return_so_far + reward
            observation = np.array([mark, time])
            fields = (rows.action[t, n], reward, terminated, truncated, True, time, return_so_far)
            fields = (observation, *fields, 100 + 10 * mark + time, bootstrap_value, np.array([mark, after]))
            for column, x in zip(expected, fields, strict=True):
                column[t, n] = x
            time = after
            if (terminated or truncated) and t + 1 < 2 * STEPS:
                mark, time, return_so_far = rows.observation[t + 1, n, 0], 0, 0.0
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("field", Trajectory._fields)
def test_two_segments_are_one_continuing_game(field, two_segments):
    """By a loop: times, returns so far, ends, the next observation before any reset, V of it where a game is cut."""
    start, _, _, rows = two_segments
    expected = getattr(continuing_games(start, rows), field)
    np.testing.assert_allclose(getattr(rows, field), expected, rtol=1e-5)


def test_the_next_segment_starts_with_the_games_as_they_were_left(two_segments):
    _, middle, _, rows = two_segments
    np.testing.assert_array_equal(rows.observation[STEPS], middle.observation)
    np.testing.assert_array_equal(rows.time[STEPS], middle.time)
    np.testing.assert_array_equal(middle.state.time, middle.time)


def test_bootstrap_values_are_not_those_of_the_fresh_game(two_segments):
    """The wrong one: V of what stands in the next row, after the reset."""
    _, _, end, rows = two_segments
    following = np.concatenate([rows.observation[1:], end.observation[None]])
    cut = rows.truncated
    assert cut[STEPS - 1].any() | cut[-1].any()
    assert (np.abs(rows.bootstrap_value[cut] - (100 + following[cut] @ [10, 1])) > 0.01).all()
    assert not rows.bootstrap_value[rows.terminated].any()


def test_every_row_of_a_segment_counts(two_segments):
    rows = two_segments[-1]
    assert rows.mask.all()
    assert not (rows.terminated & rows.truncated).any()


def test_a_learner_plays_the_segment_and_sees_what_comes_next(two_segments):
    """One that learns nothing but the number of steps: the same games, and the observations that are acted on next."""
    start, middle, _, rows = two_segments

    def learn(steps, key, row, observation):
        del key
        return steps + 1, (steps, row, observation)

    @quick_jit
    def play(key):
        key, running = jax.random.split(key, 3)[1], jax.tree.map(jnp.asarray, start)
        learner = Learner(jnp.int32(0), lambda steps, *seen: act(*seen), learn)
        return play_and_learn(ENV, ENV.default_params, learner, key, running, num_steps=STEPS, max_steps=50)

    after, steps, (counted, row, following) = jax.tree.map(np.asarray, play(KEY))
    assert steps == STEPS
    np.testing.assert_array_equal(counted, np.arange(STEPS))
    jax.tree.map(np.testing.assert_array_equal, after, middle)
    first = jax.tree.map(lambda x: x[:STEPS], rows)
    jax.tree.map(np.testing.assert_array_equal, row, first._replace(bootstrap_value=None))
    np.testing.assert_array_equal(following, rows.observation[1 : STEPS + 1])


def test_every_game_has_a_fresh_state_of_its_own():
    """All games end in the same step, again and again: no two of their marks agree, and none comes twice."""
    params = replace(ENV.default_params, share=2.0)

    @quick_jit
    def play(key):
        start = fresh_games(ENV, params, key, NUM_GAMES)
        return segment(jax.random.key(1), start, params)[1]

    rows = jax.tree.map(np.asarray, play(KEY))
    np.testing.assert_array_equal(
        rows.terminated.sum(axis=1), np.where(np.arange(STEPS) % 3 == 2, NUM_GAMES, 0)
    )
    marks = rows.observation[rows.time == 0][:, 0]
    assert marks.size == 3 * NUM_GAMES
    assert len(np.unique(marks)) == marks.size


def test_fresh_states_of_staggered_games_are_apart(two_segments):
    start, _, _, rows = two_segments
    fresh = rows.observation[1:][rows.time[1:] == 0][:, 0]
    marks = np.concatenate([start.state.mark, fresh])
    assert len(np.unique(marks)) == marks.size


@pytest.mark.slow
@pytest.mark.parametrize("limit", [4, 50], ids=["the environment's limit", "the task's limit"])
def test_bootstrap_values_of_whole_games(limit):
    """V of the true next observation where the limit cuts a game, 0 in every other row, dead ones included."""
    params = replace(ENV.default_params, max_steps_in_episode=limit)

    @quick_jit
    def play(key):
        return play_games(ENV, params, act, key, num_games=NUM_GAMES, max_steps=12, value=value)

    rows = jax.tree.map(np.asarray, play(KEY))
    assert 0 < rows.truncated.sum() < NUM_GAMES
    last = min(limit, 12)
    expected = np.where(rows.truncated, 100 + 10 * rows.observation[..., 0] + last, 0.0)
    np.testing.assert_allclose(rows.bootstrap_value, expected, rtol=1e-5)


# Staggered starts

FOREVER = MarkedParams(length=0, max_steps_in_episode=10**6, share=0.0)


@functools.cache
def endless_games(num_games, max_steps):
    running = quick_jit(lambda key: staggered(key, FOREVER, num_games, max_steps))(KEY)
    return jax.tree.map(np.asarray, running)


@pytest.mark.slow
@pytest.mark.parametrize(("num_games", "max_steps"), [(8, 20), (15, 5), (4, 1)])
def test_ages_are_spread_evenly(num_games, max_steps):
    """In [0, max_steps); between one age and the next, and round to the first, lie max_steps / N steps, rounded."""
    ages = np.sort(endless_games(num_games, max_steps).time)
    assert (ages >= 0).all()
    assert (ages < max_steps).all()
    between = np.diff(np.append(ages, ages[0] + max_steps))
    assert (between >= max_steps // num_games).all()
    assert (between <= -(-max_steps // num_games)).all()


def test_staggered_games_are_played_to_their_age():
    running = endless_games(8, 20)
    time = running.time
    np.testing.assert_array_equal(running.state.time, time)
    np.testing.assert_array_equal(running.observation[:, 1], time)
    np.testing.assert_allclose(
        running.return_so_far, time * running.state.mark + time * (time - 1) / 2, rtol=1e-5
    )
    assert len(np.unique(running.state.mark)) == 8


@pytest.mark.slow
def test_games_that_end_while_they_are_staggered_start_again():
    """Lengths 3 and 4, staggered over 50 steps: all are in their midst."""
    running = jax.tree.map(np.asarray, quick_jit(lambda key: staggered(key, ENV.default_params))(KEY))
    length = np.where(running.state.mark < SHARE, LENGTH, LIMIT)
    assert (running.time < length).all()
    assert running.time.max() > 0
    np.testing.assert_allclose(running.observation[:, 1], running.time)
    assert (running.return_so_far == 0)[running.time == 0].all()


def test_long_games_are_not_played_to_their_limit_before_training():
    np.testing.assert_array_equal(np.sort(endless_games(4, 10**9).time), [0, 250, 500, 750])


def ends_by_row(start_games):
    """How many games of 20 steps are cut in each of 30 rows."""

    @quick_jit
    def play(key):
        return segment(key, start_games(key), FOREVER, num_steps=30, max_steps=20)[1]

    return np.asarray(play(KEY).truncated.sum(axis=1))


@pytest.mark.slow
def test_games_started_together_end_together():
    """The counter-example: without staggering all are cut in one and the same row, and between nothing is learned."""
    together = ends_by_row(lambda key: fresh_games(ENV, FOREVER, key, NUM_GAMES))
    np.testing.assert_array_equal(together, np.where(np.arange(30) == 19, NUM_GAMES, 0))
    apart = ends_by_row(lambda key: staggered(key, FOREVER, NUM_GAMES, 20))
    assert apart.max() == 1
    assert apart[:20].sum() == NUM_GAMES


# Reported returns

SEEDS, WINDOWS = 16, 24


@pytest.fixture(scope="module")
def pendulum():
    """A run in segments on Pendulum-v1, which only its limit of 200 steps ends, at learning rate 0."""
    policy = purepg.Gaussian(purepg.MLP((4,)))
    task = purepg.Task("Pendulum-v1", policy, purepg.Segments(num_games=4, num_steps=32))
    method = purepg.PolicyGradient(task, estimators.make("gae"))
    hyper = purepg.Hyperparams(learning_rate=0.0)
    return purepg.run(method, hyper, SEEDS, WINDOWS, evaluation_games=0)


@pytest.mark.slow
def test_windows_without_an_end_report_nothing(pendulum):
    """4 games at ages 0, 50, 100, 150 of 200: one ends in the last of every 50 steps, windows are of 32."""
    segments = pendulum.dataset
    ends = 50 * np.arange(1, WINDOWS)
    count = np.histogram(ends, 32 * np.arange(WINDOWS + 1) + 0.5)[0]
    assert (count == 0).any()
    np.testing.assert_array_equal(segments["return_count"], np.tile(count, (SEEDS, 1)))
    np.testing.assert_array_equal(np.isnan(segments["return"]), np.tile(count == 0, (SEEDS, 1)))


def test_episodes_of_segments_are_whole_ones(pendulum):
    length = pendulum.dataset["length"].values
    np.testing.assert_array_equal(length[np.isfinite(length)], 200.0)


@pytest.mark.slow
def test_returns_of_segments_are_those_of_whole_games(pendulum):
    """4 standard errors over seeds, each against 16 whole games of its policy; 32 steps are worth a sixth of one."""
    method, hyper, params = pendulum.method, pendulum.hyper, pendulum.method.params(pendulum.state.learner)

    @quick_jit
    @jax.vmap
    def whole_games(params, key):
        return purepg.evaluate(method, hyper, params, key, 16, deterministic=False).returns.mean()

    in_games = np.asarray(whole_games(params, jax.random.split(KEY, SEEDS)))
    segments = pendulum.dataset
    total = segments["return"] * segments["return_count"]
    in_segments = (total.sum("iteration") / segments["return_count"].sum("iteration")).values
    difference = in_segments - in_games
    error = difference.std(ddof=1) / np.sqrt(SEEDS)
    assert abs(difference.mean()) < 4 * error
    assert 4 * error < 0.25 * abs(in_games.mean())


def test_running_games_are_carried_from_update_to_update(pendulum):
    """At the end every game is as many steps older as were played, round its limit."""
    time = pendulum.state.learner.estimator.games.time
    expected = (np.array([0, 50, 100, 150]) + 32 * WINDOWS) % 200
    np.testing.assert_array_equal(np.sort(time), np.tile(np.sort(expected), (SEEDS, 1)))
