"""Reading the columns of a CSV or TSV file."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cotune.data.readers.csv_dialect import Dialect, beginning, find_dialect
from cotune.data.readers.files import open_regular
from cotune.data.tables.missing_words import MISSING_WORDS
from cotune.data.tables.raw_table import MAX_BYTES, NO_ROWS, RawTable, Texts, is_text, place_columns
from cotune.exceptions import DataError
from cotune.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_COLUMNS: Final = 100_000
_BLANKS: Final = ("", " ", "  ", "   ", "    ")  # around a word for a missing value
_BLOCK: Final = 2**24  # bytes parsed at a time; a row has to fit
_CHUNK: Final = 2**20
_NO_TEXT: Final = {
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
    b"PK\x03\x04": "an Excel workbook or an archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
}  # by first bytes
_GIVE_TEXT: Final = "save the table as CSV in UTF-8, or as Parquet"
_QUOTED_WORD: Final = re.compile(
    rb'"\s*(?:' + b"|".join(re.escape(word.encode()) for word in MISSING_WORDS) + rb')\s*"'
)
_NEEDLESS_QUOTES: Final = re.compile(
    rb'[,;\t|\r\n]"[^",;\t|\r\n]*[^\W\d][^",;\t|\r\n]*"(?=[,;\t|\r\n]|\Z)'
)  # around a text that would be the same without
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_csv(path: Path, texts: Texts, words: Collection[str] = ()) -> RawTable:
    """Read the columns of a file in UTF-8 with a header, cells between , ; tabs or |.

    A cell without quotes that holds nothing or one of :data:`MISSING_WORDS` is missing; in a column
    of texts such a word in quotes is a value.

    Args:
        texts: Columns that are texts, even where they look like numbers.
        words: Those of :data:`MISSING_WORDS` that are known to be values: so they are without
            quotes, unless the file has quotes around its texts.

    Raises:
        DataError: It is empty, too large, no text, has numbers for a header or a name in it twice,
            or rows with other than the header's number of cells; or of ``texts``.
    """
    content = _text_of(path)
    dialect = find_dialect(path, content)
    header = _header(path, content, dialect)
    names, positions, remarks = place_columns(header, str(path))
    if callable(texts):
        texts = texts(names, str(path))
    ends = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    cells = len(header) * ends
    if cells * 8 > MAX_BYTES:
        raise DataError(
            f"{path}: about {cells:,} cells are more than a table in memory may have "
            f"({MAX_BYTES // 8:,}); leave out rows or columns"
        )
    place_of = dict(zip(names, positions, strict=True))
    table = _parse(path, content, dialect, len(header), [place_of[n] for n in names if n in texts])
    columns = {name: table.column(place) for name, place in place_of.items()}
    if _NEEDLESS_QUOTES.search(content, dialect.start):
        words = ()
    as_texts = [name for name, column in columns.items() if is_text(column.type)]
    if as_texts and (words or _QUOTED_WORD.search(content)):
        places = [place_of[name] for name in as_texts]
        table = _parse(path, content, dialect, len(header), places, words)
        columns |= {name: table[f"f{place_of[name]}"] for name in as_texts}
    return RawTable(
        where=str(path),
        columns=columns,
        categories=frozenset(),
        line_of=lambda row: _row_of(content, dialect, row)[0],
        decimal_comma=dialect.delimiter == ";",
        remarks=remarks,
        written=lambda row, name: "".join(
            _row_of(content, dialect, row)[1][place_of[name] : place_of[name] + 1]
        ).strip(),
    )


def _parse(
    path: Path,
    content: bytes,
    dialect: Dialect,
    width: int,
    texts: Sequence[int],
    values: Collection[str] | None = None,
) -> pa.Table:
    """Read the cells below the header, as columns f0, f1 …

    Args:
        width: Cells of the header.
        texts: The places of columns that are texts.
        values: Where given, only the columns ``texts`` are read, and words for a missing value are
            values in quotes, and these ones without quotes too.

    Raises:
        DataError: A row has another number of cells, or is none.
    """
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    null = ["", *(word for word in MISSING_WORDS if word not in (values or ()))]
    options = pa_csv.ConvertOptions(
        check_utf8=False,  # _text_of did
        null_values=[left + word + right for word in null for left in _BLANKS for right in _BLANKS],
        strings_can_be_null=True,
        quoted_strings_can_be_null=values is None,
        column_types={f"f{place}": pa.string() for place in texts},
        include_columns=[] if values is None else [f"f{place}" for place in texts],
    )
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(content).slice(dialect.start)),
            pa_csv.ReadOptions(
                # for a single block they gain nothing, and may outlive an error
                use_threads=len(content) > _BLOCK,
                autogenerate_column_names=True,
                skip_rows_after_names=1,
                block_size=_BLOCK,
            ),
            pa_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
            options,
        )
    except pa.ArrowException as error:
        _check_rows(path, content, dialect, width)
        raise DataError(f"{path}: cannot be read: {one_line(error)}; fix the file") from error
    if content.count(b'"') % 2:
        _check_rows(path, content, dialect, width)
    if values is None and table.num_columns != width:
        raise DataError(f"{path}: the header cannot be understood; close its quotes")
    return table


def _text_of(path: Path) -> bytes:
    """Read the file's contents.

    Raises:
        DataError: It is empty, too large or no text in UTF-8.
    """
    with open_regular(path, "a CSV, TSV or Parquet file") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path}: its {size:,} bytes are more than a table in memory may have "
                f"({MAX_BYTES:,}); leave out rows or columns"
            )
        content = file.read(size)
    for mark, what in _NO_TEXT.items():
        if content.startswith(mark):
            raise DataError(f"{path}: is {what}, no text in UTF-8; {_GIVE_TEXT}")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _CHUNK):
        held = len(decoder.getstate()[0])  # bytes of a character that the last chunk cut
        try:
            decoder.decode(content[start : start + _CHUNK], start + _CHUNK >= len(content))
        except UnicodeDecodeError as error:
            offset = start - held + error.start
            raise DataError(
                f"{path}: byte {offset} (counted from 0) is {content[offset]:#04x}, which is no "
                f"UTF-8{_seems(content, offset)}; {_GIVE_TEXT}"
            ) from error
    if (offset := content.find(b"\0")) >= 0:
        raise DataError(
            f"{path}: byte {offset} (counted from 0) is NUL{_seems(content, offset)}; {_GIVE_TEXT}"
        )
    if re.compile(rb"\S").search(content, beginning(content)) is None:
        raise DataError(f"{path}: the file is empty; give a file with a header and rows")
    return content


def _seems(content: bytes, offset: int) -> str:
    """Name the encoding that a text seems to be in, for a message on a byte UTF-8 has not."""
    around = content[max(0, offset - 100) : offset + 100]
    if around.count(0) * 4 > len(around):
        return " (the text seems to be in UTF-16)"
    if 0 not in content:
        # there each byte above 0x7f is a letter or sign of its own
        return " (the text seems to be in Windows-1252 or Latin-1)"
    return ""


def _records(
    content: bytes, dialect: Dialect, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that rows begin at, from 1, and their cells, the header's first.

    Slow, and so only for the header and for errors. Blank lines are no rows, as for Arrow.
    """
    file = io.BytesIO(content)
    file.seek(dialect.start)
    text = io.TextIOWrapper(file, "utf-8", newline="")
    reader = csv.reader(text, delimiter=dialect.delimiter, strict=strict)
    line = dialect.line
    for cells in reader:
        if cells:
            yield line, cells
        line = dialect.line + reader.line_num


def _header(path: Path, content: bytes, dialect: Dialect) -> list[str]:
    try:
        line, header = next(_records(content, dialect), (dialect.line, []))
    except csv.Error as error:
        raise DataError(
            f"{path}:{dialect.line}: the header cannot be read: {error}; fix it"
        ) from error
    if len(header) > _MAX_COLUMNS:
        raise DataError(f"{path}: {len(header):,} columns; at most {_MAX_COLUMNS:,} can be used")
    if _is_data(header):
        raise DataError(
            f"{path}:{line}: has numbers where the names of the columns belong; add a header, as "
            "label,x1,x2 …"
        )
    return header


def _is_data(header: list[str]) -> bool:
    """Tell whether a first line is a row: numbers but for one cell, which may be the label.

    What a DataFrame without names is saved with, 0, 1, 2 …, is a header.
    """
    numbers = [cell for cell in header if _NUMBER.fullmatch(cell.strip())]
    if not numbers or len(numbers) < len(header) - 1:
        return False
    return numbers not in ([str(i + first) for i in range(len(numbers))] for first in (0, 1))


def _check_rows(path: Path, content: bytes, dialect: Dialect, expected: int) -> None:
    """Raise if a quote is never closed, a row has not as many cells as the header, or is none."""
    line = 0
    try:
        for began, _ in _records(content, dialect, strict=True):
            line = began
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise DataError(
                f"{path}: a quote in line {line + 1} or a later one is never closed; close it"
            ) from error
    count = 0
    with contextlib.suppress(csv.Error):  # a cell too long for Python's reader
        for line, cells in _records(content, dialect):
            count += 1
            if len(cells) < expected and cells[0].lstrip().startswith("#"):
                raise DataError(f"{path}:{line}: looks like a comment; delete the line")
            if len(cells) != expected:
                raise DataError(
                    f"{path}:{line}: {len(cells)} cells where the header has {expected}; "
                    "fix the row, or put quotes around a cell with the delimiter in it"
                )
        if count == 1:
            raise DataError(f"{path}: {NO_ROWS}")


def _row_of(content: bytes, dialect: Dialect, row: int) -> tuple[int, list[str]]:
    """Return the line that a row, from 0, begins at, and its cells."""
    try:
        return next(itertools.islice(_records(content, dialect), row + 1, None))
    except (csv.Error, StopIteration):  # a cell too long for Python's reader
        return dialect.line + 1 + row, []
