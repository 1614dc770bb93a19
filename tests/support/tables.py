"""Tables for tests: real ones of scikit-learn's, and one with columns of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from cotune.data.tables.tables import read_table
from cotune.exceptions import DataError

GOOD = "n,kind,label\n1,a,yes\n2,b,no\n3,a,yes\n4,b,no\n5,a,yes\n6,b,no\n"


def real_table(name: str) -> Any:
    """``breast_cancer``, ``wine`` or ``iris`` as a DataFrame whose labels are names."""
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    return bunch.frame.assign(target=bunch.target_names[bunch.target])


def mixed_table() -> Any:
    """Wine with a category, a boolean, a date, an id, a constant and missing cells."""
    table = real_table("wine")
    random = np.random.default_rng(0)
    colours = pd.cut(table.color_intensity, 4, labels=["pale", "rosy", "red", "dark"])
    seconds = random.integers(0, 10**7, len(table))
    table = table.drop(columns="color_intensity").assign(
        colour=colours.astype(str),
        strong=table.alcohol > 13,
        bottled=pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds, unit="s"),
        bottle=[f"bottle {i}" for i in range(len(table))],
        country="Italy",
        volume=0.75,
    )
    table.loc[random.random(len(table)) < 0.1, "ash"] = np.nan
    table.loc[random.random(len(table)) < 0.2, "colour"] = None
    return table


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_error(path: object, **arguments: object) -> str:
    """The error's one line, without the folder."""
    with pytest.raises(DataError) as caught:
        read_table(path, **arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert not isinstance(path, Path) or message.startswith(str(path))
    return message.removeprefix(f"{path.parent}/") if isinstance(path, Path) else message


def values_of(data, name: str) -> list[float]:
    """A column's cells in the file's order, the test set's among them."""
    place = [column.name for column in data.columns].index(name)
    cells = np.concatenate((data.inputs[:, place], data.read_test()[0][:, place]))
    return list(cells[np.argsort(np.concatenate((data.rows, data.test_rows)))])
