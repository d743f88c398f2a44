"""The recipes of CONTRIBUTING.md, walked as they stand there in a copy of the repository."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("purepg", "envs", "tests", "docs", "pyproject.toml", "CONTRIBUTING.md", "README.md")
CODE = r"[^\n]*:\n\n```\w*\n(?P<code>.*?)```$"
STEP = re.compile(
    rf"^Create `(?P<new>[^`]+)`{CODE}"
    r"|^In `(?P<path>[^`]+)`, (?P<where>before|after) the line (?:`` (?P<quoted>.+?) ``|`(?P<line>[^`]+)`)"
    + CODE.replace("code", "added")
    + r"|^In `(?P<list>[^`]+)`, put `(?P<word>[^`]+)` behind `(?P<words>[^`]+)`",
    re.DOTALL | re.MULTILINE,
)


def follow(step, folder):
    """Does in a copy what a step of a recipe says."""
    if new := step["new"]:
        assert not (folder / new).exists(), new
        (folder / new).write_text(step["code"])
    elif step["list"]:
        path = folder / step["list"]
        assert path.read_text().count(step["words"]) == 1, step["words"]
        path.write_text(path.read_text().replace(step["words"], f"{step['words']} {step['word']}"))
    else:
        path, anchor = folder / step["path"], step["quoted"] or step["line"]
        lines = path.read_text().splitlines(keepends=True)
        found = [i for i, line in enumerate(lines) if line.strip().startswith(anchor)]
        assert len(found) == 1, f"{anchor} stands {len(found)} times in {path.name}"
        place = found[0] + (step["where"] == "after")
        path.write_text("".join([*lines[:place], step["added"], *lines[place:]]))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository after all recipes."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for step in STEP.finditer(PAGE):
        follow(step, folder)
    return folder


def run(copy, *arguments):
    """What a program of the copy prints."""
    variables = os.environ | {"PYTHONPATH": str(copy), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=copy, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def purepg(copy, *arguments):
    return run(copy, "-m", "purepg.cli", *arguments)


def test_every_step_is_understood():
    """A step that the pattern missed would be left out without a word."""
    begun = re.findall(r"^(?:Create `|In `)", PAGE, re.MULTILINE)
    assert len(begun) == len(list(STEP.finditer(PAGE))) >= 12


@pytest.mark.slow
def test_the_new_names_are_listed(copy):
    listed = purepg(copy, "list").split()
    assert {"reinforce-unit", "median", "Coin", "hill-climbing"} <= set(listed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("Chain", "--method", "reinforce-unit"),
        ("Chain", "--method", "reinforce", "--baseline", "median"),
        ("Coin", "--method", "reinforce"),
        ("Chain", "--method", "hill-climbing"),
    ],
    ids=["estimator", "baseline", "environment", "method"],
)
def test_what_was_added_is_trained_saved_and_resumed(copy, words, tmp_path):
    small = ("--seeds", 2, "--updates", 2, "--num-games", 4, "--out", tmp_path / "run")
    purepg(copy, "train", *words, *small)
    saved = (tmp_path / "run" / "config.json").read_text()
    assert not re.search(r"purepg\.\w+", saved), "a module's path, not a public name"
    program = f"""
import pathlib, shutil, jax, numpy as np, purepg
whole = purepg.load({str(tmp_path / "run")!r})
stop = pathlib.Path({str(tmp_path / "cut")!r})
def report(progress):
    if progress.iteration == 1:
        raise KeyboardInterrupt
try:
    purepg.run(whole.method, whole.hyper, 2, 2, directory=stop, report=report, evaluate_every=1)
except KeyboardInterrupt:
    pass
again = purepg.resume(stop)
for a, b in zip(jax.tree.leaves(whole.params(1)), jax.tree.leaves(again.params(1)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5)
print("the same")
"""
    assert "the same" in run(copy, "-c", program)


@pytest.mark.slow
def test_what_was_added_conforms(copy):
    pytest_ = ("-m", "pytest", "-p", "no:cacheprovider", "-n", 0)
    run(copy, *pytest_, "tests/test_conformance.py", "-k", "reinforce-unit or hill-climbing")
    run(copy, *pytest_, "tests/envs/test_envs_conformance.py", "-k", "Coin")
    run(copy, *pytest_, "tests/test_structure.py", "-k", "imports or order or habitable")
    run(copy, *pytest_, "tests/test_docs.py", "-k", "preset")
