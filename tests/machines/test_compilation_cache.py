"""Programs kept between processes."""

import os
import subprocess
import sys

import pytest

from purepg.errors import InvalidInput
from purepg.machines import compilation_cache

PROGRAM = """
import jax, jax.monitoring
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
from purepg.machines import compilation_cache
compilation_cache.use_if_asked()
print(jax.jit(lambda x: x * 3 + 1)(2), len(hits) > 0)
"""


def start(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_a_second_process_reads_what_the_first_compiled(tmp_path):
    folder = str(tmp_path / "cache")
    assert start(PUREPG_CACHE=folder) == ["7", "False"]
    assert start(PUREPG_CACHE=folder) == ["7", "True"]


@pytest.mark.slow
def test_without_the_variable_nothing_is_kept(tmp_path):
    assert start(HOME=str(tmp_path)) == start(HOME=str(tmp_path)) == ["7", "False"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot keep compiled programs"):
        compilation_cache.use(tmp_path / "file" / "cache")
