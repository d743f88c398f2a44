"""Returns: what each row of a rollout was worth, computed backwards from the end.

Row t holds the reward r_t of the step s_t → s_{t+1}. Every function here is one backward recursion,

    y_t = x_t + c_t · y_{t+1},

and they differ only in x and c. Two kinds of episode end are told apart:

    terminated   nothing follows: whatever comes after is worth 0
    truncated    cut by a limit: the recursion stops, and V(s_{t+1}) stands for what would have followed

Where both are set, terminated wins. An episode that still runs in the last row is cut there: it continues with
`next_value[-1]`. With `next_value=None` the time limit belongs to the problem: nothing follows a cut.

`next_value[t]` is V of the true next observation of row t, the one before any reset. It is read only where it is
needed: its other entries, NaN included, change neither the result nor its gradients. Likewise nothing passes the end
of an episode or a γ_t of 0: NaN in one episode stays in it.

Arrays are `[T, ...]`, time first, all of `reward`'s shape; T = 0 gives an empty answer. `discount` γ and `trace_decay`
λ, both in [0, 1], are scalars or arrays whose shape is `reward`'s or its leading part (`[T]` beside `[T, N]`); γ_t
discounts everything after r_t. Every function raises `InvalidInput` for shapes or numbers that do not fit. Gradients
flow through every floating-point argument; only from a return that is not finite do γ and λ get none.

Reference: Sutton and Barto, Reinforcement Learning (2018), chapters 3, 7 and 12; Schulman et al., High-Dimensional
Continuous Control Using Generalized Advantage Estimation (2016); Pardo et al., Time Limits in Reinforcement Learning
(2018).
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from purepg.errors import InvalidInput
from purepg.errors.shapes import check_shapes

__all__ = [
    "generalized_advantage",
    "lambda_return",
    "n_step_return",
    "reward_to_go",
    "td_target",
    "total_return",
]


def reward_to_go(
    reward: ArrayLike,
    terminated: ArrayLike,
    truncated: ArrayLike,
    next_value: ArrayLike | None = None,
    *,
    discount: ArrayLike,
) -> jax.Array:
    """The Monte-Carlo return [T, ...], R_t = Σ_{k≥t} γ^{k−t} r_k up to the end of the row's episode.

    Where the episode is cut at row e (truncated, or still running in the last row), γ^{e+1−t} `next_value[e]` is
    added; with `next_value=None` nothing is.

    Args:
      reward: r_t, [T, ...].
      terminated, truncated: [T, ...] bool: nothing follows row t; a limit cut the episode after row t.
      next_value: [T, ...], V of the true next observation of row t; None: nothing follows a cut.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
    """
    reward, terminated, truncated, discount = _rows(reward, terminated, truncated, discount)
    cut = _cut(terminated, truncated)
    x = reward
    if next_value is not None:
        x = x + _times(discount, _where_read(cut, next_value, reward))
    return _backward(x, discount, terminated | cut)


def total_return(
    reward: ArrayLike,
    terminated: ArrayLike,
    truncated: ArrayLike,
    next_value: ArrayLike | None = None,
    *,
    discount: ArrayLike,
) -> jax.Array:
    """The return R_0 of the whole episode, discounted from its first row in the arrays, at each of its rows [T, ...].

    Args:
      reward: r_t, [T, ...].
      terminated, truncated: [T, ...] bool: nothing follows row t; a limit cut the episode after row t.
      next_value: [T, ...], V of the true next observation of row t; None: nothing follows a cut.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
    """
    to_go = reward_to_go(reward, terminated, truncated, next_value, discount=discount)
    ended = jnp.asarray(terminated, bool) | jnp.asarray(truncated, bool)
    first = jnp.concatenate([jnp.ones_like(ended[:1]), ended[:-1]])

    def spread(total, row):
        total = jnp.where(row[0], row[1], total)
        return total, total

    return jax.lax.scan(spread, jnp.zeros(to_go.shape[1:], to_go.dtype), (first, to_go))[1]


def td_target(
    reward: ArrayLike, terminated: ArrayLike, next_value: ArrayLike, *, discount: ArrayLike
) -> jax.Array:
    """The one-step target [T, ...], r_t + γ_t V(s_{t+1}), and r_t alone where the episode terminated.

    Truncations need not be given: the next state's value stands for what was cut off.

    Args:
      reward: r_t, [T, ...].
      terminated: [T, ...] bool: nothing follows row t.
      next_value: [T, ...], V of the true next observation of row t, the one before any reset.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
    """
    reward, terminated, _, discount = _rows(reward, terminated, terminated, discount)
    return reward + _times(discount, _where_read(~terminated, next_value, reward))


def n_step_return(
    reward: ArrayLike,
    terminated: ArrayLike,
    truncated: ArrayLike,
    next_value: ArrayLike,
    *,
    discount: ArrayLike,
    n: int,
) -> jax.Array:
    """n rewards and then the value, [T, ...]: r_t + γ r_{t+1} + … + γ^{n−1} r_{t+n−1} + γ^n V(s_{t+n}).

    Fewer rewards where the episode ends sooner: nothing follows a termination, the value follows a cut.
    n = 1 is `td_target`, n ≥ T is `reward_to_go`.

    Args:
      reward: r_t, [T, ...].
      terminated, truncated: [T, ...] bool: nothing follows row t; a limit cut the episode after row t.
      next_value: [T, ...], V of the true next observation of row t, the one before any reset.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
      n: rewards before the value, a Python int of at least 1.

    Raises:
      InvalidInput: n is not a positive integer.
    """
    n = _steps(n)
    reward, terminated, truncated, discount = _rows(reward, terminated, truncated, discount)
    cut = _cut(terminated, truncated)
    num_rows = reward.shape[0]

    # Row t = j − n + 1 reads next_value[j] if no episode ends in t … j − 1; if j is cut, its own episode does.
    ends_before = jnp.cumsum(terminated | cut, axis=0) - (terminated | cut).astype(jnp.int32)
    span = jnp.concatenate([jnp.zeros_like(ends_before[: n - 1]), ends_before])[:num_rows]
    reached = (jnp.arange(num_rows) >= n - 1).reshape((-1,) + (1,) * (reward.ndim - 1))
    inside = jnp.broadcast_to(reached, reward.shape) & (ends_before == span) & ~terminated
    next_value = _where_read(cut | inside, next_value, reward)

    def one_more_step(target, _):
        later = jnp.concatenate([target[1:], jnp.zeros_like(target[:1])])
        after = jnp.where(cut, next_value, jnp.where(terminated, 0.0, later))
        return reward + _times(discount, after), None

    target = reward + _times(discount, next_value)
    return jax.lax.scan(one_more_step, target, length=max(min(n, num_rows) - 1, 0))[0]


def lambda_return(
    reward: ArrayLike,
    terminated: ArrayLike,
    truncated: ArrayLike,
    next_value: ArrayLike,
    *,
    discount: ArrayLike,
    trace_decay: ArrayLike,
) -> jax.Array:
    """The λ-return [T, ...], G_t = r_t + γ_t ((1 − λ_t) V(s_{t+1}) + λ_t G_{t+1}).

    At an end the trace stops: G_t = r_t where terminated, r_t + γ_t V(s_{t+1}) where cut. λ = 0 is `td_target`,
    λ = 1 is `reward_to_go`, which reads the value only where an episode is cut.

    Args:
      reward: r_t, [T, ...].
      terminated, truncated: [T, ...] bool: nothing follows row t; a limit cut the episode after row t.
      next_value: [T, ...], V of the true next observation of row t, the one before any reset.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
      trace_decay: λ in [0, 1], one number or an array like discount.
    """
    reward, terminated, truncated, discount = _rows(reward, terminated, truncated, discount)
    cut = _cut(terminated, truncated)
    ended = terminated | cut
    trace = jnp.where(ended, 0.0, _factor("trace_decay", trace_decay, reward))
    # At λ = 1 a running row does not read its value, but dG/dλ does: only what is not a number is dropped there.
    next_value = _where_read(~terminated, next_value, reward)
    return _backward(reward + _times(discount * (1.0 - trace), next_value), discount * trace, ended)


def generalized_advantage(
    reward: ArrayLike,
    terminated: ArrayLike,
    truncated: ArrayLike,
    value: ArrayLike,
    next_value: ArrayLike,
    *,
    discount: ArrayLike,
    trace_decay: ArrayLike,
) -> jax.Array:
    """GAE [T, ...]: A_t = δ_t + γ_t λ_t A_{t+1} with the TD error δ_t = r_t + γ_t V(s_{t+1}) − V(s_t).

    The trace stops at every end of an episode. Where `next_value[t]` is `value[t + 1]` inside an episode, this is
    `lambda_return` − V: the TD error at λ = 0, the Monte-Carlo advantage at λ = 1.

    Args:
      reward: r_t, [T, ...].
      terminated, truncated: [T, ...] bool: nothing follows row t; a limit cut the episode after row t.
      value: [T, ...], V of the observation of row t.
      next_value: [T, ...], V of the true next observation of row t, the one before any reset.
      discount: γ in [0, 1], one number or an array of reward's leading shape ([T], or [T, N]).
      trace_decay: λ in [0, 1], one number or an array like discount.
    """
    reward, terminated, truncated, discount = _rows(reward, terminated, truncated, discount)
    ended = terminated | _cut(terminated, truncated)
    check_shapes("reward", reward.shape, value=value)
    error = td_target(reward, terminated, next_value, discount=discount) - jnp.asarray(value, reward.dtype)
    return _backward(error, discount * _factor("trace_decay", trace_decay, reward), ended)


def _backward(x: jax.Array, c: jax.Array, ended: jax.Array) -> jax.Array:
    """y_t = x_t + c_t · y_{t+1}, and x_t where an episode has ended or the rows have."""

    def step(y, row):
        x, c, ended = row
        y = x + _times(c, jnp.where(ended, 0.0, y))
        return y, y

    return jax.lax.scan(step, jnp.zeros(x.shape[1:], x.dtype), (x, c, ended), reverse=True)[1]


@jax.custom_jvp
def _times(c: jax.Array, y: jax.Array) -> jax.Array:
    """c · y, where 0 times anything is 0; a y that is not finite gives c no gradient.

    The gradient of a γ that all rows share is a sum over them: 0 · NaN from a row that is not read would spoil it.
    """
    return c * jnp.where((c == 0.0) & ~jnp.isfinite(y), 0.0, y)


@_times.defjvp
def _times_jvp(primals, tangents):
    (c, y), (c_dot, y_dot) = primals, tangents
    return _times(c, y), c * y_dot + c_dot * jnp.where(jnp.isfinite(y), y, 0.0)


def _rows(reward, terminated, truncated, discount):
    """The arguments as arrays `[T, ...]` of one shape: rewards in floating point, ends as booleans."""
    if not isinstance(reward, jax.Array):
        reward = np.asarray(reward)  # 64-bit integers would wrap around in JAX
        reward = reward.astype(np.float32) if reward.dtype.kind in "iu" else reward
    reward = jnp.asarray(reward)
    reward = reward.astype(jnp.promote_types(reward.dtype, jnp.float32))
    if reward.ndim == 0:
        raise InvalidInput("reward is one number; give rewards [T, ...], time first")
    check_shapes("reward", reward.shape, terminated=terminated, truncated=truncated)
    terminated, truncated = jnp.asarray(terminated, bool), jnp.asarray(truncated, bool)
    return reward, terminated, truncated, _factor("discount", discount, reward)


def _cut(terminated: jax.Array, truncated: jax.Array) -> jax.Array:
    """Where an episode stops without having terminated: truncated, or still running in the last row."""
    num_rows = truncated.shape[0]
    last = jnp.arange(num_rows).reshape((-1,) + (1,) * (truncated.ndim - 1)) == num_rows - 1
    return (truncated | last) & ~terminated


def _where_read(read: jax.Array, next_value: ArrayLike, reward: jax.Array) -> jax.Array:
    """next_value with 0 where it is not read, before any arithmetic: 0 · NaN would be NaN, in gradients too."""
    check_shapes("reward", reward.shape, next_value=next_value)
    return jnp.where(read, jnp.asarray(next_value, reward.dtype), 0.0)


def _factor(name: str, x: ArrayLike, reward: jax.Array) -> jax.Array:
    """γ or λ in `reward`'s type and shape; missing trailing axes are added."""
    if not isinstance(x, Tracer):
        given = np.asarray(x)
        if given.dtype.kind in "OSUc" or not ((given >= 0) & (given <= 1)).all():
            raise InvalidInput(f"{name} is {x}; give numbers in [0, 1]".replace("\n", ""))
    x = jnp.asarray(x, reward.dtype)
    check_shapes("reward", reward.shape[: x.ndim], **{name: x})
    return jnp.broadcast_to(x.reshape(x.shape + (1,) * (reward.ndim - x.ndim)), reward.shape)


def _steps(n: Any) -> int:
    try:
        steps = operator.index(n)
    except TypeError:
        steps = 0
    if steps < 1 or isinstance(n, bool):
        raise InvalidInput(
            f"n = {n!r}: an n-step return needs a whole number of steps, not traced; give n >= 1"
        )
    return steps
