"""A bandit: one decision, then the game is over.

    r = rewards[a] + σ ε,   J(θ) = Σ_a π_θ(a) rewards[a]

The smallest problem with a policy gradient, and one where everything about it is known. With two arms that
pay (1, 0), a softmax policy and p = π(better arm), the gradient per logit is ±p(1 − p), and one game's
estimate R ∇log π has, per logit, the variance p(1 − p)² − p²(1 − p)² = p(1 − p)³: 0.0625 at p = 0.5.

Reference: Sutton & Barto, Reinforcement Learning (2018), chapter 2, in particular section 2.8.
"""

import numpy as np
from numpy.typing import ArrayLike

from . import _checks
from .finite_mdp import FiniteMDP


class Bandit(FiniteMDP):
    """Arms with a mean reward each. State 0 is the decision, state 1 the end; both give the observation 0.

    Args:
        rewards: [A], mean reward of each arm.
        reward_noise: standard deviation of Gaussian noise on the reward.
    """

    def __init__(self, rewards: ArrayLike = (1.0, 0.0), reward_noise: float = 0.0):
        arms = _checks.finite_array("rewards", rewards, "[A]")
        if arms.ndim != 1 or arms.size == 0:
            raise ValueError(
                f"rewards has shape {list(arms.shape)}: give one number for each arm, [A], at least one"
            )
        transition = np.zeros((2, arms.size, 2))
        transition[:, :, 1] = 1.0
        super().__init__(
            transition,
            np.stack([arms, np.zeros_like(arms)]),
            terminal=(False, True),
            observation=(0, 0),
            reward_noise=reward_noise,
            max_steps=1,
        )
