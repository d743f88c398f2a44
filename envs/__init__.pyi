"""The public names and where they are: whoever adds an environment adds its line here.

Read by type checkers and, to import a name when it is used, by lazy_loader.
"""

import typing

from .ball import BallAgainstWall as BallAgainstWall
from .bandit import Bandit as Bandit
from .brax_env import Brax as Brax
from .cartpole_swing_up import CartPoleSwingUp as CartPoleSwingUp
from .chain import Chain as Chain
from .chaos import LogisticMap as LogisticMap
from .cliff_walking import CliffWalking as CliffWalking
from .corridor import ShortCorridor as ShortCorridor
from .finite_mdp import ExactModel as ExactModel
from .finite_mdp import FiniteMDP as FiniteMDP
from .finite_mdp import FiniteMDPParams as FiniteMDPParams
from .finite_mdp import FiniteMDPState as FiniteMDPState
from .gridworld import GridWorld as GridWorld
from .lqr import LQR as LQR
from .lqr import ExactLQR as ExactLQR
from .lqr import ScalarLQR as ScalarLQR
from .point_mass import PointMass as PointMass
from .taxi import Taxi as Taxi

__all__: list[str]

IDS: dict[str, typing.Any]
"""gymnax id → class, for every environment that needs no arguments."""

def register() -> None: ...
