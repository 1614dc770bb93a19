"""How text files are written: delimiters, titles, encodings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cotune.cli.main import cotune as command
from cotune.data.reading import read_data
from cotune.exceptions import DataError

HEADER = ["x", "n", "label"]
RANDOM = np.random.default_rng(0)
ROWS = [
    [f"{RANDOM.normal():.2f}", str(RANDOM.integers(10)), ("yes", "no")[row % 2]]
    for row in range(30)
]
PLAIN = [HEADER, *ROWS]


def text(delimiter: str, rows: list[list[str]] = PLAIN) -> str:
    return "".join(delimiter.join(cells) + "\n" for cells in rows)


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def fault(path: Path) -> str:
    """What the command line says of a file that is refused."""
    outcome = CliRunner().invoke(command, ["run", str(path), "--dry-run"])
    assert isinstance(outcome.exception, DataError)
    return str(outcome.exception).removeprefix(str(path))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return read_data(write(tmp_path_factory.mktemp("plain") / "t.csv", text(",")))


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.dat", "t.tab"])
def test_delimiters(tmp_path, expected, delimiter, name):
    dataset = read_data(write(tmp_path / name, text(delimiter)))
    assert [column.name for column in dataset.columns] == ["x", "n"]
    assert np.array_equal(dataset.inputs, expected.inputs)


@pytest.mark.parametrize("mark", ["sep=;", "sep=^", '"sep=:"', "SEP=|", "sep=\t", "sep=,,,"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_the_line_of_excel(tmp_path, expected, mark, start):
    delimiter = mark.strip('"')[4]
    path = write(tmp_path / "t.csv", f"{start}{mark}\n" + text(delimiter))
    assert np.array_equal(read_data(path).inputs, expected.inputs)
    with path.open("a") as file:
        file.write(delimiter.join("0ab") + delimiter + "\n")
    assert fault(path) == (
        f":{len(start.strip(chr(0xFEFF))) + 33}: 4 cells where the header has 3; fix the row, or "
        "put quotes around a cell with the delimiter in it"
    )


@pytest.mark.parametrize(
    ("header", "change"),
    [
        ("x;n;label", lambda cells: [cells[0].replace(".", ","), cells[1] + ",5", cells[2]]),
        ('"x, of a,b,c";n;label', lambda cells: cells),
        ("x, cm;n, cm;label", lambda cells: [cells[0], cells[1], f'"a,b,c,{cells[2]}"']),
        ("x;n; label", lambda cells: [cells[0], cells[1], f'"a\n,b,\n{cells[2]}"']),
    ],
)
def test_the_count_decides_over_all_lines(tmp_path, header, change):
    path = write(tmp_path / "t.csv", header + "\n" + text(";", [change(cells) for cells in ROWS]))
    dataset = read_data(path)
    assert [column.kind for column in dataset.columns] == ["number", "number"]
    assert len(dataset.classes) == 2


def test_commas_and_texts_of_other_marks(tmp_path):
    """In each row are as many semicolons and bars as commas, or more."""
    rows = [[*cells[:2], f"a|b|c;d;{cells[2]}"] for cells in ROWS]
    dataset = read_data(write(tmp_path / "t.csv", text(",", [HEADER, *rows])))
    assert [column.name for column in dataset.columns] == ["x", "n"]
    assert dataset.classes == ("a|b|c;d;no", "a|b|c;d;yes")


def test_a_delimiter_at_the_end_of_each_line(tmp_path, expected):
    path = write(tmp_path / "t.csv", text(";", [[*cells, ""] for cells in PLAIN]))
    dataset = read_data(path)
    assert "column 4 has no name: left out" in dataset.remarks
    assert np.array_equal(dataset.inputs, expected.inputs)


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize(
    ("above", "message"),
    [
        ("My report\n", ":1: looks like a title above the header; delete the line"),
        ("\nMy report\n\n", ":2: looks like a title above the header; delete the line"),
        (
            "Report\nof 2024\n\n",
            ":1: looks like a title above the header; delete the lines to 2",
        ),
        ("My report%%\n", ":1: looks like a title above the header; delete the line"),
        ("My report%%\n%%\n", ":1: looks like a title above the header; delete the line"),
        ("Report%of 2024\n", ":1: looks like a title above the header; delete the line"),
        ("# made by x\n", ":1: looks like a comment above the header; delete the line"),
        ("# by x%y\n# z\n", ":1: looks like a comment above the header; delete the lines to 2"),
    ],
)
def test_what_is_above_the_header(tmp_path, delimiter, above, message):
    path = write(tmp_path / "t.csv", above.replace("%", delimiter) + text(delimiter))
    assert fault(path) == message


def test_a_header_with_a_name_too_few_is_no_title(tmp_path):
    path = write(tmp_path / "t.csv", text(",", [HEADER[1:], *ROWS]))
    assert fault(path).startswith(":2: 3 cells where the header has 2; fix the row")


def test_a_comment_and_a_footer_among_the_rows(tmp_path):
    path = write(tmp_path / "t.csv", text(",") + "# done\n")
    assert fault(path) == ":32: looks like a comment; delete the line"
    path = write(tmp_path / "t.csv", text(",") + "Total,,\n")
    assert fault(path).startswith(":32:label: the label is missing")


@pytest.mark.parametrize(
    ("delimiter", "shown"),
    [(":", "':'"), ("^", "'^'"), ("~", "'~'"), (" ", "blanks"), ("   ", "blanks"), ("::", "':'")],
)
@pytest.mark.parametrize("comma", [False, True])
def test_other_delimiters_are_named(tmp_path, delimiter, shown, comma):
    content = text(delimiter)
    path = write(tmp_path / "t.csv", content.replace(".", ",") if comma else content)
    assert fault(path) == (
        f":1: cells seem to be divided by {shown}; save the table with commas, semicolons, tabs or "
        "| between cells"
    )


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", ": is text in UTF-16, no text in UTF-8; save the table as CSV in UTF-8"),
        (
            "utf-16-le",
            ": byte 1 (counted from 0) is NUL (the text seems to be in UTF-16); save",
        ),
        (
            "cp1252",
            ": byte 0 (counted from 0) is 0xfc, which is no UTF-8 (the text seems to be in",
        ),
    ],
)
def test_encodings_are_named(tmp_path, encoding, message):
    name = "über" if encoding == "cp1252" else "x"
    path = write(tmp_path / "t.csv", text(",").replace("x", name), encoding)
    assert fault(path).startswith(message)


def test_a_workbook_called_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    assert fault(path).startswith(": is an Excel workbook or an archive, no text in UTF-8; save")


@pytest.mark.parametrize("content", ['"', '""', " ,\n1,2\n"])
def test_a_file_without_names(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"t\.csv: "):
        read_data(str(path))
