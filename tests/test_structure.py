"""What holds between the modules: imports point one way, equal static arguments compile once, imports are lazy."""

import ast
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import jax
import numpy as np
import pytest

import envs
import purepg
from purepg import estimators

PACKAGE = pathlib.Path(purepg.__file__).parent
OUR_ENVS = pathlib.Path(envs.__file__).parent

# Each module may import those before it. A new module has its place here first.
ORDER = (
    "errors",
    "names",
    "backend",
    "files",
    "folder_lock",
    "checks",
    "shapes",
    "leave_one_out",
    "running_moments",
    "dtypes",
    "environments",
    "env_params",
    "distributions",
    "families",
    "expectations",
    "relaxed_discrete",
    "monte_carlo",
    "networks",
    "flax_network",
    "policies",
    "normalization",
    "hyperparams",
    "task",
    "records",
    "memory",
    "trajectory",
    "rollout",
    "metrics",
    "returns",
    "collection",
    "row_chunks",
    "derivable",
    "baselines",
    "critics",
    "estimators.base",
    "estimators.score_function",
    "estimators.pathwise",
    "estimators",
    "training",
    "optimizer",
    "policy_gradient",
    "action_values",
    "q_learning",
    "deep_q_learning",
    "elites",
    "cross_entropy",
    "run_length",
    "evaluation",
    "configuration",
    "deadlocks",
    "seeds",
    "compilation_cache",
    "learning_curve",
    "scores",
    "swept",
    "statistics",
    "comparisons",
    "diagnostics.moments",
    "diagnostics.closed_form",
    "diagnostics.reference",
    "diagnostics.statistics",
    "diagnostics.comparison",
    "diagnostics",
    "drawing",
    "plotting",
    "saved_state",
    "checkpoint",
    "old_runs",
    "run_folder",
    "run_options",
    "results",
    "animation",
    "real_gymnasium",
    "runner",
    "processes",
    "live_log",
    "study_runs",
    "studies",
    "sweeps",
    "report",
    "progress",
    "presets",
    "defaults",
    "standard_output",
    "cli",
    "cli.flags",
    "cli.machine",
    "cli.job",
    "cli.tables",
    "cli.reporting",
    "cli.train",
    "cli.resume",
    "cli.study",
    "cli.compare",
    "cli.sweep",
    "cli.plot",
    "cli.evaluate",
    "cli.diagnose",
    "cli.listing",
    "cli.__main__",
)
# Mathematics on arrays: it leaves gradients alone.
MATHS = (
    "returns.py",
    "leave_one_out.py",
    "running_moments.py",
    "baselines.py",
    "distributions.py",
    "families.py",
    "expectations.py",
    "monte_carlo.py",
    "elites.py",
    "exact/*.py",
)


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES[""]  # the package itself: a table of names, each imported when it is first used
EXACT = [name for name in MODULES if name.split(".")[0] == "exact"]
ORDERED = [name for name in MODULES if name not in EXACT]


def imported(path, nodes=ast.walk):
    """Names of the modules that a file imports, anywhere in it; of `from a import b` both a and a.b."""
    found = set()
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path):
    """The modules of purepg, by their names in it, that a file imports."""
    names = {name.removeprefix("purepg.") for name in imported(path) if name.startswith("purepg.")}
    return names & set(MODULES)


def roots(names):
    return {name.partition(".")[0] for name in names}


# Imports point one way


def test_the_order_names_every_module_once():
    assert sorted(ORDER) == sorted(ORDERED)


@pytest.mark.parametrize("name", ORDERED)
def test_a_module_imports_only_what_comes_before_it(name):
    before = ORDER[: ORDER.index(name)] if name in ORDER else ()
    assert ours(MODULES[name]) <= {*before, "exact"}


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_modules_stand_on_their_own(name):
    assert ours(MODULES[name]) <= {"errors", *EXACT}


def test_only_collection_asks_a_rollout_to_play():
    scripts = (PACKAGE.parent / "experiments").rglob("*.py")
    assert [path for path in (*MODULES.values(), *scripts) if "rollout" in ours(path)] == [
        MODULES["collection"]
    ]


def test_the_check_sees_an_import_that_points_back(tmp_path):
    program = "def f():\n    from purepg import runner, Games\n    import purepg.cli\n"
    (tmp_path / "probe.py").write_text(program)
    assert ours(tmp_path / "probe.py") == {"runner", "cli"}


@pytest.mark.parametrize("path", sorted(OUR_ENVS.rglob("*.py")), ids=lambda path: path.name)
def test_environments_do_without_purepg(path):
    assert "purepg" not in roots(imported(path))


@pytest.mark.parametrize("name", MODULES)
def test_environments_are_imported_late(name):
    """A user's own project often has a folder `envs`: only a function that needs ours may import them."""

    def at_import_time(tree):
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            yield node
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                waiting.extend(ast.iter_child_nodes(node))

    assert "envs" not in roots(imported(MODULES[name], at_import_time))


PARTS = {type(made) for made in estimators.NAMES.values()}
PARTS |= {part for table in (purepg.baselines, purepg.critics) for part in table.NAMES.values()}


@pytest.mark.parametrize("name", MODULES)
def test_estimators_baselines_and_critics_are_asked_by_their_protocols(name):
    """Neither what they are nor whether they have a field: whatever others ask is a member of the protocol."""
    own = {part.__name__ for part in PARTS if part.__module__ == f"purepg.{name}"}
    concrete = {part.__name__ for part in PARTS} - own
    asked = ("estimator", "baseline", "critic", "policy", "method")
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            words = {word.id for word in ast.walk(node) if isinstance(word, ast.Name)}
            words |= {word.attr for word in ast.walk(node) if isinstance(word, ast.Attribute)}
            if node.func.id == "isinstance":
                assert not words & concrete, f"line {node.lineno}"
            if node.func.id == "getattr":
                assert not words & {*asked}, f"line {node.lineno}"


@pytest.mark.parametrize(
    "path", [path for pattern in MATHS for path in sorted(PACKAGE.glob(pattern))], ids=lambda path: path.name
)
def test_the_mathematics_stops_no_gradient(path):
    names = {
        getattr(node, "attr", getattr(node, "id", getattr(node, "name", None)))
        for node in ast.walk(ast.parse(path.read_text()))
    }
    assert "stop_gradient" not in names


# Imports are lazy

HEAVY = ("jax", "gymnax", "matplotlib", "orbax", "flax", "optax", "xarray", "scipy", "envs")


def loaded_by(program):
    """The heavy ones among the modules that a fresh interpreter has loaded after a program."""
    program += f"\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stderr.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import purepg") == []


def test_the_help_text_loads_nothing_heavy():
    assert loaded_by("from purepg.cli import main; main(['--help'])") == []


def test_listing_the_names_loads_nothing_heavy():
    assert loaded_by("import purepg; assert 'train' in dir(purepg)") == []


PUBLIC = sorted({*purepg._MODULES, *purepg._HOME})


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    assert getattr(purepg, name) is not None
    assert name in dir(purepg)


def test_type_checkers_see_the_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == PUBLIC


def test_a_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'purepg' has no attribute 'no_such_name'"):
        _ = purepg.no_such_name


# Equal static arguments compile once


@dataclass(frozen=True)
class Counting(estimators.Estimator):
    """An estimator that counts how often it is traced."""

    calls = []  # noqa: RUF012 (shared by all instances on purpose, and no field)

    def estimate(self, task, hyper, params, state, key):
        self.calls.append(1)
        arms = purepg.environments.resolve(task.env).num_actions
        gradient = jax.tree.map(lambda x: arms * jax.numpy.ones_like(x), params)
        return estimators.Estimate(gradient, gradient, state, {})


def make_method(rewards=(1.0, 0.0)):
    env = purepg.environment("Bandit", rewards=np.array(rewards))
    task = purepg.Task(env, purepg.Softmax(purepg.MLP((3,))), purepg.Games(2))
    return purepg.PolicyGradient(task, Counting(), purepg.Optimizer("sgd"))


def test_equal_methods_trace_once_and_others_again():
    jitted = jax.jit(purepg.train, static_argnums=(0, 3))
    hyper = purepg.Hyperparams()
    state = jax.eval_shape(lambda key: purepg.init(make_method(), hyper, key), jax.random.key(0))
    jitted.lower(make_method(), hyper, state, 1)
    traced = len(Counting.calls)
    assert traced > 0
    jitted.lower(make_method(), hyper, state, 1)
    assert len(Counting.calls) == traced
    jitted.lower(make_method((2.0, 0.0)), hyper, state, 1)
    assert len(Counting.calls) > traced
