"""Logs of a run that goes on: whole after every row, the header once, and one row an iteration also after a resume."""

import csv
import math
import struct
import sys

import numpy as np
import pytest
from problems import two_states

import purepg
from purepg.errors import InvalidInput
from purepg.runs import loggers
from purepg.runs.run_options import Progress


def progress(iteration, mean_return=1.5):
    return Progress(iteration, 10, mean_return, 1000.0 * iteration, 2.5)


def rows(path):
    with path.open(newline="") as file:
        return [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def test_every_row_can_be_read_as_soon_as_it_is_reported(tmp_path):
    path = tmp_path / "deep" / "log.csv"
    report = loggers.csv_writer(path)
    assert not path.parent.exists()  # the run makes its folder itself, after the reporter is made
    for i in range(1, 4):
        report(progress(i))
        assert [row["iteration"] for row in rows(path)] == list(range(1, i + 1))
    assert rows(path)[-1] == progress(3)._asdict()
    assert path.read_text().count("mean_return") == 1
    assert [p.name for p in path.parent.iterdir()] == ["log.csv"]


def test_a_mean_return_over_no_games_stays_not_a_number(tmp_path):
    loggers.csv_writer(tmp_path / "log.csv")(progress(1, math.nan))
    assert math.isnan(rows(tmp_path / "log.csv")[0]["mean_return"])


def test_a_resumed_run_goes_on_in_the_file_and_replaces_what_it_does_anew(tmp_path):
    path = tmp_path / "log.csv"
    first = loggers.csv_writer(path)
    for i in range(1, 6):
        first(progress(i, mean_return=1.0))
    with path.open("a") as file:
        file.write("6,10,1.")  # cut off by the kill
    again = loggers.csv_writer(path)  # the newest checkpoint was after iteration 3
    for i in range(4, 7):
        again(progress(i, mean_return=2.0))
    assert [row["iteration"] for row in rows(path)] == [1, 2, 3, 4, 5, 6]
    assert [row["mean_return"] for row in rows(path)] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\n\n", "iteration,num_updates\n"])
def test_another_file_is_left_as_it_is(text, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="give the log a file of its own"):
        loggers.csv_writer(path)(progress(1))
    assert path.read_text() == text


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot write the log"):
        loggers.csv_writer(tmp_path / "file" / "log.csv")(progress(1))


@pytest.mark.slow
def test_a_run_reports_to_all_of_the_combined(tmp_path):
    seen = []
    method = purepg.PolicyGradient(two_states(4), purepg.estimators.make("reinforce"))
    report = loggers.combined(loggers.csv_writer(tmp_path / "log.csv"), seen.append)
    result = purepg.run(method, seeds=2, num_updates=4, evaluation_games=0, report=report)
    assert rows(tmp_path / "log.csv") == [p._asdict() for p in seen]
    means = result.dataset["return"].mean("seed").values
    np.testing.assert_allclose([row["mean_return"] for row in rows(tmp_path / "log.csv")], means, rtol=1e-5)


# TensorBoard


def events(path):
    """The events of one file: length, checksum, event, checksum, and so on."""
    event = pytest.importorskip("tensorboardX.proto.event_pb2").Event
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        found.append(event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return found


def scalars(path):
    return {(e.step, v.tag): v.simple_value for e in events(path) for v in e.summary.value}


def test_tensorboard_s_file_is_whole_after_every_report(tmp_path):
    pytest.importorskip("tensorboardX")
    report = loggers.tensorboard_writer(tmp_path / "board")
    report(progress(1))
    (path,) = (tmp_path / "board").iterdir()
    assert scalars(path) == {(1, "mean_return"): 1.5, (1, "steps_per_second"): 1000.0}
    report(progress(2, math.nan))
    assert scalars(path).keys() == {(1, "mean_return"), (1, "steps_per_second"), (2, "steps_per_second")}


def test_a_resumed_run_tells_tensorboard_what_to_hide(tmp_path):
    pytest.importorskip("tensorboardX")
    for start in (1, 4):
        loggers.tensorboard_writer(tmp_path)(progress(start))
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2  # also within one second
    starts = {e.step for path in paths for e in events(path) if e.HasField("session_log")}
    assert starts == {1, 4}


def test_without_tensorboardx_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InvalidInput, match=r"pip install 'purepg\[tensorboard\]'"):
        loggers.tensorboard_writer(tmp_path)
