"""Parquet files, healthy and damaged."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cotune.data.readers import table_file
from cotune.data.tables.tables import read_table
from tests.support.tables import read_error, values_of


class TestParquet:
    @pytest.mark.parametrize(
        ("column", "shown"),
        [
            (pa.array([[1], [2]] * 4), "list<element: int64>"),
            (pa.array([{"a": 1}] * 8), "struct<a: int64>"),
            (pa.array([b"x"] * 8), "binary"),
            (pa.array([[("k", 1)]] * 8, pa.map_(pa.string(), pa.int64())), "map<string, int64"),
        ],
        ids=["list", "struct", "binary", "map"],
    )
    def test_other_types_are_named(self, tmp_path, column, shown):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"odd": column, "label": [0, 1] * 4}), path)
        message = read_error(path)
        assert message.startswith(f"t.parquet: column 'odd' is of type {shown}")
        assert message.endswith(
            "numbers, booleans, texts and dates can be used: convert it or leave it out"
        )

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([1, None] * 4, pa.int8()),
            pa.array([1.5, None] * 4, pa.float16()),
            pa.array([1, None] * 4, pa.decimal128(5, 2)),
            pa.array([2**64 - 1, None] * 4, pa.uint64()),
            pa.array([1, None] * 4, pa.time32("s")),
            pa.array([1, None] * 4, pa.timestamp("ns", "Europe/Berlin")),
            pa.array([1, None] * 4, pa.duration("ms")),
            pa.array([1, None] * 4, pa.date32()),
            pa.array(["1", None] * 4, pa.large_string()),
            pa.array(["1", "NA"] * 4, pa.string_view()),
        ],
        ids=lambda column: str(column.type),
    )
    def test_numbers_of_every_type(self, column):
        data = read_table(pa.table({"x": column, "label": [0, 0, 1, 1] * 2}))
        assert [(one.name, one.kind) for one in data.columns] == [("x", "number")]
        values = {str(value) for value in values_of(data, "x")}
        one = {
            "uint64": 2.0**64,
            "halffloat": 1.5,
            "date32[day]": 86400.0,
            "timestamp[ns, tz=Europe/Berlin]": 1e-9,
            "duration[ms]": 1e-3,
        }
        assert values == {"nan", str(one.get(str(column.type), 1.0))}

    def test_intervals(self):
        column = pa.array([(1, 2, 3)] * 8, pa.month_day_nano_interval())
        message = read_error(pa.table({"odd": column, "label": [0, 1] * 4}))
        assert message.startswith("table: column 'odd' is of type month_day_nano_interval; numbers")

    def test_more_bytes_than_the_file_says(self, tmp_path, monkeypatch):
        path = tmp_path / "t.parquet"
        texts = [f"{i} " + "x" * 1000 for i in range(20_000)]
        table = pa.table({"text": texts, "label": [0, 1] * 10_000})
        parquet.write_table(table, path, compression="zstd", use_dictionary=False)
        with parquet.ParquetFile(path) as file:
            size = file.metadata.row_group(0).total_byte_size
        content = path.read_bytes()
        written = bytes(2 * size >> 7 * i & 127 | 128 for i in range(4))  # 28 bits, from the lowest
        written = written[:3] + bytes([written[3] & 127])
        footer = content.rindex(written)
        path.write_bytes(content[:footer] + b"\x82\x80\x80\x00" + content[footer + 4 :])
        with parquet.ParquetFile(path) as file:
            assert file.metadata.row_group(0).total_byte_size == 1
        monkeypatch.setattr(table_file, "MAX_BYTES", 2**23)
        assert "bytes once unpacked are more than a table in memory may have" in read_error(path)

    def test_damage_names_the_column(self, tmp_path):
        path = tmp_path / "t.parquet"
        table = pa.table({"a": np.arange(1000.0), "b": np.arange(1000.0), "label": [0, 1] * 500})
        parquet.write_table(table, path, compression="zstd", use_dictionary=False)
        content = bytearray(path.read_bytes())
        with parquet.ParquetFile(path) as file:
            start = file.metadata.row_group(0).column(1).data_page_offset
        content[start + 60 : start + 90] = b"\xff" * 30
        path.write_bytes(content)
        assert read_error(path).startswith("t.parquet: column 'b' is corrupt: ")
        path.write_bytes(content[:500])
        assert read_error(path).startswith("t.parquet: is corrupt: Parquet magic bytes not found")

    def test_a_bomb_is_not_unpacked(self, tmp_path):
        path = tmp_path / "t.parquet"
        with parquet.ParquetWriter(
            path, pa.schema([("a", pa.int8()), ("label", pa.int8())])
        ) as file:
            part = pa.table([pa.nulls(2**24, pa.int8())] * 2, schema=file.schema)
            for _ in range(17):
                file.write_table(part)
        assert path.stat().st_size < 2**21
        began = time.monotonic()
        assert "bytes once unpacked are more than a table in memory may have" in read_error(path)
        assert time.monotonic() - began < 2

    def test_a_text_stored_once_stays_so(self, tmp_path):
        path = tmp_path / "t.parquet"
        text = pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int32), ["x" * 10**6])
        parquet.write_table(
            pa.table({"a": text, "n": np.arange(10**5) % 999, "label": [0, 1] * 50_000}),
            path,
            store_schema=False,
        )
        before = pa.default_memory_pool().max_memory()
        data = read_table(path)  # 100 GB of texts
        assert [column.name for column in data.columns] == ["n"]
        assert (
            "'a' is left out: its texts are too many or too long to be categories" in data.remarks
        )
        assert pa.default_memory_pool().max_memory() - before < 2**26
