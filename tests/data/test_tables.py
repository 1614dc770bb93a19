from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import cotune
from cotune.data.dataset import Column
from cotune.data.readers import table_file
from cotune.data.reading import read_data
from cotune.data.tables.missing_words import MISSING_WORDS
from cotune.data.tables.tables import read_cells, read_pixels, read_table
from cotune.exceptions import DataError
from tests.support.tables import mixed_table, real_table

GOOD = "n,kind,label\n1,a,yes\n2,b,no\n3,a,yes\n4,b,no\n5,a,yes\n6,b,no\n"


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_error(path: object, **arguments: object) -> str:
    """The error's one line, without the folder."""
    with pytest.raises(DataError) as caught:
        read_table(path, **arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert not isinstance(path, Path) or message.startswith(str(path))
    return message.removeprefix(f"{path.parent}/") if isinstance(path, Path) else message


def values_of(data, name: str) -> list[float]:
    """A column's cells in the file's order, the test set's among them."""
    place = [column.name for column in data.columns].index(name)
    cells = np.concatenate((data.inputs[:, place], data.read_test()[0][:, place]))
    return list(cells[np.argsort(np.concatenate((data.rows, data.test_rows)))])


class TestTheSameInEveryFormat:
    @pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "mixed"])
    def test_splits_and_cells(self, tmp_path, name):
        table = mixed_table() if name == "mixed" else real_table(name)
        table.to_csv(tmp_path / "a.csv", index=False)
        table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
        table.to_csv(tmp_path / "b.csv", index=False, sep=";", decimal=",")
        with_index = table.rename_axis("place").to_csv(lineterminator="\r\n")
        write(tmp_path, "\ufeff\r\n" + with_index.replace("place", "", 1), "c.csv")
        table.to_parquet(tmp_path / "a.parquet")
        shuffled = table.sample(frac=1.0, random_state=1)
        files = ["a.csv", "a.tsv", "b.csv", "c.csv", "a.parquet"]
        sources = [*(tmp_path / file for file in files), table, shuffled]
        first, *others = [read_table(source) for source in sources]
        for data in others:
            assert data.fingerprint == first.fingerprint
            np.testing.assert_array_equal(data.read_test()[0], first.read_test()[0])
            np.testing.assert_array_equal(data.read_test()[1], first.read_test()[1])
        assert first.rows is not None
        pd.testing.assert_frame_equal(
            shuffled.iloc[others[-1].rows].reset_index(drop=True),
            table.iloc[first.rows].reset_index(drop=True),
        )
        names = np.array(first.classes)[first.labels]
        assert list(names) == list(table.target.iloc[first.rows])
        if name != "mixed":
            expected = table.drop(columns="target").to_numpy()
            np.testing.assert_array_equal(first.inputs, expected[first.rows])
            np.testing.assert_array_equal(first.read_test()[0], expected[first.test_rows])

    def test_what_the_columns_are(self):
        data = read_table(mixed_table())
        kinds = {column.name: column.kind for column in data.columns}
        assert kinds.pop("colour") == "category"
        assert kinds.pop("strong") == "boolean"
        assert kinds.pop("country") == "category"
        assert set(kinds.values()) == {"number"}
        assert {"ash", "bottled", "volume"} <= set(kinds)
        assert "bottle" not in kinds
        assert data.remarks == (
            "the labels are in 'target', by its name; --target names another",
            "'bottle' is left out: its texts are all different, as ids are; --column "
            "bottle=category keeps it",
        )
        colour = next(column for column in data.columns if column.name == "colour")
        assert colour.categories == ("dark", "pale", "red", "rosy")
        table = mixed_table()
        np.testing.assert_array_equal(values_of(data, "ash"), table.ash)
        np.testing.assert_array_equal(values_of(data, "strong"), table.strong)
        seconds = (table.bottled - pd.Timestamp(0)).dt.total_seconds()
        np.testing.assert_array_equal(values_of(data, "bottled"), seconds)
        written = [
            np.nan if math.isnan(c) else colour.categories[int(c)]
            for c in values_of(data, "colour")
        ]
        assert [w for w in written if w == w] == list(table.colour.dropna())

    def test_images(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (40, 3, 3), np.uint8)
        labels = np.arange(40) % 4
        flat = images.reshape(40, 9)
        by_number = pd.DataFrame(flat, columns=[f"pixel{i}" for i in range(9)])
        by_number.insert(0, "label", labels)
        from_one = by_number.set_axis(["label", *(f"pixel{i + 1}" for i in range(9))], axis=1)
        sides = [f"{r}x{c}" for r in range(1, 4) for c in range(1, 4)]
        by_row = by_number.set_axis(["label", *sides], axis=1).iloc[::-1, ::-1]
        as_floats = by_number.set_axis(
            ["label", *(f"pixel_{r}_{c}" for r in range(3) for c in range(3))], axis=1
        ).astype(float)
        by_number.to_csv(tmp_path / "a.csv", index=False)
        from_one.to_parquet(tmp_path / "a.parquet")
        first = read_table(tmp_path / "a.csv")
        assert first.input_shape == (3, 3)
        assert first.inputs.dtype == np.uint8
        assert first.columns == ()
        assert first.classes == ("0", "1", "2", "3")
        np.testing.assert_array_equal(first.inputs, images[first.rows])
        for other in (tmp_path / "a.parquet", by_row, as_floats):
            assert read_table(other).fingerprint == first.fingerprint
        again, found = read_pixels(tmp_path / "a.csv", (3, 3), "label")
        np.testing.assert_array_equal(again, images)
        np.testing.assert_array_equal(found, labels)
        assert read_pixels(by_number.drop(columns="label"), (3, 3))[1] is None
        with pytest.raises(DataError, match=r"images of 3 x 3, the model is for 4 x 4; give"):
            read_pixels(tmp_path / "a.csv", (4, 4))
        with pytest.raises(DataError, match=r"no images, the model is for 3 x 3; give"):
            read_pixels(by_number.drop(columns="pixel4"), (3, 3))

    @pytest.mark.parametrize(
        "names",
        [
            [str(i) for i in range(9)],  # a table without names
            [f"pixel{i}" for i in range(2, 11)],
            [f"pixel{i}" for i in range(8)],
            [*(f"pixel{i}" for i in range(8)), "age"],
            [*(f"pixel{i}" for i in range(8)), "pixel99"],
        ],
    )
    def test_what_is_no_image(self, names):
        table = pd.DataFrame(np.arange(10 * len(names)).reshape(10, -1), columns=names)
        assert len(read_table(table.assign(label=[0, 1] * 5)).columns) == len(names)


# Python 3.11 writes a lone carriage return without the quotes that it needs
CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6),
    st.floats().map(repr),
    st.sampled_from(["", "NA", "true", "False", "-1", "2.5e3", "a,b", 'say "x"', "two\nlines"]),
)


@settings(max_examples=120, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, st.sampled_from("ab")), min_size=6, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from(",;\t"),
)
def test_texts_come_back_as_they_were_written(tmp_path_factory, rows, end, delimiter):
    """Quotes, delimiters and line breaks in cells, against Python's own writer of CSV."""
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerows([("text", "label"), *rows, *[("", label) for label in "aaabbb"]])
    column = Column("text", "category", tuple(sorted({text.strip() for text, _ in rows})))
    cells, labels = read_cells(path, [column], "label")
    assert labels is not None
    assert list(labels) == [label for _, label in rows] + list("aaabbb")
    for (text, _), code in zip(rows, cells[:, 0], strict=False):
        if not math.isnan(code):
            assert column.categories[int(code)] == text.strip()
        else:
            assert text.strip() in ("", *MISSING_WORDS)


class TestFaults:
    """Each is one line that says where, what and what to do."""

    def test_what_is_not_there(self, tmp_path):
        assert read_error(tmp_path / "no.csv") == "no.csv: no such file; check the path"
        folder = tmp_path / "folder.csv"
        folder.mkdir()
        assert read_error(folder) == "folder.csv: is a folder; give the path of a table"
        os.mkfifo(tmp_path / "pipe")
        assert "not a regular file" in read_error(tmp_path / "pipe")
        with pytest.raises(DataError, match="no file can have this name"):
            read_table("a\0b")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "the file is empty; give a file with a header and rows"),
            ("\ufeff \n", "the file is empty; give a file with a header and rows"),
            ("n,label\n", "has a header but no rows; give a file with rows"),
            ("n,label", "has a header but no rows; give a file with rows"),
            (GOOD + "7,a\n", "8: 2 cells where the header has 3; fix the row, or put quotes"),
            (GOOD + "\n7,a,b,no\n", "9: 4 cells where the header has 3; fix the row"),
            (GOOD + '"7,a,no\n', "a quote in line 8 or a later one is never closed; close it"),
            (GOOD + "x,a,no\n", "8:n: 'x' is not a number, as the column's other cells are; fix"),
            (GOOD + '"\n\nx",a,no\n', "8:n: 'x' is not a number"),
            (GOOD.replace("2,b", '2,"b\nb"') + "x,a,no\n", "9:n: 'x' is not a number"),
            (GOOD + "inf,a,no\n", "8:n: inf is no finite number; fix the cell or leave it empty"),
            (GOOD + "-1e999,a,no\n", "8:n: -inf is no finite number"),
            (GOOD + "7,a,\n", "8:label: the label is missing; label the row or drop it"),
            (GOOD + "7,a,NaN\n", "8:label: the label is missing"),
            (GOOD + "7,a,None\n", "8:label: the label is missing (None without quotes), as"),
            ("p;y\n" + "".join(f"{i}.234,5;{i % 2}\n" for i in range(9)), "2:p: '0.234,5' is not"),
            (GOOD.replace("kind", " n "), "columns 1 and 2 are both called 'n'; give each its own"),
            ("5.1,3.5,a\n4.9,3.0,b\n", "1: has numbers where the names of the columns belong"),
            ("id,label\n" + "".join(f"i{i},{i % 2}\n" for i in range(9)), "has no column to learn"),
            ("label\n1\n2\n1\n2\n", "has no column to learn from beside the labels; add one"),
            ("n,y\n" + "".join(f"{i},{i}.5\n" for i in range(9)), "2:y: 0.5 is no class; labels "),
            ("n,y\n" + "".join(f"{i},2020-01-0{i}\n" for i in range(1, 9)), "column 'y' holds da"),
            ("n,label\n1,a\n2,a\n3,a\n4,b\n", "too few rows of class 'b' (1) to be in the train"),
            ("n,y\n1,a\n2," + "b" * 201 + "\n", "column 'y' holds texts of more than 200 char"),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,0,0,256\n", "2:pixel3: 256 is no pixel; give"),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,,0,25\n", "2:pixel1: the pixel is missing; "),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,.5,0,25\n", "2:pixel1: 0.5 is no pixel; give"),
            (b"n,\xfe\xff\0", "byte 2 (counted from 0) is 0xfe, which is no UTF-8; save"),
            (GOOD.encode() + b"7,\xe9t\xe9,no\n", "byte 60 (counted from 0) is 0xe9, which is no"),
            (GOOD + "7,\0,no\n", "byte 60 (counted from 0) is NUL; save the table as CSV in UTF-8"),
            (b"x" * 2**20 + b"\xe2\x82", "byte 1048576 (counted from 0) is 0xe2"),
            ('"n,label\n1,2\n', "a quote in line 1 or a later one is never closed"),
        ],
    )  # fmt: skip
    def test_in_a_csv_file(self, tmp_path, content, message):
        found = read_error(write(tmp_path, content))
        assert found.removeprefix("table.csv:").strip().startswith(message)

    def test_numbers_with_a_comma_in_a_tsv_file(self, tmp_path):
        path = write(tmp_path, "p\ty\n" + "".join(f"{i},5\t{i % 2}\n" for i in range(9)), "t.tsv")
        data = read_table(path)
        assert values_of(data, "p") == [i + 0.5 for i in range(9)]

    def test_names_and_values_are_cut_short_and_stay_on_their_line(self, tmp_path):
        name = "line\nbreak " * 30
        content = GOOD.replace("n,", f'"{name}",') + '"' + "x\ny" * 90 + '",a,no\n'
        message = read_error(write(tmp_path, content))
        assert "9:line break line break " in message or ":line break line break " in message

    def test_a_target_that_is_not_there(self, tmp_path):
        path = write(tmp_path, GOOD)
        message = read_error(path, target="Lable")
        assert message == "table.csv: has no column 'Lable'; did you mean 'label'?"
        message = read_error(path, target="species")
        assert message == "table.csv: has no column 'species'; its columns are n, kind, label"

    @pytest.mark.parametrize(
        ("header", "rows", "message"),
        [
            ("n,label", "1,yes\n", "its columns differ from the training data's (missing: kind); "),
            ("n,kind,label,age", "1,a,yes,3\n", "differ from the training data's (not there in t"),
            ("n,typ,label", "1,a,yes\n", "(missing: kind; not there in training: typ); give the"),
            ("n,kind,label", "1,a,yes\nx,a,no\n", "3:n: 'x' is not a number, as the column's oth"),
            ("n,kind,label", "1,a,yes\n1,a,maybe\n", "3:label: 'maybe' is no class of the train"),
            ("n,kind,label", "1,a,yes\n1,a,\n", "3:label: the label is missing"),
        ],
    )  # fmt: skip
    def test_in_a_test_set(self, tmp_path, header, rows, message):
        test = write(tmp_path, f"{header}\n{rows}", "test.csv")
        with pytest.raises(DataError) as caught:
            read_table(write(tmp_path, GOOD), test=test)
        assert str(caught.value).startswith(str(test))
        assert message in str(caught.value)


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


class TestNewData:
    COLUMNS = (
        Column("n", "number"),
        Column("kind", "category", ("01", "1", "a")),
        Column("flag", "boolean"),
    )

    def test_is_encoded_as_in_training(self, tmp_path):
        content = "flag,id,kind,n\nTRUE,7,01,1\nfalse,8,1,\n,9,new,2.5\n"
        cells, labels = read_cells(write(tmp_path, content), self.COLUMNS)
        nan = math.nan
        np.testing.assert_array_equal(cells, [[1, 0, 1], [nan, 1, 0], [2.5, -1, nan]])
        assert labels is None
        numbers = pd.DataFrame({"flag": [1, 0], "kind": [1, None], "n": ["3", "NA"], "y": [5, 6]})
        numbers["kind"] = numbers["kind"].astype("Int64")
        cells, labels = read_cells(numbers, self.COLUMNS, "y")
        np.testing.assert_array_equal(cells, [[3, 1, 1], [nan, nan, 0]])
        np.testing.assert_array_equal(labels, [5, 6])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("n,kind\n1,a\n", "its columns differ from the training data's (missing: flag); give"),
            ("kind,N\n1,a\n", "(missing: n, flag; not there in training: N); give the same col"),
            ("n,kind,flag\n1,a,2\n", "2:flag: '2' is not true or false; fix the cell or leave"),
            ("n,kind,flag\n1,a,maybe\n", "2:flag: 'maybe' is not true or false"),
            ("n,kind,flag\n1,a,true\nx,a,true\n", "3:n: 'x' is not a number"),
        ],
    )
    def test_that_cannot_be(self, tmp_path, content, message):
        with pytest.raises(DataError) as caught:
            read_cells(write(tmp_path, content), self.COLUMNS)
        assert message in str(caught.value)


class TestParquet:
    @pytest.mark.parametrize(
        ("column", "shown"),
        [
            (pa.array([[1], [2]] * 4), "list<element: int64>"),
            (pa.array([{"a": 1}] * 8), "struct<a: int64>"),
            (pa.array([b"x"] * 8), "binary"),
            (pa.array([[("k", 1)]] * 8, pa.map_(pa.string(), pa.int64())), "map<string, int64"),
        ],
        ids=["list", "struct", "binary", "map"],
    )
    def test_other_types_are_named(self, tmp_path, column, shown):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"odd": column, "label": [0, 1] * 4}), path)
        message = read_error(path)
        assert message.startswith(f"t.parquet: column 'odd' is of type {shown}")
        assert message.endswith(
            "numbers, booleans, texts and dates can be used: convert it or leave it out"
        )

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([1, None] * 4, pa.int8()),
            pa.array([1.5, None] * 4, pa.float16()),
            pa.array([1, None] * 4, pa.decimal128(5, 2)),
            pa.array([2**64 - 1, None] * 4, pa.uint64()),
            pa.array([1, None] * 4, pa.time32("s")),
            pa.array([1, None] * 4, pa.timestamp("ns", "Europe/Berlin")),
            pa.array([1, None] * 4, pa.duration("ms")),
            pa.array([1, None] * 4, pa.date32()),
            pa.array(["1", None] * 4, pa.large_string()),
            pa.array(["1", "NA"] * 4, pa.string_view()),
        ],
        ids=lambda column: str(column.type),
    )
    def test_numbers_of_every_type(self, column):
        data = read_table(pa.table({"x": column, "label": [0, 0, 1, 1] * 2}))
        assert [(one.name, one.kind) for one in data.columns] == [("x", "number")]
        values = {str(value) for value in values_of(data, "x")}
        one = {
            "uint64": 2.0**64,
            "halffloat": 1.5,
            "date32[day]": 86400.0,
            "timestamp[ns, tz=Europe/Berlin]": 1e-9,
            "duration[ms]": 1e-3,
        }
        assert values == {"nan", str(one.get(str(column.type), 1.0))}

    def test_intervals(self):
        column = pa.array([(1, 2, 3)] * 8, pa.month_day_nano_interval())
        message = read_error(pa.table({"odd": column, "label": [0, 1] * 4}))
        assert message.startswith("table: column 'odd' is of type month_day_nano_interval; numbers")

    def test_more_bytes_than_the_file_says(self, tmp_path, monkeypatch):
        path = tmp_path / "t.parquet"
        texts = [f"{i} " + "x" * 1000 for i in range(20_000)]
        table = pa.table({"text": texts, "label": [0, 1] * 10_000})
        parquet.write_table(table, path, compression="zstd", use_dictionary=False)
        with parquet.ParquetFile(path) as file:
            size = file.metadata.row_group(0).total_byte_size
        content = path.read_bytes()
        written = bytes(2 * size >> 7 * i & 127 | 128 for i in range(4))  # 28 bits, from the lowest
        written = written[:3] + bytes([written[3] & 127])
        footer = content.rindex(written)
        path.write_bytes(content[:footer] + b"\x82\x80\x80\x00" + content[footer + 4 :])
        with parquet.ParquetFile(path) as file:
            assert file.metadata.row_group(0).total_byte_size == 1
        monkeypatch.setattr(table_file, "MAX_BYTES", 2**23)
        assert "bytes once unpacked are more than a table in memory may have" in read_error(path)

    def test_damage_names_the_column(self, tmp_path):
        path = tmp_path / "t.parquet"
        table = pa.table({"a": np.arange(1000.0), "b": np.arange(1000.0), "label": [0, 1] * 500})
        parquet.write_table(table, path, compression="zstd", use_dictionary=False)
        content = bytearray(path.read_bytes())
        with parquet.ParquetFile(path) as file:
            start = file.metadata.row_group(0).column(1).data_page_offset
        content[start + 60 : start + 90] = b"\xff" * 30
        path.write_bytes(content)
        assert read_error(path).startswith("t.parquet: column 'b' is corrupt: ")
        path.write_bytes(content[:500])
        assert read_error(path).startswith("t.parquet: is corrupt: Parquet magic bytes not found")

    def test_a_bomb_is_not_unpacked(self, tmp_path):
        path = tmp_path / "t.parquet"
        with parquet.ParquetWriter(
            path, pa.schema([("a", pa.int8()), ("label", pa.int8())])
        ) as file:
            part = pa.table([pa.nulls(2**24, pa.int8())] * 2, schema=file.schema)
            for _ in range(17):
                file.write_table(part)
        assert path.stat().st_size < 2**21
        began = time.monotonic()
        assert "bytes once unpacked are more than a table in memory may have" in read_error(path)
        assert time.monotonic() - began < 2

    def test_a_text_stored_once_stays_so(self, tmp_path):
        path = tmp_path / "t.parquet"
        text = pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int32), ["x" * 10**6])
        parquet.write_table(
            pa.table({"a": text, "n": np.arange(10**5) % 999, "label": [0, 1] * 50_000}),
            path,
            store_schema=False,
        )
        before = pa.default_memory_pool().max_memory()
        data = read_table(path)  # 100 GB of texts
        assert [column.name for column in data.columns] == ["n"]
        assert (
            "'a' is left out: its texts are too many or too long to be categories" in data.remarks
        )
        assert pa.default_memory_pool().max_memory() - before < 2**26


def test_a_csv_file_of_too_many_cells_is_not_parsed(tmp_path):
    wide = ",".join(f"c{i}" for i in range(90_000))
    path = write(tmp_path, f"{wide}\n" + "\n" * 10_000)
    assert "cells are more than a table in memory may have" in read_error(path)
    os.truncate(path, 2**40)  # sparse
    assert "bytes are more than a table in memory may have" in read_error(path)


def test_objects_of_two_types_in_a_column():
    with pytest.raises(DataError, match=r"^table:1:x: 'a' is a text, where 2 rows have a n"):
        read_table(pd.DataFrame({"x": [1, "a", 2.5], "label": [0, 1, 0]}))


SPACE = {
    "n_layers": 1,
    "width": 32,
    "lr": {"type": "float", "low": 5e-3, "high": 2e-2, "log": True},
    "batch_size": 32,
    "optimizer": "adamw",
    "batch_norm": True,
    "dropout": 0.1,
    "epochs": 15,
}


@pytest.mark.filterwarnings("ignore:columns 'country', 'volume' have a single value")
def test_a_run_from_the_file_to_its_predictions(tmp_path):
    mixed_table().to_csv(tmp_path / "wine.csv", index=False)
    data = read_table(tmp_path / "wine.csv")
    result = cotune.run(data, n_trials=2, workers=1, space=SPACE, ensemble=2, out=tmp_path / "run")
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.85
    for model in (cotune.load(result.path), cotune.load_ensemble(result.path).members[0]):
        assert model.preprocessing.columns == data.columns  # type: ignore[union-attr]
    model = cotune.load(result.path)
    cells, labels = read_cells(tmp_path / "wine.csv", data.columns, "target")
    assert labels is not None
    predicted = np.array(model.classes)[model(torch.from_numpy(cells)).argmax(1).numpy()]
    hits = (predicted == labels)[data.test_rows]
    assert hits.mean() == result.test_accuracy
    assert "14 number, 2 category, 1 boolean" in (result.path / "report.html").read_text()
