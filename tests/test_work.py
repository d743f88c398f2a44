"""Work per row: an update costs a seed the same products alone and side by side with others, and skips the same.

Products (multiplications of matrices and convolutions) are counted in the traced program with its static trip counts;
of a branch those of its dearer side. Resets are no products and stay out.
"""

import math

import jax
import pytest
from jax.extend import core

import purepg
from purepg import presets
from purepg.task import for_platform, on

ENVIRONMENTS = {
    "pathwise": "Pendulum-v1",
    "pathwise-short": "Pendulum-v1",
    "q-learning": "GridWorld",
    "sarsa": "GridWorld",
    "expected-sarsa": "GridWorld",
    "cem-sessions": "GridWorld",
}


def programs_in(value):
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        yield getattr(value, "jaxpr", value)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from programs_in(part)


def work(jaxpr):
    """(products, branches that can save some): multiplications of numbers, and outermost `cond`s with a dearer side."""
    products = branches = 0
    for eqn in jaxpr.eqns:
        inside = [work(program) for value in eqn.params.values() for program in programs_in(value)]
        of_each, branches_inside = [p for p, _ in inside], sum(b for _, b in inside)
        branches += branches_inside
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            sizes = [eqn.invars[0].aval.shape[i] for i in contracted]
            products += math.prod(eqn.outvars[0].aval.shape) * math.prod(sizes)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            outputs = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            products += math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // outputs
        elif eqn.primitive.name == "cond":
            products += max(of_each)
            if max(of_each) > min(of_each):
                branches += 1 - branches_inside
        else:
            products += eqn.params.get("length", 1) * sum(of_each)  # a scan's; nothing else has a length
    return products, branches


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("name", presets.NAMES)
def test_side_by_side_each_seed_costs_what_it_costs_alone(name, platform):
    method, hyper, _ = presets.preset(ENVIRONMENTS.get(name, "CartPole-v1"), name)
    method = on(method, for_platform(platform))
    method, hyper = purepg.training.fitted(method, hyper)

    def update(state):
        return purepg.train(method, hyper, state, 1)

    def init(key):
        return purepg.init(method, hyper, key)

    keys = jax.random.split(jax.random.key(0), 3)
    alone, side_by_side = jax.eval_shape(init, keys[0]), jax.eval_shape(jax.vmap(init), keys)
    products, branches = work(jax.make_jaxpr(update)(alone).jaxpr)
    of_three, branches_of_three = work(jax.make_jaxpr(jax.vmap(update))(side_by_side).jaxpr)
    assert products - of_three / 3 == pytest.approx(0, abs=2e-4 * products)
    assert branches_of_three == branches


def test_the_count_of_a_small_program_is_that_by_hand():
    def function(x, y, w):
        x = jax.lax.scan(lambda x, _: (x @ w, None), x, length=5)[0]
        return jax.lax.cond(y > 0, lambda x: x @ w @ w, lambda x: x, x)

    x, y, w = jax.ShapeDtypeStruct((2, 3), float), jax.ShapeDtypeStruct((4,), float), jax.numpy.ones((3, 3))
    one = jax.make_jaxpr(lambda x, y: function(x, y, w))(x, jax.ShapeDtypeStruct((), float))
    assert work(one.jaxpr) == (5 * 18 + 2 * 18, 1)
    mapped = jax.make_jaxpr(jax.vmap(lambda x, y: function(x, y, w)))(
        jax.ShapeDtypeStruct((4, 2, 3), float), y
    )
    assert work(mapped.jaxpr) == (4 * 7 * 18, 0)  # the branch is gone: both sides are computed
