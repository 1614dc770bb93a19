"""Reading the columns of a CSV, TSV or Parquet file or of a DataFrame, as they are."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotune.data.readers.csv_file import read_csv
from cotune.data.readers.files import open_regular
from cotune.data.readers.sparse import to_dense_frame
from cotune.data.tables.mixed_objects import to_table
from cotune.data.tables.raw_table import MAX_BYTES, NO_ROWS, RawTable, Texts, is_text, place_columns
from cotune.exceptions import DataError
from cotune.text import one_line, shorten

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 2**14  # rows of a Parquet file unpacked at a time


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet files do.

    Raises:
        DataError: It cannot be read.
    """
    with open_regular(path, "a table") as file:
        return file.read(4) == b"PAR1"


def read_raw(source: Any, name: str, texts: Texts = (), words: Collection[str] = ()) -> RawTable:
    """The columns of a file or DataFrame.

    Args:
        source: The path of a CSV, TSV or Parquet file, or anything that gives out its columns by
            the Arrow C stream protocol, as the DataFrames of pandas and polars do.
        name: What messages about a DataFrame begin with.
        texts: Columns of a text file that are texts, even where they look like numbers.
        words: Words for a missing value that are known to be values there; see
            :func:`~cotune.data.readers.csv_file.read_csv`.

    Raises:
        DataError: It cannot be read, or has no rows or columns.
    """
    if hasattr(source, "__arrow_c_stream__"):
        return _read_frame(source, name)
    path = Path(source)
    raw = _read_parquet(path) if is_parquet(path) else read_csv(path, texts, words)
    if not raw.columns:
        raise DataError(f"{path}: has no columns; give a table with named columns")
    if len(raw) == 0:
        raise DataError(f"{path}: {NO_ROWS}")
    return raw


# Parquet


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    from pyarrow import parquet

    broken = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError)
    try:
        with parquet.ParquetFile(path) as file:
            schema, size = file.schema_arrow, file.metadata
            names, positions, remarks = place_columns(schema.names, str(path), _index_of(schema))
            _check_types(str(path), schema)
            # not its columns: pyarrow 26 aborts the process where their description is damaged
            stored = sum(
                size.row_group(group).total_byte_size for group in range(size.num_row_groups)
            )
            _check_size(path, max(stored, size.num_rows * len(schema.names) * 8))
        texts = [field.name for field in schema if is_text(field.type)]
        # a text that is stored once and referred to a million times stays so
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            batches: list[pa.RecordBatch] = []
            read = 0
            for batch in file.iter_batches(_BATCH):
                read += batch.nbytes
                _check_size(path, read)  # what the file says of itself may be wrong
                batches.append(batch)
            table = pa.Table.from_batches(batches, None if batches else file.schema_arrow)
        table.validate(full=True)
    except DataError:
        raise
    except broken as error:
        column = _broken_column(path, broken)
        raise DataError(
            f"{path}: {column}is corrupt: {one_line(error)}; write the file again"
        ) from error
    return RawTable(
        where=str(path),
        columns={name: table.column(i) for name, i in zip(names, positions, strict=True)},
        categories=_categories(schema),
        line_of=lambda row: row,
        remarks=remarks,
    )


def _check_size(path: Path, needed: int) -> None:
    if not 0 <= needed <= MAX_BYTES:
        raise DataError(
            f"{path}: {needed:,} bytes once unpacked are more than a table in memory may have "
            f"({MAX_BYTES:,}); leave out rows or columns"
        )


def _broken_column(path: Path, broken: tuple[type[Exception], ...]) -> str:
    """The first column that cannot be read, for a message; empty where it is none alone."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for name in file.schema_arrow.names:
                try:
                    file.read(columns=[name])
                except broken:
                    return f"column {shorten(name)!r} "
    except broken:
        pass
    return ""


# DataFrames


def _read_frame(source: Any, name: str) -> RawTable:
    import pyarrow as pa

    table = to_table(to_dense_frame(source, name), name)
    try:
        table.validate(full=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{name}: cannot be read: {one_line(error)}; mend the table") from error
    names, positions, remarks = place_columns(table.schema.names, name, _index_of(table.schema))
    _check_types(name, table.schema)
    if not names or table.num_rows == 0:
        raise DataError(f"{name}: no rows or no columns; give a table with both")
    return RawTable(
        where=name,
        columns={column: table.column(i) for column, i in zip(names, positions, strict=True)},
        categories=_categories(table.schema),
        line_of=lambda row: row,
        remarks=remarks,
    )


def _index_of(schema: pa.Schema) -> set[str]:
    """The columns that are a DataFrame's index, as pandas notes them in the schema."""
    try:
        noted = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return {name for name in noted if isinstance(name, str)}
    except (KeyError, TypeError, ValueError, RecursionError):
        return set()


def _check_types(where: str, schema: pa.Schema) -> None:
    """Raise ``DataError`` for a column of a type that is no number, text, boolean or date."""
    import pyarrow as pa

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


def _categories(schema: pa.Schema) -> frozenset[str]:
    import pyarrow as pa

    return frozenset(field.name.strip() for field in schema if pa.types.is_dictionary(field.type))
