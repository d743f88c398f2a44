"""The theory page names functions and tests: every one of them exists."""

import ast
import functools
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "theory.md"
SPAN = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"(?:purepg|envs)(?:\.\w+)+")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
FILE = re.compile(r"(?:purepg|envs|tests|docs|experiments)/[\w/]+\.\w+")


def spans(text):
    return SPAN.findall(text)


def dotted_names(text):
    return [s for s in spans(text) if DOTTED.fullmatch(s)]


def resolve(dotted):
    """The object of this name: the longest prefix that is a module, then attributes."""
    parts = dotted.split(".")
    module = importlib.import_module(parts[0])
    for end in range(len(parts), 1, -1):
        try:
            module, parts = importlib.import_module(".".join(parts[:end])), parts[end:]
            break
        except ModuleNotFoundError:
            continue
    else:
        parts = parts[1:]
    return functools.reduce(getattr, parts, module)


@functools.cache
def names_in(path):
    """Names of the test functions of a file, which is not imported."""
    return {
        node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
    }


def exists(path, test):
    return (ROOT / path).is_file() and test in names_in(path)


def rows(text):
    """Cells of the rows of every table with the columns formula, function, test."""
    inside = False
    for line in text.splitlines():
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells == ["formula", "function", "test"]:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|-"):
            yield cells


@pytest.mark.parametrize("dotted", sorted(set(dotted_names(PAGE.read_text()))))
def test_every_function_exists(dotted):
    resolve(dotted)


def test_functions_are_written_as_dotted_names():
    """Otherwise the test above would not see them."""
    assert not [
        s for s in spans(PAGE.read_text()) if s.startswith(("purepg.", "envs.")) and not DOTTED.fullmatch(s)
    ]


def test_every_test_exists():
    found = [TEST.fullmatch(s) for s in spans(PAGE.read_text()) if "::" in s]
    assert all(found)  # each is written as tests/file.py::test_name
    named = [m.groups() for m in found if m and m.groups() != ("tests/file.py", "test_name")]
    assert len(named) > 40
    assert not [test for test in named if not exists(*test)]


def test_every_file_and_preset_exists():
    from purepg import baselines, estimators, returns

    text = PAGE.read_text()
    assert not [f for f in spans(text) if FILE.fullmatch(f) and not (ROOT / f).is_file()]
    assert not [s for s in spans(text) if s.startswith("reinforce") and s not in estimators.NAMES]
    first_cells = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert {s for s in first_cells if not hasattr(returns, s)} == set(baselines.NAMES)


def test_every_formula_has_a_function_and_a_test():
    table = list(rows(PAGE.read_text()))
    assert len(table) > 40
    for cells in table:
        assert len(cells) == 3, cells
        assert dotted_names(cells[1]), cells
        assert [s for s in spans(cells[2]) if TEST.fullmatch(s)], cells


def test_what_does_not_exist_is_found():
    for wrong in (
        "purepg.returns.reward_to_come",
        "purepg.nothing",
        "envs.nothing",
        "purepg.returns.td_target.x",
    ):
        with pytest.raises(AttributeError):
            resolve(wrong)
    assert exists("tests/test_docs.py", "test_what_does_not_exist_is_found")
    assert not exists("tests/test_docs.py", "test_nothing")
    assert not exists("tests/test_nothing.py", "test_nothing")
    assert list(rows("| formula | function | test |\n|---|---|---|\n| a\\|b | `x` | y |")) == [
        ["a\\|b", "`x`", "y"]
    ]
