"""One writer per folder: a kernel lock, held for as long as the writer lives.

The kernel frees it with the process, however that ends; a lock that is left over is none. The file tells people who
holds it, no program reads that. Readers take no lock.
"""

import contextlib
import datetime
import os
import pathlib
import socket
import warnings
from collections.abc import Iterator

from purepg.errors import InvalidInput

FILE = ".lock"


@contextlib.contextmanager
def hold(folder: pathlib.Path) -> Iterator[None]:
    """Makes this process the one that may change the folder, while the block runs.

    Where the file system has no locks a warning says so, once for each folder that is held.

    Raises:
      InvalidInput: another one writes there, named with its process and host, or the folder cannot be written.
    """
    descriptor = _locked(folder)
    try:
        os.ftruncate(descriptor, 0)
        since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
        yield
    finally:
        # Removed while it is still held: who opened it before finds that it is no longer the folder's.
        (folder / FILE).unlink(missing_ok=True)
        os.close(descriptor)


def _locked(folder: pathlib.Path) -> int:
    """A descriptor of the folder's lock file, locked."""
    while True:
        try:
            descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InvalidInput(f"cannot write to {folder}: {error.strerror}; give another folder") from error
        try:
            _lock(descriptor, folder)
            if _is_at(descriptor, folder / FILE):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just removed it


def _lock(descriptor: int, folder: pathlib.Path) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 1000).decode(errors="replace").strip() or "another process"
        raise InvalidInput(f"{folder} is being written by {holder}: wait until it ends, or stop it") from None
    except (ImportError, OSError) as error:
        warnings.warn(
            f"{folder} lies where files cannot be locked ({error}): take care that nothing else writes to it",
            stacklevel=4,
        )


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
