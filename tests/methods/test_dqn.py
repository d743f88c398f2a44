"""DQN: targets by hand, the true next observation in the replay, convergence with a table, the ordinary runner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from purepg import environments, exact
from purepg.methods.action_values import Exploration
from purepg.methods.dqn import DQN, Replay, Transitions
from purepg.methods.optimizer import Optimizer

# These programs are small and each is new: what takes time is compiling them.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
)
HYPER = purepg.Hyperparams(learning_rate=0.02, discount=0.9)
TABLE = purepg.Softmax(purepg.Table())


def make(env="GridWorld", policy=TABLE, num_games=4, num_steps=8, **options):
    task = purepg.Task(env, policy, purepg.Segments(num_games, num_steps))
    options = {"exploration": Exploration(1.0, 1.0, 1), "replay": Replay(256, 32, 32)} | options
    return DQN(task, **options)


def test_targets_by_hand():
    """θ chooses, θ⁻ values; without `double` θ⁻ does both; nothing follows a termination, whatever Q says there."""
    params = {"table": jnp.array([[0.0, 0.0], [5.0, 1.0], [0.0, 0.0]])}
    target_params = {"table": jnp.array([[0.0, 0.0], [2.0, 3.0], [0.0, 0.0]])}
    batch = Transitions(
        jnp.zeros(2, int), jnp.zeros(2, int), jnp.ones(2), jnp.array([False, True]), jnp.ones(2, int)
    )
    env = purepg.environment("Chain", length=1)
    scaled = purepg.Hyperparams(discount=0.5, reward_scale=10.0)
    for double, expected in ((True, 10 + 0.5 * 2.0), (False, 10 + 0.5 * 3.0)):
        target = make(env, double=double).target(scaled, params, target_params, batch)
        np.testing.assert_allclose(target, [expected, 10.0])


@pytest.mark.slow
def test_the_replay_holds_the_true_next_observation():
    """0 → 1 → 2, cut there or ended there: no row may follow 2 by the reset state 0."""
    transition = np.zeros((3, 1, 3))
    transition[0, 0, 1] = transition[1, 0, 2] = transition[2, 0, 2] = 1.0
    for end in (False, True):
        env = purepg.environment(
            "envs.finite_mdp:FiniteMDP",
            transition=transition,
            reward=np.zeros((3, 1)),
            terminal=np.array([False, False, end]),
            max_steps=2,
        )
        method = make(env, num_games=2, num_steps=6, replay=Replay(20, 2, 20))
        state = method.init(HYPER, jax.random.key(0))
        state, numbers = quick_jit(method.update)(HYPER, state, jax.random.key(1))
        kept = jax.tree.map(lambda x: np.asarray(x)[0, :12], state.replay.experience)
        np.testing.assert_array_equal(kept.following, kept.observation + 1)
        np.testing.assert_array_equal(kept.terminated, end & (kept.following == 2))
        assert set(kept.observation) == {0, 1}
        assert numbers["td_error"].count == 0  # 12 rows are less than the warm-up: nothing was learned


@pytest.mark.slow
def test_converges_to_the_values_of_value_iteration():
    method = make(num_games=8, num_steps=16, steps=100, target_rate=0.05, replay=Replay(2048, 128, 256))
    state = method.init(HYPER, jax.random.key(0))
    update = quick_jit(method.update)
    for i in range(30):
        state, _ = update(HYPER, state, jax.random.key(i))
    model = environments.exact_model(method.task.env)
    best = exact.value_iteration(model.transition, model.reward, 0.9, 1e-9)
    goes_on = ~np.asarray(environments.resolve(method.task.env).default_params.terminal)
    np.testing.assert_allclose(state.params["table"][goes_on], best.q[goes_on], atol=0.02)


@pytest.mark.slow
def test_runs_saves_loads_and_evaluates(tmp_path):
    policy = purepg.Softmax(purepg.MLP((4,)))
    method = make("CartPole-v1", policy, steps=2, optimizer=Optimizer("adam", "linear", 4))
    result = purepg.run(method, HYPER, seeds=2, num_updates=4, evaluation_games=3)
    assert (result.dataset["steps"] == 32).all()
    again = purepg.load(result.save(tmp_path / "run"))
    assert again.method == method
    assert jax.tree.structure(again.state.learner) == jax.tree.structure(result.state.learner)
    jax.tree.map(np.testing.assert_array_equal, again.state.learner, result.state.learner)
    play = quick_jit(lambda params: purepg.evaluate(method, HYPER, params, jax.random.key(0), 4))
    games = play(again.params(1))
    assert games.returns.shape == (4,)


def test_the_learning_rate_falls_by_updates():
    method = make(steps=5, optimizer=Optimizer("sgd", "linear", 2))
    transformation = method.optimizer.transformation(HYPER, method.steps)
    state = transformation.init(jnp.zeros(()))
    rates = []
    for _ in range(11):
        step, state = transformation.update(jnp.ones(()), state)
        rates.append(-float(step))
    np.testing.assert_allclose(rates, 0.02 * np.linspace(1, 0, 11), atol=1e-8)


def refused(task, **options):
    with pytest.raises(purepg.InvalidInput) as caught:
        DQN(task, **options).init(HYPER, jax.random.key(0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
def test_refuses_what_it_cannot_do():
    segments = purepg.Segments(2, 2)
    assert "continuous actions" in refused(purepg.Task("Pendulum-v1", purepg.Gaussian(), segments))
    assert "Segments" in refused(purepg.Task("CartPole-v1"))
    assert "steps = 0" in refused(purepg.Task("CartPole-v1", collect=segments), steps=0)
    assert "target_rate" in refused(purepg.Task("CartPole-v1", collect=segments), target_rate=0.0)
    small = purepg.Task("CartPole-v1", collect=purepg.Segments(8, 16))
    assert "128 steps, more than the replay's capacity 100" in refused(small, replay=Replay(100, 8, 8))
    DQN(small, replay=Replay(128, 8, 8)).init(HYPER, jax.random.key(0))
    with pytest.raises(purepg.InvalidInput, match="capacity 10"):
        Replay(10, 20)
