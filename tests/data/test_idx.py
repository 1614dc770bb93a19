from __future__ import annotations

import gzip
import os
import re
import struct
import tracemalloc

import numpy as np
import pytest

from cotune.data.readers.idx import read_idx
from cotune.exceptions import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code: int, *shape: int) -> bytes:
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def packed(array: np.ndarray) -> bytes:
    kind = array.dtype.str[1:]
    return header(CODES[kind], *array.shape) + array.astype(f">{kind}").tobytes()


def write(path, contents: bytes, *, zipped: bool = False):
    path.write_bytes(gzip.compress(contents) if zipped else contents)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", CODES)
def test_reads_every_type(tmp_path, kind, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(kind) * np.array(3, kind)
    # the name says nothing about gzip
    path = write(tmp_path / "x.gz", packed(array), zipped=zipped)
    read = read_idx(path)
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


def test_reads_fashion_mnist(fashion_mnist_dir):
    labels = read_idx(next(fashion_mnist_dir.glob("t10k-labels-idx1-ubyte*")))
    assert labels.shape == (10_000,)
    assert np.bincount(labels).tolist() == [1000] * 10


GOOD = packed(np.arange(12, dtype="u1").reshape(3, 4))

BROKEN = {
    "empty": (b"", "the file is empty"),
    "text": (b"a,b,c\n1,2,3\n", "not an IDX file (it begins with 61 2c 62 2c"),
    "two bytes": (b"\0\0", "not an IDX file"),
    "no dimensions": (header(0x08), "not an IDX file"),
    "type": (header(0x0A, 3) + b"abc", "IDX type 0a does not exist (known: 08, 09,"),
    "header cut": (GOOD[:7], "the file ends in its header (7 bytes, expected 12)"),
    "no rows": (header(0x08, 0, 28), "holds no values (shape 0 x 28)"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_header(tmp_path, name, zipped):
    contents, message = BROKEN[name]
    path = write(tmp_path / "x", contents, zipped=zipped)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {re.escape(message)}.*; "):
        read_idx(path)


@pytest.mark.parametrize(
    ("contents", "zipped", "message"),
    [
        (GOOD[:-1], False, "has 11 bytes of values where its header (3 x 4) asks for 12"),
        (GOOD[:-1], True, "has 11 bytes of values where its header (3 x 4) asks for 12"),
        (GOOD + b"xy", False, "has 14 bytes of values where its header (3 x 4) asks for 12"),
        (GOOD + b"xy", True, "has more bytes of values where its header (3 x 4) asks for 12"),
    ],
)
def test_short_or_trailing(tmp_path, contents, zipped, message):
    path = write(tmp_path / "x", contents, zipped=zipped)
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}; fetch it again")):
        read_idx(path)


@pytest.mark.parametrize("keep", [5, 15, -9, -1])
def test_cut_gzip(tmp_path, keep):
    path = write(tmp_path / "x", gzip.compress(GOOD)[:keep])
    with pytest.raises(DataError, match=rf"^{path}: broken gzip file \(.+\); fetch it again$"):
        read_idx(path)


@pytest.mark.parametrize("at", [12, -8])  # in the stream; in its checksum
def test_damaged_gzip(tmp_path, at):
    contents = bytearray(gzip.compress(GOOD))
    contents[at] ^= 0xFF
    path = write(tmp_path / "x", bytes(contents))
    with pytest.raises(DataError, match=f"^{path}: broken gzip file"):
        read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_header_asking_for_too_much_takes_no_memory(tmp_path, zipped):
    path = write(tmp_path / "x", header(0x0E, 2**32 - 1, 2**32 - 1) + b"abc", zipped=zipped)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="asks for 147,573,952,520,956,936,200"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_header_that_the_zipped_file_cannot_hold(tmp_path):
    path = write(tmp_path / "x", header(0x08, 10**9) + bytes(1000), zipped=True)
    most = path.stat().st_size * 1032
    with pytest.raises(DataError, match=f"has at most {most:,} bytes of values"):
        read_idx(path)


def test_gzip_bomb_is_not_unpacked(tmp_path):
    path = write(tmp_path / "x", header(0x08, 3, 4) + bytes(100 * 2**20), zipped=True)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has more bytes of values"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(DataError, match=f"^{tmp_path / 'gone'}: no such file"):
        read_idx(tmp_path / "gone")
    with pytest.raises(DataError, match=f"^{tmp_path}: is a folder"):
        read_idx(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(tmp_path):
    path = write(tmp_path / "x", GOOD)
    path.chmod(0)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        read_idx(path)
