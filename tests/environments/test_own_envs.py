"""A user's project with its own `envs`: theirs and ours are both found, however purepg is installed."""

import os
import pathlib
import subprocess
import sys
import sysconfig

import pytest

import purepg

ROOT = pathlib.Path(purepg.__file__).parent.parent
MINE = """
from gymnax.environments.classic_control.cartpole import CartPole
class MyEnv(CartPole):
    def __init__(self, works=True):
        super().__init__()
        if not works:
            raise KeyError("made here")
"""
# What the project holds, and the user's name of an environment in it.
FORMS = {
    "package": ({"envs/__init__.py": "from envs.mine import MyEnv", "envs/mine.py": MINE}, "envs:MyEnv"),
    "module": ({"envs.py": MINE}, "envs:MyEnv"),
    "folder": ({"envs/mine.py": MINE}, "envs.mine:MyEnv"),
    "broken": ({"envs.py": "raise ImportError('not ours')", "mine.py": MINE}, "mine:MyEnv"),
}
PROGRAM = """
import pathlib, sys
from purepg import environments
print(pathlib.Path(environments.__file__).parents[2])
for name in sys.argv[1:]:
    made = type(environments.resolve(environments.environment(name)))
    print(made.__name__, pathlib.Path(sys.modules[made.__module__].__file__).resolve())
"""


@pytest.fixture(params=FORMS)
def project(request, tmp_path):
    """A folder with the user's `envs`, and the user's name of their environment."""
    files, spec = FORMS[request.param]
    folder = tmp_path / "project"
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder, spec


def venv(folder, *lines):
    """The Python of a fresh environment, what purepg needs on its path and the lines' folders behind it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    needed = sysconfig.get_paths()["purelib"]  # as a folder: its own .pth files are not read
    (site / "more.pth").write_text("\n".join(map(str, (needed, *lines))))
    return folder / "bin" / "python", site


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    return venv(tmp_path_factory.mktemp("editable"), ROOT)[0], ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    python, site = venv(tmp_path_factory.mktemp("installed"))
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", wheels, ROOT], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    return python, site


def output(python, *words, cwd):
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([python, *words], cwd=cwd, env=variables, capture_output=True, text=True)
    return done.stdout + done.stderr


def check_both_are_found(where, project):
    python, root = where
    folder, spec = project
    (folder / "script.py").write_text(PROGRAM)
    for words in (["script.py"], ["-P", "-c", f"import sys; sys.path.append('')\n{PROGRAM}"]):
        printed = output(python, *words, "GridWorld", "envs:ShortCorridor", spec, cwd=folder).splitlines()
        assert printed[0] == str(root)
        assert printed[1:3] == [
            f"GridWorld {root / 'envs' / 'gridworld.py'}",
            f"ShortCorridor {root / 'envs' / 'corridor.py'}",
        ]
        assert printed[3].startswith(f"MyEnv {folder}"), printed


@pytest.mark.slow
def test_in_the_current_folder_beside_an_editable_install(editable, project):
    check_both_are_found(editable, project)


@pytest.mark.slow
def test_in_the_current_folder_beside_an_installed_wheel(installed, project):
    check_both_are_found(installed, project)


@pytest.mark.slow
def test_the_wheel_carries_the_stubs(installed):
    _, site = installed
    for path in ("purepg/__init__.pyi", "purepg/py.typed", "envs/__init__.pyi", "envs/py.typed"):
        assert (site / path).is_file(), path


def test_where_ours_took_the_name_first_one_line_says_so(editable, tmp_path):
    (tmp_path / "envs.py").write_text(MINE)
    program = (
        "import envs, sys; sys.path.append(''); from purepg.names import import_object as f; f('envs:MyEnv')"
    )
    last = output(editable[0], "-P", "-c", program, cwd=tmp_path).splitlines()[-1]
    assert "cannot import 'envs:MyEnv': purepg's own package `envs` was imported before the one in " in last
    assert last.endswith("put the latter's folder before purepg's on the path, or rename it")


@pytest.mark.slow
def test_ours_under_two_names_registers_once(editable, tmp_path):
    (tmp_path / "envs.py").touch()
    program = (
        "import sys; sys.path.append(''); from purepg import environments; environments.names();"
        "assert 'purepg_envs' in sys.modules; import envs; envs.register(); print('fine')"
    )
    assert output(editable[0], "-P", "-c", program, cwd=tmp_path) == "fine\n"


@pytest.mark.slow
def test_the_command_reaches_both(editable, project):
    folder, spec = project
    python, _ = editable
    command = ("-P", "-m", "purepg.cli", "train")
    assert "made here" in output(python, *command, spec, "--env-arguments", "works=0", cwd=folder)
    assert "num_updates = 0" in output(python, *command, "GridWorld", "--updates", "0", cwd=folder)
