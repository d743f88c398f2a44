"""One writer a folder, for as long as it lives and no longer."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from purepg.errors import InvalidInput
from purepg.machines import folder_lock

HOLDER = """
import pathlib, sys
from purepg.machines import folder_lock
with folder_lock.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_named(tmp_path, holder):
    with (
        pytest.raises(InvalidInput, match=rf"is being written by process {holder.pid} on .* since 20"),
        folder_lock.hold(tmp_path),
    ):
        pass
    assert (tmp_path / folder_lock.FILE).exists()  # the holder's is left alone
    holder.communicate()
    with folder_lock.hold(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_none(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / folder_lock.FILE).exists()
    with folder_lock.hold(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_same_process_is_another_one_too(tmp_path):
    with folder_lock.hold(tmp_path):
        for _ in range(2):
            with pytest.raises(InvalidInput, match="is being written"), folder_lock.hold(tmp_path):
                pass
    with folder_lock.hold(tmp_path):
        pass


def test_a_lock_that_was_removed_meanwhile_is_not_taken_for_the_folders(tmp_path, monkeypatch):
    """Its holder removes the file between another one's opening and locking of it."""
    flock, files = fcntl.flock, []

    def slow(descriptor, flags):
        if not files:
            (tmp_path / folder_lock.FILE).unlink()
        files.append(descriptor)
        flock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", slow)
    with folder_lock.hold(tmp_path):
        assert len(files) == 2
        assert (tmp_path / folder_lock.FILE).read_text().startswith(f"process {os.getpid()} ")


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch):
    def none(descriptor, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(UserWarning, match="cannot be locked") as caught, folder_lock.hold(tmp_path):
        pass
    assert len(caught) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="cannot write to"), folder_lock.hold(tmp_path / "missing"):
        pass
