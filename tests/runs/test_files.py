from __future__ import annotations

import os

import pytest

from cotune.exceptions import StorageError
from cotune.runs.files import append_text, cut_file, write_file, write_files


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    write_file(tmp_path / "a", "ä\r\nb\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\r\nb\n"
    write_files(tmp_path / "new", {"b": b"\0", "c": b""})
    assert (tmp_path / "new" / "b").read_bytes() == b"\0"
    assert sorted(os.listdir(tmp_path / "new")) == ["b", "c"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_earlier_file_stays_whole(tmp_path):
    write_file(tmp_path / "a", "before")
    os.symlink("/dev/full", tmp_path / "a.tmp")
    with pytest.raises(StorageError, match=r"a: cannot be written: No space left on device$"):
        write_file(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/model: cannot be written: Not a directory$"):
        write_files(tmp_path / "file" / "model", {"a": b""})


@pytest.mark.parametrize(
    ("text", "size", "left"),
    [
        ("one\ntwo\nthr", None, "one\ntwo\n"),
        ("no line", None, ""),
        ("one\n" + "x" * 200_000, None, "one\n"),
        ("one\ntwo\n", 4, "one\n"),
        ("one\n", 9, "one\n"),
    ],
)
def test_cutting(tmp_path, text, size, left):
    append_text(tmp_path / "a", text, sync=True)
    cut_file(tmp_path / "a", size)
    assert (tmp_path / "a").read_text() == left


def test_cutting_nothing(tmp_path):
    cut_file(tmp_path / "missing")
    assert os.listdir(tmp_path) == []
