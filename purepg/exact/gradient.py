"""The gradient of the return of a tabular softmax policy, by the policy gradient theorem.

    π(a|s) = exp θ(s, a) / Σ_b exp θ(s, b)
    ∇J = E Σ_t γ^t ∇log π(a_t|s_t) Q^π(s_t, a_t) = Σ_s d(s) Σ_a ∇π(a|s) Q^π(s, a)
    ∂J/∂θ(s, a) = d(s) π(a|s) (Q^π(s, a) − V^π(s)),      d(s) = Σ_t γ^t P(s_t = s)

The sum over the actions of one state is 0. The direction that most programs follow drops γ^t before the score
but keeps it inside Q: d(s) is then replaced by the plain number of visits Σ_t P(s_t = s). That direction is the
gradient of no function (Nota & Thomas 2020). Here, with separate parameters for each state and no time limit, it
weights the states wrongly but still leads uphill; where states share parameters it may lead downhill.
`discount_weighting=False` computes it. Up to a time limit H the same holds with Q and V of the remaining steps,

    ∂J/∂θ(s, a) = Σ_t γ^t P(s_t = s) π(a|s) (Q_t(s, a) − V_t(s)),      t < H

Reference: Sutton, McAllester, Singh & Mansour (2000), Policy Gradient Methods for Reinforcement Learning with
Function Approximation; Sutton & Barto (2018), section 13.2.
"""

import jax
import jax.numpy as jnp
from jax import lax

from purepg.exact.finite_mdp import action_values, refuse_endless, state_values, values_up_to, visits
from purepg.exact.model import Array, Model, earning, follow, make_model
from purepg.exact.precision import exact

__all__ = ["policy_gradient"]


@exact(verify=refuse_endless)
def policy_gradient(
    transition: Array,
    reward: Array,
    initial: Array,
    logits: Array,
    discount: float | Array,
    *,
    discount_weighting: bool = True,
    horizon: int | None = None,
) -> Array:
    """∇J [S, A] with respect to the logits of a tabular softmax policy; a direction of ascent.

    Args:
      transition: [S, A, S], rows that sum to 1, or to less: what is missing ends the episode.
      reward: [S, A], or [S, A, S] by the next state.
      initial: [S], the distribution of the first state; sums to 1.
      logits: [S, A].
      discount: in [0, 1].
      discount_weighting: False drops γ^t before the score: Σ_t E ∇log π Q^π, which is not ∇J unless discount
        = 1.
      horizon: only the return of the first `horizon` steps counts; at least 1, None for no limit.

    Concrete arguments are computed in float64 and come back as NumPy arrays. Traced ones are computed in the
    ambient precision and unchecked; what is infinite is then not finite in the result.

    Raises:
      InvalidInput: bad arguments; or, without horizon, rewards that never cease, where discount = 1 or
        discount_weighting is False.
    """
    model = make_model(transition, reward)
    policy = jax.nn.softmax(logits, axis=1)
    step_weight = discount if discount_weighting else 1.0
    if horizon is not None:
        return _gradient_up_to(model, initial, policy, discount, step_weight, horizon)
    chain = follow(model, policy)
    v = state_values(model, chain, discount)
    q = action_values(model, v, discount)
    # Where no reward can come any more the advantage is 0, however long the episode stays there.
    d = visits(chain, initial, step_weight, earning(chain))
    weight = d[:, None] * policy
    advantage = jnp.where(weight > 0, q - v[:, None], 0.0)
    return weight * advantage


def _gradient_up_to(
    model: Model,
    initial: Array,
    policy: jax.Array,
    discount: float | Array,
    step_weight: float | Array,
    horizon: int,
) -> jax.Array:
    _, q_by_time = values_up_to(model, policy, discount, horizon)  # [H, S, A]
    chain = follow(model, policy)

    def forward(carry, q):
        weight, gradient = carry  # [S]: step_weight^t P(s_t = s);  [S, A]
        advantage = q - (policy * q).sum(1)[:, None]
        gradient = gradient + weight[:, None] * policy * advantage
        return (step_weight * (weight @ chain.transition), gradient), None

    (_, gradient), _ = lax.scan(forward, (jnp.asarray(initial), jnp.zeros_like(policy)), q_by_time)
    return gradient
