"""Words for a missing value, which are values where a format has nulls of its own.

An unquoted ``NA`` of a CSV file is a missing cell, and its reader makes it one. In quotes, in
Parquet and in a DataFrame it is a text like any other, a category or class, unless the column is
one of numbers otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cotune.data.dataset import Column
from cotune.data.tables.raw_table import RawTable, is_text
from cotune.text import listed, shorten

if TYPE_CHECKING:
    import pyarrow as pa

MISSING_WORDS: Final = (
    *("NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "Null", "null", "None", "?"),
)
"""Words that mean a missing cell of a text file, beside an empty one."""


def drop_words(raw: RawTable, kept: Mapping[str, Collection[str]]) -> RawTable:
    """Make words for a missing value null.

    Args:
        kept: For each column to be looked at the words that are values in it.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    columns = dict(raw.columns)
    for name, values in kept.items():
        words = [word for word in _words_in(columns[name]) if word.strip() not in values]
        if words:
            texts = columns[name].cast(pa.large_string())
            is_word = pc.is_in(texts, value_set=pa.array(words, pa.large_string()))
            columns[name] = pc.if_else(is_word, pa.scalar(None, pa.large_string()), texts)
    return replace(raw, columns=columns)


def drop_words_by_kind(
    raw: RawTable, names: Iterable[str], kind_of: Callable[[RawTable, str], str]
) -> tuple[RawTable, list[str]]:
    """Make words for a missing value null but in columns that are categories without them too.

    Args:
        names: The columns.
        kind_of: The kind that a column is inferred to be, empty where it is left out.

    Returns:
        The table, and remarks on words that are categories.
    """
    words = {name: found for name in names if (found := _words_in(raw.columns[name]))}
    bare = drop_words(raw, dict.fromkeys(words, ()))
    kept = {name: MISSING_WORDS for name in words if kind_of(bare, name) == "category"}
    dropped = {name: kept.get(name, ()) for name in words}
    remarks = [
        f"{shorten(name)!r}: {listed(sorted({word.strip() for word in words[name]}))} read as a "
        "category, not as missing"
        for name in kept
    ]
    return drop_words(raw, dropped), remarks


def known_words(columns: Iterable[Column], classes: Iterable[str]) -> frozenset[str]:
    """Return the words for a missing value that are a category or class."""
    known = {text for column in columns for text in column.categories} | set(classes)
    return frozenset(known & set(MISSING_WORDS))


def _words_in(column: pa.ChunkedArray) -> list[str]:
    """Return the words for a missing value in a column of texts, as they are written there."""
    import pyarrow as pa
    from pyarrow import compute as pc

    is_encoded = pa.types.is_dictionary(column.type)
    if not is_text(column.type.value_type if is_encoded else column.type):
        return []
    distinct = column.unify_dictionaries().unique() if is_encoded else column.unique()
    texts = distinct.cast(pa.large_string())
    words = pa.array(MISSING_WORDS, pa.large_string())
    found = texts.filter(pc.is_in(pc.utf8_trim_whitespace(texts), value_set=words))
    return [str(word) for word in found.to_pylist()]
