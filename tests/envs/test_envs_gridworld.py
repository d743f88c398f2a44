"""GridWorld: maps, walls, slips and ends by hand, and Russell & Norvig's published utilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import FiniteMDPState, GridWorld
from envs.gridworld import DOWN, LEFT, RIGHT, UP

SMALL = "S.G\n.#H"  # states 0 1 2 / 3 # 4


def step(env, index, action, seed=0):
    state = FiniteMDPState(time=jnp.int32(0), index=jnp.int32(index))
    obs, state, reward, terminated, _ = env.step_env(jax.random.key(seed), state, action, env.default_params)
    assert obs == state.index
    return int(state.index), pytest.approx(float(reward)), bool(terminated)


@pytest.mark.parametrize(
    ("index", "action", "expected"),
    [
        (0, UP, (0, -0.04, False)),  # off the map
        (0, LEFT, (0, -0.04, False)),
        (0, RIGHT, (1, -0.04, False)),
        (0, DOWN, (3, -0.04, False)),
        (1, DOWN, (1, -0.04, False)),  # into the wall
        (1, LEFT, (0, -0.04, False)),
        (1, RIGHT, (2, 0.96, True)),  # into the goal
        (3, RIGHT, (3, -0.04, False)),  # into the wall from the side
        (3, UP, (0, -0.04, False)),
        (2, DOWN, (2, 0.0, True)),  # nothing follows the goal
        (4, UP, (4, 0.0, True)),  # nor the hole
    ],
)
def test_moves(index, action, expected):
    assert step(GridWorld(SMALL), index, action) == expected


def test_hole_ends_the_game_and_pays():
    env = GridWorld("S.\nGH", step_reward=0.0, hole_reward=-3.0, goal_reward=2.0)
    assert step(env, 1, DOWN) == (3, -3.0, True)
    assert step(env, 0, DOWN) == (2, 2.0, True)


def test_slip_goes_to_both_sides_half_each():
    """From the middle of a plus: up slips to left and right; at the top, against the border and the sides."""
    env = GridWorld("G.G\n.S.\n...", slip=0.2)
    table = np.asarray(jax.jit(env.exact_model)().transition)
    middle = 4
    for action, ahead, sides in [(UP, 1, (3, 5)), (RIGHT, 5, (1, 7)), (DOWN, 7, (3, 5)), (LEFT, 3, (1, 7))]:
        expected = np.zeros(9)
        expected[ahead] = 0.8
        expected[list(sides)] = 0.1
        np.testing.assert_allclose(table[middle, action], expected, rtol=1e-6)
    top = np.zeros(9)
    top[[1, 0, 2]] = 0.8, 0.1, 0.1
    np.testing.assert_allclose(table[1, UP], top, rtol=1e-6)
    corner = np.zeros(9)
    corner[[6, 7]] = 0.9, 0.1  # down from the lower left: stays, or slips left (stays) or right
    np.testing.assert_allclose(table[6, DOWN], corner, rtol=1e-6)


def test_states_number_the_cells_that_are_no_wall():
    env = GridWorld(SMALL)
    np.testing.assert_array_equal(env.states, [[0, 1, 2], [3, -1, 4]])
    np.testing.assert_array_equal(env.cell_of_state, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 2]])
    np.testing.assert_array_equal(env.states[tuple(env.cell_of_state.T)], np.arange(5))
    assert env.map == ("S.G", ".#H")
    assert env.num_states == env.num_observations == env.observation_space().n == 5


def test_several_starts_are_equally_likely():
    env = GridWorld("SSG\n#.S")
    np.testing.assert_allclose(env.default_params.initial, [1 / 3, 1 / 3, 0.0, 0.0, 1 / 3], rtol=1e-6)


def test_blanks_around_the_map_are_ignored():
    assert GridWorld("\n\n   S.G  \n   .#H\n ").map == ("S.G", ".#H")


def test_russell_and_norvig_utilities():
    """Value iteration on the default map with slip 0.2 (3rd edition, figure 17.3)."""
    env = GridWorld(slip=0.2)
    model = jax.jit(env.exact_model)()
    transition, reward = (np.asarray(array, np.float64) for array in model[:2])
    v = np.zeros(env.num_states)
    for _ in range(100):
        v = (transition * (reward + v)).sum(-1).max(-1)
    picture = np.full(env.states.shape, np.nan)
    picture[tuple(env.cell_of_state.T)] = v
    nan = np.nan
    expected = [[0.812, 0.868, 0.918, 0.0], [0.762, nan, 0.660, 0.0], [0.705, 0.655, 0.611, 0.388]]
    np.testing.assert_allclose(picture, expected, atol=6e-4)


def test_default_is_deterministic_and_solved_in_five_moves():
    env = GridWorld()
    params = env.default_params
    obs, state = env.reset_env(jax.random.key(0), params)
    assert obs == env.states[2, 0]
    total = 0.0
    for action in (UP, UP, RIGHT, RIGHT, RIGHT):
        _, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        total += float(reward)
    assert terminated
    assert total == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"map": "S.X\n..G"}, "'X' in row 1, column 3"),
        ({"map": "S .\n..G"}, "' ' in row 1, column 2"),
        ({"map": "..G"}, "no start"),
        ({"map": "S.."}, "no goal"),
        ({"map": ""}, "no start"),
        ({"map": "S..\n.G"}, r"lengths \[3, 2\]"),
        ({"map": "S..\n\n..G"}, r"lengths \[3, 0, 3\]"),
        ({"map": ("S.G",)}, "map is a tuple"),
        ({"slip": 1.1}, "slip is 1.1"),
        ({"slip": float("nan")}, "slip is nan"),
        ({"goal_reward": float("inf")}, "goal_reward is inf"),
        ({"hole_reward": None}, "hole_reward is None"),
        ({"step_reward": "x"}, "step_reward is 'x'"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        GridWorld(**arguments)
    assert "\n" not in str(caught.value)
