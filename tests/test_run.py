"""Nothing is half written, and a torn log line is not an error."""

import errno
import json
import os

import numpy as np
import pytest

from screenwise.errors import DataError
from screenwise.run import Run, atomic_path, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": np.float32(1.0), "y": np.arange(2)})
    with pytest.raises(ValueError, match="stop"), atomic_path(path) as draft:  # noqa: PT012
        draft.write_text("half")
        raise ValueError("stop")
    assert read_json(path) == {"x": 1.0, "y": [0, 1]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_our_error_and_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, 1)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_json(path, 2)
    monkeypatch.undo()
    assert read_json(path) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_writing_over_a_directory_is_our_error(tmp_path):
    with pytest.raises(DataError, match="is a directory"):
        write_json(tmp_path, 1)


def test_writing_below_a_file_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_reading_what_is_not_there_or_not_json(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "b.json")


def test_metrics_survive_a_torn_line(tmp_path):
    run = Run(tmp_path)
    run.log(epoch=0, loss=np.float32(2))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps({"epoch": 1})[:5])
    assert run.metrics() == [{"epoch": 0, "loss": 2.0}]


def test_a_torn_line_does_not_swallow_the_next(tmp_path):
    run = Run(tmp_path)
    run.log(epoch=0)
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 1, "lo')
    run.log(epoch=1)
    assert [line["epoch"] for line in run.metrics()] == [0, 1]
