"""Runs of purepg 0.1 are read: what they hold is what it was."""

import pathlib
import shutil

import numpy as np
import pytest
import xarray
from test_runner import final_games

import purepg
from purepg import report
from purepg.errors import InvalidInput

DATA = pathlib.Path(__file__).parent / "data" / "format_4"
FINISHED = ["finished", "finished_segments", "finished_q_learning", "uninterrupted", "study/parts/000"]


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_is_what_it_was(name):
    result = purepg.load(DATA / name)
    with xarray.open_dataset(DATA / name / "dataset.nc", engine="h5netcdf") as saved:
        assert result.dataset.identical(saved.load())
    assert (np.asarray(result.state.iteration) == result.dataset.sizes["iteration"]).all()
    played = final_games(result, int(result.dataset.attrs["evaluation_games"]))
    np.testing.assert_allclose(played, result.dataset["evaluation_return"], rtol=1e-3, atol=1e-3)


def test_a_study_is_read():
    assert len(report.read([DATA / "study"])) == 4


def test_one_that_was_cut_off_is_read_and_not_gone_on_with(tmp_path):
    folder = shutil.copytree(DATA / "interrupted", tmp_path / "run")
    partly, whole = purepg.load(folder), purepg.load(DATA / "uninterrupted")
    assert partly.dataset.sizes["iteration"] == 4
    np.testing.assert_array_equal(partly.dataset["return"], whole.dataset["return"][:, :4])
    assert (partly.params(1)["table"] != 0).any()
    with pytest.raises(InvalidInput, match=r"format 4 of purepg 0\.1\.0.* end it with that version"):
        purepg.resume(folder)
