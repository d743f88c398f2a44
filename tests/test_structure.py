"""What holds between the modules: imports point one way, equal static arguments compile once, imports are lazy."""

import ast
import pathlib
import re
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

# Packages and top modules, from the bottom: each imports those of the lines above it, nothing of its own line.
LEVELS = """
    errors
    names returns exact
    environments
    hyperparams policies statistics
    task monte_carlo
    machines
    rollout
    estimators training
    evaluation methods
    runs diagnostics presets
    jobs studies
    analysis
    cli
"""
# Inside a package each imports those before it, and not the package itself; * are all others, on one line.
INSIDE = {
    "errors": "invalid_input checks shapes dtypes",
    "exact": "linear_solve model precision finite_mdp dynamic_programming gradient lqr_problem lqr",
    "environments": "specs spaces env_params labels",
    "policies": "distributions initializers networks function_network flax_network policies "
    "running_moments normalization",
    "statistics": "intervals summaries comparisons learning_curve seed_metrics",
    "monte_carlo": "leave_one_out location_scale families expectations relaxed_discrete gradients",
    "machines": "branches files folder_lock compilation_cache memory deadlocks seeds",
    "rollout": "trajectory metrics rollout collection",
    "estimators": "chunked_gradient differentiable_steps baselines critics base *",
    "methods": "optimizer action_values elites *",
    "runs": "configuration records run_length saved_state checkpoint old_runs plans run_folder run_options results "
    "programs runner loggers",
    "diagnostics": "moments closed_form reference statistics comparison",
    "presets": "table defaults",
    "jobs": "processes",
    "studies": "swept study_runs study sweep",
    "analysis": "drawing curves plotting report animation gymnasium",
    "cli": "standard_output progress flags machine job tables reporting study commands commands.listing commands.train "
    "commands.resume commands.compare commands.sweep commands.plot commands.evaluate commands.diagnose __main__",
}
RANK = {name: rank for rank, line in enumerate(LEVELS.splitlines()) for name in line.split()}
# Mathematics on arrays: it leaves gradients alone.
MATHS = (
    "returns.py",
    "monte_carlo/leave_one_out.py",
    "monte_carlo/location_scale.py",
    "monte_carlo/families.py",
    "monte_carlo/expectations.py",
    "monte_carlo/gradients.py",
    "policies/running_moments.py",
    "policies/distributions.py",
    "estimators/baselines.py",
    "methods/elites.py",
    "exact/*.py",
)


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES[""]  # the package itself: names, each imported when it is first used


def imported(path, nodes=ast.walk):
    """What a file imports, anywhere in it; `from a import b` is a.b, a module or something in a."""
    found = set()
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            if path.parent == OUR_ENVS:  # which may be there under another name
                assert node.level == 1 or not f"{node.module}.".startswith("envs."), f"{path}: relative"
            else:
                assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path):
    """The modules of purepg, by their names in it, that a file imports."""
    names = {name.removeprefix("purepg.") for name in imported(path) if name.startswith("purepg.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & set(MODULES)


def roots(names):
    return {name.partition(".")[0] for name in names}


# Imports point one way


def may_import(name):
    """What a module may import of purepg: lower packages and, in its own, what stands before it."""
    package, _, module = name.partition(".")
    lower = {other for other in MODULES if RANK[other.partition(".")[0]] < RANK[package]}
    if not module:
        return lower | {other for other in MODULES if other.startswith(f"{package}.")}
    inside = INSIDE[package].split()
    before = inside[: inside.index(module if module in inside else "*")]
    return lower | {f"{package}.{other}" for other in before}


def test_the_order_names_every_module_once():
    inside = {f"{package}.{module}" for package, modules in INSIDE.items() for module in modules.split()}
    rest = {name for name in MODULES if f"{name.partition('.')[0]}.*" in inside and "." in name}
    named = {name for name in inside if not name.endswith("*")}
    assert {*LEVELS.split()} | named | rest == {*MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_comes_before_it(name):
    assert ours(MODULES[name]) - {"cli" if name == "cli.__main__" else ""} <= may_import(name)


def test_the_house_stays_habitable():
    """A newcomer finds a concept by its place: few entries in a folder, files that are read in one sitting."""
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 26
    for folder in {path.parent for path in MODULES.values()} - {PACKAGE}:
        assert len(list(folder.glob("*.py"))) <= 17, folder
    for path in (*MODULES.values(), *OUR_ENVS.glob("*.py")):
        assert len(path.read_text().splitlines()) <= 300, path


def test_only_collection_asks_a_rollout_to_play():
    scripts = (PACKAGE.parent / "experiments").rglob("*.py")
    asking = [path for path in (*MODULES.values(), *scripts) if "rollout.rollout" in ours(path)]
    assert asking == [MODULES["rollout.collection"]]


def test_the_check_sees_an_import_that_points_back(tmp_path):
    program = (
        "def f():\n    from purepg.runs import runner\n    from purepg import Games\n    import purepg.cli\n"
    )
    (tmp_path / "probe.py").write_text(program)
    assert ours(tmp_path / "probe.py") == {"runs.runner", "cli"}


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


OF_TUPLES = ("_fields", "_replace", "_asdict", "_make")  # public ones of a NamedTuple
TESTS = sorted(pathlib.Path(__file__).parent.rglob("*.py"))


def private_names(path):
    """What a file reaches for that another module of ours has for itself: imported, an attribute, patched by name."""
    tree = ast.parse(path.read_text())
    modules, found = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("purepg", "envs"):
            modules |= {alias.asname or alias.name for alias in node.names}
            found |= {alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)}
        if isinstance(node, ast.Constant) and re.fullmatch(
            r"(purepg|envs)[\w.]*\._[a-z]\w*", str(node.value)
        ):
            found.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) and node.attr not in OF_TUPLES:
            of = ast.unparse(node.value)
            if of in modules or re.match(r"(purepg|envs)\.", of):
                found.add(f"{of}.{node.attr}")
    return found


@pytest.mark.parametrize("path", [*MODULES.values(), *TESTS], ids=lambda path: path.stem)
def test_nothing_private_is_used_elsewhere(path):
    assert not private_names(path)


def test_the_check_sees_private_names(tmp_path):
    program = "from purepg.rollout import rollout\nfrom envs.finite_mdp import _x\nrollout._step\n"
    (tmp_path / "probe.py").write_text(program + f"set('{'purepg.runs'}.runner._y')\n")
    assert private_names(tmp_path / "probe.py") == {"_x", "rollout._step", "purepg.runs." + "runner._y"}


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


@pytest.mark.parametrize("name", purepg.__all__)
def test_every_public_name_is_there(name):
    assert getattr(purepg, name) is not None
    assert name in dir(purepg)


def test_a_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
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
