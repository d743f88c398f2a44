"""Games row by row: against an obvious loop, and with environments written to catch what could go wrong."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.bsuite import deep_sea
from gymnax.environments.classic_control import cartpole
from gymnax.environments.misc import bernoulli_bandit

from purepg.rollout.collection import episode_returns
from purepg.rollout.rollout import play_games
from purepg.rollout.trajectory import ActionOutput, Trajectory

CARTPOLE = cartpole.CartPole()
FOREVER = CARTPOLE.default_params.replace(
    theta_threshold_radians=jnp.inf, x_threshold=jnp.inf, max_steps_in_episode=10**6
)
GAMES, STEPS = 4, 50
KEY = jax.random.key(0)

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)


# What every row holds; `value` and `bootstrap_value` are None here, where nothing gives them.
FIELDS = Trajectory._fields[:8]


def chosen(action):
    """An action that is played as it is remembered."""
    return ActionOutput(action, action)


def either(key, observation):
    """Left or right, each with probability 1/2."""
    return chosen(jax.random.bernoulli(key, shape=observation.shape[:1]).astype(jnp.int32))


def play_cartpole(key, params):
    return play_games(CARTPOLE, params, either, key, num_games=GAMES, max_steps=STEPS)


@pytest.fixture(scope="module")
def cartpole_rows():
    """Compiled once; the parameters are traced."""
    play = quick_jit(play_cartpole)
    default = CARTPOLE.default_params

    def rows(key=KEY, params=default):
        like = jax.tree.map(lambda x, d: jnp.asarray(x, jnp.result_type(d)), params, default)
        return jax.tree.map(np.asarray, play(key, like))

    return rows


# Against a loop


def loop(first, actions):
    """What CartPole's rows must be, from its first observations and the actions; [T, N, ...] like `Trajectory`.

    CartPole observes its whole state and draws nothing, so that a game can be played again from its observation.
    """
    step = jax.jit(CARTPOLE.step_env)
    num_games = len(first)
    expected = [[] for _ in FIELDS]
    names = "x", "x_dot", "theta", "theta_dot"
    states = [cartpole.EnvState(time=jnp.int32(0), **dict(zip(names, row, strict=True))) for row in first]
    observation, mask, return_so_far = list(first), [True] * num_games, [0.0] * num_games
    for t, action in enumerate(actions):
        row = [[] for _ in FIELDS]
        for n in range(num_games):
            acted_on, was_live = observation[n], mask[n]
            reward, terminated, truncated = 0.0, False, False
            if was_live:
                after, states[n], reward, terminated, _ = step(
                    KEY, states[n], jnp.int32(action[n]), CARTPOLE.default_params
                )
                reward, terminated = float(reward), bool(terminated)
                truncated = not terminated and t == len(actions) - 1
                mask[n] = not terminated and not truncated
                observation[n] = np.asarray(after) if mask[n] else acted_on
            return_so_far[n] += reward
            fields = acted_on, action[n], reward, terminated, truncated, was_live, t, return_so_far[n]
            for column, value in zip(row, fields, strict=True):
                column.append(value)
        for columns, column in zip(expected, row, strict=True):
            columns.append(column)
    return Trajectory(*map(np.array, expected))


@pytest.fixture(scope="module")
def played_again(cartpole_rows):
    rows = cartpole_rows()
    return rows, loop(rows.observation[0], rows.action)


@pytest.mark.parametrize("field", FIELDS)
def test_rows_are_those_of_a_loop(field, played_again):
    actual, expected = (getattr(rows, field) for rows in played_again)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_games_end_at_different_times(cartpole_rows):
    lengths = cartpole_rows().mask.sum(axis=0)
    assert len(set(lengths)) > 1
    assert lengths.max() < STEPS  # rows in which all games are over as well


def test_rows_after_the_end_repeat_the_last_observation_acted_on(cartpole_rows):
    rows = cartpole_rows()
    for n, length in enumerate(rows.mask.sum(axis=0)):
        dead = rows.observation[length:, n]
        np.testing.assert_array_equal(dead, np.broadcast_to(rows.observation[length - 1, n], dead.shape))


def test_rows_after_the_end_are_masked(cartpole_rows):
    rows = cartpole_rows()
    lengths = rows.mask.sum(axis=0)
    np.testing.assert_array_equal(rows.mask, np.arange(STEPS)[:, None] < lengths)
    for field in (rows.reward, rows.terminated, rows.truncated):
        assert not field[~rows.mask].any()


def test_every_game_ends_once_in_its_last_live_row(cartpole_rows):
    rows = cartpole_rows()
    end = rows.terminated | rows.truncated
    np.testing.assert_array_equal(end.sum(axis=0), 1)
    np.testing.assert_array_equal(end.argmax(axis=0), rows.mask.sum(axis=0) - 1)


def test_shapes_and_types(cartpole_rows):
    rows = cartpole_rows()
    assert rows.observation.shape == (STEPS, GAMES, 4)
    assert all(x.shape == (STEPS, GAMES) for x in rows[1 : len(FIELDS)])
    types = np.float32, np.int32, np.float32, np.bool_, np.bool_, np.bool_, np.int32, np.float32
    assert tuple(x.dtype for x in rows[: len(FIELDS)]) == types
    assert rows[len(FIELDS) :] == (None, None, None)  # what nobody asked for


def test_episode_returns_add_the_rewards_of_live_rows(cartpole_rows):
    rows = cartpole_rows()
    expected = np.where(rows.mask, rows.reward, 0.0).sum(axis=0)
    np.testing.assert_allclose(episode_returns(jax.tree.map(jnp.asarray, rows)), expected)
    np.testing.assert_array_equal(expected, rows.mask.sum(axis=0))  # CartPole pays 1 a step


# The limits


def test_the_longest_game_is_truncated_in_the_last_row(cartpole_rows):
    rows = cartpole_rows(params=FOREVER)
    assert rows.mask.all()
    assert not rows.terminated.any()
    np.testing.assert_array_equal(np.argwhere(rows.truncated)[:, 0], STEPS - 1)
    assert rows.truncated[-1].all()


def test_the_environments_own_limit_truncates_earlier(cartpole_rows):
    rows = cartpole_rows(params=FOREVER.replace(max_steps_in_episode=5))
    np.testing.assert_array_equal(rows.truncated, np.arange(STEPS)[:, None] == np.full(GAMES, 4))
    np.testing.assert_array_equal(rows.mask.sum(axis=0), 5)


@pytest.mark.parametrize("max_steps", [1, 2, 7, 8, 9, 16, 17])
def test_any_number_of_steps(max_steps):
    """Steps run in blocks: none of their sizes shows."""
    rows = jax.eval_shape(lambda key: play(key, Clock.Params(), constant_action, max_steps=max_steps), KEY)
    assert all(x.shape[:2] == (max_steps, PROBES) for x in jax.tree.leaves(rows))


@pytest.mark.parametrize("max_steps", [1, 8, 9])
def test_the_last_row_truncates_within_a_block_and_at_its_end(max_steps):
    params = Clock.Params(length=100)
    rows = quick_jit(lambda key: play(key, params, constant_action, max_steps=max_steps, env=Clock()))(KEY)
    time = np.broadcast_to(np.arange(max_steps)[:, None], (max_steps, PROBES))
    np.testing.assert_array_equal(rows.time, time)
    np.testing.assert_array_equal(rows.truncated, time == max_steps - 1)
    assert rows.mask.all()


@pytest.mark.slow
@pytest.mark.parametrize(("length", "limit", "cut"), [(100, 5, 5), (100, 100, 20), (5, 5, 0), (3, 100, 0)])
def test_bootstrap_value_is_that_of_the_true_next_observation_where_a_game_is_truncated(length, limit, cut):
    """Of the observation before any reset, 0 in all other rows; the clock shows its time."""

    def act(key, observation):
        return constant_action(key, observation)._replace(value=observation[:, 0])

    params = Clock.Params(length=length, limit=limit)
    rows = quick_jit(
        lambda key: play_games(
            Clock(),
            params,
            act,
            key,
            num_games=PROBES,
            max_steps=20,
            value=lambda observation: observation[:, 0],
        )
    )(KEY)
    np.testing.assert_array_equal(rows.value[rows.mask], rows.time[rows.mask])
    time = np.broadcast_to(np.arange(20)[:, None], (20, PROBES))
    np.testing.assert_array_equal(rows.bootstrap_value, np.where(time == cut - 1, cut, 0.0))


# Environments written to catch what could go wrong


class Clock:
    """Counts its steps, pays 1 for each, draws nothing."""

    class Params(NamedTuple):
        length: Any = 3  # steps until a game terminates
        limit: Any = 100  # steps until it is truncated
        worth: Any = 1.0

    class State(NamedTuple):
        time: Any  # a Python number in a fresh state, an array after a step

    default_params = Params()

    def reset_env(self, key, params):
        return jnp.zeros(1), self.State(0)

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return (
            jnp.float32(time)[None],
            self.State(time),
            self.reward(action, params),
            time >= params.length,
            {},
        )

    def reward(self, action, params):
        return 1.0

    def is_truncated(self, state, params):
        return state.time >= params.limit


class Probe(Clock):
    """A walk with noise; after its end everything in it is NaN, as in an environment that divides by zero there."""

    class State(NamedTuple):
        time: Any
        place: jax.Array
        ended: Any

    def reset_env(self, key, params):
        place = jax.random.uniform(key)
        return place[None], self.State(0, place, ended=False)

    def step_env(self, key, state, action, params):
        noise = jax.random.uniform(key, (2,))
        time = state.time + 1
        over = time >= params.length
        place = state.place + noise[0] + jnp.where(over, jnp.nan, 0.0)
        reward = noise[1] + jnp.where(state.ended, jnp.nan, 0.0)
        return place[None], self.State(time, place, over), reward, over, {}


PROBES, PROBE_STEPS = 3, 11


def play(key, params, act, *, max_steps=PROBE_STEPS, num_games=PROBES, env=Probe()):  # noqa: B008
    return play_games(env, params, act, key, num_games=num_games, max_steps=max_steps)


def constant_action(key, observation):
    return chosen(jnp.ones(observation.shape[0], jnp.int32))


def random_number(key, observation):
    return chosen(jax.random.uniform(key, observation.shape[:1]))


@pytest.fixture(scope="module")
def probe_rows():
    jitted = quick_jit(lambda key, params: play(key, params, random_number))

    def rows(length=3, limit=100, key=KEY):
        return jax.tree.map(np.asarray, jitted(key, Clock.Params(jnp.int32(length), jnp.int32(limit))))

    return rows


@pytest.mark.parametrize(
    ("length", "limit"),
    [(4, 4), (PROBE_STEPS, 100), (PROBE_STEPS, PROBE_STEPS)],
    ids=["own", "longest", "all"],
)
def test_terminated_wins_where_a_limit_falls_on_the_same_step(length, limit, probe_rows):
    rows = probe_rows(length, limit)
    np.testing.assert_array_equal(
        rows.terminated, np.arange(PROBE_STEPS)[:, None] == np.full(PROBES, length - 1)
    )
    assert not rows.truncated.any()


@pytest.mark.slow
def test_deep_sea_which_sets_both_at_every_end_terminates():
    env = deep_sea.DeepSea(size=3)
    rows = quick_jit(lambda key: play(key, env.default_params, constant_action, env=env, max_steps=5))(KEY)
    np.testing.assert_array_equal(rows.terminated.sum(axis=0), 1)
    assert not rows.truncated.any()
    np.testing.assert_array_equal(rows.mask.sum(axis=0), 3)


@pytest.mark.parametrize("length", [1, 5, PROBE_STEPS])
def test_a_state_that_turns_nan_after_the_end_poisons_no_row(length, probe_rows):
    rows = probe_rows(length)
    np.testing.assert_array_equal(rows.mask.sum(axis=0), length)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(rows))


@pytest.mark.slow
def test_true_next_observations_are_kept_where_asked_for():
    """Those of live rows, the state that turned NaN among them; after the end nothing is NaN."""
    options = {"num_games": PROBES, "max_steps": PROBE_STEPS, "keep_next": True}
    params = Clock.Params(length=5)
    rows = quick_jit(lambda key: play_games(Probe(), params, random_number, key, **options))(KEY)
    goes_on = rows.mask[1:]
    np.testing.assert_array_equal(rows.next_observation[:-1][goes_on], rows.observation[1:][goes_on])
    assert np.isnan(rows.next_observation[rows.terminated]).all()
    assert np.isfinite(rows.next_observation[~rows.mask]).all()


@pytest.mark.parametrize("field", ["observation", "action", "reward"])
def test_no_two_games_and_no_two_steps_share_noise(field, probe_rows):
    values = getattr(probe_rows(length=100), field)
    values = values[..., 0] if values.ndim == 3 else values
    assert len(np.unique(values)) == PROBE_STEPS * PROBES


def test_start_policy_and_environment_draw_apart(probe_rows):
    """A key used twice would give the same number twice."""
    rows = probe_rows(length=100)
    moved = np.diff(rows.observation[..., 0], axis=0)
    numbers = np.concatenate(
        [rows.observation[0, :, 0], rows.action.ravel(), rows.reward.ravel(), moved.ravel()]
    )
    assert len(np.unique(numbers.round(5))) == numbers.size


def test_the_key_decides_everything(probe_rows):
    same, again, other = (probe_rows(key=jax.random.key(i)) for i in (7, 7, 8))
    jax.tree.map(np.testing.assert_array_equal, same, again)
    assert (same.observation[0] != other.observation[0]).any()


@pytest.mark.parametrize("num_games", [1, 5])
def test_any_number_of_games(num_games):
    rows = jax.eval_shape(lambda key: play(key, Clock.Params(), random_number, num_games=num_games), KEY)
    assert all(x.shape[:2] == (PROBE_STEPS, num_games) for x in jax.tree.leaves(rows))


def masked(rows):
    """Rows without the actions of dead ones: there is nothing to act on, and what stands there is left open."""
    return rows._replace(action=np.where(rows.mask, rows.action, 0))


@pytest.mark.slow
def test_mapped_over_keys_and_parameters_as_one_by_one(probe_rows):
    """Under `vmap` nothing is skipped when all games are over: dead steps are taken and masked."""
    keys, lengths = jax.random.split(jax.random.key(3), 3), np.array([2, 6, 20])
    params = Clock.Params(jnp.asarray(lengths), jnp.full(3, 100), jnp.ones(3))
    together = quick_jit(jax.vmap(lambda key, params: play(key, params, random_number)))(keys, params)
    for i, length in enumerate(lengths):
        one = jax.tree.map(lambda x: np.asarray(x[i]), together)  # noqa: B023
        alone = probe_rows(length, key=keys[i])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), masked(one), masked(alone))


def test_steps_stop_when_all_games_are_over():
    """Up to a block of steps; counted as the program runs."""
    calls = []

    def counting(key, observation):
        jax.debug.callback(lambda: calls.append(1))
        return constant_action(key, observation)

    jax.block_until_ready(
        quick_jit(lambda key: play(key, Clock.Params(), counting, max_steps=80, env=Clock()))(KEY)
    )
    jax.effects_barrier()
    assert 3 <= len(calls) <= 16


class PaysIntegers(Clock):
    def reward(self, action, params):
        return jnp.int32(7)


def test_integer_rewards_become_floats():
    rows = quick_jit(lambda key: play(key, Clock.Params(), constant_action, env=PaysIntegers()))(KEY)
    assert rows.reward.dtype == jnp.float32
    np.testing.assert_array_equal(rows.reward, np.where(rows.mask, 7.0, 0.0))


def test_integer_rewards_of_gymnax_become_floats():
    env = bernoulli_bandit.BernoulliBandit()
    reset = jax.eval_shape(env.reset_env, KEY, env.default_params)
    raw = jax.eval_shape(env.step_env, KEY, reset[1], jnp.int32(0), env.default_params)
    assert raw[2].dtype == jnp.int32
    rows = jax.eval_shape(lambda key: play(key, env.default_params, constant_action, env=env), KEY)
    assert rows.reward.dtype == jnp.float32


class Worth(Clock):
    """Pays its parameter times the action."""

    def reward(self, action, params):
        return params.worth * action


def test_gradients_flow_through_rewards_and_actions():
    """Each of the 3 steps pays w · a: Σ rewards = 3 w a in each game."""

    def total(worth, weight):
        def act(key, observation):
            return chosen(jnp.full(observation.shape[:1], weight))

        return episode_returns(play(KEY, Clock.Params(worth=worth), act, env=Worth())).sum()

    by_worth, by_weight = quick_jit(jax.grad(total, (0, 1)))(4.0, 2.0)
    np.testing.assert_allclose(by_worth, PROBES * 3 * 2.0, rtol=1e-5)
    np.testing.assert_allclose(by_weight, PROBES * 3 * 4.0, rtol=1e-5)


# Sizes and sweeps


@pytest.mark.slow
def test_other_physics_are_other_games_of_the_same_program(cartpole_rows):
    rows, heavy = (cartpole_rows(params=FOREVER.replace(gravity=g)) for g in (9.8, 30.0))
    np.testing.assert_array_equal(rows.observation[0], heavy.observation[0])
    assert (rows.observation[2] != heavy.observation[2]).any(axis=-1).all()


class Lottery(Clock):
    """Shows four random numbers in the first step."""

    def reset_env(self, key, params):
        return jax.random.uniform(key, (4,)), self.State(0)

    def step_env(self, key, state, action, params):
        _, *rest = super().step_env(key, state, action, params)
        return jnp.zeros(4), *rest


def test_thousands_of_games_none_like_another():
    rows = quick_jit(
        lambda key: play(key, Clock.Params(), constant_action, num_games=4096, max_steps=2, env=Lottery())
    )(KEY)
    assert rows.mask.all()
    assert len(np.unique(np.asarray(rows.observation[0]), axis=0)) == 4096
