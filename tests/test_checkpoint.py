"""Resume: to the bit what the run would have been, wherever it was cut off and whatever was damaged."""

import errno
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from problems import two_states

import purepg
from purepg import estimators, run_folder
from purepg.errors import InvalidInput

GAMES = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-moving"))
SEGMENTS = purepg.PolicyGradient(
    purepg.Task("Pendulum-v1", purepg.Gaussian(purepg.MLP((3,))), purepg.Segments(2, 4, 7), True),  # pyright: ignore
    estimators.make("gae"),
)
HYPER = purepg.Hyperparams(learning_rate=0.05, discount=0.9)
UPDATES = 6  # chunks of one update


def run(method, folder, report=None):
    options = {"seeds": 3, "num_updates": UPDATES, "evaluation_games": 4, "checkpoint_seconds": 0.0}
    return purepg.run(method, HYPER, **options, directory=folder, report=report)


def stop_after(iteration):
    def report(progress):
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return report


def assert_same(one, other):
    for name, values in one.dataset.items():
        np.testing.assert_array_equal(values, other.dataset[name], err_msg=str(name))
    as_numbers = jax.tree.map(
        lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        (one.state, other.state),
    )
    jax.tree.map(np.testing.assert_array_equal, *as_numbers)


@pytest.fixture(scope="module")
def whole():
    return purepg.run(GAMES, HYPER, seeds=3, num_updates=UPDATES, evaluation_games=4)


@pytest.fixture
def stopped(tmp_path):
    """A run that was interrupted after 4 of 6 updates."""
    result = run(GAMES, tmp_path / "run", stop_after(4))
    assert result.dataset.sizes["iteration"] == 4
    return tmp_path / "run"


def test_a_finished_folder_is_a_saved_run(whole, tmp_path):
    run(GAMES, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "dataset.nc", "state"]
    assert_same(purepg.load(tmp_path / "run"), whole)
    assert_same(purepg.resume(tmp_path / "run"), whole)  # nothing is left to do


def test_resumed_is_the_same_to_the_bit(whole, stopped):
    partly = purepg.load(stopped)
    assert partly.dataset.sizes["iteration"] == 4
    np.testing.assert_array_equal(partly.dataset["return"], whole.dataset["return"][:, :4])
    assert_same(purepg.resume(stopped), whole)
    assert_same(purepg.load(stopped), whole)
    assert run_folder.is_finished(stopped)


def test_running_games_and_moments_are_resumed(tmp_path):
    whole = run(SEGMENTS, tmp_path / "whole")
    run(SEGMENTS, tmp_path / "run", stop_after(3))
    assert_same(purepg.resume(tmp_path / "run"), whole)


def test_hyper_parameters_of_each_replicate_are_resumed(tmp_path):
    hyper = purepg.Hyperparams(learning_rate=np.array([0.01, 0.1]), discount=0.9)  # pyright: ignore
    options = {"seeds": [4, 4], "num_updates": UPDATES, "evaluation_games": 0}
    whole = purepg.run(GAMES, hyper, **options)
    assert (whole.dataset["return"][0] != whole.dataset["return"][1]).any()
    alone = purepg.run(GAMES, purepg.Hyperparams(learning_rate=0.1, discount=0.9), **options | {"seeds": [4]})
    np.testing.assert_array_equal(alone.dataset["return"][0], whole.dataset["return"][1])
    purepg.run(GAMES, hyper, **options, directory=tmp_path / "run", report=stop_after(2))
    assert_same(purepg.resume(tmp_path / "run"), whole)
    with pytest.raises(InvalidInput, match="3 replicates"):
        purepg.run(GAMES, hyper, seeds=3, num_updates=1)


def states(folder):
    return sorted((folder / "progress" / "states").iterdir(), key=lambda p: int(p.name))


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(whole, stopped):
    assert [p.name for p in states(stopped)] == ["3", "4"]
    for path in states(stopped)[-1].rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"after update 4 .* is damaged .* the one before"):
        assert_same(purepg.resume(stopped), whole)


def test_without_any_checkpoint_a_run_begins_anew(whole, stopped):
    for folder in states(stopped):
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InvalidInput, match="begins it anew"):
        purepg.load(stopped)
    assert_same(purepg.resume(stopped), whole)


def test_lost_metrics_are_damage(whole, stopped):
    newest = max((stopped / "progress" / "metrics").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(b"half a file")
    with pytest.warns(UserWarning, match="after update 4 .* is damaged"):
        assert_same(purepg.resume(stopped), whole)


def test_a_full_disk_stops_with_a_message_and_can_be_resumed(whole, tmp_path, monkeypatch):
    save = ocp.CheckpointManager.save

    def full(self, step, *args, **kwargs):
        if step == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(self, step, *args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(InvalidInput, match=r"No space left on device; the run stopped after update 3"):
        run(GAMES, tmp_path / "run")
    monkeypatch.undo()
    assert_same(purepg.resume(tmp_path / "run"), whole)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_checkpoint
test_checkpoint.run(test_checkpoint.GAMES, sys.argv[1])
"""


def test_killed_and_resumed(whole, tmp_path):
    """SIGKILL once there is a checkpoint; experiments/kill_and_resume.py does it at many random moments."""
    folder = tmp_path / "run"
    script = SCRIPT.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)])
    deadline = time.monotonic() + 120
    while not (folder / "progress" / "states" / "1").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_same(purepg.resume(folder), whole)
