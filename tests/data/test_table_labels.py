"""The labels of tables: how they are found and read."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cotune.data.reading import read_data
from cotune.data.tables.tables import read_cells, read_table
from cotune.exceptions import DataError
from tests.support.tables import GOOD, write


class TestLabels:
    @pytest.mark.parametrize(
        ("column", "classes"),
        [
            (["b", "a"], ("a", "b")),
            ([10, 9], ("9", "10")),
            ([1.0, 0.0], ("0", "1")),
            ([True, False], ("false", "true")),
            (["10", "9"], ("9", "10")),
            (["010", "9"], ("010", "9")),
            (["True", "FALSE"], ("false", "true")),
            (["1", "01"], ("01", "1")),
            (["9007199254740993.0", "9007199254740992.0"], (str(2**53), str(2**53 + 1))),
            (["12345678901234567890", "12345678901234567891"],) * 2,
            (pd.Categorical(["x", "y"], ["y", "x", "z"]), ("x", "y")),
            ([2**63 - 1, -(2**62)], (str(-(2**62)), str(2**63 - 1))),
        ],
        ids=str,
    )
    def test_classes(self, column, classes):
        labels = np.tile(np.arange(2), 4)
        table = pd.DataFrame({"x": np.arange(8.0), "y": pd.Series(column).iloc[labels].values})
        assert read_table(table).classes == tuple(classes)

    @pytest.mark.parametrize(
        "column",
        [["1", "01", "2"], ["1.0", "2.0", "3.0"], ["True", "False"], [True, False], ["7", "8"]],
        ids=str,
    )
    def test_the_same_classes_and_splits_in_every_format(self, tmp_path, column):
        """Fault: 1 and 01 were one class in a CSV file alone; booleans had two names."""
        random = np.random.default_rng(0)
        inputs = random.normal(size=(60, 2))
        labels = np.array(column)[random.integers(0, len(column), 60)]
        table = pd.DataFrame({"a": inputs[:, 0], "b": inputs[:, 1], "target": labels})
        table.to_csv(tmp_path / "t.csv", index=False)
        table.to_parquet(tmp_path / "t.parquet")
        np.savez(tmp_path / "t.npz", X=inputs, y=labels)
        frame = table[["a", "b"]]
        expected = read_table(tmp_path / "t.csv")
        assert len(expected.classes) == len(column)
        assert labels[expected.rows].tolist() != labels[: len(expected)].tolist()
        for source in (
            tmp_path / "t.parquet",
            tmp_path / "t.npz",
            (frame, labels),
            (inputs, labels.astype(object)),
            [*zip(inputs, labels.tolist(), strict=True)],
        ):
            data = read_data(source)
            assert data.classes == expected.classes
            np.testing.assert_array_equal(data.rows, expected.rows)
            np.testing.assert_array_equal(data.labels, expected.labels)
        _, again = read_cells(tmp_path / "t.csv", expected.columns, "target")
        assert again is not None
        assert again[expected.rows].astype(str).tolist() == [
            expected.classes[label] for label in expected.labels
        ]

    def test_too_large_for_a_whole_number(self):
        labels = np.array([1, 2**63], np.uint64)[np.arange(12) % 2]
        for source in (pa.table({"x": range(12), "y": labels}), (np.eye(12), labels)):
            with pytest.raises(DataError, match="is 9223372036854775808, more than 9,223,372,"):
                read_data(source)

    @pytest.mark.parametrize(
        ("header", "target", "how"),
        [
            ("Class,a,b", "Class", "by its name"),
            ("a,LABEL,b", "LABEL", "by its name"),
            ("group,a,b", "b", "the last column"),
            ("y,a,target", "target", "the last column"),
            ("y,target,b", "b", "the last column"),
        ],
    )
    def test_the_column_with_a_name_for_it_or_the_last(self, tmp_path, header, target, how):
        path = write(
            tmp_path, f"{header}\n" + "".join(f"{i % 2},{i % 3},{i % 4}\n" for i in range(24))
        )
        data = read_table(path)
        assert data.source is not None
        assert data.source.target == target
        assert data.remarks[0] == f"the labels are in {target!r}, {how}; --target names another"
        last = header.split(",")[2]
        data = read_table(path, target=last)
        assert data.classes == ("0", "1", "2", "3")
        assert not any(remark.startswith("the labels") for remark in data.remarks)

    def test_a_source_to_be_read_again(self, tmp_path, monkeypatch):
        write(tmp_path, GOOD)
        monkeypatch.chdir(tmp_path)
        data = read_table("table.csv", test="table.csv")
        assert data.name == "table"
        assert data.source is not None
        again = read_table(data.source.path, target=data.source.target, test=data.source.test)
        assert again.fingerprint == data.fingerprint
        assert os.path.isabs(data.source.path)
        np.testing.assert_array_equal(data.test_rows, range(6))
        assert read_table(pd.read_csv("table.csv")).source is None
