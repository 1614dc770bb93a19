"""What a column is read as: numbers as people write them, dates, counters, and doubt."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cotune
from cotune.data import Dataset
from cotune.data.dataset import Reading
from cotune.data.reading import read_data
from cotune.data.tables.tables import read_cells
from cotune.exceptions import DataError, UsageError

ROWS = 60
INCOME = [(i * i * 37 % 701 + 200) * 100 for i in range(ROWS)]
DAYS = [date(2020, 1, 1) + timedelta(days=11 * i) for i in range(ROWS)]


def table(path: Path, **columns: Sequence[object]) -> Path:
    """Writes a CSV file of these columns, another of numbers, and labels."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "other", "label"])
        for i, cells in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([*cells, i * 37 % 50 / 8, "ab"[i % 2]])
    return path


def cells_of(data: Dataset, name: str) -> list[float]:
    """A column's cells in the order of the file."""
    place = [column.name for column in data.columns].index(name)
    assert data.rows is not None
    assert data.test_rows is not None
    cells = np.concatenate((data.inputs[:, place], data.read_test()[0][:, place]))
    return list(cells[np.argsort(np.concatenate((data.rows, data.test_rows)))])


def told(data: Dataset, name: str) -> str:
    return " ".join(remark for remark in data.remarks if f"'{name}'" in remark)


@pytest.mark.parametrize(
    ("write", "doubtful"),
    [
        (lambda v: f"{v:,}", True),
        (lambda v: f"{v:,}.50", False),
        (lambda v: f"${v:,}", True),
        (lambda v: f"${v}", False),
        (lambda v: f"{v} EUR", False),
        (lambda v: f"{v // 1000}.{v % 1000:03} €", True),
        (lambda v: f"{v // 1000}.{v % 1000:03},50", False),
        (lambda v: f"{v // 1000} {v % 1000:03}", False),
        (lambda v: f"{v // 1000}\u00a0{v % 1000:03}", False),
        (lambda v: f"{v // 1000}\u202f{v % 1000:03}", False),
        (lambda v: f"{v // 1000}'{v % 1000:03}", False),
        (lambda v: f"{v:_}", False),
        (lambda v: f"{v / 1000:.1f}%", False),
        (lambda v: f"{v / 1000:.1f} %", False),
        (lambda v: f"{v / 1000:.1f}".replace(".", ","), False),
        (lambda v: f"{v / 1000:.1f}k", False),
        (lambda v: f"{v // 1000}K", False),
        (lambda v: f"${v / 1e6:.4f}M", False),
        (lambda v: f"({v})", False),
        (lambda v: f"−{v}", False),
        (lambda v: f"-${v:,}.00", False),
        (lambda v: f"{v / 1000:.1f} kg", True),
        (lambda v: f"{v / 1000:.1f}°C", True),
        (lambda v: f"USD {v:,}.00", False),
        (lambda v: f"R$ {v // 1000}.{v % 1000:03},00", False),
    ],
    ids=lambda value: value(20_100) if callable(value) else "",
)
def test_numbers(tmp_path: Path, write: Callable[[int], str], doubtful: bool):
    """Numbers in any decoration are numbers in the same order, and most are beyond doubt."""
    data = read_data(str(table(tmp_path / "t.csv", income=[write(v) for v in INCOME])))
    cells = cells_of(data, "income")
    assert len(set(cells)) > 10
    correlation = np.corrcoef(cells, INCOME)[0, 1]
    assert abs(correlation) > 0.999
    assert (correlation < 0) == (write(5).startswith(("(", "−", "-")))
    assert bool(told(data, "income")) == doubtful


def test_a_mark_is_told_by_all_cells(tmp_path: Path):
    some = ["20,100", "1,234,567", "12.5"]
    data = read_data(str(table(tmp_path / "t.csv", v=[some[i % 3] for i in range(30)])))
    assert cells_of(data, "v")[:3] == [20_100.0, 1_234_567.0, 12.5]
    some = ["20,100", "1.234.567", "12,5"]
    data = read_data(str(table(tmp_path / "t.csv", v=[some[i % 3] for i in range(30)])))
    assert cells_of(data, "v")[:3] == [20.1, 1_234_567.0, 12.5]


@pytest.mark.parametrize(
    ("cells", "remark"),
    [
        ([f"{v // 100}-{v // 100 + 5}k" for v in INCOME], "look like numbers"),
        ([f"<{v}" for v in INCOME], "look like numbers"),
        ([f"{v} kg" if v % 200 else f"{v} lb" for v in INCOME], "several units ('kg', 'lb')"),
        ([f"{v // 10}A" if v % 200 else f"{v // 10}B" for v in INCOME], "look like numbers"),
    ],
)
def test_doubt_is_told(tmp_path: Path, cells: list[str], remark: str):
    cells = cells[:-2] + cells[:2]  # some repeat, so they are no ids
    data = read_data(str(table(tmp_path / "t.csv", v=cells)))
    assert data.columns[0].kind == "category"
    assert remark in told(data, "v")


def test_words_for_missing_numbers(tmp_path: Path):
    cells = [str(v) if i % 6 else "-" for i, v in enumerate(INCOME)]
    path = table(tmp_path / "t.csv", v=cells)
    data = read_data(str(path))
    assert np.isnan(cells_of(data, "v")).sum() == 10
    assert "10 cells '-' are read as missing" in told(data, "v")
    cells[7] = "a lot"
    with pytest.raises(DataError, match=r"t\.csv:9:v: 'a lot' is not a number"):
        read_data(str(table(tmp_path / "t.csv", v=cells)))


DATES = {
    "%Y-%m-%d": "",
    "%Y/%m/%d": "",
    "%Y-%m-%dT12:30:00Z": "",
    "%m/%d/%Y": "",
    "%d/%m/%Y": "",
    "%d.%m.%Y": "",
    "%d-%m-%Y": "",
    "%m/%d/%y": "",
    "%d %b %Y": "",
    "%B %d, %Y": "",
    "%d-%b-%y": "",
    "%m/%d/%Y 03:15 PM": "",
}


@pytest.mark.parametrize("form", DATES)
def test_dates(tmp_path: Path, form: str):
    path = table(tmp_path / "t.csv", when=[day.strftime(form) for day in DAYS])
    data = read_data(str(path))
    days = np.array(cells_of(data, "when")) // 86_400
    assert days.tolist() == [(day - date(1970, 1, 1)).days for day in DAYS]
    assert told(data, "when") == ""


def test_new_cells_are_read_by_the_order_of_the_training_data(tmp_path: Path):
    data = read_data(str(table(tmp_path / "t.csv", when=[f"{d:%d/%m/%Y}" for d in DAYS])))
    new = table(tmp_path / "new.csv", when=["01/02/2021", "03/04/2021"])
    cells, _ = read_cells(new, data.columns)
    found = [date(1970, 1, 1) + timedelta(days=int(cell // 86_400)) for cell in cells[:, 0]]
    assert found == [date(2021, 2, 1), date(2021, 4, 3)]


def test_ambiguous_dates_are_refused(tmp_path: Path):
    path = table(tmp_path / "t.csv", when=[f"0{i % 9 + 1}/0{i % 7 + 1}/2024" for i in range(ROWS)])
    with pytest.raises(DataError, match=r"day or the month.*--column when=day-first or when=month"):
        read_data(str(path))
    for order in ("day-first", "month-first"):
        data = read_data(str(path), reading=Reading({"when": order}))
        month, day = (1, 8) if order == "day-first" else (8, 1)
        seconds = (date(2024, month, day) - date(1970, 1, 1)).days * 86_400
        assert cells_of(data, "when")[7] == seconds  # 08/01/2024


def test_times(tmp_path: Path):
    path = table(tmp_path / "t.csv", at=[f"{i % 24:02}:{i % 60:02}" for i in range(ROWS)])
    assert cells_of(read_data(str(path)), "at")[5] == 5 * 3600 + 5 * 60


ORDER = np.random.default_rng(0).permutation(ROWS)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("Unnamed: 0", range(ROWS)),
        ("Id", range(1, ROWS + 1)),
        ("nr", range(ROWS)),
        ("whatever", range(ROWS)),
        ("PassengerId", ORDER + 1),
        ("customer_id", ORDER * 917 + 5),
        ("backwards", range(ROWS - 1, -1, -1)),
        ("index", [i * 1.0 for i in range(ROWS)]),
        ("row", range(1000, 1000 + ROWS)),
    ],
)
@pytest.mark.parametrize("how", ["csv", "frame"])
def test_counters_are_left_out(tmp_path: Path, name: str, cells: Sequence[int], how: str):
    path = table(tmp_path / "t.csv", **{name: list(cells)})
    source = str(path) if how == "csv" else pd.read_csv(path)
    data = read_data(source, target="label")
    assert [column.name for column in data.columns] == ["other"]
    assert f"'{name}' is left out" in told(data, name)
    assert "=number keeps it" in told(data, name)
    data = read_data(source, target="label", reading=Reading({name: "number"}))
    assert [column.name for column in data.columns] == [name, "other"]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("income", ORDER * 917 + 5),
        ("seconds", np.cumsum(ORDER)),
        ("age", ORDER % 40),
        ("celsius", [i / 2 for i in range(ROWS)]),
    ],
)
def test_what_counts_nothing_is_kept(tmp_path: Path, name: str, cells: Sequence[float]):
    data = read_data(str(table(tmp_path / "t.csv", **{name: list(cells)})))
    assert name in [column.name for column in data.columns]
    assert told(data, name) == ""


def test_what_may_count_is_told(tmp_path: Path):
    data = read_data(str(table(tmp_path / "t.csv", year=range(1950, 1950 + ROWS))))
    assert "it rises by 1 from row to row" in told(data, "year")
    data = read_data(str(table(tmp_path / "t.csv", user_id=list(ORDER % 9))))
    assert "is called as an id is, and repeats" in told(data, "user_id")
    assert [column.name for column in data.columns] == ["user_id", "other"]


def test_a_sorted_file_of_noise_scores_as_noise(tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(150, 3)).round(2), columns=list("abc"))
    noise["species"] = np.repeat(["x", "y", "z"], 50)
    noise.to_csv(tmp_path / "noise.csv")
    pd.read_csv(tmp_path / "noise.csv").to_csv(tmp_path / "twice.csv", index=False)
    result = cotune.run(
        str(tmp_path / "twice.csv"),
        n_trials=2,
        timeout="8s",
        workers="in-process",
        out=tmp_path / "run",
    )
    assert result.test_accuracy is not None
    assert result.test_accuracy < 0.65
    predicted = cotune.predict(result.path, str(tmp_path / "noise.csv"))  # without the counter
    assert len(predicted) == 150


def test_the_dry_run_says_what_and_why(dry_run, tmp_path: Path):
    table(
        tmp_path / "t.csv",
        Id=range(ROWS),
        income=[f"${v:,}.00" for v in INCOME],
        when=[f"{day:%d/%m/%Y}" for day in DAYS],
        zip=[10_000 + i % 5 for i in range(ROWS)],
    )
    text = dry_run("t.csv", "--column", "zip=category")
    assert "Id left out: it counts the rows, from 0 to 59" in text
    assert "income number, written as '$20,000.00'" in text
    assert "when number, date as" in text
    assert "zip category 5: 10000, 10001, 10002" in text
    assert "other number" in text


def test_the_owner_decides(dry_run, tmp_path: Path):
    few = [f"{INCOME[i % 10]:,}" for i in range(ROWS)]
    table(tmp_path / "t.csv", name=[f"n{i // 2}" for i in range(ROWS)], v=few)
    assert "v category" in dry_run("t.csv", "--column", "v=category")
    assert "v left out: as was asked for" in dry_run("t.csv", "--column", "v=skip")
    assert "name category 30: n0, n1" in dry_run("t.csv", "--column", "name=category")
    with pytest.raises(UsageError, match="has no column 'nam'; did you mean 'name'"):
        dry_run("t.csv", "--column", "nam=skip")
    with pytest.raises(UsageError, match="column 'v': 'nombre' is unknown"):
        dry_run("t.csv", "--column", "v=nombre")
    with pytest.raises(UsageError, match="holds the labels"):
        dry_run("t.csv", "--column", "label=category")
    with pytest.raises(UsageError, match="column: the data are no table"):
        dry_run("digits", "--column", "v=skip")
    with pytest.raises(DataError, match=r"t\.csv:2:name: 'n0' is not a number"):
        dry_run("t.csv", "--column", "name=number")
    with pytest.raises(DataError, match=r"t\.csv:2:name: 'n0' is not a date"):
        dry_run("t.csv", "--column", "name=date")


def test_resume_reads_the_columns_again_as_they_were(tmp_path: Path):
    path = table(tmp_path / "t.csv", Id=range(ROWS))
    result = cotune.run(
        str(path),
        columns={"Id": "number"},
        n_trials=1,
        workers="in-process",
        out=tmp_path / "run",
        fixed={"epochs": 2},
    )
    assert [column.name for column in result.model.preprocessing.columns] == ["Id", "other"]
    cotune.resume(result.path, more=1)
    assert cotune.open_run(result.path).summary.trials.complete >= 1
