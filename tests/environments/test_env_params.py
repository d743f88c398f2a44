"""What is read of an environment follows the parameters in use: limit, spaces, what has an effect, what solved is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purepg
from purepg import environments, hyperparams, presets
from purepg.environments import env_params, labels
from purepg.errors import InvalidInput
from purepg.statistics import seed_metrics

WITHOUT_EFFECT = {
    "CartPole-v1": ("masscart",),  # total_mass is a parameter of its own
    "Acrobot-v1": ("link_length_2",),
    "Asterix-MinAtar": ("shot_cool_down",),
    "Seaquest-MinAtar": ("ramp_interval", "enemy_move_interval"),
}
CARTPOLE = purepg.environment("CartPole-v1")
ENDLESS = {"theta_threshold_radians": 1e9, "x_threshold": 1e9}  # nothing but the limit ends a game
NAMES = [name for name in environments.names() if name != "MNISTBandit-bsuite"]  # that one downloads its data


def with_params(spec=CARTPOLE, **changes):
    return purepg.Hyperparams(env=hyperparams.with_env_params(spec, changes))


def method(spec=CARTPOLE, collect=None, policy=None, name="reinforce"):
    policy = policy or purepg.Softmax(purepg.MLP((4,)))
    return purepg.PolicyGradient(
        purepg.Task(spec, policy, collect or purepg.Games(2)), purepg.estimators.make(name)
    )


# What has an effect


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_effect(name):
    """Of every environment: those in the table, no others; its defaults pass."""
    spec = purepg.environment(name)
    assert env_params.without_effect(spec) == WITHOUT_EFFECT.get(name, ())
    env_params.check(spec, environments.parameters(spec, None))
    assert labels.label(spec, environments.parameters(spec, None)) == name


@struct.dataclass
class Winding:
    max_steps_in_episode: int = 5
    scanned: float = 1.0
    mapped: float = 1.0
    chosen: float = 1.0
    looped: float = 1.0
    jitted: float = 1.0
    custom: float = 1.0
    started: float = 1.0
    seen: float = 1.0
    high: float = 1.0
    carried: float = 1.0  # through a scan whose result nobody reads
    branch: float = 1.0  # in branches that throw it away
    info: float = 1.0  # told, never played
    arms: int = 3


@jax.custom_jvp
def twice(x):
    return 2 * x


twice.defjvp(lambda primals, tangents: (twice(*primals), 2 * tangents[0]))


class Maze(environment.Environment):
    """Each parameter goes its own way through the program."""

    @property
    def default_params(self):
        return Winding()

    def reset_env(self, key, params):
        return jnp.zeros(1) + params.started, environment.EnvState(time=0)

    def step_env(self, key, state, action, params):
        (kept, _), _ = jax.lax.scan(
            lambda c, x: ((c[0] + x * params.scanned, c[1] * params.carried), None), (0.0, 1.0), jnp.ones(3)
        )
        kept += jax.lax.cond(
            state.time > params.chosen, lambda p: (p.mapped, p.branch), lambda p: (0.0, p.branch), params
        )[0]
        kept += jax.lax.while_loop(lambda x: x < 9, lambda x: x + params.looped, 0.0)
        kept += jax.jit(lambda a, b: (a, b))(params.jitted, params.branch)[0] + twice(params.custom)
        return (
            jnp.ones(1) * params.seen,
            environment.EnvState(state.time + 1),
            kept,
            False,
            {"i": params.info},
        )

    def action_space(self, params=None):
        return spaces.Discrete(3)

    def observation_space(self, params=None):
        return spaces.Box(0.0, (params or Winding()).high, (1,))


MAZE = purepg.environment("test_env_params:Maze")


def test_an_effect_is_followed_through_the_program():
    assert env_params.without_effect(MAZE) == ("carried", "branch", "info", "arms")


def test_what_cannot_be_traced_is_taken_to_have_an_effect():
    assert env_params.without_effect(purepg.environment("test_env_params:Branching")) == ()


class Armed(Maze):
    def action_space(self, params=None):
        return spaces.Discrete((params or Winding()).arms)


class Branching(Maze):
    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action, params) if params.seen > 0 else None


@pytest.mark.slow
def test_one_without_effect_is_warned_of_where_it_is_run():
    with pytest.warns(UserWarning, match="masscart has no effect in 'CartPole-v1'.*total_mass"):
        purepg.run(method(), with_params(masscart=10.0), 1, 1, evaluation_games=0)


def test_a_constant_made_from_a_changed_parameter_stays_and_is_named():
    with pytest.warns(UserWarning, match=r"polemass_length \(made from masspole and length\) is a parameter"):
        purepg.init(method(), with_params(length=1.0), jax.random.key(0))
    purepg.init(method(), with_params(length=1.0, polemass_length=0.1), jax.random.key(0))


def test_parameters_of_another_environment_are_refused():
    with pytest.raises(InvalidInput, match="are no parameters of 'CartPole-v1': give its own"):
        purepg.run(method(), with_params(purepg.environment("Pendulum-v1")), 1, 1)


def test_parameters_for_different_numbers_of_replicates_are_refused():
    with pytest.raises(InvalidInput, match="for 2 and 3 replicates"):
        purepg.run(method(), with_params(gravity=[1.0, 2.0], tau=[0.1, 0.2, 0.3]), 2, 1)


# The time limit


@pytest.mark.slow
@pytest.mark.parametrize("collect", [purepg.Games(2), purepg.Segments(2, 8)])
@pytest.mark.parametrize("limit", [7, 600])
def test_games_are_as_long_as_the_limit_in_use(collect, limit):
    name = "reinforce" if isinstance(collect, purepg.Games) else "actor-critic"
    result = purepg.run(
        method(collect=collect, name=name),
        with_params(max_steps_in_episode=limit, **ENDLESS),
        2,
        1,
        evaluation_games=2,
    )
    assert (result.dataset["evaluation_return"] == limit).all()
    assert result.method.task.max_steps == limit


@pytest.mark.slow
@pytest.mark.parametrize("name", ["q-learning", "dqn", "cem"])
def test_other_methods_follow_the_limit_too(name):
    spec = purepg.environment("FrozenLake-misc")
    preset = presets.preset(spec, name)
    collect = dataclasses.replace(preset.method.task.collect, num_games=8)
    small = dataclasses.replace(preset.method, task=dataclasses.replace(preset.method.task, collect=collect))
    hyper = dataclasses.replace(
        preset.hyper, env=hyperparams.with_env_params(spec, {"max_steps_in_episode": 150})
    )
    result = purepg.run(small, hyper, 1, 1, evaluation_games=2)
    assert result.method.task.max_steps == 150


@pytest.mark.slow
def test_a_swept_limit_is_one_program_that_cuts_each_at_its_own(tmp_path):
    over = {"env.max_steps_in_episode": [20, 520]}
    study = purepg.sweep(
        method(), with_params(**ENDLESS), over, 2, 1, evaluation_games=2, directory=tmp_path / "study"
    )
    assert len(study.parts) == 1
    assert study.dataset["length"].values[..., 0].tolist() == [[20, 20], [520, 520]]
    assert study.dataset["evaluation_return"].values.tolist() == [[20, 20], [520, 520]]
    again = purepg.sweep(
        method(), with_params(**ENDLESS), over, 2, 1, evaluation_games=2, directory=tmp_path / "study"
    )
    assert len(again.parts) == 1  # nothing is trained anew


@pytest.mark.slow
def test_the_pure_functions_follow_it_too():
    hyper = with_params(max_steps_in_episode=510, **ENDLESS)
    state = purepg.init(method(), hyper, jax.random.key(0))
    state, metrics = purepg.train(method(), hyper, state, 1)
    assert metrics["length"].sum[0] / metrics["length"].count[0] == 510
    played = purepg.evaluate(method(), hyper, state.learner.params, jax.random.key(0), 2)
    assert (played.lengths == 510).all()


@pytest.mark.slow
def test_a_limit_that_is_concrete_is_followed_beside_what_is_traced():
    @jax.jit
    def length(gravity):
        hyper = with_params(gravity=gravity, max_steps_in_episode=510, **ENDLESS)
        state = purepg.init(method(), hyper, jax.random.key(0))
        return purepg.train(method(), hyper, state, 1)[1]["length"].sum[0] / 2

    assert length(5.0) == 510


def test_a_limit_that_the_task_contradicts_is_refused():
    with pytest.raises(InvalidInput, match="max_steps = 100 cuts games before max_steps_in_episode = 600"):
        purepg.run(method(collect=purepg.Games(2, 100)), with_params(max_steps_in_episode=600), 1, 1)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_step_is_refused(limit):
    with pytest.raises(InvalidInput, match="at least 1"):
        purepg.run(method(), with_params(max_steps_in_episode=limit), 1, 1)


# Spaces


def test_a_number_of_actions_that_a_policy_is_not_built_for_is_refused():
    spec = purepg.environment("test_env_params:Armed")
    with pytest.raises(InvalidInput, match="what a policy is built for must stay"):
        purepg.run(method(spec), with_params(spec, arms=4), 1, 1)


def test_bounds_the_wrong_way_round_are_refused():
    spec = purepg.environment("Pendulum-v1")
    with pytest.raises(InvalidInput, match="wrong way round"):
        purepg.run(method(spec, policy=purepg.Gaussian()), with_params(spec, max_torque=[2.0, -1.0]), 2, 1)


def test_a_parameter_that_is_none_decides_how_it_is_traced():
    with pytest.raises(InvalidInput, match=r"reward_noise is none in 'Bandit'.*constructor"):
        with_params(purepg.environment("Bandit"), reward_noise=0.1)


def test_a_parameter_of_another_shape_is_refused():
    env = dataclasses.replace(environments.parameters(CARTPOLE, None), gravity=np.ones((2, 2)))
    with pytest.raises(InvalidInput, match=r"gravity = .*not an array"):
        purepg.run(method(), purepg.Hyperparams(env=env), 2, 1)


# What is called solved


@pytest.mark.slow
def test_solved_is_said_of_the_physics_that_it_is_known_for():
    result = purepg.run(method(), None, 1, 1, evaluation_games=0)
    assert result.dataset.attrs["environment"] == "CartPole-v1"
    longer = purepg.run(method(), with_params(gravity=9.0), 1, 1, evaluation_games=0).dataset
    assert longer.attrs["environment"] == "CartPole-v1 (gravity=9)"
    with pytest.raises(InvalidInput, match="no return that counts as solved"):
        seed_metrics.solved_at(longer.attrs["environment"])


def test_labels_of_several():
    spec = purepg.environment("GridWorld", slip=0.2)
    assert labels.label(spec) == "GridWorld (slip=0.2)"
    assert labels.label(CARTPOLE, with_params(gravity=[1.0, 2.0]).env) == "CartPole-v1 (gravity=…)"
    assert labels.shared_label(["A", "A (g=1)"]) == "A (parameters vary)"
