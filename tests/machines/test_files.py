"""Files: whole or not there; whatever happens to their bytes is noticed."""

import errno
import pathlib

import numpy as np
import pytest
import xarray

from purepg.errors import InvalidInput
from purepg.machines import files

ARRAYS = {
    "a": np.arange(12.0).reshape(3, 4),
    ".learner['b/c']": np.ones(2, np.int32),
    "none": np.zeros((0, 3)),
}
DATASET = xarray.Dataset(
    {"return": (("seed", "iteration"), np.arange(6.0).reshape(2, 3)), "name": ("seed", ["a", "b"])},
    {"seed": [4, 7]},
    {"environment": "Chain", "seconds": 1.5},
)


def write_all(folder):
    files.write_arrays(folder / "arrays.npz", ARRAYS)
    files.write_dataset(folder / "dataset.nc", DATASET)


def read(path):
    return files.read_arrays(path) if path.suffix == ".npz" else files.read_dataset(path)


def test_what_is_read_is_what_was_written(tmp_path):
    write_all(tmp_path)
    found = files.read_arrays(tmp_path / "arrays.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert files.read_dataset(tmp_path / "dataset.nc").identical(DATASET)
    with xarray.open_dataset(tmp_path / "dataset.nc", engine="h5netcdf") as opened:
        assert opened.load().identical(DATASET)  # by any reader of netCDF
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "dataset.nc"]


@pytest.mark.parametrize("name", ["arrays.npz", "dataset.nc"])
def test_any_damage_is_noticed_or_harmless(name, tmp_path):
    """A stretch of inverted bytes anywhere, a file cut anywhere."""
    write_all(tmp_path)
    data = (tmp_path / name).read_bytes()
    damaged = tmp_path / f"damaged{pathlib.Path(name).suffix}"
    rng = np.random.default_rng(0)
    for _ in range(60):
        start, length = rng.integers(len(data)), rng.integers(1, 100)
        wrong = bytearray(data)
        wrong[start : start + length] = (255 - x for x in wrong[start : start + length])
        for bytes_ in (bytes(wrong), data[:start]):
            damaged.write_bytes(bytes_)
            try:
                found = read(damaged)
            except files.Damaged:
                continue
            assert name == "arrays.npz"  # a zip archive has bytes that mean nothing, such as dates
            for key, array in ARRAYS.items():
                np.testing.assert_array_equal(found[key], array)


def test_a_file_that_cannot_be_reached_is_not_called_damaged(tmp_path, monkeypatch):
    write_all(tmp_path)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pathlib.Path, "read_bytes", fail)
    for name in ("arrays.npz", "dataset.nc"):
        with pytest.raises(InvalidInput, match=r"cannot read .*Input/output error.* try again"):
            read(tmp_path / name)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_all(tmp_path)

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_arrays(tmp_path / "arrays.npz", {})
    assert files.read_arrays(tmp_path / "arrays.npz").keys() == ARRAYS.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "dataset.nc"]


def test_paths_as_people_write_them(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.path("~/runs") == tmp_path / "runs"
    for given in ("", "a\0b", "~nobody-of-this-name/runs"):
        with pytest.raises(InvalidInput, match="give the"):
            files.path(given)
