"""Labels and columns that are understood otherwise than written, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cotune.cli.main import cotune as command
from cotune.data import from_arrays
from cotune.data.readers.arrays import as_labels
from cotune.data.reading import read_data
from cotune.exceptions import DataError
from cotune.inference.evaluate import class_indices

ROWS = 60
PLACE = np.arange(ROWS)
X = PLACE % 2 * 3 + np.random.default_rng(0).normal(size=ROWS)
FRAME = pd.DataFrame({"x": X, "label": PLACE % 2})
SPELLED = {
    "int": PLACE % 2,
    "float": PLACE % 2 * 1.0,
    "bool": PLACE % 2 == 1,
    "True": np.where(PLACE % 2, "True", "False"),
    "TRUE": np.where(PLACE % 2, "TRUE", "FALSE"),
    "text": np.where(PLACE % 2, "1", "0"),
    "1.0": np.where(PLACE % 2, "1.0", "0.0"),
}


def fault(path: Path) -> str:
    """What the command line says of a file that is refused."""
    outcome = CliRunner().invoke(command, ["run", str(path), "--dry-run"])
    assert isinstance(outcome.exception, DataError)
    return str(outcome.exception).removeprefix(str(path))


@pytest.mark.parametrize("test", SPELLED)
@pytest.mark.parametrize("train", SPELLED)
def test_booleans_and_0_and_1(tmp_path, train, test):
    """The same classes, however they are written in the training data and in the test set."""
    one, other = FRAME.assign(label=SPELLED[train]), FRAME.assign(label=SPELLED[test])[:20]
    one.to_csv(tmp_path / "train.csv", index=False)
    other.to_csv(tmp_path / "test.csv", index=False)
    other.to_parquet(tmp_path / "test.parquet")
    expected = (PLACE % 2)[:20].tolist()
    for dataset in (
        read_data(tmp_path / "train.csv", test=tmp_path / "test.csv"),
        read_data(tmp_path / "train.csv", test=tmp_path / "test.parquet"),
        read_data(one, target="label", test=other),
        read_data((X[:, None], SPELLED[train]), test=(X[:20, None], SPELLED[test][:20])),
    ):
        assert dataset.read_test()[1].tolist() == expected
        is_told = any(remark.startswith("test labels: ") for remark in dataset.remarks)
        booleans = {"bool", "True", "TRUE"}
        assert is_told == ((train in booleans) != (test in booleans))


def test_arrays_of_the_public_function():
    rows = X[:, None]
    dataset = from_arrays(rows, PLACE % 2, test=(rows[:4], np.array([True, False, True, False])))
    assert dataset.read_test()[1].tolist() == [1, 0, 1, 0]
    for classes in (["True", "False"], ["0", "1"], ["cat", "dog"]):
        test = rows[:2], np.array([True, False])
        indexed = from_arrays(rows, PLACE % 2, classes=classes, test=test)
        assert indexed.read_test()[1].tolist() == [1, 0]
    named = np.where(PLACE % 2, "True", "False")
    test = rows[:2], np.array(["1", "false"])
    dataset = from_arrays(rows, named, classes=["True", "False"], test=test)
    assert dataset.read_test()[1].tolist() == [0, 1]
    with pytest.raises(DataError, match="not of the type of the training labels; give one type"):
        from_arrays(rows, PLACE % 2, test=(rows[:2], np.array(["yes", "no"])))


@pytest.mark.parametrize("classes", [("0", "1"), ("false", "true"), ("FALSE", "TRUE")])
def test_labels_that_a_model_is_evaluated_on(classes):
    for labels in ([False, True], ["False", "true"], [0, 1], ["0", "1"], ["0.0", "1.0"]):
        given = as_labels(np.array(labels), "labels")
        assert class_indices(given, classes, "data").tolist() == [0, 1]


def test_whole_numbers_that_are_no_classes(tmp_path):
    path = tmp_path / "t.csv"
    random = np.random.default_rng(0)
    wanted = (
        "different whole numbers in {} rows seem to be no classes (regression is not what Cotune "
        "does); name another column with --target, or put the numbers into a few classes; where "
        "they are classes, give at least 3 rows of each"
    )
    for rows, prices in (
        (200, random.integers(1000, 9000, 200)),
        (200, random.integers(0, 90, 200)),
        (20, np.arange(20)),
        (4000, (random.lognormal(5, 0.5, 4000)).astype(int)),
    ):
        pd.DataFrame({"x": random.normal(size=rows), "price": prices}).to_csv(path, index=False)
        count = f"{len(np.unique(prices)):,}"
        assert fault(path) == f": column 'price': {count} {wanted.format(f'{rows:,}')}"
    with pytest.raises(DataError, match="arrays: labels: 60 different whole numbers in 60 rows se"):
        read_data((X[:, None], PLACE * 7))


def test_whole_numbers_that_may_be_classes():
    many = np.arange(400) % 80
    rows = np.random.default_rng(0).normal(size=(400, 1))
    dataset = read_data((rows, many))
    assert len(dataset.classes) == 80
    assert "80 different whole numbers in 400 rows are each read as a class of its own" in (
        dataset.remarks
    )
    few = read_data((rows, many % 10))
    assert not any("whole numbers" in remark for remark in few.remarks)
    with pytest.raises(DataError, match=r"too few rows of class '9' \(1\)"):
        read_data((rows, np.append(many[1:] % 9, 9)))


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([1.5, "x", 2], "1:f: 'x' is a text, where 40 rows have a number, as 1.5 in row 0; make"),
        (["x", 1.5, "y"], "1:f: 1.5 is a number, where 40 rows have a text, as 'x' in row 0; ma"),
        ([True, "a", False], "1:f: 'a' is a text, where 40 rows have a boolean, as True in row 0"),
        ([None, "a", 3, 4], "1:f: 'a' is a text, where 30 rows have a number, as 3 in row 2; mak"),
        ([[1], 2, 3], "0:f: [1] is of type list, where 40 rows have a number, as 2 in row 1; mak"),
        ([pd.Timestamp("2020-01-01"), "a", "b"], "0:f: Timestamp('2020-01-01 00:00:00') is a dat"),
    ],
)
def test_a_column_of_texts_and_numbers(objects, message):
    frame = FRAME.assign(f=pd.Series((objects * ROWS)[:ROWS], dtype=object))
    for data in (frame, (frame, frame.label), (frame.rename(columns={"f": "x", "x": "f"}), X)):
        with pytest.raises(DataError) as caught:
            read_data(data, target="label" if data is frame else None)
        assert str(caught.value).replace(":x:", ":f:").startswith("table:" + message)


def test_numbers_as_objects():
    """A word for a missing value is one there, and booleans are numbers among numbers."""
    objects = np.array([1.5, "NA", True, None], object)[PLACE % 4]
    dataset = read_data(FRAME.assign(f=objects), target="label")
    assert dataset.columns[1].kind == "number"
    cells = np.concatenate([dataset.inputs, dataset.read_test()[0]])
    assert sorted(cells[~np.isnan(cells[:, 1]), 1]) == [1] * 15 + [1.5] * 15


def test_arrays_of_objects():
    objects = np.array([[1, 2.5], [2, "abc"]] * 30, object)
    for inputs, cell in ((objects, "1, 1"), (objects.tolist(), "1, 1"), (objects.astype(str), "0")):
        with pytest.raises(DataError, match=rf"inputs\[{cell}.* is '.*', a text; give an array of"):
            read_data((inputs, PLACE % 2))
    mixed: Any = ["a", 1] * 30
    for labels in (mixed, np.array(["a", 1] * 30, object)):
        with pytest.raises(DataError, match=r"labels\[1\] is 1, a number, where row 0 has a text"):
            read_data((X[:, None], labels))
        with pytest.raises(DataError, match=r"labels\[1\] is 1, a number, where row 0 has a text"):
            from_arrays(X[:, None], labels)
    mixed[1] = float("nan")
    with pytest.raises(DataError, match=r"labels\[1\] is missing; label the row or drop it"):
        from_arrays(X[:, None], mixed)
    with pytest.raises(DataError, match=r"float64; .* \(regression is not what Cotune does\)"):
        read_data((X[:, None], X))
