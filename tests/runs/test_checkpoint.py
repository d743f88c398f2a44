"""Resume: to the bit what the run would have been, wherever it was cut off and whatever was damaged."""

import contextlib
import dataclasses
import errno
import pathlib
import signal
import subprocess
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import two_states

import purepg
from purepg import estimators, report
from purepg.errors import InvalidInput
from purepg.runs import checkpoint, results, run_folder, saved_state

GAMES = purepg.PolicyGradient(two_states(num_games=8), estimators.make("reinforce-moving"))
SEGMENTS = purepg.PolicyGradient(
    purepg.Task(
        "Pendulum-v1",
        purepg.Gaussian(purepg.MLP((3,))),
        purepg.Segments(2, 4, 7),
        normalize_observations=True,
    ),
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


@pytest.mark.slow
def test_a_finished_folder_is_a_saved_run(whole, tmp_path):
    run(GAMES, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "dataset.nc", "state"]
    assert_same(purepg.load(tmp_path / "run"), whole)
    assert_same(purepg.resume(tmp_path / "run"), whole)  # nothing is left to do


@pytest.mark.slow
def test_resumed_is_the_same_to_the_bit(whole, stopped):
    partly = purepg.load(stopped)
    assert partly.dataset.sizes["iteration"] == 4
    np.testing.assert_array_equal(partly.dataset["return"], whole.dataset["return"][:, :4])
    assert_same(purepg.resume(stopped), whole)
    assert_same(purepg.load(stopped), whole)
    assert run_folder.is_finished(stopped)


@pytest.mark.slow
def test_running_games_and_moments_are_resumed(tmp_path):
    whole = run(SEGMENTS, tmp_path / "whole")
    run(SEGMENTS, tmp_path / "run", stop_after(3))
    assert_same(purepg.resume(tmp_path / "run"), whole)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_falls_back_and_says_so(whole, stopped):
    assert [p.name for p in states(stopped)] == ["3", "4"]
    for path in states(stopped)[-1].rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"after update 4 .* is damaged .* the one before"):
        assert_same(purepg.resume(stopped), whole)


@pytest.mark.slow
def test_without_any_checkpoint_a_run_begins_anew(whole, stopped):
    for folder in states(stopped):
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InvalidInput, match="begins it anew"):
        purepg.load(stopped)
    with pytest.warns(UserWarning, match="damaged"):
        assert_same(purepg.resume(stopped), whole)


@pytest.mark.slow
def test_lost_metrics_are_damage(whole, stopped):
    newest = max((stopped / "progress" / "metrics").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(b"half a file")
    with pytest.warns(UserWarning, match="after update 4 .* is damaged"):
        assert_same(purepg.resume(stopped), whole)


@pytest.mark.slow
def test_a_full_disk_stops_with_a_message_and_can_be_resumed(whole, tmp_path, monkeypatch):
    write = saved_state.write

    def full(folder, state):
        if int(state.iteration[0]) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(folder, state)

    monkeypatch.setattr(saved_state, "write", full)
    with pytest.raises(InvalidInput, match=r"No space left on device; the run stopped after update 4"):
        run(GAMES, tmp_path / "run")
    monkeypatch.undo()
    assert_same(purepg.resume(tmp_path / "run"), whole)


SCRIPT = """
import sys
sys.path[:] = {tests}
import test_checkpoint
test_checkpoint.run(test_checkpoint.GAMES, sys.argv[1])
"""


@pytest.mark.slow
def test_killed_and_resumed(whole, tmp_path):
    """SIGKILL once there is a checkpoint; experiments/kill_and_resume.py does it at many random moments."""
    folder = tmp_path / "run"
    script = SCRIPT.format(tests=sys.path)
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)])
    deadline = time.monotonic() + 120
    while not (folder / "progress" / "states" / "1").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_same(purepg.resume(folder), whole)


# Reading changes nothing


def contents(folder):
    """Everything that a reader could change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted([folder, *folder.rglob("*")])
    }


def invert(path, start=0, length=1000):
    data = bytearray(path.read_bytes())
    data[start : start + length] = (255 - x for x in data[start : start + length])
    path.write_bytes(bytes(data))


WIDTH = 1  # of the user's network, as the code is today


def init_network(key, observation):
    return {"w": jnp.zeros((3, WIDTH, 2))}


def apply_network(params, observation):
    return params["w"].sum(axis=1)[observation]


OWN = dataclasses.replace(
    GAMES,
    task=dataclasses.replace(
        GAMES.task, policy=purepg.Softmax(purepg.Functions(init_network, apply_network))
    ),
)


def read_in_every_way(folder):
    for read in (purepg.load, results.load_dataset, lambda folder: report.read([folder])):
        with contextlib.suppress(InvalidInput), warnings.catch_warnings(action="ignore"):
            read(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "which", ["whole", "newest damaged", "all damaged", "a file is missing", "config damaged"]
)
def test_readers_change_nothing_whatever_they_meet(which, stopped):
    if which == "newest damaged":
        invert(states(stopped)[-1] / "arrays.npz")
    elif which == "all damaged":
        for folder in states(stopped):
            invert(folder / "arrays.npz")
    elif which == "a file is missing":
        (states(stopped)[-1] / "arrays.npz").unlink()
    elif which == "config damaged":
        invert(stopped / "config.json")
    before = contents(stopped)
    read_in_every_way(stopped)
    assert contents(stopped) == before


@pytest.mark.slow
def test_changed_code_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    whole = run(OWN, tmp_path / "whole")
    run(OWN, tmp_path / "run", stop_after(4))
    before = contents(tmp_path / "run" / "progress")
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 2)
    for function in (purepg.load, purepg.resume):
        with pytest.raises(
            InvalidInput, match=r"is of another program: .*params.*\[3, 3, 1, 2\] .*\[3, 3, 2, 2\]"
        ):
            function(tmp_path / "run")
    assert contents(tmp_path / "run" / "progress") == before
    monkeypatch.undo()
    assert_same(purepg.resume(tmp_path / "run"), whole)


@pytest.mark.slow
def test_who_reads_beside_a_trainer_sees_whole_checkpoints(whole, tmp_path):
    """At every moment that a trainer tells of, with a reader that finds its folder changing."""
    folder, seen = tmp_path / "run", []

    def report(progress):
        seen.append(purepg.load(folder).dataset.sizes["iteration"])
        with pytest.raises(InvalidInput, match="is being written by process"):
            purepg.resume(folder)

    assert_same(run(GAMES, folder, report), whole)
    assert seen[0] == 1
    assert seen == sorted(seen)
    assert seen[-1] >= UPDATES - 1


@pytest.mark.slow
def test_what_vanishes_while_it_is_read_is_looked_for_again(whole, stopped, monkeypatch):
    """The trainer removes an old checkpoint, or ends the run, between a reader's look and its reading."""
    read = saved_state.read

    def late(folder, template):
        monkeypatch.setattr(saved_state, "read", read)
        monkeypatch.setattr(checkpoint, "newest", newest)
        purepg.resume(stopped)
        return read(folder, template)

    newest = checkpoint.newest
    monkeypatch.setattr(checkpoint, "newest", lambda folder, template, _: newest(folder, template, late))
    assert_same(purepg.load(stopped), whole)


@pytest.mark.slow
def test_a_disk_that_fails_for_a_moment_costs_nothing(whole, stopped, monkeypatch):
    before = contents(stopped / "progress")

    read = pathlib.Path.read_bytes

    def fail(path):
        if path.suffix == ".npz":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "read_bytes", fail)
        for function in (purepg.load, purepg.resume):
            with pytest.raises(InvalidInput, match="Input/output error"):
                function(stopped)
    assert contents(stopped / "progress") == before
    assert_same(purepg.resume(stopped), whole)


# What is saved can be read


@pytest.mark.slow
def test_a_damaged_checkpoint_is_moved_aside(whole, stopped):
    invert(states(stopped)[-1] / "arrays.npz")
    damaged = (states(stopped)[-1] / "arrays.npz").read_bytes()
    with pytest.warns(UserWarning, match="damaged"):
        run_on = purepg.resume(stopped, report=stop_after(5))
    assert run_on.dataset.sizes["iteration"] == 5
    assert damaged in [path.read_bytes() for path in (stopped / "progress" / "aside").rglob("*.npz")]
    assert_same(purepg.resume(stopped), whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["state/arrays.npz", "dataset.nc", "config.json"])
def test_damage_to_a_finished_run_is_noticed(name, tmp_path):
    folder = tmp_path / "run"
    run(GAMES, folder)
    size = (folder / name).stat().st_size
    invert(folder / name, size // 2, 1000)
    before = contents(folder)
    with pytest.raises(InvalidInput, match="is damaged"):
        purepg.load(folder)
    assert contents(folder) == before


@pytest.mark.slow
def test_a_changed_number_in_the_plan_is_noticed(tmp_path):
    run(GAMES, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"discount": 0.9', '"discount": 0.8'))
    with pytest.raises(InvalidInput, match=r"damaged: config\.json is not what was written"):
        purepg.load(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lr[0.01]", "a*b?c", "{x}", "mit Umlaut é", "-out", "#1;$HOME", "line\nbreak", "gs:"]
)
def test_any_name_that_the_file_system_takes(name, whole, tmp_path, monkeypatch):
    whole.save(tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    assert_same(purepg.load("."), whole)
    whole.save("again[1]")
    assert_same(purepg.load("again[1]"), whole)


@pytest.mark.slow
def test_checkpoints_in_a_folder_of_any_name(whole, tmp_path, monkeypatch):
    (tmp_path / "a[b]*{c}").mkdir()
    monkeypatch.chdir(tmp_path / "a[b]*{c}")
    run(GAMES, "lr[0.01]", stop_after(4))
    assert purepg.load("lr[0.01]").dataset.sizes["iteration"] == 4
    assert_same(purepg.resume("lr[0.01]"), whole)


def test_home_is_expanded(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    whole.save("~/run")
    assert (tmp_path / "run" / "dataset.nc").exists()
    assert_same(purepg.load("~/run"), whole)
    assert_same(purepg.resume("~/run"), whole)
    for save in (whole.save, lambda folder: run(GAMES, folder)):
        with pytest.raises(InvalidInput, match="exists already"):
            save("~/run")


@pytest.mark.slow
def test_the_first_chunk_is_kept_at_once(whole, tmp_path):
    def die(progress):
        raise SystemExit

    with pytest.raises(SystemExit):
        purepg.run(GAMES, HYPER, 3, UPDATES, evaluation_games=4, directory=tmp_path / "run", report=die)
    assert purepg.load(tmp_path / "run").dataset.sizes["iteration"] == 1
    assert_same(purepg.resume(tmp_path / "run"), whole)


@pytest.mark.slow
def test_keys_are_the_same_under_another_default(whole, stopped):
    with jax.default_prng_impl("rbg"):
        assert_same(purepg.resume(stopped), whole)
