"""The delimiter of a text file, and the place of its header."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from cotune.exceptions import DataError

_DELIMITERS: Final = "\t|;,"  # the less likely one is in a number or text, the earlier
_FOREIGN: Final = {
    **{repr(mark): re.compile(re.escape(mark)) for mark in ":^~!#/\x01\x1f"},
    "blanks": re.compile(r"(?<=\S) +(?=\S)"),
}  # what divides cells elsewhere

_LINES: Final = 21  # that are looked at: a header and 20 rows
_LEAST: Final = 3  # lines it takes to say that a foreign mark divides cells
_BYTES: Final = 2**20
_QUOTED: Final = re.compile(r'(?<![^,;\t|\r\n])"(?:[^"]|"")*"')
_SEP: Final = re.compile(rb'"?sep=([^"\s\w]|\t)"?[,;\t|]*[ ]*(?:\r\n|\r|\n|$)', re.I | re.A)
_COMMENT: Final = re.compile(r"\s*(#|%|//|--)")
_NUMBER: Final = re.compile(r"\W*\d[\d.,:/ '-]*\W*", re.A)  # or a date, however written


@dataclass(frozen=True)
class Dialect:
    """Way in which a text file is written.

    Attributes:
        delimiter: The character between two cells.
        start: The byte at which the header begins, after blank lines.
        line: The line of that byte, from 1.
    """

    delimiter: str
    start: int
    line: int


def find_dialect(path: Path, content: bytes) -> Dialect:
    """Infer the dialect of a text file from its first lines.

    The delimiter is whichever of comma, semicolon, tab and ``|`` occurs equally often, outside of
    quotes, in the most lines. A first line ``sep=;``, as Excel writes it, decides instead.

    Args:
        path: Where the file is, for messages; without any delimiter ``.tsv`` and ``.tab`` mean tab.
        content: Text in UTF-8.

    Raises:
        DataError: The header is below a title or comment, or cells are divided by something else.
    """
    start = beginning(content)
    if named := _SEP.match(content, start):
        start = _skip_breaks(content, named.end())
        return Dialect(named[1].decode(), start, _line_at(content, start))
    first = _line_at(content, start)
    text = content[start : start + _BYTES].decode("utf-8", "ignore")
    lines = re.split(r"\r\n|\r|\n", _QUOTED.sub('""', text), maxsplit=_LINES)
    if len(lines) > 1 and (len(lines) > _LINES or start + _BYTES < len(content)):
        del lines[-1]  # all the rest, or cut
    # a quoted line break would count here; titles are above all quotes
    numbered = {first + place: line for place, line in enumerate(lines) if line.strip()}
    lines = list(numbered.values())
    usual = {mark: _usual_count([line.count(mark) for line in lines]) for mark in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda mark: usual[mark])
    if lines and not any(mark in lines[0] for mark in _DELIMITERS):
        _check_foreign(path, first, lines)
    if usual[delimiter] == (0, 0):
        delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    else:
        _check_title(path, numbered, delimiter, usual[delimiter][1])
    return Dialect(delimiter, start, first)


def beginning(content: bytes) -> int:
    """Return the byte after a byte order mark and blank lines, which Arrow would not skip."""
    marked = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    return _skip_breaks(content, marked)


def _skip_breaks(content: bytes, start: int) -> int:
    first = re.compile(rb"[^\r\n]").search(content, start)
    return first.start() if first else len(content)


def _line_at(content: bytes, start: int) -> int:
    above = content[:start]
    return above.count(b"\n") + above.count(b"\r") - above.count(b"\r\n") + 1


def _usual_count(counts: Sequence[int]) -> tuple[int, int]:
    """Return the lines with the commonest count above 0, and that count; (0, 0) for none."""
    lines_of = Counter(count for count in counts if count)
    return max(((lines, count) for count, lines in lines_of.items()), default=(0, 0))


def _check_foreign(path: Path, first: int, lines: Sequence[str]) -> None:
    """Raise ``DataError`` where a mark that is no delimiter is in every line equally often."""
    if len(lines) < _LEAST:
        return
    for name, mark in _FOREIGN.items():
        counts = {len(mark.findall(line.strip())) for line in lines}
        if len(counts) == 1 and counts != {0} and any(map(_is_number, mark.split(lines[1]))):
            raise DataError(
                f"{path}:{first}: cells seem to be divided by {name}; save the table with commas, "
                "semicolons, tabs or | between cells"
            )


def _check_title(path: Path, numbered: dict[int, str], delimiter: str, usual: int) -> None:
    """Raise ``DataError`` where the first lines are none of the table.

    Args:
        numbered: The first lines that are not blank, by their numbers.
        usual: Delimiters in most of them.
    """
    rows = [(line, text.split(delimiter)) for line, text in numbered.items()]
    above = list(takewhile(lambda row: len(row[1]) != usual + 1 or _is_padded(row[1]), rows))
    below = [cells for _, cells in rows[len(above) :]]
    if not above or not below:
        return
    what = "a title"
    if all(_COMMENT.match(cells[0]) for _, cells in above):
        what = "a comment"
    elif all(len(cells) == 1 for _, cells in above):
        if len(below) == 1:
            return
    elif (
        any(len(cells) > usual + 1 for _, cells in above)
        or any(map(_is_number, below[0]))
        or not any(_is_number(cell) for cells in below for cell in cells)
    ):
        return  # a header with too few names
    fix = "delete the line" if len(above) == 1 else f"delete the lines to {above[-1][0]}"
    raise DataError(f"{path}:{above[0][0]}: looks like {what} above the header; {fix}")


def _is_padded(cells: Sequence[str]) -> bool:
    """Return True for a single text and delimiters after it, as spreadsheets save a title."""
    return len(cells) > 1 and cells[0].strip() != "" and not any(cell.strip() for cell in cells[1:])


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None
