"""NPZ and NPY files: which array is what, and files that lie about what is in them."""

from __future__ import annotations

import io
import os
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotune.data.dataset import Reading
from cotune.data.readers import npy
from cotune.data.readers.npy import read_npy
from cotune.data.readers.npz import NpzFile
from cotune.exceptions import DataError

ROWS = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
LABELS = np.array([0, 1, 0, 1, 0, 1])


def read(path: Path, target: str | None = None):
    rows = NpzFile().read(path, target, Reading())
    test = rows.test and (rows.test.inputs, rows.test.labels)
    return (rows.inputs, rows.labels), test


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(descr: str, shape: str, order: str = "False") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zipped(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: Any) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class TestNames:
    @pytest.mark.parametrize(
        "names",
        [("x", "y"), ("X", "Y"), ("inputs", "target"), ("images", "labels"), ("data", "label")],
    )
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_pairs(self, names, save, tmp_path):
        save(tmp_path / "a.npz", **{names[0]: ROWS, names[1]: LABELS, "more": np.zeros(3)})
        (inputs, labels), test = read(tmp_path / "a.npz")
        np.testing.assert_array_equal(inputs, ROWS)
        np.testing.assert_array_equal(labels, LABELS)
        assert test is None

    @pytest.mark.parametrize("form", ["{}_{}", "{1}_{0}"])
    def test_as_keras_and_others_name_the_test_set(self, form, tmp_path):
        names = [form.format(kind, part) for part in ("train", "test") for kind in "xy"]
        arrays = (ROWS, LABELS, ROWS[:2], LABELS[:2])
        np.savez(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True)))
        (inputs, labels), test = read(tmp_path / "a.npz")
        assert (len(inputs), len(labels)) == (6, 6)
        assert test is not None
        assert (len(test[0]), len(test[1])) == (2, 2)

    def test_the_labels_named_by_the_user(self, tmp_path):
        np.savez(tmp_path / "a.npz", X=ROWS, digit=LABELS, odd=LABELS % 2)
        (inputs, labels), _ = read(tmp_path / "a.npz", "digit")
        assert inputs.shape == ROWS.shape
        np.testing.assert_array_equal(labels, LABELS)
        with pytest.raises(DataError, match=r"a\.npz: has no array digits; did you mean digit\?"):
            read(tmp_path / "a.npz", "digits")

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["X"], r"which arrays hold the inputs and the labels\? Name them X and y, .*has X$"),
            (["a", "b"], r".*Name them X and y, or x_train, .*; it has a, b$"),
            ([str(i) for i in range(20)], r".*it has 0, 1, 2, 3, 4, 5, 6, 7 and 12 more$"),
            (["X", "y", "x_test"], r"has x_test alone; a test set is x_test and y_test$"),
        ],
    )
    def test_names_that_say_nothing(self, names, message, tmp_path):
        """Fault 15: the keys that there are."""
        arrays: dict[str, Any] = dict.fromkeys(names, npy_bytes(ROWS))
        zipped(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=f"^{tmp_path}/a.npz: {message}"):
            read(tmp_path / "a.npz")

    def test_new_data_need_no_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", whatever=ROWS)
        rows = NpzFile().read_new(tmp_path / "a.npz", None, (2, 2), ())
        np.testing.assert_array_equal(rows.inputs, ROWS)
        assert rows.labels is None


class TestContents:
    @pytest.mark.parametrize("kind", ["u1", ">i2", "<f4", ">f8", "?", "<U3", "S2"])
    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("mapped", [False, True])
    def test_every_type(self, kind, order, mapped, tmp_path, monkeypatch):
        if mapped:
            monkeypatch.setattr(npy, "_MAPPED", 0)
        array = np.asarray((np.arange(12).reshape(3, 4) % 5).astype(kind), order=order)
        np.save(tmp_path / "a.npy", array)
        again = read_npy(tmp_path / "a.npy")
        np.testing.assert_array_equal(again, array)
        again[0, 0] = again[1, 1]  # PyTorch wants arrays that can be written to
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)

    def test_only_what_is_asked_for_is_read(self, tmp_path):
        path = zipped(tmp_path / "a.npz", X=npy_bytes(ROWS), y=npy_bytes(LABELS), z=b"no array")
        assert len(read(path)[0][0]) == 6

    def test_a_name_that_leads_elsewhere_is_a_name(self, tmp_path):
        """Fault 67: nothing is written to the disk."""
        path = tmp_path / "in" / "a.npz"
        path.parent.mkdir()
        zipped(path, zipfile.ZIP_STORED, **{"../x": npy_bytes(ROWS), "/y": npy_bytes(LABELS)})
        with pytest.raises(DataError, match=r"it has \.\./x, /y$"):
            read(path)
        assert [one.name for one in tmp_path.rglob("*")] == ["in", "a.npz"]


class TestHostile:
    def test_objects_are_never_unpickled(self, tmp_path):
        """Fault 65."""
        trap = np.array([Trap(tmp_path / "made")] * 6, dtype=object)
        np.savez(tmp_path / "a.npz", X=ROWS, y=trap)
        np.save(tmp_path / "b.npy", trap)
        for attempt in (lambda: read(tmp_path / "a.npz"), lambda: read_npy(tmp_path / "b.npy")):
            with pytest.raises(DataError, match="holds Python objects, which are pickled and neve"):
                attempt()
        assert not (tmp_path / "made").exists()
        np.load(tmp_path / "b.npy", allow_pickle=True)
        assert (tmp_path / "made").exists()  # the trap was one

    @pytest.mark.parametrize(
        "header",
        [
            npy_header("'<f8'", "(4294967296,)"),  # 32 GiB in 80 bytes
            npy_header("'<f8'", "(4294967296, 4294967296, 4294967296)"),
            npy_header("'<U100000000'", "(1,)"),
        ],
    )
    def test_headers_that_ask_for_too_much(self, header, tmp_path):
        """Fault 66: nothing is allocated."""
        path = tmp_path / "a.npy"
        path.write_bytes(header + bytes(16))
        archive = zipped(tmp_path / "a.npz", X=header + bytes(16), y=npy_bytes(LABELS))
        tracemalloc.start()
        try:
            for attempt in (lambda: read_npy(path), lambda: read(archive)):
                with pytest.raises(
                    DataError, match=r"has 16 bytes of values where its header .* as"
                ):
                    attempt()
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()

    def test_an_archive_that_says_it_has_more_than_it_packs(self, tmp_path):
        path = zipped(tmp_path / "a.npz", X=npy_header("'u1'", "(30000000000,)"), y=b"")
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02")  # the directory at the end, which zipfile believes
        size = struct.unpack_from("<I", content, at + 24)[0]
        struct.pack_into("<I", content, at + 24, 2**32 - 2)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"X: is said to have 4,294,967,294 bytes, where the"):
            read(path)
        assert size < 200

    def test_a_bomb_is_not_unpacked(self, tmp_path):
        bomb = npy_header("'u1'", "(10,)") + bytes(50_000_000)
        path = zipped(tmp_path / "a.npz", X=bomb, y=npy_bytes(LABELS))
        assert path.stat().st_size < 60_000
        del bomb
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=r"X: has 50,000,000 bytes of values where"):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is no NPY file"),
            (b"a,b\n1,2\n", "is no NPY file"),
            (b"\x93NUMPY\x01\x00\xff\xff{", "is no NPY file, or its header is damaged"),
            (npy_header("'<f8'", "(-1,)"), "holds no values (shape (-1,))"),
            (npy_header("'<f8'", "()") + bytes(8), "holds no values (shape ())"),
            (npy_header("'<f8'", "(0, 3)"), "holds no values (shape (0, 3))"),
            (npy_header("'<U0'", "(10,)"), "is of type <U0; give an array of numbers"),
            (npy_header("'<c16'", "(1,)") + bytes(16), "is of type complex128; give an array"),
            (npy_header("'<M8[s]'", "(1,)") + bytes(8), "is of type datetime64[s]; give an"),
            (npy_header("__import__('os')", "(1,)"), "is no NPY file, or its header is damaged"),
            (npy_header("[('a', '<f8')]", "(1,)") + bytes(8), "is of type [('a', '<f8')]; give"),
            (npy_bytes(ROWS)[:-1], "has 23 bytes of values where its header (|u1 (6, 2, 2)) asks"),
            (npy_bytes(ROWS) + b"x", "has 25 bytes of values where its header"),
            (b"\x93NUMPY\x03\x00" + npy_bytes(ROWS)[8:], "has named fields; give a plain array"),
        ],
    )
    def test_broken_arrays(self, content, message, tmp_path):
        path = tmp_path / "a.npy"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: {re.escape(message)}"):
            read_npy(path)

    @pytest.mark.parametrize("at", [40, 180, 330, -30, -100])
    def test_broken_archives(self, at, tmp_path):
        path = zipped(
            tmp_path / "a.npz", zipfile.ZIP_STORED, X=npy_bytes(ROWS), y=npy_bytes(LABELS)
        )
        content = path.read_bytes()
        path.write_bytes(content[:at])
        with pytest.raises(DataError, match=f"^{path}: is no NPZ file, or a damaged one"):
            read(path)

    def test_a_flipped_bit(self, tmp_path):
        path = zipped(
            tmp_path / "a.npz", zipfile.ZIP_STORED, X=npy_bytes(ROWS), y=npy_bytes(LABELS)
        )
        content = bytearray(path.read_bytes())
        content[content.index(ROWS.tobytes()) + 3] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a damaged one \(Bad CRC-32 for file 'X\.npy'\)"):
            read(path)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_unusual_packing(self, method, tmp_path):
        path = zipped(tmp_path / "a.npz", method, X=npy_bytes(ROWS), y=npy_bytes(LABELS))
        with pytest.raises(DataError, match=r"X: is packed in an unusual way; save it with numpy"):
            read(path)
