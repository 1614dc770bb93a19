"""Words for a missing value: values where a format has nulls of its own, or in quotes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

import cotune
from cotune.cli.main import cotune as command
from cotune.data.dataset import Dataset
from cotune.data.reading import read_data
from cotune.exceptions import DataError

ROWS = 60
WORDS = ["None", "NA", "null", "N/A", "?", "nan", "<NA>"]


def table(word: str, rows: int = ROWS) -> pd.DataFrame:
    """A word as a class and as a category; the class follows from ``x``."""
    place = np.arange(rows)
    return pd.DataFrame(
        {
            "x": place % 3 * 5 + np.random.default_rng(0).normal(size=rows),
            "kind": np.array([word, "u", "v", "w"])[place % 4],
            "label": np.array([word, "b", "c"])[place % 3],
        }
    )


def written(frame: pd.DataFrame, how: str, folder: Path) -> Any:
    """The table as a DataFrame or a file."""
    if how == "frame":
        return frame
    if how == "categorical":
        return frame.astype({"kind": "category", "label": "category"})
    if how == "arrow":
        return pa.table(frame)
    if how == "parquet":
        frame.to_parquet(folder / "t.parquet")
        return folder / "t.parquet"
    quoting = {"quoted": csv.QUOTE_NONNUMERIC, "all quoted": csv.QUOTE_ALL}.get(how, 0)
    path = folder / f"{how}.csv"
    frame.to_csv(path, index=False, quoting=quoting)
    return path


def missing(dataset: Dataset) -> dict[str, int]:
    """Missing cells of each column, those of the sealed rows among them."""
    cells = np.concatenate([dataset.inputs, dataset.read_test()[0]])
    counts = np.isnan(cells).sum(0)
    return {column.name: int(count) for column, count in zip(dataset.columns, counts, strict=True)}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "how", ["frame", "categorical", "arrow", "parquet", "quoted", "all quoted"]
)
def test_a_class_and_category(tmp_path, word, how):
    dataset = read_data(written(table(word), how, tmp_path), target="label")
    assert set(dataset.classes) == {word, "b", "c"}
    assert set(dataset.columns[1].categories) == {word, "u", "v", "w"}
    assert missing(dataset) == {"x": 0, "kind": 0}
    assert f"'{word}' in 'label' (20 rows) is read as a class, not as a missing label" in (
        dataset.remarks
    )
    assert f"'kind': {word} read as a category, not as missing" in dataset.remarks


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("blanks", ["", " ", "   "])
def test_without_quotes_in_a_csv_file(tmp_path, word, blanks):
    path = tmp_path / "t.csv"
    rows = table(word).replace(word, f"{blanks}{word}")
    rows.assign(label=[0, 1] * 30).to_csv(path, index=False)
    dataset = read_data(path)
    assert dataset.columns[1].categories == ("u", "v", "w")
    assert missing(dataset) == {"x": 0, "kind": 15}
    rows.to_csv(path, index=False)
    outcome = CliRunner().invoke(command, ["run", str(path), "--dry-run"])
    assert isinstance(outcome.exception, DataError)
    assert str(outcome.exception) == (
        f"{path}:2:label: the label is missing ({word} without quotes), as in 20 of 60 rows; where "
        f'{word} is a class write it in quotes, "{word}", else label the rows or drop them'
    )


@pytest.mark.parametrize("how", ["frame", "parquet", "quoted", "all quoted"])
@pytest.mark.parametrize("word", ["NA", "null", ""])
def test_a_column_of_numbers_otherwise(tmp_path, how, word):
    """The word is a missing cell there, in a test set and new data too."""
    place = np.arange(ROWS)
    frame = pd.DataFrame(
        {
            "n": np.where(place % 5 == 0, word, (place * 1.5).astype(str)),
            "flag": np.where(place % 6 == 0, word, np.where(place % 2, "true", "false")),
            "m": place * 2,
            "label": np.array(["b", "c"])[place % 2],
        }
    )
    source = written(frame, how, tmp_path)
    dataset = read_data(source, target="label")
    assert [column.kind for column in dataset.columns] == ["number", "boolean", "number"]
    assert missing(dataset) == {"n": 12, "flag": 10, "m": 0}
    (tmp_path / "test").mkdir()
    test = written(frame.iloc[::5].assign(m=7), how, tmp_path / "test")
    cells, _ = read_data(source, target="label", test=test).read_test()
    assert np.isnan(cells).sum(0).tolist() == [12, 2, 0]


def test_quotes_tell_texts_from_missing_cells(tmp_path):
    """As R writes them: the country NA, and a cell without a value."""
    path, test = tmp_path / "t.csv", tmp_path / "test.csv"
    places = np.array(['"NA"', '"DE"', "NA", '"FR"'])[np.arange(ROWS) % 4]
    rows = [
        f'{i * 7 % 11},"2024-01-{i % 28 + 1:02}",{one},"{"ab"[i % 2]}"'
        for i, one in enumerate(places)
    ]
    path.write_text("\n".join(['"n","day","country","label"', *rows]))
    test.write_text("\n".join(['"n","day","country","label"', *rows[:1], *rows[2:4]]))
    dataset = read_data(path, test=test)
    assert dataset.columns[2].categories == ("DE", "FR", "NA")
    assert np.isnan(dataset.inputs).sum(0).tolist() == [0, 0, 15]
    cells, _ = dataset.read_test()
    assert [cells[0, 2], cells[2, 2]] == [2, 1]
    assert np.isnan(cells[1, 2])
    test.write_text("\n".join(['"n","day","country","label"', *rows[2:4]]))
    assert np.isnan(read_data(path, test=test).read_test()[0][0, 2])


def test_nulls_of_a_frame_are_missing():
    place = np.arange(ROWS)
    kinds = np.array(["a", None, np.nan, pd.NA, "None", "a"], object)[place % 6]
    dataset = read_data(
        pd.DataFrame({"x": place % 7, "kind": kinds, "label": place % 2}), target="label"
    )
    assert dataset.columns[1].categories == ("None", "a")
    assert missing(dataset) == {"x": 0, "kind": 30}
    for null in (None, np.nan, pd.NA):
        labels = np.array(["a", null], object)[place % 2]
        for data in ((place[:, None], labels), (pd.DataFrame({"x": place}), labels)):
            with pytest.raises(DataError, match=r"labels\[1\] is missing; label the row or drop"):
                read_data(data)
        with pytest.raises(DataError, match=r"table:1:y: the label is missing, as in 30 of 60 r"):
            read_data(pd.DataFrame({"x": place, "y": labels}), target="y")


@pytest.mark.parametrize("others", [("0", "1"), ("true", "false"), ("3", "12")])
def test_a_missing_label_among_numbers(tmp_path, others):
    frame = table("NA").assign(label=np.array(["NA", *others])[np.arange(ROWS) % 3])
    for how in ("frame", "parquet", "quoted"):
        with pytest.raises(DataError, match=r":label: the label is missing, as in 20 of 60 rows; "):
            read_data(written(frame, how, tmp_path), target="label")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    frame = pd.concat([table("None")] * 3, ignore_index=True)
    result = cotune.run(frame, target="label", out=out, n_trials=2, workers="in-process")
    return out, result.test_accuracy


@pytest.mark.parametrize("how", ["frame", "parquet", "quoted", "unquoted"])
def test_a_run_evaluates_and_predicts_it_in_each_format(run, tmp_path, how):
    """A class that is known is meant without quotes too."""
    path, accuracy = run
    assert accuracy > 0.8
    data = written(table("None"), how, tmp_path)
    result = cotune.evaluate(path, data, target="label")
    assert result.rows == ROWS
    expected = cotune.evaluate(path, table("None"), target="label")
    assert result.accuracy == expected.accuracy > 0.8
    sealed = [
        read_data(table("None"), target="label", test=test).read_test()[0]
        for test in (data, table("None"))
    ]
    assert np.array_equal(sealed[0], sealed[1])
    if how != "frame":
        output = (
            CliRunner()
            .invoke(command, ["evaluate", str(path), str(data), "--target", "label", "--json"])
            .output
        )
        assert json.loads(output)["accuracy"] == expected.accuracy
