# What development does, by name: `just` lists it, `just test`, `just lint types`. The tool comes with the `dev` extra.

processes := env("PUREPG_TEST_PROCESSES", "2")

# Lists the recipes
[private]
default:
    @just --list

# What development needs, in the versions that this release was tested with
install:
    python -m pip install -q -c constraints.txt -e '.[dev]'

# Every test, or those given: just test tests/cli -k sweep
test *arguments:
    pytest -n {{processes}} {{arguments}}

# The tests that take less than a second each
fast *arguments:
    pytest -n {{processes}} -m 'not slow' {{arguments}}

# Rules and layout of the code
lint:
    ruff check .
    ruff format --check .

# Mends what lint can mend by itself
format:
    ruff check --fix .
    ruff format .

# Types
types:
    pyright

# Names, formulas, code and commands in README.md, CONTRIBUTING.md and docs/
docs-check:
    pytest -n {{processes}} tests/test_docs.py tests/test_readme.py tests/test_contributing.py

# Every test takes a quarter more processor time with coverage, so CI runs `test`.

# Every test, and how much of each file they run
cover *arguments:
    pytest -n {{processes}} --cov --cov-report=term {{arguments}}

# How far every preset is from its golden numbers
golden:
    python tests/golden.py check

# All that a change must pass
all: lint types test

# The hooks of .pre-commit-config.yaml, before each commit from now on
hooks:
    pre-commit install
