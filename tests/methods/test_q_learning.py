"""Q-learning on a table: targets by hand, an obvious loop, ends of games, convergence, the ordinary runner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from purepg import environments, exact
from purepg.methods.action_values import ActionValues, Exploration, epsilon_greedy, next_value
from purepg.methods.q_learning import QLearning, move
from purepg.rollout import rollout
from purepg.rollout.trajectory import ActionOutput

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)
TARGETS = ("q_learning", "sarsa", "expected_sarsa")
HYPER = purepg.Hyperparams(learning_rate=0.5, discount=0.9)
TABLE = purepg.Softmax(purepg.Table())


def make(env="GridWorld", target="q_learning", num_games=4, num_steps=8, epsilon=0.3, initial=()):
    policy = purepg.Softmax(purepg.Table(initial))
    task = purepg.Task(env, policy, purepg.Segments(num_games, num_steps))
    return QLearning(task, target, Exploration(epsilon, epsilon, 1))


# Targets


def test_targets_by_hand():
    q = jnp.array([[1.0, 3.0, 2.0], [0.0, -1.0, 4.0]])
    action = jnp.array([2, 0])
    epsilon = jnp.float32(0.3)
    np.testing.assert_allclose(next_value(q, epsilon, None, "q_learning"), [3.0, 4.0])
    np.testing.assert_allclose(next_value(q, epsilon, action, "sarsa"), [2.0, 0.0])
    # 0.7 · best + 0.3 · mean
    np.testing.assert_allclose(next_value(q, epsilon, None, "expected_sarsa"), [2.7, 3.1], rtol=1e-6)


@pytest.mark.slow
def test_expected_sarsa_is_sarsa_in_the_mean():
    q, epsilon = jnp.array([[1.0, 3.0, 2.0]]), jnp.float32(0.3)
    actions = jax.vmap(lambda key: epsilon_greedy(key, q, epsilon))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    values = np.asarray(jax.vmap(lambda a: next_value(q, epsilon, a, "sarsa"))(actions))
    error = 4 * values.std() / np.sqrt(len(values))
    expected = next_value(q, epsilon, None, "expected_sarsa")
    assert abs(values.mean() - float(expected[0])) < error


@pytest.mark.slow
def test_epsilon_greedy_odds():
    q = jnp.array([[1.0, 3.0, 2.0]])
    keys = jax.random.split(jax.random.key(0), 30_000)
    actions = np.asarray(jax.vmap(lambda key: epsilon_greedy(key, q, jnp.float32(0.3)))(keys))
    share = np.bincount(actions[:, 0], minlength=3) / len(keys)
    np.testing.assert_allclose(share, [0.1, 0.8, 0.1], atol=4 * np.sqrt(0.25 / len(keys)))


def test_epsilon_falls_linearly_and_stays():
    exploration = Exploration(1.0, 0.2, 4)
    values = [float(exploration.epsilon(jnp.int32(i))) for i in (0, 1, 2, 4, 9)]
    np.testing.assert_allclose(values, [1.0, 0.8, 0.6, 0.2, 0.2], rtol=1e-6)


# The table's update


def test_games_in_one_cell_count_as_one_after_another():
    """Mean over all orders of sequential updates with fixed targets."""
    table = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    observation, action = jnp.array([0, 1, 0, 0]), jnp.array([1, 0, 1, 0])
    target, rate = jnp.array([5.0, -1.0, 7.0, 2.0]), 0.25
    expected = np.array(table)
    orders = []
    for first, second in ((5.0, 7.0), (7.0, 5.0)):
        q = 2.0
        for y in (first, second):
            q += rate * (y - q)
        orders.append(q)
    expected[0, 1] = np.mean(orders)
    expected[1, 0] += rate * (-1.0 - 3.0)
    expected[0, 0] += rate * (2.0 - 1.0)
    moved, error = move(table, observation, action, target, rate)
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
    np.testing.assert_allclose(error, [3.0, -4.0, 5.0, 1.0])
    assert not np.allclose(moved[0, 1], 2.0 + rate * (3.0 + 5.0))  # their plain sum goes further: too far


def player(method, hyper):
    """One step of every game as the method plays it, from a table: the true next observations among the rest."""
    task = method.task
    env, params = environments.resolve(task.env), environments.parameters(task.env, hyper.env)

    @quick_jit
    def play(table, running, following, epsilon, play_key, next_key):
        act = method.act(ActionValues({"table": table}, epsilon), deterministic=False)
        sarsa = method.target == "sarsa"
        stepper = rollout.stepper(
            env,
            params,
            (lambda key, seen: ActionOutput(following, following)) if sarsa else act,
            task.max_steps,
            None,
        )

        def keep_next(running, key):
            after, rows = stepper(running, key)
            return after, rows._replace(value=after.observation)

        step = rollout.with_resets(keep_next, env, params)
        running, rows = step(running, play_key)
        chosen = act(next_key, rows.value).action
        return running, act(next_key, running.observation).action, rows, chosen

    return play


def reference(method, hyper, play, state, key):
    """One update as a loop over steps and games, from the very same play: the table `[O, A]`."""
    epsilon = method.exploration.epsilon(state.updates)
    table, running, following = np.array(state.table, np.float64), state.running, state.following
    for keys in zip(*jax.random.split(key, (2, method.task.collect.num_steps)), strict=True):
        running, following, rows, chosen = play(
            jnp.asarray(table, jnp.float32), running, following, epsilon, *keys
        )
        before, moves = table.copy(), {}
        for n in range(len(chosen)):
            y = float(rows.reward[n])
            if not rows.terminated[n]:
                q_next = before[rows.value[n]]
                y += (
                    hyper.discount
                    * {
                        "q_learning": q_next.max(),
                        "sarsa": q_next[chosen[n]],
                        "expected_sarsa": (1 - epsilon) * q_next.max() + epsilon * q_next.mean(),
                    }[method.target]
                )
            moves.setdefault((int(rows.observation[n]), int(rows.action[n])), []).append(y)
        for cell, ys in moves.items():
            share = 1 - (1 - hyper.learning_rate) ** len(ys)
            table[cell] += share * (np.mean(ys) - before[cell])
    return table


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_update_is_the_obvious_loop(target):
    env = purepg.environment("GridWorld", slip=0.2, max_steps=7)  # games end in both ways within a segment
    method = make(env, target, num_games=5, num_steps=12)
    state = method.init(HYPER, jax.random.key(0))
    play, update = player(method, HYPER), quick_jit(method.update)
    for i in range(2):
        expected = reference(method, HYPER, play, state, jax.random.key(i))
        state, numbers = update(HYPER, state, jax.random.key(i))
        np.testing.assert_allclose(state.table, expected, rtol=1e-4, atol=1e-6)
    assert numbers["steps"].sum == 60
    assert numbers["return"].count > 0
    assert state.updates == 2


# Ends of games: an endless corridor of one state that pays 1, cut after 3 steps; and one that ends


def endless(ends, max_steps=3):
    """State 0 pays 1 and stays, or goes to the end, state 1, with every step."""
    transition = np.zeros((2, 1, 2))
    transition[0, 0, int(ends)] = 1.0
    transition[1, 0, 1] = 1.0
    return purepg.environment(
        "envs.finite_mdp:FiniteMDP",
        transition=transition,
        reward=np.array([[1.0], [0.0]]),
        terminal=np.array([False, True]),
        max_steps=max_steps,
    )


def learned_value(env):
    method = make(env, num_games=2, num_steps=300, epsilon=0.5)
    state = method.init(HYPER, jax.random.key(0))
    return float(quick_jit(method.update)(HYPER, state, jax.random.key(1))[0].table[0, 0])


@pytest.mark.slow
def test_truncation_goes_on_and_termination_does_not():
    cut = learned_value(endless(ends=False))
    assert cut == pytest.approx(1 / (1 - 0.9), rel=1e-3)
    assert cut > 2.71 + 1  # 1 + γ + γ²: what it would be, were the limit the end
    assert learned_value(endless(ends=True)) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_cut_game_goes_on_from_its_own_state_not_from_the_reset_one(target):
    """0 → 1 → 2 → …: cut on reaching 2, which pays 10 for ever; every game starts in 0."""
    transition = np.zeros((3, 1, 3))
    transition[0, 0, 1] = transition[1, 0, 2] = transition[2, 0, 2] = 1.0
    env = purepg.environment(
        "envs.finite_mdp:FiniteMDP",
        transition=transition,
        reward=np.zeros((3, 1)),
        terminal=np.zeros(3, bool),
        max_steps=2,
    )
    method = make(env, target, num_games=2, num_steps=200, initial=((0.0,), (0.0,), (10.0,)))
    state = method.init(HYPER, jax.random.key(0))
    state, _ = quick_jit(method.update)(HYPER, state, jax.random.key(1))
    # State 2 is never acted in and stays 10. From the reset state 0 all would fall to 0.
    np.testing.assert_allclose(state.table[:, 0], [8.1, 9.0, 10.0], rtol=1e-3)


# Convergence


@pytest.mark.slow
def test_converges_to_the_values_of_value_iteration():
    """A walled grid without chance, γ 0.9: Q within 1e-3 of q* wherever the game goes on."""
    method = make("GridWorld", num_games=16, num_steps=200, epsilon=1.0)
    state = method.init(HYPER, jax.random.key(0))
    update = quick_jit(method.update)
    for i in range(10):
        state, _ = update(HYPER, state, jax.random.key(i))
    model = environments.exact_model(method.task.env)
    best = exact.value_iteration(model.transition, model.reward, 0.9, 1e-9)
    goes_on = ~np.asarray(environments.resolve(method.task.env).default_params.terminal)
    np.testing.assert_allclose(state.table[goes_on], best.q[goes_on], atol=1e-3)


@pytest.mark.slow
def test_expected_sarsa_finds_the_values_of_the_policy_it_plays():
    """With chance a constant α leaves noise, which goes out in the mean over updates."""
    env = purepg.environment("GridWorld", slip=0.2)
    hyper = purepg.Hyperparams(learning_rate=0.02, discount=0.9)
    model = environments.exact_model(env)
    uniform = np.full(model.transition.shape[:2], 0.25)
    played = exact.policy_evaluation(model.transition, model.reward, uniform, 0.9)[1]
    method = make(env, "expected_sarsa", num_games=16, num_steps=400, epsilon=1.0)
    state = method.init(hyper, jax.random.key(0))
    update, tables = quick_jit(method.update), []
    for i in range(30):
        state, _ = update(hyper, state, jax.random.key(i))
        tables.append(state.table)
    goes_on = ~np.asarray(environments.resolve(env).default_params.terminal)
    np.testing.assert_allclose(np.mean(tables[10:], axis=0)[goes_on], played[goes_on], atol=0.06)


# The ordinary runner


@pytest.mark.slow
def test_runs_saves_loads_and_evaluates(tmp_path):
    method = make("GridWorld", "sarsa", num_games=8, num_steps=50, epsilon=0.2)
    result = purepg.run(method, HYPER, seeds=2, num_updates=10, evaluation_games=5)
    assert result.dataset["return"].shape == (2, 10)
    assert (result.dataset["evaluation_return"] > 0.79).all()  # five moves: 1 − 5 · 0.04
    assert (result.dataset["steps"] == 400).all()
    again = purepg.load(result.save(tmp_path / "run"))
    assert again.method == method
    jax.tree.map(np.testing.assert_array_equal, again.params(1), result.params(1))
    play = quick_jit(
        lambda params: purepg.evaluate(method, HYPER, params, jax.random.key(0), 4, deterministic=False)
    )
    games = play(again.params(1))
    assert games.returns.shape == (4,)


@pytest.mark.slow
def test_sampled_play_explores_as_the_last_update_did():
    method = QLearning(make().task, exploration=Exploration(1.0, 0.0, 2))
    state = method.init(HYPER, jax.random.key(0))
    after = [float(method.params(state._replace(updates=jnp.int32(i))).epsilon) for i in range(5)]
    assert after == [1.0, 1.0, 0.5, 0.0, 0.0]


# Refusals


def refused(task, **options):
    with pytest.raises(purepg.InvalidInput) as caught:
        QLearning(task, **options).init(HYPER, jax.random.key(0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refuses_what_it_cannot_do():
    segments = purepg.Segments(2, 2)
    assert "continuous actions" in refused(purepg.Task("Pendulum-v1", purepg.Gaussian(), segments))
    assert "integer observations" in refused(purepg.Task("CartPole-v1", TABLE, segments))
    assert "DQN" in refused(purepg.Task("CartPole-v1", purepg.Softmax(), segments))
    assert "Segments" in refused(purepg.Task("GridWorld", TABLE, purepg.Games(2)))
    assert "Softmax" in refused(purepg.Task("GridWorld", purepg.Gaussian(), segments))
    assert "normalise" in refused(purepg.Task("GridWorld", TABLE, segments, normalize_observations=True))
    assert "not one of" in refused(purepg.Task("GridWorld", TABLE, segments), target="td")


@pytest.mark.parametrize(("initial", "final", "horizon"), [(1.5, 0.0, 1), (0.5, -0.1, 1), (0.5, 0.1, 0)])
def test_refuses_a_schedule_that_is_none(initial, final, horizon):
    with pytest.raises(purepg.InvalidInput, match="epsilon"):
        Exploration(initial, final, horizon)


@pytest.mark.parametrize("rate", [0.0, 1.5, float("nan"), np.array([0.5, 2.0])])
def test_a_rate_that_moves_past_the_target_is_refused(rate):
    method, hyper = make(), purepg.Hyperparams(learning_rate=rate)
    with pytest.raises(purepg.InvalidInput, match="learning_rate"):
        purepg.run(method, hyper, 2, 1)
    if np.ndim(rate) == 0:
        with pytest.raises(purepg.InvalidInput, match=r"give \(0, 1\]"):
            method.init(hyper, jax.random.key(0))
