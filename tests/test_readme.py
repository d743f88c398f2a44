"""README's commands parse, and its Python runs, made small."""

import ast
import pathlib
import re
import shlex

import jax
import numpy as np
import pytest
from in_process import purepg_command

import purepg

TEXT = (pathlib.Path(__file__).resolve().parent.parent / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SHELL = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in SHELL
    for line in block.splitlines()
    if line.startswith("purepg ")
]
SMALL = (
    ("seeds=64", "seeds=8"),
    ("num_updates=25", "num_updates=1"),
    ("hyper, key), 25)", "hyper, key), 1)"),
)


def test_there_are_commands_and_code():
    assert len(COMMANDS) >= 12
    assert len(PYTHON) >= 5


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_flag_of_a_command_is_one_of_its_own(words, capsys):
    """Asked of the command's help, with its subject: nothing is trained."""
    command, *rest = words
    subject = [word for word in rest[:1] if not word.startswith("-")]
    if any(word.startswith("runs/") for word in subject):
        subject = []
    assert purepg_command(command, *subject, *_method(rest), "--help") == 0
    shown = capsys.readouterr().out
    for flag in (word for word in rest if word.startswith("--") and word != "--help"):
        assert re.search(rf"{re.escape(flag)}\b", shown), flag


def _method(words):
    return words[words.index("--method") :][:2] if "--method" in words else []


def names_of(code):
    """The dotted names of purepg in some code."""
    dotted = {ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)}
    return {name for name in dotted if re.fullmatch(r"purepg(\.\w+)+", name)}


@pytest.mark.parametrize("code", PYTHON)
def test_every_name_is_there(code):
    for name in names_of(code):
        found = purepg
        for part in name.split(".")[1:]:
            found = getattr(found, part)


@pytest.mark.slow
def test_the_code_runs(tmp_path, monkeypatch):
    """Block by block in one namespace; the one for several processes is looked at by its names alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(purepg.seeds, "use_all_cores", lambda: None)  # this process has touched JAX
    presets, preset = purepg.presets, purepg.presets.preset
    monkeypatch.setattr(presets, "preset", lambda env, name: preset(env, name, num_updates=1))
    v = np.ones((4, 2), np.float32)
    no = np.zeros((4, 2), bool)
    model = np.full((2, 2, 2), 0.5, np.float32)
    given = {"jax": jax, "np": np, "hyper": purepg.Hyperparams(), "num_updates": 1, "r": v, "v_next": v}
    given |= {"terminated": no, "truncated": no, "transition": model, "reward": np.eye(2, dtype=np.float32)}
    given |= {"initial": np.full(2, 0.5, np.float32), "logits": np.zeros((2, 2), np.float32)}
    for code in PYTHON:
        if "processes.start" not in code:
            for written, small in SMALL:
                code = code.replace(written, small)
            exec(code, given)
    assert given["result"].dataset.sizes["seed"] == 8
    assert given["returns"].shape == (64,)
