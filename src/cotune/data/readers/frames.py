"""DataFrames and Arrow tables as the columns of a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cotune.data.readers.sparse import to_dense_frame
from cotune.data.tables.mixed_objects import to_table
from cotune.data.tables.raw_table import RawTable, is_text, place_columns
from cotune.exceptions import DataError
from cotune.text import one_line, shorten

if TYPE_CHECKING:
    import pyarrow as pa


def read_frame(source: Any, name: str) -> RawTable:
    """Read the columns of a DataFrame.

    Raises:
        DataError: It cannot be read, or has no rows or columns.
    """
    import pyarrow as pa

    table = to_table(to_dense_frame(source, name), name)
    try:
        table.validate(full=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{name}: cannot be read: {one_line(error)}; fix the table") from error
    raw = from_arrow(table, table.schema, name)
    if not raw.columns or table.num_rows == 0:
        raise DataError(f"{name}: no rows or no columns; give a table with both")
    return raw


def from_arrow(table: pa.Table, schema: pa.Schema, where: str) -> RawTable:
    """Return the columns of an Arrow table.

    Args:
        schema: The table's, as it was written.
        where: What messages begin with.

    Raises:
        DataError: See :func:`check_schema`.
    """
    import pyarrow as pa

    names, positions, remarks = check_schema(schema, where)
    return RawTable(
        where=where,
        columns={name: table.column(i) for name, i in zip(names, positions, strict=True)},
        categories=frozenset(
            field.name.strip() for field in schema if pa.types.is_dictionary(field.type)
        ),
        line_of=lambda row: row,
        remarks=remarks,
    )


def check_schema(schema: pa.Schema, where: str) -> tuple[list[str], list[int], tuple[str, ...]]:
    """Return the columns' names and places, and what is left out.

    Raises:
        DataError: A name is there twice, or a column is no number, text, boolean or date.
    """
    import pyarrow as pa

    placed = place_columns(schema.names, where, _index_of(schema))
    for field in schema:
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (
            is_text(kind)
            or pa.types.is_null(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind))
        ):
            raise DataError(
                f"{where}: column {shorten(field.name)!r} is of type {shorten(str(field.type))}; "
                "numbers, booleans, texts and dates can be used: convert it or leave it out"
            )

    return placed


def _index_of(schema: pa.Schema) -> set[str]:
    """Return the columns that are a DataFrame's index, as pandas notes them in the schema."""
    try:
        noted = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return {name for name in noted if isinstance(name, str)}
    except (KeyError, TypeError, ValueError, RecursionError):
        return set()
