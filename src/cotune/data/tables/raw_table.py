"""Columns of a table as they were read, not understood yet, and how messages show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cotune.exceptions import DataError
from cotune.text import shorten

if TYPE_CHECKING:
    import pyarrow as pa

MAX_BYTES: Final = 4 * 2**30
"""The most that a table may take: its file, and its cells at 8 bytes each."""

NO_ROWS: Final = "has a header but no rows; give a file with rows"

Texts = Collection[str] | Callable[[Sequence[str], str], Collection[str]]
"""Columns to be read as texts, or what finds them, given all names and where they are."""

_INDEX: Final = re.compile(r"__index_level_\d+__")  # what pandas calls an index without a name


@dataclass(frozen=True)
class RawTable:
    """Columns as they were read.

    Attributes:
        where: What messages begin with: the file's path, or a name.
        columns: Arrow columns by name, in their order; texts may be dictionary-encoded.
        categories: Columns whose type says that they are categories, whatever they hold.
        line_of: A row, from 0, as messages count it: its line in a text file.
        decimal_comma: Numbers may be written 1,5.
        remarks: What was left out, for people.
        written: What stands in a cell of a text file, given its row, from 0, and its column, even
            where that means a missing one; elsewhere nothing.
    """

    where: str
    columns: dict[str, pa.ChunkedArray]
    categories: frozenset[str]
    line_of: Callable[[int], int]
    decimal_comma: bool = False
    remarks: tuple[str, ...] = ()
    written: Callable[[int, str], str] = lambda row, column: ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def error(self, row: int, column: str, problem: str) -> DataError:
        """Return the error of a cell, ``WHERE:ROW:COLUMN: problem``."""
        return DataError(f"{self.where}:{self.line_of(row)}:{shorten(column)}: {problem}")


def is_text(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is one of texts."""
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def place_columns(
    given: list[str], where: str, index: Collection[str] = ()
) -> tuple[list[str], list[int], tuple[str, ...]]:
    """Return the columns' names and places, and what was left out.

    Raises:
        DataError: A name is there twice.
    """
    names: dict[str, int] = {}
    remarks = []
    for place, written in enumerate(given):
        name = written.strip()
        if name == "" or written in index or _INDEX.fullmatch(name):
            what = f"{shorten(name)!r} is an index" if name else f"column {place + 1} has no name"
            remarks.append(f"{what}: left out")
        elif name in names:
            raise DataError(
                f"{where}: columns {names[name] + 1} and {place + 1} are both called "
                f"{shorten(name)!r}; give each its own name"
            )
        else:
            names[name] = place
    return list(names), list(names.values()), tuple(remarks)
