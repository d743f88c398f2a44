"""Diagnostics: known variances, biases found where they are, references with their own error."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import envs
import purepg
from purepg import baselines, diagnostics, estimators
from purepg.diagnostics import Reference
from purepg.diagnostics import moments as batch_moments
from purepg.errors import InvalidInput

HYPER = purepg.Hyperparams(discount=0.9)


def bandit(probability, num_games=1):
    logit = float(np.log(probability / (1 - probability)))
    env = purepg.environment("Bandit", rewards=np.array([1.0, 0.0]))
    return purepg.Task(env, purepg.Softmax(purepg.Table(((logit, 0.0),))), purepg.Games(num_games))


@pytest.mark.slow
@pytest.mark.parametrize(("baseline", "variance"), [(0.0, 0.0009), (0.9, 0.0576), (0.1, 0.0)])
def test_variance_on_a_bandit(baseline, variance):
    """p = 0.9 on the arm that pays 1; per logit. 4 standard errors of a variance, √((m₄ − v²)/B)."""
    task = bandit(0.9)
    estimator = estimators.ScoreFunction(baseline=baselines.Constant(baseline))
    params = task.bind_policy().init(jax.random.key(0))
    found = diagnostics.gradient_statistics(task, estimator, HYPER, params, jax.random.key(0), 20_000)
    scores, chances = np.array([0.1, -0.9]), np.array([0.9, 0.1])
    samples = scores * (np.array([1.0, 0.0]) - baseline)
    fourth = chances @ (samples - chances @ samples) ** 4
    assert chances @ (samples - chances @ samples) ** 2 == pytest.approx(variance)
    error = np.sqrt((fourth - variance**2) / found.num_batches)
    np.testing.assert_allclose(found.variance["table"].ravel(), variance, atol=4 * error + 1e-9)
    assert found.largest_bias_z < 4


@pytest.mark.slow
def test_the_optimal_baseline_is_the_best_constant():
    task = bandit(0.9, num_games=1000)
    params = task.bind_policy().init(jax.random.key(0))
    names = "reinforce", "reinforce-optimal"
    found = diagnostics.compare(
        task, {n: estimators.make(n) for n in names}, HYPER, params, jax.random.key(0), 500
    )
    assert found["reinforce-optimal"].total_variance < 0.2 * found["reinforce"].total_variance
    assert all(s.largest_bias_z < 4 for s in found.values())


@pytest.mark.slow
def test_biases_are_found_where_they_are():
    """The mean over all games is (N − 1)/N of the gradient, dropping γ^t changes it; leave-one-out does not."""
    task = two_states(num_games=4)
    params = task.bind_policy().init(jax.random.key(0))
    chosen = {
        "loo": estimators.make("reinforce-loo"),
        "mean": estimators.make("reinforce-mean"),
        "value": estimators.make("reinforce-value"),
        "no weighting": estimators.ScoreFunction(discount_weighting=False),
    }
    found = diagnostics.compare(task, chosen, HYPER, params, jax.random.key(0), 10_000)
    assert found["loo"].largest_bias_z < 4
    assert found["value"].largest_bias_z < 4
    assert found["mean"].largest_bias_z > 4
    assert found["no weighting"].largest_bias_z > 4
    np.testing.assert_allclose(
        found["mean"].mean["table"], 0.75 * found["loo"].mean["table"], atol=1e-6
    )  # the same games
    dataset = diagnostics.to_dataset(found)
    np.testing.assert_allclose(dataset["layer_variance"].sum("layer"), dataset["total_variance"])


@pytest.mark.slow
def test_moments_are_those_of_independent_batches():
    task = two_states(num_games=3)
    estimator = estimators.make("reinforce-loo")
    params = task.bind_policy().init(jax.random.key(0))
    found = diagnostics.gradient_statistics(task, estimator, HYPER, params, jax.random.key(0), 4000)
    state = estimator.init(task, HYPER, params, jax.random.key(0))

    def one(key):
        return estimator.estimate(task, HYPER, params, state, key).policy_gradient["table"]

    samples = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(9), 4000))
    samples = np.asarray(samples, np.float64)
    error = np.sqrt(2) * samples.std(axis=0) / np.sqrt(4000)
    assert (np.abs(found.mean["table"] - samples.mean(axis=0)) <= 4 * error + 1e-9).all()
    ratio = found.total_variance / (3 * samples.var(axis=0, ddof=1).sum())
    assert ratio == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(
        found.standard_error["table"], np.sqrt(found.variance["table"] / 3 / found.num_batches)
    )


@pytest.mark.slow
def test_a_sampled_reference_has_its_error():
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((2,))), purepg.Games(16, 8))
    params = task.bind_policy().init(jax.random.key(0))
    assert diagnostics.exact_gradient(task, HYPER, params) is None
    reference = diagnostics.reference_gradient(task, HYPER, params, jax.random.key(0), num_games=20_000)
    assert all((e > 0).any() for e in jax.tree.leaves(reference.standard_error))
    found = diagnostics.gradient_statistics(
        task, estimators.make("reinforce"), HYPER, params, jax.random.key(1), 200, reference=reference
    )
    assert found.largest_bias_z < 4.5  # of some 16 components


@pytest.mark.slow
def test_the_exact_gradient_of_a_network_is_carried_back():
    """By finite differences of J in the network's parameters."""
    from purepg import exact

    task = two_states()
    task = purepg.Task(task.env, purepg.Softmax(purepg.MLP((3,), output_scale=1.0)), task.collect)
    policy = task.bind_policy()
    params = policy.init(jax.random.key(0))
    gradient = diagnostics.exact_gradient(task, HYPER, params)
    model = purepg.environments.exact_model(task.env)

    def objective(params):
        logits = np.asarray(policy.distribution(params, jnp.arange(3)).logits, np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        probabilities /= probabilities.sum(1, keepdims=True)
        return exact.objective(*model, probabilities, 0.9, horizon=task.max_steps)

    direction = jax.tree.map(lambda x: jnp.ones_like(x), params)
    up, down = (
        objective(jax.tree.map(lambda x, d, s=s: x + s * d, params, direction)) for s in (1e-2, -1e-2)
    )
    slope = sum(float(np.sum(x)) for x in jax.tree.leaves(gradient))
    assert slope == pytest.approx((up - down) / 2e-2, rel=1e-2, abs=1e-4)


def test_one_batch_has_no_variance():
    task = bandit(0.5)
    params = task.bind_policy().init(jax.random.key(0))
    with pytest.raises(InvalidInput, match="num_batches = 1"):
        diagnostics.gradient_statistics(task, estimators.ScoreFunction(), HYPER, params, jax.random.key(0), 1)


@pytest.mark.slow
def test_signal_to_noise_over_training_is_measured_where_the_run_was():
    method = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))
    hyper, key = purepg.Hyperparams(0.3, discount=0.9), jax.random.key(3)
    at, snr = diagnostics.signal_to_noise_over_training(method, hyper, key, 7, num_points=3, num_batches=50)
    np.testing.assert_array_equal(at, [0, 2, 4, 6])
    state, _ = purepg.train(method, hyper, purepg.init(method, hyper, key), 4)
    there = diagnostics.gradient_statistics(
        method.task, method.estimator, hyper, state.learner.params,
        jax.random.fold_in(diagnostics.measuring_key(key), 4), 50,
        reference=None,
    )  # fmt: skip
    np.testing.assert_allclose(snr[2], there.snr, rtol=1e-4)


def test_signal_to_noise_of_a_method_without_a_gradient_is_refused():
    with pytest.raises(InvalidInput, match="CrossEntropy estimates no gradient"):
        diagnostics.signal_to_noise_over_training(
            purepg.CrossEntropy(two_states()), purepg.Hyperparams(), jax.random.key(0), 2
        )


# What is played is what is measured


def of(name, limit=None, policy=None, **arguments):
    spec = purepg.environment(name, **arguments)
    default = purepg.Softmax(purepg.Table()) if purepg.environments.is_discrete(spec) else LINEAR
    return purepg.Task(spec, policy or default, purepg.Games(32, limit))


def elsewhere(task, estimator=None):
    """Parameters that are nowhere 0."""
    policy = task.bind_policy() if estimator is None else estimator.bind(task)
    leaves, structure = jax.tree.flatten(policy.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, moved)


LINEAR = purepg.Gaussian(purepg.MLP(()))
ALIASED = {
    "transition": np.eye(4)[[[1, 0], [0, 2], [3, 1], [3, 3]]],
    "reward": [[-1.0, -2.0], [1.0, -1.0], [3.0, -1.0], [0.0, 0.0]],
    "initial": [0.5, 0.5, 0.0, 0.0],
    "observation": [0, 1, 0, 1],
}
REFERENCES = {
    "ShortCorridor": lambda: of("ShortCorridor", 20),
    "aliased": lambda: of("envs.finite_mdp:FiniteMDP", 6, **ALIASED),
    "aliased, network": lambda: of(
        "envs.finite_mdp:FiniteMDP", 6, purepg.Softmax(purepg.MLP((3,), output_scale=1.0)), **ALIASED
    ),
    "Bandit": lambda: of("Bandit"),
    "Chain": lambda: of("Chain", 12),
    "GridWorld": lambda: of("GridWorld", 12),
    "slippery GridWorld": lambda: of("GridWorld", 12, slip=0.2),
    "CliffWalking": lambda: of("CliffWalking", 12),
    "Taxi": lambda: of("Taxi", 6),
    "LQR": lambda: of("LQR", 4, initial_mean=(0.5, -1.0), noise_std=0.1),
    "ScalarLQR": lambda: of("ScalarLQR", 4, purepg.Gaussian(purepg.MLP(()), "fixed", 0.3)),
}


def test_no_environment_with_an_exact_model_is_forgotten():
    known = {
        name for name, made in envs.IDS.items() if hasattr(made, "exact_model") or hasattr(made, "exact_lqr")
    }
    assert known <= REFERENCES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_agrees_with_sampling(name):
    """Also where states share an observation, away from 0, and cut by a limit. The chance of 4 standard errors."""
    task = REFERENCES[name]()
    params = elsewhere(task)
    assert diagnostics.exact_gradient(task, HYPER, params) is not None
    batches = 400 if name in ("CliffWalking", "Taxi") else 2000
    found = diagnostics.gradient_statistics(
        task, estimators.make("reinforce-loo"), HYPER, params, jax.random.key(0), batches
    )
    assert found.bias_p_value > 6e-5
    assert found.cosine > 0.9 or name == "Taxi"


@pytest.mark.slow
def test_the_short_corridor_is_played_by_what_is_seen():
    """J(p) = (2p − 4) / (p (1 − p)), by the logits ±p (1 − p) J'(p) = ±2 at p = 1/2: not the 3 of states told apart."""
    task, hyper = of("ShortCorridor", 1000), purepg.Hyperparams(discount=1.0)
    params = task.bind_policy().init(jax.random.key(0))
    gradient = diagnostics.exact_gradient(task, hyper, params)
    np.testing.assert_allclose(gradient["table"], [[-2.0, 2.0]], rtol=1e-5)


class _Noisy(envs.Chain):
    """Sees its state with noise, by the model of a class that does not."""

    def step_env(self, key, state, action, params):
        seen, *rest = super().step_env(key, state, action, params)
        return (seen + jax.random.bernoulli(key).astype(seen.dtype)) % self.num_observations, *rest


class _Sticky(envs.Chain):
    """Takes action 0 in every second step, whatever was chosen."""

    def step_env(self, key, state, action, params):
        return super().step_env(key, state, jnp.where(state.time % 2 == 0, action, 0), params)


@pytest.mark.slow
@pytest.mark.parametrize("made", [_Noisy, _Sticky])
def test_a_model_that_is_not_played_is_no_reference(made):
    task = of(f"{__name__}:{made.__name__}")
    assert diagnostics.exact_gradient(task, HYPER, task.bind_policy().init(jax.random.key(0))) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Chain", "LQR"])
def test_references_end_at_the_limit_in_use(name):
    """In Hyperparams.env as in the task, the smaller one."""
    params = elsewhere(of(name))
    env = purepg.hyperparams.with_env_params(of(name).env, {"max_steps_in_episode": 3})
    limited = purepg.Hyperparams(discount=0.9, env=env)
    wanted = diagnostics.exact_gradient(of(name, 3), HYPER, params)
    for task, hyper in ((of(name), limited), (of(name, 3), HYPER)):
        found = diagnostics.exact_gradient(task, hyper, params)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), found, wanted)
    longer = diagnostics.exact_gradient(of(name, 7), HYPER, params)
    assert (
        max(np.abs(x - y).max() for x, y in zip(*map(jax.tree.leaves, (longer, wanted)), strict=True)) > 1e-3
    )
    found = diagnostics.gradient_statistics(
        of(name), estimators.make("reinforce-loo"), limited, params, jax.random.key(0), 200
    )
    assert found.steps <= 32 * 3
    assert found.bias_p_value > 1e-4


@pytest.mark.slow
def test_the_parameters_in_use_are_those_of_the_reference():
    """GridWorld has its slip in the transition table, LQR its cost: half the reward is half the gradient."""
    for name, field in (("GridWorld", "reward"), ("LQR", "Q")):
        task = of(name, 5)
        params, half = elsewhere(task), {field: 0.5 * getattr(_default_params(task), field)}
        half |= {"R": 0.5 * _default_params(task).R} if name == "LQR" else {}
        hyper = purepg.Hyperparams(discount=0.9, env=purepg.hyperparams.with_env_params(task.env, half))
        found, whole = (diagnostics.exact_gradient(task, h, params) for h in (hyper, HYPER))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(2 * x, y, rtol=1e-5, atol=1e-6), found, whole)


def _default_params(task):
    return purepg.environments.parameters(task.env, None)


def test_numbers_of_several_replicates_are_refused():
    task = of("Chain")
    params = task.bind_policy().init(jax.random.key(0))
    with pytest.raises(InvalidInput, match="of several replicates"):
        diagnostics.exact_gradient(task, purepg.Hyperparams(discount=np.array([0.9, 0.5])), params)


# What a reference may be


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("exact", "reference = 'exact': give diagnostics.Reference"),
        (({"table": np.zeros((1, 2))},) * 2, "give diagnostics.Reference"),
        (np.zeros((1, 2)), "give diagnostics.Reference"),
        (Reference({"table": np.zeros((2, 2))}), r"reference.gradient: \['table'\] is \(2, 2\)"),
        (
            Reference({"table": np.zeros((1, 2))}, {"table": 0.0}),
            r"reference.standard_error: \['table'\] is \(\)",
        ),
        (Reference({"bias": np.zeros(2)}), r"reference.gradient: \['table'\] is missing"),
    ],
)
def test_what_is_no_reference_is_refused_before_anything_is_measured(reference, words, monkeypatch):
    task, estimator = bandit(0.5), estimators.ScoreFunction()
    params = task.bind_policy().init(jax.random.key(0))
    monkeypatch.delattr("purepg.diagnostics.statistics.measure")
    for call, what in ((diagnostics.gradient_statistics, estimator), (diagnostics.compare, {"a": estimator})):
        with pytest.raises(InvalidInput, match=words) as refusal:
            call(task, what, HYPER, params, jax.random.key(0), 4, reference=reference)
        assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_without_a_reference_nothing_is_said_of_a_bias():
    task, estimator = bandit(0.5, num_games=4), {"a": estimators.ScoreFunction()}
    params = task.bind_policy().init(jax.random.key(0))
    known = Reference({"table": np.array([[0.25, -0.25]])})
    none, given, measured = (
        diagnostics.compare(task, estimator, HYPER, params, jax.random.key(0), 50, reference=reference)["a"]
        for reference in (None, known, "measure")
    )
    for name in ("mean", "variance", "standard_error"):
        np.testing.assert_array_equal(*(getattr(s, name)["table"] for s in (none, measured)))
    assert none.snr == measured.snr
    for value in (none.cosine, none.bias_p_value, none.largest_bias_z):
        assert np.isnan(value)
    assert np.isnan(none.reference["table"]).all()
    assert np.isnan(diagnostics.to_dataset({"a": none})["largest_bias_z"]).all()
    assert given.bias_p_value == pytest.approx(
        measured.bias_p_value, rel=1e-4
    )  # the same gradient, in float32
    assert (given.reference_error["table"] == 0).all()


@dataclasses.dataclass(frozen=True)
class Doubled:
    """A user's own policy: another by its name, twice as far in its gains or logits."""

    policy: Any

    def bind(self, env, *, with_value=False):
        bound = self.policy.bind(env, with_value=with_value)

        def doubled(params):
            return jax.tree.map(lambda x: 2 * x, params)

        return bound._replace(
            outputs=lambda params, observation: bound.outputs(doubled(params), observation),
            linear=lambda params: bound.linear(doubled(params)),
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Chain", "LQR"])
def test_a_closed_form_asks_the_policy_not_its_class(name):
    task = of(name, 4)
    own = dataclasses.replace(task, policy=Doubled(task.policy))
    params = elsewhere(task)
    found = diagnostics.exact_gradient(own, HYPER, params)
    plain = diagnostics.exact_gradient(task, HYPER, jax.tree.map(lambda x: 2 * x, params))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, 2 * y, rtol=1e-6), found, plain)


@pytest.mark.parametrize(
    "task",
    [
        of("LQR", 4, purepg.Gaussian(purepg.MLP((3,)))),
        of("LQR", 4, purepg.Gaussian(purepg.MLP(()), "state")),
        dataclasses.replace(of("LQR", 4), normalize_observations=True),
    ],
)
def test_a_policy_that_is_not_linear_has_no_closed_form(task):
    assert diagnostics.exact_gradient(task, HYPER, task.bind_policy().init(jax.random.key(0))) is None


# A critic that shares the network


@pytest.mark.slow
def test_the_exact_gradient_of_linear_problems_leaves_a_shared_value_alone():
    task, estimator = of("LQR", 4), estimators.make("reinforce-value")
    with_value = elsewhere(task, estimator)
    gradient = diagnostics.exact_gradient(task, HYPER, with_value, estimator=estimator)
    alone = jax.tree.map(lambda x: x, with_value) | {
        "network": jax.tree.map(lambda x: x[..., :1], with_value["network"])
    }
    expected = diagnostics.exact_gradient(task, HYPER, alone)
    jax.tree.map(lambda g, x: np.testing.assert_array_equal(g.shape, x.shape), gradient, with_value)
    for found, wanted in zip(*(jax.tree.leaves(g["network"]) for g in (gradient, expected)), strict=True):
        np.testing.assert_allclose(found[..., :1], wanted, rtol=1e-12)
        assert (found[..., 1:] == 0).all()


@pytest.mark.slow
def test_every_estimator_is_compared_at_parameters_with_a_shared_value():
    task = of("LQR", 4)
    names = "reinforce-loo", "pathwise", "pathwise-short", "reinforce-value"
    chosen = {name: estimators.make(name) for name in names}
    params = elsewhere(task, chosen["reinforce-value"])
    found = diagnostics.compare(task, chosen, HYPER, params, jax.random.key(0), 300, with_value=True)
    for name in ("reinforce-loo", "pathwise", "reinforce-value"):
        assert found[name].bias_p_value > 1e-4, name
    assert found["pathwise"].total_variance < found["reinforce-loo"].total_variance


# Independent batches


@dataclasses.dataclass(frozen=True)
class Wrapped(estimators.Estimator):
    """GAE in other words."""

    inner: Any = estimators.make("gae")
    hidden: bool = False

    def check(self, task):
        self.inner.check(task)

    def bind(self, task):
        return self.inner.bind(task)

    def init(self, task, hyper, params, key):
        return self._pack(self.inner.init(task, hyper, params, key))

    def estimate(self, task, hyper, params, state, key):
        games = state.learned[1] if self.hidden else state.games
        inner = estimators.EstimatorState(games, state.learned[0])
        estimate = self.inner.estimate(task, hyper, params, inner, key)
        return estimate._replace(state=self._pack(estimate.state))

    def _pack(self, state):
        if self.hidden:
            return estimators.EstimatorState((), (state.learned, state.games))
        return estimators.EstimatorState(state.games, (state.learned, jnp.zeros(())))


@pytest.mark.slow
def test_running_games_are_fresh_wherever_they_are_in_the_state():
    """Batches that all start from the same games are more alike than they are."""
    task = dataclasses.replace(of("Chain"), collect=purepg.Segments(4, 2, max_steps=12))
    params = elsewhere(task, Wrapped())
    measure = functools.partial(diagnostics.gradient_statistics, task)
    plain, wrapped = (
        measure(e, HYPER, params, jax.random.key(0), 400, reference=None)
        for e in (estimators.make("gae"), Wrapped())
    )
    np.testing.assert_allclose(wrapped.total_variance, plain.total_variance, rtol=1e-5)

    def afresh(key):
        start, go = jax.random.split(key)
        state = Wrapped().init(task, HYPER, params, start)
        return Wrapped().estimate(task, HYPER, params, state, go).policy_gradient["table"]

    samples = jax.jit(lambda keys: jax.lax.map(afresh, keys))(jax.random.split(jax.random.key(9), 400))
    assert wrapped.total_variance == pytest.approx(4 * samples.var(axis=0).sum(), rel=0.25)
    with pytest.raises(InvalidInput, match="Wrapped holds no running games"):
        measure(Wrapped(hidden=True), HYPER, params, jax.random.key(0), 4)


@pytest.mark.slow
def test_no_key_is_used_twice():
    """Neither by settling, nor by two seeds of a run, nor by a run and what is measured beside it."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watching(estimators.ScoreFunction):
        def init(self, task, hyper, params, key):
            jax.debug.callback(lambda k: seen.append(tuple(np.asarray(k).tolist())), jax.random.key_data(key))
            jax.debug.callback(
                lambda k: seen.extend(map(tuple, np.asarray(k).tolist())),
                jax.random.key_data(jax.random.split(key, 2)),
            )
            return super().init(task, hyper, params, key)

        def estimate(self, task, hyper, params, state, key):
            jax.debug.callback(lambda k: seen.append(tuple(np.asarray(k).tolist())), jax.random.key_data(key))
            return super().estimate(task, hyper, params, state, key)

    task = of("Bandit")
    params = task.bind_policy().init(jax.random.key(0))
    diagnostics.gradient_statistics(task, Watching(), HYPER, params, jax.random.key(0), 4)
    jax.effects_barrier()
    assert len(seen) > 100
    assert len(set(seen)) == len(seen)


@pytest.mark.slow
def test_signal_to_noise_of_two_seeds_has_other_noise():
    method = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-loo"))
    hyper = purepg.Hyperparams(0.0, discount=0.9)  # both stay where they start
    (_, one), (_, again), (_, other) = (
        diagnostics.signal_to_noise_over_training(
            method, hyper, jax.random.key(seed), 2, num_points=2, num_batches=20
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()
    assert one[0] != one[1]


# What the numbers say


def made_up(difference, spread, num_batches, seed):
    """Statistics of normal batch estimates, and of what they have in common, around ∇J + difference."""
    rng = np.random.default_rng(seed)
    noise = spread * (rng.normal(size=(num_batches, 3000)) + rng.normal(size=(num_batches, 1)))
    samples = jnp.asarray(1.0 + difference + noise, jnp.float32)
    start = batch_moments.zero({"a": samples[0]})
    directions = batch_moments.signs({"a": samples[0]})

    def add(moments, x):
        sample = batch_moments.Sample({"a": x}, batch_moments.along(directions, {"a": x}))
        return batch_moments.add(moments, sample, 1.0), None

    moments = jax.tree.map(np.asarray, jax.jit(lambda x: jax.lax.scan(add, start, x)[0])(samples))
    truth = Reference({"a": np.ones(3000)})
    return diagnostics.statistics_of(of("Bandit"), moments, truth, 1.0)


@pytest.mark.slow
def test_a_bias_is_told_from_thousands_of_components():
    """Without one p is uniform, and the largest |z| is no sign; with one p is small, also of correlated components."""
    without = np.array([made_up(0.0, 0.5, 200, seed).bias_p_value for seed in range(60)])
    assert 0.01 <= np.mean(without < 0.2) <= 0.2 + 4 * np.sqrt(0.16 / 60)
    assert np.mean(without) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 60))
    assert without.min() > 1e-4
    assert max(made_up(0.0, 0.5, 200, seed).largest_bias_z for seed in range(60)) > 4
    rng = np.random.default_rng(0)
    assert made_up(0.2 * rng.normal(size=3000), 0.5, 200, 0).bias_p_value < 1e-6


@pytest.mark.slow
def test_rare_events_are_no_bias_and_a_missing_layer_is():
    """A table of which most states are seldom met: |z| is in the millions where one never was."""
    task = of("CliffWalking", 30)
    params = elsewhere(task)
    found = diagnostics.gradient_statistics(
        task, estimators.make("reinforce-loo"), HYPER, params, jax.random.key(0), 200
    )
    assert found.bias_p_value > 1e-3
    assert found.largest_bias_z > 100
    mean, error = found.reference, found.reference_error
    other = Reference(jax.tree.map(lambda x: 1.5 * x, mean), error)
    found = diagnostics.gradient_statistics(
        task, estimators.make("reinforce-loo"), HYPER, params, jax.random.key(0), 200, reference=other
    )
    assert found.bias_p_value < 1e-6


@pytest.mark.slow
def test_what_is_not_finite_is_no_signal():
    task, params = of("Bandit"), {"table": jnp.zeros((1, 10))}
    params = jax.tree.map(lambda x: x * jnp.nan, task.bind_policy().init(jax.random.key(0)))
    nothing = jax.tree.map(np.zeros_like, params)
    found = diagnostics.gradient_statistics(
        task, estimators.ScoreFunction(), HYPER, params, jax.random.key(0), 4, reference=Reference(nothing)
    )
    for value in (found.snr, found.largest_bias_z, found.bias_p_value, found.cosine):
        assert np.isnan(value)


@pytest.mark.slow
def test_statistics_at_a_reward_scale_are_shown_in_plain_rewards():
    task = two_states(num_games=4)
    params = task.bind_policy().init(jax.random.key(0))
    plain, scaled = (
        diagnostics.gradient_statistics(
            task, estimators.make("reinforce-loo"), purepg.Hyperparams(discount=0.9, reward_scale=scale), params,
            jax.random.key(0), 50,
        )
        for scale in (1.0, -0.1)
    )  # fmt: skip
    shown = diagnostics.in_rewards(scaled, -0.1)
    for name in ("mean", "variance", "standard_error", "reference", "reference_error", "bias_z"):
        wanted, found = (getattr(s, name)["table"] for s in (plain, shown))
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)
    assert shown.snr == scaled.snr == pytest.approx(plain.snr, rel=1e-4)
    with pytest.raises(InvalidInput, match="reward_scale = 0"):
        diagnostics.in_rewards(scaled, 0.0)
