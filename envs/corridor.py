"""The short corridor with switched actions: where the best policy is a random one.

    [0: start] [1: switched] [2] [3: end]      every step pays −1; all states look the same

Actions are 0 = left and 1 = right. In state 1 they do the opposite; left in state 0 stays there. Since the
player cannot tell the states apart, a policy is one number p = π(right), and with no discount

    v(p) = (2p − 4) / (p (1 − p)),   best at p* = 2 − √2 ≈ 0.586 with v* = −(6 + 4√2) ≈ −11.657.

A deterministic policy never arrives, and close to one games become very long: v(0.05) = −82.1. Hence
`max_steps`.

Reference: Sutton & Barto, Reinforcement Learning (2018), example 13.1. The last step pays −1 like all others
(some published code pays 0 there, which shifts every value by 1).
"""

from .finite_mdp import FiniteMDP

_LEFT_RIGHT = ((0, 1), (2, 0), (1, 3), (3, 3))  # [S, A], state after the action


class ShortCorridor(FiniteMDP):
    """Four states (the last one terminal), two actions, one observation.

    Args:
        max_steps: a game is truncated after so many steps.
    """

    def __init__(self, max_steps: int = 1000):
        super().__init__(
            transition=[[[float(k == after) for k in range(4)] for after in row] for row in _LEFT_RIGHT],
            reward=((-1.0, -1.0),) * 3 + ((0.0, 0.0),),
            terminal=(False, False, False, True),
            observation=(0, 0, 0, 0),
            max_steps=max_steps,
        )
