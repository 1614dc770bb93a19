"""One file adds something: toys of each kind, added from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cotune
from cotune.data.builtin import catalog
from cotune.data.builtin.named import Entry, NamedDataset
from cotune.data.dataset import Dataset, Reading
from cotune.data.readers import registry
from cotune.data.readers.arrays import from_arrays
from cotune.data.readers.reader import Rows, RowsReader, TableReader
from cotune.data.readers.table_file import TableFile
from cotune.exceptions import DataError

LINES = [f"{place**2} {place % 2}" for place in range(40)]


class ToyReader(RowsReader):
    """Lines of a number and a label."""

    suffixes = (".toy",)

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        table = np.loadtxt(path)
        return Rows(table[:, :1], table[:, 1].astype(int))


class ToyTable(TableReader):
    """A CSV file of another name."""

    suffixes = (".toy",)

    def read(self, path, texts, words):
        return TableFile().read(path, texts, words)


class ToyDataset(NamedDataset):
    """Forty rows."""

    def entry(self) -> Entry:
        return Entry("toy", "forty rows", 32, 8, 2, (1,), "bundled")

    def load(self) -> Dataset:
        return from_arrays(np.arange(40.0)[:, None], np.arange(40) % 2, name="toy")


def tune(data, folder: Path) -> cotune.RunResult:
    return cotune.run(data, n_trials=1, workers="in-process", device="cpu", out=folder)


class TestReader:
    @pytest.fixture(autouse=True)
    def readers_restored(self):
        before = list(registry.READERS)
        yield
        registry.READERS[:] = before

    def test_an_unknown_file_is_refused(self, tmp_path):
        path = tmp_path / "x.toy"
        path.write_text("\n".join(LINES))
        with pytest.raises(DataError, match=r"x\.toy: is of no known format"):
            tune(path, tmp_path / "run")

    def test_a_file_of_arrays(self, tmp_path):
        registry.register(ToyReader())
        path = tmp_path / "x.toy"
        path.write_text("\n".join(LINES))
        tune(str(path), tmp_path / "run")
        assert len(cotune.predict(tmp_path / "run", path)) == 40
        resumed = cotune.resume(tmp_path / "run", n_trials=2)  # reads the file again
        assert len(resumed.study.trials) == 2

    def test_a_table(self, tmp_path):
        registry.register(ToyTable())
        path = tmp_path / "x.toy"
        path.write_text("\n".join(["a b", *LINES]).replace(" ", ","))
        tune(path, tmp_path / "run")
        assert len(cotune.predict(tmp_path / "run", path)) == 40

    def test_a_named_dataset(self, tmp_path, monkeypatch):
        monkeypatch.setitem(catalog.DATASETS, "toy", ToyDataset())
        tune("toy", tmp_path / "run")
