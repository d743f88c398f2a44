import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
from envs import Chain
from purepg import estimators
from purepg.rollout import metrics
from purepg.rollout.trajectory import ActiveGames
from purepg.training import PATIENCE, Method, TrainState

METHOD = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-moving"))
IN_SEGMENTS = purepg.Task(METHOD.task.env, purepg.Softmax(purepg.Table()), purepg.Segments(8, 5))
OWN = purepg.OwnCritic(purepg.Table(), target_rate=0.5)
HYPER = purepg.Hyperparams(learning_rate=0.05, discount=0.9, max_gradient_norm=10.0)
assert_same = np.testing.assert_array_equal


def leaves(tree):
    tree = jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, tree
    )
    return jax.tree.leaves(tree)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        METHOD,
        purepg.PolicyGradient(IN_SEGMENTS, estimators.make("gae")),
        purepg.PolicyGradient(IN_SEGMENTS, dataclasses.replace(estimators.make("n-step"), critic=OWN)),  # pyright: ignore
    ],
    ids=["games", "segments", "own critic"],
)
def test_twice_k_updates_are_two_times_k_to_the_bit(method):
    start = purepg.init(method, HYPER, jax.random.key(3))
    train = jax.jit(purepg.train, static_argnums=(0, 3))
    whole, whole_metrics = train(method, HYPER, start, 6)
    half, first = train(method, HYPER, start, 3)
    parts, second = train(method, HYPER, half, 3)
    for a, b in zip(leaves(whole), leaves(parts), strict=True):
        assert_same(a, b)
    joined = jax.tree.map(lambda *x: np.concatenate(x), first, second)
    jax.tree.map(assert_same, whole_metrics, joined)
    assert whole.iteration == 6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "collect"), [("reinforce-loo", purepg.Games), ("gae", purepg.Segments)])
def test_metrics_do_not_grow_with_games_or_steps(name, collect):
    sizes = set()
    for num_games, num_steps in ((4, 5), (40, 50)):
        task = purepg.Task("CartPole-v1", collect=collect(num_games, num_steps))
        method = purepg.PolicyGradient(task, estimators.make(name))
        start = jax.eval_shape(lambda key, m=method: purepg.init(m, HYPER, key), jax.random.key(0))
        _, numbers = jax.eval_shape(lambda s, m=method: purepg.train(m, HYPER, s, 7), start)
        assert all(x.shape == (7,) for x in jax.tree.leaves(numbers))
        sizes.add(len(jax.tree.leaves(numbers)))
    assert len(sizes) == 1


@pytest.mark.slow
def test_different_keys_learn_differently_and_a_key_always_the_same():
    train = jax.jit(
        lambda key: purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, key), 2)[0].learner.params
    )
    one, again, other = train(jax.random.key(0)), train(jax.random.key(0)), train(jax.random.key(1))
    assert_same(one["table"], again["table"])
    assert (one["table"] != other["table"]).any()


class Bad(NamedTuple):
    x: jax.Array


@dataclasses.dataclass(frozen=True)
class SometimesNaN(Method):
    """A method whose update i is not finite where i is in `bad`."""

    bad: tuple[int, ...]
    task: purepg.Task = two_states()

    def init(self, hyper, key):
        return Bad(jnp.zeros(()))

    def update(self, hyper, state, key):
        # The iteration cannot be seen from here; the key of update i can.
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.array(self.bad))
        is_bad = (jax.random.key_data(keys) == jax.random.key_data(key)[None]).all(axis=1).any()
        return Bad(state.x + jnp.where(is_bad, jnp.nan, 1.0)), {"steps": metrics.once(jnp.float32(1))}


def state_of(method):
    return TrainState(method.init(None, None), jax.random.key(0), jnp.int32(0), jnp.int32(0), jnp.int32(-1))


def test_an_update_that_is_not_finite_is_left_out_and_counted():
    method = SometimesNaN(bad=(1, 4, 5))
    state, numbers = purepg.train(method, HYPER, state_of(method), 8)
    assert state.learner.x == 5  # 8 updates less 3
    assert_same(numbers["skipped"].sum, [0, 1, 0, 0, 1, 1, 0, 0])
    assert state.skipped == 0
    assert state.frozen_at == -1
    assert state.iteration == 8


def test_a_seed_is_frozen_after_ten_in_a_row_and_flagged_with_the_update():
    method = SometimesNaN(bad=tuple(range(3, 3 + PATIENCE)))
    state, numbers = purepg.train(method, HYPER, state_of(method), 20)
    assert state.learner.x == 3  # later updates would be finite, but the seed stays as it was
    assert state.frozen_at == 3 + PATIENCE - 1
    assert numbers["skipped"].sum.sum() == 17


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_leaves_parameters_and_optimizer():
    start = purepg.init(METHOD, HYPER, jax.random.key(0))
    broken = dataclasses.replace(HYPER, reward_scale=float("nan"))
    state, numbers = jax.jit(purepg.train, static_argnums=(0, 3))(METHOD, broken, start, 1)
    jax.tree.map(assert_same, state.learner, start.learner)
    assert numbers["skipped"].sum[0] == 1


@pytest.mark.slow
def test_foreign_code_maps_over_seeds():
    """A library user's own vmap of init and train: each seed as by itself, up to floating-point order."""

    def one(key):
        state, numbers = purepg.train(METHOD, HYPER, purepg.init(METHOD, HYPER, key), 3)
        return state.learner.params["table"], numbers["return"].sum

    keys = jax.random.split(jax.random.key(0), 4)
    mapped = jax.jit(jax.vmap(one))(keys)
    single = [jax.jit(one)(k) for k in keys]
    for i, result in enumerate(zip(*single, strict=True)):
        np.testing.assert_allclose(mapped[i], np.stack(result), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_hyper_parameters_map_without_recompiling():
    traces = []

    def one(rate):
        traces.append(1)
        hyper = dataclasses.replace(HYPER, learning_rate=rate)
        start = purepg.init(METHOD, hyper, jax.random.key(0))
        return purepg.train(METHOD, hyper, start, 1)[0].learner.params["table"]

    tables = jax.jit(jax.vmap(one))(jnp.array([0.0, 0.1, 0.2]))
    assert len(traces) == 1
    np.testing.assert_allclose(tables[2] - tables[0], 2 * (tables[1] - tables[0]), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_short_corridor_reaches_its_optimum():
    """REINFORCE as written, one game an update, step 2^-13, from p(right) = 0.05: Sutton and Barto, figure 13.1.

    100 seeds: the mean over episodes 901 to 1000 passes −13 (the optimum is −11.657); its standard error is below 0.3.
    """
    odds = np.log([0.95, 0.05])
    task = purepg.Task(
        purepg.environment("ShortCorridor", max_steps=1000),
        purepg.Softmax(purepg.Table((tuple(odds.tolist()),))),
        purepg.Games(1),
    )
    method = purepg.PolicyGradient(task, estimators.make("reinforce"), purepg.Optimizer("sgd"))
    hyper = purepg.Hyperparams(learning_rate=2.0**-13, discount=1.0)

    def one(key):
        numbers = purepg.train(method, hyper, purepg.init(method, hyper, key), 1000)[1]
        return numbers["return"].sum[900:].mean()

    values = np.asarray(
        jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), 100))
    )
    assert values.std() / 10 < 0.3
    assert -13 < values.mean() < -11.3


# What must stay finite


@dataclasses.dataclass(frozen=True)
class Walk(Method):
    """A method in segments: running games with a "best so far", and something learned."""

    game: Any = np.inf  # a number of a method is checked, this one shall be none
    learned: Any = 1.0
    task: purepg.Task = two_states()

    def init(self, hyper, key):
        running = ActiveGames(
            jnp.zeros(2), {"best": jnp.full(2, self.game)}, jnp.zeros(2, jnp.int32), jnp.zeros(2)
        )
        return {"games": (running,), "average": jnp.zeros(())}

    def update(self, hyper, state, key):
        (running,) = state["games"]
        games = (running._replace(time=running.time + 1),)
        return {"games": games, "average": state["average"] + self.learned}, {
            "steps": metrics.once(jnp.float32(2))
        }


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_in_the_state_of_running_games_freezes_no_seed(value):
    state, numbers = purepg.train(Walk(value), HYPER, state_of(Walk(value)), 3)
    assert state.learner["average"] == 3
    assert_same(state.learner["games"][0].time, [3, 3])
    assert numbers["skipped"].sum.sum() == 0


def test_an_average_that_is_not_finite_leaves_games_and_average_as_they_were():
    method = Walk(0.0, learned=np.inf)
    state, numbers = purepg.train(method, HYPER, state_of(method), 2)
    assert state.learner["average"] == 0
    assert_same(state.learner["games"][0].time, [0, 0])
    assert_same(numbers["skipped"].sum, [1, 1])


class BestSoFar(Chain):
    """Chain whose state remembers the nearest distance to something never seen: infinite."""

    def reset_env(self, key, params):
        observation, state = super().reset_env(key, params)
        return observation, (state, jnp.inf)

    def step_env(self, key, state, action, params):
        observation, after, *rest = super().step_env(key, state[0], action, params)
        return observation, (after, state[1]), *rest

    def is_truncated(self, state, params):
        return super().is_truncated(state[0], params)


@pytest.mark.slow
def test_an_infinite_field_of_an_environment_lets_seeds_learn_in_segments():
    task = purepg.Task(f"{__name__}:BestSoFar", purepg.Softmax(purepg.Table()), purepg.Segments(4, 5))
    method = purepg.PolicyGradient(task, estimators.make("gae"))
    start = purepg.init(method, HYPER, jax.random.key(0))
    state, numbers = jax.jit(purepg.train, static_argnums=(0, 3))(method, HYPER, start, 3)
    assert np.isinf(state.learner.estimator.games.state[1]).all()
    assert numbers["skipped"].sum.sum() == 0
    assert (state.learner.params["table"] != start.learner.params["table"]).any()
