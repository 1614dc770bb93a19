"""SciPy's sparse matrices and arrays give what the dense ones give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import cotune
from cotune.data.readers import sparse
from cotune.data.readers.sparse import to_dense
from cotune.data.reading import read_data
from cotune.exceptions import DataError
from tests.e2e.test_estimator import SMALL

WORDS = scipy.sparse.random(200, 30, 0.2, format="csr", rng=0)
LABELS = (WORDS.toarray()[:, :5].sum(1) > 0.4).astype(int)


def _tuned(data: object, out: Path) -> Path:
    cotune.run(
        data, n_trials=1, workers="in-process", space=SMALL | {"epochs": 2}, out=out, report=False
    )
    return out


@pytest.mark.parametrize(
    "kind", ["csr_matrix", "csr_array", "csc_array", "coo_matrix", "lil_array"]
)
def test_sparse_rows_are_the_dataset_of_the_dense_ones(kind):
    dense = read_data((WORDS.toarray(), LABELS))
    found = read_data((getattr(scipy.sparse, kind)(WORDS), LABELS))
    assert found.fingerprint == dense.fingerprint
    assert found.test_rows.tolist() == dense.test_rows.tolist()  # type: ignore[union-attr]


def test_sparse_whole_numbers_stay_exact():
    rows = np.array([[2**24 + 1, 0], [2**24, 1]] * 10)
    found = read_data((scipy.sparse.csr_array(rows), [0, 1] * 10))
    assert found.fingerprint == read_data((rows, [0, 1] * 10)).fingerprint
    assert set(found.inputs[:, 0].tolist()) == {2**24, 2**24 + 1}


def test_rows_of_a_sparse_run_are_recognised_when_they_are_dense(tmp_path):
    run = _tuned((WORDS, LABELS), tmp_path / "run")
    np.testing.assert_array_equal(
        cotune.predict(run, WORDS.tocoo(), proba=True),
        cotune.predict(run, WORDS.toarray(), proba=True),
    )
    sparse, dense = (cotune.evaluate(run, (rows, LABELS)) for rows in (WORDS, WORDS.toarray()))
    assert {name: part.rows for name, part in sparse.parts.items()} == {
        "train": 128,
        "validation": 32,
        "test": 40,
    }
    assert dense.parts == sparse.parts


def test_sparse_test_rows_that_are_dense_training_rows_are_told():
    found = read_data((WORDS, LABELS), test=(WORDS[:20].toarray(), LABELS[:20]))
    assert "20 of 20 test rows are also in the training data" in found.remarks


def test_sparse_rows_that_cannot_be_used(monkeypatch):
    with pytest.raises(DataError, match=r"^arrays: inputs have shape \(200,\); give an array"):
        read_data((scipy.sparse.coo_array(np.arange(200.0)), LABELS))
    monkeypatch.setattr(sparse, "free_memory", lambda: 4 * 200 * 30 * 8 - 1)
    with pytest.raises(
        DataError, match=r"^X are sparse, 200 x 30: dense they take .* max_features"
    ):
        to_dense(WORDS, "X")
    monkeypatch.setattr(sparse, "free_memory", lambda: 4 * 200 * 30 * 8)
    assert to_dense(WORDS, "X").shape == (200, 30)
