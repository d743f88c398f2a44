"""Files that are whole at every moment and are known again.

A file is written beside its place, flushed to the disk and renamed into it: who reads sees the old one or the new one.
What is read back has a checksum: arrays are a zip archive (`.npz`), which has one for each member; labelled arrays are
netCDF followed by one line with their SHA-256, which every netCDF reader ignores.

Two failures are told apart. A file that cannot be *reached* (no right, a disk that fails) says nothing of what is in
it: `InvalidInput`, to be tried again. One whose bytes are not those that were written is `Damaged`.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from purepg.errors import InvalidInput

if TYPE_CHECKING:
    import xarray

_SEAL = b"\nsha256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1


class Damaged(Exception):
    """What a file holds is not what was written to it."""


def path(given: str | os.PathLike) -> pathlib.Path:
    """A path as a person writes it; `~` is their home.

    Raises:
      InvalidInput: no file system takes such a path.
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise InvalidInput(f"{given!r} is no path: give the name of a file or folder") from None
    if not text or "\0" in text:
        raise InvalidInput(f"{text!r} is no path: give the name of a file or folder")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{text}: {error}; give the path in full") from error


def beside(target: pathlib.Path) -> pathlib.Path:
    """A name of its own in the same folder, to be renamed to `target` when what it holds is whole."""
    return target.with_name(f".{uuid.uuid4().hex[:8]}.part")


def remains(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """What writers that were killed have left in a folder."""
    return folder.glob(".*.part")


def write(target: pathlib.Path, data: bytes) -> None:
    """Writes a file that is there in full or not at all; what was there stays until then."""
    part = beside(target)
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_arrays(target: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays by name, as `.npz`."""
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, **arrays)
    write(target, data.getvalue())


def read_arrays(source: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote.

    Raises:
      Damaged: they are not.
      FileNotFoundError: there is no such file.
      InvalidInput: the file cannot be reached.
    """
    data = _read(source)
    with _damage_of(source):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if wrong := archive.testzip():
                raise ValueError(f"the checksum of {wrong} is another")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)


def write_dataset(target: pathlib.Path, dataset: "xarray.Dataset") -> None:
    """Labelled arrays, as netCDF 4."""
    data = bytes(dataset.to_netcdf(engine="h5netcdf"))
    write(target, data + _seal(data))


def read_dataset(source: pathlib.Path, *, sealed: bool = True) -> "xarray.Dataset":
    """The labelled arrays that `write_dataset` wrote.

    Args:
      source: the file.
      sealed: whether its checksum must be there; files of purepg 0.1 have none.

    Raises:
      Damaged: they are not.
      FileNotFoundError: there is no such file.
      InvalidInput: the file cannot be reached.
    """
    import xarray

    data = _read(source)
    with _damage_of(source):
        content, seal = data[:-_SEAL_LENGTH], data[-_SEAL_LENGTH:]
        if (sealed or seal.startswith(_SEAL)) and seal != _seal(content):
            raise ValueError("its checksum is another")
        return xarray.load_dataset(io.BytesIO(data), engine="h5netcdf")


def checksum(data: bytes) -> str:
    """SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def reaching(target: os.PathLike) -> Iterator[None]:
    """Names a file that cannot be reached, and why."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InvalidInput(
            f"cannot read {os.fspath(target)}: {error.strerror or error}; nothing was changed: try again when it can be"
        ) from error


def _read(source: pathlib.Path) -> bytes:
    with reaching(source):
        return source.read_bytes()


@contextlib.contextmanager
def _damage_of(source: pathlib.Path) -> Iterator[None]:
    """The bytes are here: whatever a reader stumbles over is in them."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise Damaged(f"{source.name}: {type(error).__name__}: {line}") from error


def _seal(data: bytes) -> bytes:
    return _SEAL + checksum(data).encode() + b"\n"
