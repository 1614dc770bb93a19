"""CSV, TSV and Parquet files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cotune.data.readers.csv_file import read_csv
from cotune.data.readers.files import open_regular
from cotune.data.readers.frames import check_schema, from_arrow
from cotune.data.readers.reader import TableReader
from cotune.data.tables.raw_table import MAX_BYTES, RawTable, Texts, is_text
from cotune.exceptions import DataError
from cotune.text import one_line, shorten

_BATCH = 2**14  # rows of a Parquet file unpacked at a time


class TableFile(TableReader):
    """A CSV, TSV or Parquet file; its contents tell which."""

    suffixes = (".csv", ".tsv", ".tab", ".txt", ".dat", ".parquet", ".pq")

    def read(self, path: Path, texts: Texts, words: Collection[str]) -> RawTable:
        return _read_parquet(path) if is_parquet(path) else read_csv(path, texts, words)


def is_parquet(path: Path) -> bool:
    """Tell whether a file begins as Parquet files do.

    Raises:
        DataError: It cannot be read.
    """
    with open_regular(path, "a table") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    from pyarrow import parquet

    broken = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError)
    try:
        with parquet.ParquetFile(path) as file:
            schema, size = file.schema_arrow, file.metadata
            check_schema(schema, str(path))
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
    return from_arrow(table, schema, str(path))


def _check_size(path: Path, needed: int) -> None:
    if not 0 <= needed <= MAX_BYTES:
        raise DataError(
            f"{path}: {needed:,} bytes once unpacked are more than a table in memory may have "
            f"({MAX_BYTES:,}); leave out rows or columns"
        )


def _broken_column(path: Path, broken: tuple[type[Exception], ...]) -> str:
    """Return the first column that cannot be read, for a message; "" where all can."""
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
