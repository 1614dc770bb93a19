"""Tables become datasets, the same in every format."""

from __future__ import annotations

import csv
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cotune
from cotune.data.dataset import Column
from cotune.data.tables.missing_words import MISSING_WORDS
from cotune.data.tables.tables import read_cells, read_pixels, read_table
from cotune.exceptions import DataError
from tests.support.tables import mixed_table, real_table, values_of, write


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
    result = cotune.run(
        data, n_trials=2, workers="in-process", space=SPACE, ensemble=2, out=tmp_path / "run"
    )
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
