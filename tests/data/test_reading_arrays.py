"""Files of NumPy arrays and IDX files become datasets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cotune.data.reading import read_data
from cotune.exceptions import DataError
from tests.support.formats import digits, idx, write_idx

IMAGES, LABELS = digits()


class TestNumPy:
    def test_a_column_of_labels(self, tmp_path):
        table = np.column_stack([IMAGES.reshape(600, -1).astype(float), LABELS])
        np.save(tmp_path / "table.npy", table)
        for target in ("-1", "64"):
            dataset = read_data(tmp_path / "table.npy", target=target)
            assert dataset.input_shape == (64,)
            assert dataset.classes == tuple("0123456789")
        assert read_data(table, target=-1).fingerprint == dataset.fingerprint
        with pytest.raises(DataError, match=r"has no column 65; give a number from 0 to 64"):
            read_data(tmp_path / "table.npy", target="65")
        with pytest.raises(DataError, match=r"where are its labels\? Name a column of it with --t"):
            read_data(tmp_path / "table.npy")

    def test_labels_of_a_frame(self):
        frame = pd.DataFrame({"x": range(9), "kind": [1, "a", 2.5] * 3})
        with pytest.raises(DataError, match=r"^table:1:kind: 'a' is a text, where 6 rows hav"):
            read_data((frame, np.arange(9) % 2))
        with pytest.raises(DataError, match=r"labels have shape \(9, 2\); give one label a row"):
            read_data((frame[["x"]], np.zeros((9, 2))))

    def test_labels(self):
        with pytest.raises(DataError, match=r"labels\[3\] is missing; label the row or drop it"):
            read_data((IMAGES[:9], [0, 1, 0, np.nan, 1, 0, 1, 0, 1]))
        with pytest.raises(DataError, match=r"labels are of type float64; give whole numbers or"):
            read_data((IMAGES[:9], np.arange(9) / 2))
        with pytest.raises(DataError, match=r"arrays: 9 rows but 8 labels"):
            read_data((IMAGES[:9], LABELS[:8]))
        names = np.array([b"caf\xc3\xa9", b"tea"])[np.arange(30) % 2]
        assert read_data((IMAGES[:30], names)).classes == ("café", "tea")
        with pytest.raises(DataError, match=r"labels are no UTF-8"):
            read_data((IMAGES[:30], np.array([b"\xff", b"tea"])[np.arange(30) % 2]))
        numbers = np.array(["9", "10"])[np.arange(30) % 2]
        assert read_data((IMAGES[:30], numbers)).classes == ("9", "10")

    def test_channels_first(self):
        colour = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 9), np.uint8)
        dataset = read_data((torch.from_numpy(colour), np.arange(40) % 2))
        assert dataset.input_shape == (8, 9, 3)
        assert dataset.remarks == ("images [3, height, width] read as [height, width, 3]",)
        assert dataset.rows is not None
        np.testing.assert_array_equal(dataset.inputs[0], colour[dataset.rows[0]].transpose(1, 2, 0))

    def test_other_types_of_number(self):
        table = np.random.default_rng(0).normal(size=(40, 3))
        for inputs in (
            table.astype(">f4"),
            table.astype(np.longdouble),
            table > 0,
            torch.tensor(table, dtype=torch.bfloat16),
            torch.tensor(table, requires_grad=True),
        ):
            dataset = read_data((inputs, np.arange(40) % 2))
            torch.from_numpy(dataset.inputs)
            torch.from_numpy(dataset.read_test()[0])

    def test_items_that_do_not_belong_together(self):
        with pytest.raises(
            DataError, match=r"arrays\[1\] has shape \(3,\) and type int64, the fir"
        ):
            read_data([(np.arange(2), 0), (np.arange(3), 1)])
        with pytest.raises(DataError, match=r"arrays\[1\] is no pair; give items \(input, label\)"):
            read_data([(np.arange(2), 0), np.arange(3)])
        with pytest.raises(DataError, match=r"arrays: no rows"):
            read_data([])


class TestIdx:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("images-idx3", b"\x00\x00\x08\x09" + bytes(50), "not an IDX file"),  # 9
            ("images-idx3", b"\x00\x00\x07\x01" + bytes(50), "IDX type 07 does not exist"),
            ("images-idx3", idx(IMAGES)[:-1], "has 38,399 bytes of values where its header"),  # 10
            ("labels-idx1", idx(LABELS.astype(np.uint8)) + b"x", "has 601 bytes of values whe"),
        ],
    )
    def test_damaged(self, name, content, message, tmp_path):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS.astype(np.uint8)))
        path = tmp_path / f"train-{name}-ubyte"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: {message}"):
            read_data(tmp_path)

    def test_counts_that_differ(self, tmp_path):
        """Fault 11."""
        write_idx(tmp_path, "train", IMAGES, LABELS[:-1])
        with pytest.raises(DataError, match=f"^{tmp_path}: 600 rows but 599 labels; give one lab"):
            read_data(tmp_path)

    def test_no_labels(self, tmp_path):
        path = tmp_path / "my.images.idx3.gz"
        path.write_bytes(b"")
        with pytest.raises(DataError, match=r"my\.images\.idx3\.gz: has no labels beside it; put"):
            read_data(path)

    def test_too_many(self, tmp_path):
        write_idx(tmp_path, "train", IMAGES, LABELS)
        write_idx(tmp_path, "more", IMAGES, LABELS)
        with pytest.raises(DataError, match=r"which of more-images-idx3-ubyte, train-images-idx3"):
            read_data(tmp_path)
