"""Records as JSON: what is written leads back to an equal value, what would not is refused by its field."""

import dataclasses
import enum
import functools
import importlib
import json
import math
import pkgutil
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purepg
from purepg import estimators, names, presets
from purepg.errors import InvalidInput
from purepg.runs import configuration


def through_json(value):
    return configuration.decode(json.loads(json.dumps(configuration.encode(value))))


# What leads back


def methods_of_presets():
    """Every preset's method in every environment of three kinds that it goes with."""
    for env in ("CartPole-v1", "Pendulum-v1", "CliffWalking"):
        for name in presets.NAMES:
            try:
                yield presets.preset(env, name).method
            except InvalidInput:
                continue


def test_every_preset_is_read_back():
    methods = list(methods_of_presets())
    assert {type(m).__name__ for m in methods} >= {"PolicyGradient", "QLearning", "DQN", "CrossEntropy"}
    for method in methods:
        again = through_json(method)
        assert again == method
        assert hash(again) == hash(method)


def types_of(value):
    return (
        type(value),
        [types_of(x) for x in value] if isinstance(value, tuple) else (),
        [types_of(getattr(value, f.name)) for f in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else (),
    )


@dataclass(frozen=True)
class Holder:
    value: Any = None


class Pair(NamedTuple):
    first: Any
    second: Any = 2


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Derived:
    """The second field follows from the first."""

    size: int
    double: int = dataclasses.field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "double", 2 * self.size)


@dataclass(frozen=True)
class Unnamed:
    function: Callable = lambda x: x
    number: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Child(Derived):
    function: Any = Derived


class Plain(Derived):
    """Not decorated itself."""


def top_level(x):
    return x


jitted = jax.jit(top_level)  # hidden behind its own name's function


@jax.jit
def decorated(x):
    return x


class Net(nn.Module):
    inner: Any = None
    kernel_init: Callable = nn.initializers.orthogonal()

    def __call__(self, x):
        return x

    @staticmethod
    def static(x):
        return x

    @classmethod
    def made(cls):
        return cls


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            0,
            2**70,
            -0.0,
            0.1,
            math.inf,
            -math.inf,
            "",
            "purepg:MLP",
            (),
            ((1, (2.0,)), "x", None),
        ),
        *(top_level, decorated, math.sin, np.tanh, jnp.add, jnp.float32, nn.relu, dict, Derived, Holder),
        *(Net.static, Net.made, Colour.RED, Level.HIGH, jax.lax.Precision.HIGHEST),
        *(Pair(1, (2,)), Derived(3), Child(size=2), Plain(2), Unnamed(), Unnamed(top_level)),
        *(nn.Dense(2), nn.Dense(3, name="first", dtype=jnp.bfloat16), Net(), Net((nn.Dense(2), nn.relu))),
        Net(Net(nn.Sequential((nn.Dense(2), Net())))),
        purepg.Functions(top_level, decorated),
        purepg.Functions("my.module:f", "my.module:g"),
        purepg.environment("Bandit", rewards=np.array([[1.0, 2.0]]), names=["a", ["b"]]),
    ],
)
def test_a_value_is_read_back(value):
    for given in (value, Holder(value)):
        again = through_json(given)
        assert again == given
        assert hash(again) == hash(given)
        assert types_of(again) == types_of(given)


@pytest.mark.parametrize(
    "number", [np.float64(0.1), np.float32(0.1), np.int64(3), np.uint8(3), np.bool_(True), np.str_("a")]
)
def test_numpy_scalars_become_plain_ones(number):
    again = through_json(Holder(number))
    assert again == Holder(number)
    assert hash(again) == hash(Holder(number))
    assert type(again.value) is type(number.item())


def test_a_default_without_a_name_is_saved_as_the_default():
    assert configuration.encode(Unnamed())["function"] == {"default": True}
    assert configuration.encode(nn.Dense(2))["kernel_init"] == {"default": True}
    assert configuration.encode(nn.Dense(2))["bias_init"] == {"function": "jax.nn.initializers:zeros"}


# By which names


def names_in(data):
    if isinstance(data, list):
        return {name for x in data for name in names_in(x)}
    if not isinstance(data, dict):
        return set()
    return {data[key] for key in ("type", "function") if key in data} | names_in(list(data.values()))


def is_public(name):
    """Whether a saved name depends on the public names alone, not on where a module of purepg stands."""
    root, _, path = name.partition(":")
    return root == "purepg" and path.partition(".")[0] in purepg.__all__


def test_presets_are_saved_by_public_names():
    found = names_in([configuration.encode(method) for method in methods_of_presets()])
    assert {"purepg:PolicyGradient", "purepg:baselines.LeaveOneOut", "purepg:NoCritic"} <= found
    assert all(map(is_public, found)), found


def frozen_records():
    """All of the package that a method may hold: not those of the command line, nor how a run is carried out."""
    for info in pkgutil.walk_packages(purepg.__path__, "purepg."):
        if info.name.startswith(("purepg.cli", "purepg.runs.run_options")):
            continue
        for name, record in vars(importlib.import_module(info.name)).items():
            is_record = isinstance(record, type) and dataclasses.is_dataclass(record)
            if is_record and record.__module__ == info.name and not name.startswith("_"):
                yield record


def test_every_frozen_record_has_a_public_name():
    """Where this fails, the record belongs into the tables of `purepg/__init__`, or into a module that is there."""
    records = list(frozen_records())
    assert {purepg.MLP, purepg.baselines.LeaveOneOut, purepg.environments.EnvironmentSpec} <= set(records)
    for record in records:
        name = configuration.encode(Holder(record))["value"]["function"]
        assert is_public(name)
        assert names.import_object(name) is record


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (purepg.MLP, "purepg:MLP"),
        (purepg.baselines.LeaveOneOut, "purepg:baselines.LeaveOneOut"),  # which estimators import, too
        (purepg.Gaussian, "purepg:Gaussian"),
        (purepg.distributions.Gaussian, "purepg:distributions.Gaussian"),
        (purepg.NoCritic, "purepg:NoCritic"),
        (purepg.environments.EnvironmentSpec, "purepg:environments.EnvironmentSpec"),
        (purepg.returns.reward_to_go, "purepg:returns.reward_to_go"),
        (purepg.exact.policy_gradient, "purepg:exact.policy_gradient"),
        (purepg.run, "purepg:run"),
        (purepg.MLP.init, "purepg:MLP.init"),
        (nn.relu, f"{nn.relu.__module__}:relu"),
        (top_level, f"{__name__}:top_level"),
    ],
)
def test_what_is_ours_is_saved_by_its_public_name_and_the_rest_by_its_module(thing, name):
    assert configuration.encode(thing) == {"function": name}


def test_names_follow_from_what_is_public():
    spellings = names.spellings
    assert spellings("purepg.estimators.baselines", "Mean") == [
        "purepg:baselines.Mean",
        "purepg:estimators.Mean",
    ]
    assert spellings("purepg.exact.families", "Gamma") == ["purepg:families.Gamma", "purepg:exact.Gamma"]
    assert spellings("purepg.methods.anywhere", "MLP") == ["purepg:MLP"]
    assert spellings("purepg.methods.anywhere", "Own") == []
    assert spellings("purepg_of_mine.estimators", "Mean") == ["purepg_of_mine.estimators:Mean"]


@pytest.mark.parametrize("thing", [configuration.encode, purepg.MLP().init])
def test_what_purepg_has_for_itself_is_refused(thing):
    with pytest.raises(InvalidInput, match=r"^the value = .* cannot be saved: purepg has it for itself"):
        configuration.encode(thing)


# What does not


@dataclass
class Mutable:
    value: int = 1


@dataclass(unsafe_hash=True)
class HashedMutable:
    value: int = 1


@dataclass(frozen=True, eq=False)
class ByIdentity:
    value: int = 1


@dataclass(frozen=True)
class Changed:
    """Its constructor does not give back what it was given."""

    value: int

    def __post_init__(self):
        object.__setattr__(self, "value", self.value + 1)


@dataclass(frozen=True)
class Wants:
    value: dataclasses.InitVar[int]


@dataclass(frozen=True)
class SetLater:
    value: int = dataclasses.field(init=False, default=0)

    def at(self, value):
        object.__setattr__(self, "value", value)
        return self


@dataclass(frozen=True)
class WithType:
    type: str = "a"


@dataclass(frozen=True)
class Unequal:
    value: int = 1

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = object.__hash__


class Caller:
    def __call__(self, x):
        return x

    def method(self, x):
        return x


def local_function():
    def inner(x):
        return x

    return inner


def local_record():
    @dataclass(frozen=True)
    class Inner:
        value: int = 1

    return Inner()


def of_main(x):
    return x


of_main.__module__ = "__main__"


def of_no_module(x):
    return x


of_no_module.__module__ = "made_up_module"


def shadowed(x):
    return x


OLD, shadowed = shadowed, top_level

net = nn.Dense(2)
LEADS_NOWHERE = 'no "module:name" leads to it: define it'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "NaN equals nothing"),
        (np.float32("nan"), "NaN equals nothing"),
        ([1, 2], "a list does not hash: give a tuple"),
        ({"a": 1}, "dict is none of number, string"),
        ({1}, "set is none of number, string"),
        (b"a", "bytes is none of number, string"),
        (1j, "complex is none of number"),
        (np.datetime64("2026-01-01"), "date is none of number"),
        (np.zeros(2), "an array does not hash: give a number or nested tuples"),
        (jnp.float32(1), "an array does not hash: give a number or nested tuples"),
        (np.dtype("float32"), "is none of number"),
        (
            net.apply,
            r"a module's bound method has no name of its own: purepg\.Flax\(module\) takes the module",
        ),
        (net.init, r"purepg\.Flax\(module\) takes the module"),
        (Caller().method, LEADS_NOWHERE),
        (Caller(), LEADS_NOWHERE),
        (lambda x: x, LEADS_NOWHERE),
        (local_function(), LEADS_NOWHERE),
        (local_record(), LEADS_NOWHERE),
        (functools.partial(top_level, 1), LEADS_NOWHERE),
        (jitted, LEADS_NOWHERE),
        (OLD, LEADS_NOWHERE),
        (of_no_module, LEADS_NOWHERE),
        (of_main, "another program cannot import it from the one that was started: move it to a module"),
        (nn.initializers.orthogonal(), LEADS_NOWHERE),
        (types.SimpleNamespace(), "SimpleNamespace is none of number"),
        (Mutable(), r"can change after it is made: decorate its class @dataclass\(frozen=True\)"),
        (HashedMutable(), r"can change after it is made: decorate its class @dataclass\(frozen=True\)"),
        (ByIdentity(), "read back it is .* not equal or hashes to another number"),
        (Changed(1), r"read back it is Changed\(value=3\)"),
        (SetLater().at(3), "not equal or hashes to another number"),
        (Wants(3), "cannot be read back .* missing 1 required positional argument: 'value'"),
        (Unequal(), r"cannot be read back \(no comparison\)"),
        (WithType(), "keeps `type` for its class: call that field otherwise"),
        (np.longdouble(0.1), "is none of number"),
    ],
)
def test_what_is_not_read_back_is_refused_by_its_field_in_one_line(value, message):
    for given, where in [(Holder((1, Holder(value))), r"value\[1\]\.value = "), (value, "the value = ")]:
        with pytest.raises(InvalidInput, match=f"^{where}.* cannot be saved: .*{message}") as caught:
            configuration.encode(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "field"),
    [
        (nn.Dense(2, kernel_init=nn.initializers.orthogonal()), "kernel_init"),
        (Net((nn.relu, nn.Dense(2, dot_general=lambda *x: x))), r"inner\[1\]\.dot_general"),
    ],
)
def test_a_linen_modules_field_is_refused_by_its_path(module, field):
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.Flax(module)))
    method = purepg.PolicyGradient(task, estimators.make("reinforce"))
    with pytest.raises(InvalidInput, match=rf"^task\.policy\.network\.module\.{field} = .*{LEADS_NOWHERE}"):
        configuration.encode(method)


@pytest.mark.slow
def test_a_modules_bound_methods_train_but_cannot_be_saved():
    network = purepg.Functions(net.init, net.apply)
    task = purepg.Task("CartPole-v1", purepg.Softmax(network), purepg.Games(2, max_steps=3))
    method = purepg.PolicyGradient(task, estimators.make("reinforce"))
    result = purepg.run(method, seeds=1, num_updates=1, evaluation_games=0)
    assert np.isfinite(result.dataset["return"]).all()
    with pytest.raises(
        InvalidInput, match=r"^task\.policy\.network\.init_function = .*purepg\.Flax\(module\)"
    ):
        configuration.encode(method)


def test_a_name_that_something_else_has_by_now_is_refused(monkeypatch):
    assert configuration.encode(top_level) == {"function": f"{__name__}:top_level"}
    old = top_level
    monkeypatch.setattr(sys.modules[__name__], "top_level", lambda x: x)
    with pytest.raises(InvalidInput, match=LEADS_NOWHERE):
        configuration.encode(old)


# Reading


def saved(record, **changes):
    data = configuration.encode(record) | changes
    return {k: v for k, v in data.items() if v != "left out"}


HOME = __name__


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            saved(Pair(1), third=3, second="left out"),
            "Pair' has other fields than when it was saved: unknown third; missing second in the file. Give the code "
            "back as it was, it has first, second now",
        ),
        (saved(purepg.MLP(), width=3), "'purepg:MLP' has other fields .*: unknown width in the file"),
        (saved(purepg.MLP(), hidden="left out"), "'purepg:MLP' has other fields .*: missing hidden in"),
        (saved(nn.Dense(2), features="left out"), "Dense' has other fields .*: missing features in"),
        (saved(Derived(2), double=3), "Derived' has other fields .*: unknown double in"),
        (saved(purepg.MLP(), hidden=[0]), "every layer needs a size of at least 1"),
        (saved(purepg.MLP(), hidden=3), "every layer needs a size of at least 1"),
        (saved(Derived(2), size=None), "Derived' refuses what was saved of it: TypeError: unsupported operand"),
        ({"type": f"{HOME}:Gone"}, f"cannot import '{HOME}:Gone'.* has no attribute 'Gone'"),
        ({"type": "no_such_module:Net"}, "cannot import 'no_such_module:Net'.*No module named"),
        ({"function": "no_such_module:f"}, "cannot import 'no_such_module:f'.*No module named"),
        ({"type": f"{HOME}:top_level"}, "top_level' is no record"),
        ({"type": f"{HOME}:Caller"}, "Caller' is no record"),
        ({"a": 1}, "is no record: a record has its class in a field `type`"),
    ],
)  # fmt: skip
def test_what_changed_since_is_named_in_one_line(data, message):
    for given in (data, saved(Holder(), value=[data])):
        with pytest.raises(InvalidInput, match=message) as caught:
            configuration.decode(given)
        assert "\n" not in str(caught.value)


def test_a_module_that_cannot_be_run_is_said_as_what_it_is(tmp_path, monkeypatch):
    (tmp_path / "broken_module_of_mine.py").write_text("width = no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput, match="importing 'broken_module_of_mine:f' fails with NameError"):
        configuration.decode({"function": "broken_module_of_mine:f"})
