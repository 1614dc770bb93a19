"""Missing cells of arrays, however they are said, are those of tables."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cotune
from cotune.data.reading import read_data
from cotune.exceptions import DataError
from tests.e2e.test_estimator import SMALL

FILLED = np.random.default_rng(0).normal(size=(120, 4))
HOLES = np.where(np.random.default_rng(1).random(FILLED.shape) < 0.1, np.nan, FILLED)
SIGNS = (FILLED[:, 0] > 0).astype(int)


def _tuned(data: object, out: Path) -> Path:
    cotune.run(
        data, n_trials=1, workers="in-process", space=SMALL | {"epochs": 2}, out=out, report=False
    )
    return out


MASKED = np.ma.masked_array(np.where(np.isnan(HOLES), -999, HOLES), np.isnan(HOLES))
OBJECTS = np.where(np.isnan(HOLES), None, HOLES)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "rows",
    [
        HOLES.tolist(),
        MASKED,
        OBJECTS,
        OBJECTS.tolist(),
        np.where(np.isnan(HOLES), pd.NA, HOLES),
        np.array([[None if c is None else Decimal(c) for c in row] for row in OBJECTS]),
        pd.DataFrame(HOLES),
    ],
)
def test_missing_cells_however_they_are_said(rows):
    assert read_data((rows, SIGNS)).fingerprint == read_data((HOLES, SIGNS)).fingerprint


def test_missing_cells_of_files(tmp_path):
    np.savez(tmp_path / "both.npz", X=HOLES, y=SIGNS)
    np.save(tmp_path / "X.npy", HOLES)
    np.save(tmp_path / "y.npy", SIGNS)
    expected = read_data((HOLES, SIGNS))
    assert "NaN is read as a missing value, as in a table" in expected.remarks
    for name in ("both.npz", "X.npy"):
        assert read_data(tmp_path / name).fingerprint == expected.fingerprint


def test_masked_labels_are_missing():
    with pytest.raises(DataError, match=r"labels\[3\] is missing; label the row or drop it"):
        read_data((FILLED, np.ma.masked_array(SIGNS, np.arange(120) == 3)))
    names = np.where(SIGNS, "up", "down")
    with pytest.raises(DataError, match=r"labels\[3\] is missing; label the row or drop it"):
        read_data((FILLED, np.ma.masked_array(names, np.arange(120) == 3)))


def test_a_mask_without_masked_cells_changes_nothing():
    found = read_data((np.ma.masked_array(FILLED), np.ma.masked_array(SIGNS)))
    assert found.fingerprint == read_data((FILLED, SIGNS)).fingerprint


def test_new_rows_with_missing_and_infinite_cells(tmp_path):
    run = _tuned((HOLES, SIGNS), tmp_path / "run")
    expected = cotune.predict(run, HOLES, proba=True)
    for rows in (MASKED, OBJECTS, pd.DataFrame(HOLES)):
        np.testing.assert_array_equal(cotune.predict(run, rows, proba=True), expected)
    infinite = np.where(np.isnan(HOLES), np.inf, HOLES)
    row, column = np.argwhere(np.isnan(HOLES))[0]
    with pytest.raises(DataError, match=rf"inputs\[{row}, {column}\] is inf; fill the cell"):
        cotune.predict(run, infinite)
    with pytest.raises(DataError, match=rf"inputs\[{row}, {column}\] is inf; fill the cell"):
        cotune.evaluate(run, (infinite, SIGNS))


def test_the_cell_that_is_no_number_is_named_and_not_a_missing_one():
    rows = OBJECTS.copy()
    rows[-1, -1] = "tall"
    with pytest.raises(DataError, match=r"inputs\[119, 3\] is 'tall', a text"):
        read_data((rows, SIGNS))


def test_missing_pixels_are_named():
    images = np.random.default_rng(0).random((30, 4, 4))
    images[2, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"inputs\[2, 1, 1\] is nan; fill the cell or drop row 2"):
        read_data((images, np.arange(30) % 2))
