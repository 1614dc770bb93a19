"""Rows of a run are known by what they hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import cotune
from cotune.data.known_rows import row_digests, rows_fingerprint, splits_of
from cotune.exceptions import UsageError
from cotune.runs.directory import RunDirectory
from cotune.tuning.retest import retest
from tests.support.formats import digits, write_idx, write_pngs

IMAGES, LABELS = digits(300)
SPACE = {"width": 8, "lr": {"type": "float", "low": 1e-3, "high": 1e-2}, "epochs": 2}


def tune(data: Path, out: Path, **options: object) -> Path:
    cotune.run(data, n_trials=1, workers="in-process", lanes=1, space=SPACE, out=out, **options)  # type: ignore[arg-type]
    return out


class TestDigests:
    def test_whatever_the_type_and_the_shape(self):
        expected = row_digests(IMAGES)
        assert expected.dtype == np.uint64
        assert len(set(expected.tolist())) == len(np.unique(IMAGES, axis=0))
        for other in (
            IMAGES.reshape(300, 64),
            IMAGES.astype(np.int64),
            IMAGES.astype(">f4"),
            np.asfortranarray(IMAGES.astype(float)),
            IMAGES[::-1].copy()[::-1],
        ):
            assert (row_digests(other) == expected).all()
        assert (row_digests(IMAGES[::-1]) == expected[::-1]).all()

    def test_of_numbers(self):
        rows = np.array([[0.0, np.nan], [-0.0, -np.nan], [0.5, 1.0], [0.5, 256.0], [-1.0, 1e300]])
        digests = row_digests(rows)
        assert digests[0] == digests[1]
        assert len(set(digests.tolist())) == 4

    def test_a_fingerprint_is_of_rows_with_their_labels(self):
        digests = row_digests(IMAGES)
        order = np.random.default_rng(0).permutation(300)
        assert rows_fingerprint(digests[order], LABELS[order]) == rows_fingerprint(digests, LABELS)
        assert rows_fingerprint(digests, LABELS[order]) != rows_fingerprint(digests, LABELS)


def test_equal_rows_of_several_parts():
    known = [("train", 1), ("test", 1), ("train", 1), ("validation", 2), ("test", 3)]

    def parts(*digests: int) -> dict[str, list[int]]:
        found = splits_of(known, np.array(digests, np.uint64))
        return {part: np.flatnonzero(rows).tolist() for part, rows in found.items()}

    assert parts(1, 1, 1, 2, 3) == {"train": [0, 2], "validation": [3], "test": [1, 4]}
    assert parts(3, 2, 1, 1, 1) == {"train": [3, 4], "validation": [1], "test": [0, 2]}
    assert parts(4, 1, 3, 3) == {"test": [1, 2, 3]}
    assert parts(4) == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on an image folder with parts, and on a folder of IDX files."""
    folder = tmp_path_factory.mktemp("known")
    for part, rows in (("train", slice(200)), ("test", slice(200, 300))):
        write_pngs(folder / "pt" / part, IMAGES[rows], LABELS[rows])
    write_idx(folder / "idx", "train", IMAGES[:200], LABELS[:200])
    write_idx(folder / "idx", "t10k", IMAGES[200:], LABELS[200:])
    for kind in ("pt", "idx"):
        tune(folder / kind, folder / f"run-{kind}")
    return folder


@pytest.mark.parametrize(
    ("kind", "data"),
    [("pt", "pt/test"), ("pt", "pt"), ("idx", "idx/t10k-images-idx3-ubyte"), ("idx", "pt/test")],
)
def test_every_reading_is_recorded(folder, kind, data):
    run = RunDirectory.open(folder / f"run-{kind}")
    before = len(run.readings())
    result = cotune.evaluate(run.path, folder / data)
    assert {part: score.rows for part, score in result.parts.items()} == {"test": 100}
    assert result.readings == before + 1 == len(run.readings())
    assert result.accuracy == cotune.open_run(run.path).test_accuracy


def test_the_test_set_of_a_named_dataset(tmp_path):
    run = tmp_path / "run"
    cotune.run("digits", n_trials=1, workers="in-process", space=SPACE, out=run)
    inputs, labels = cotune.data.load("digits").read_test()
    result = cotune.evaluate(run, (inputs[:50], labels[:50]))
    assert result.parts["test"].rows == 50
    assert result.readings == 2


def test_a_changed_test_set_is_refused(folder, tmp_path):
    data = tmp_path / "idx"
    write_idx(data, "train", IMAGES[:200], LABELS[:200])
    write_idx(data, "t10k", IMAGES[200:], LABELS[200:])
    run = tune(data, tmp_path / "run")
    write_idx(data, "t10k", IMAGES[200:][::-1], LABELS[200:][::-1])  # the same rows
    assert retest(run, again=True).accuracy == cotune.open_run(run).test_accuracy
    labels = data / "t10k-labels-idx1-ubyte.gz"
    changed = bytearray(gzip.decompress(labels.read_bytes()))
    changed[-1] = (changed[-1] + 1) % 10
    labels.write_bytes(gzip.compress(changed))
    before = RunDirectory.open(run).readings()
    for attempt in (lambda: retest(run, again=True), lambda: cotune.resume(run, more=1)):
        with pytest.raises(UsageError, match=r"idx: the test set is not the run's; its fingerprin"):
            attempt()
    assert RunDirectory.open(run).readings() == before


def test_labels_of_pairs_are_not_looked_for_in_a_column(tmp_path):
    data = tmp_path / "digits.npz"
    np.savez(data, pictures=IMAGES, kinds=LABELS)
    run = tune(data, tmp_path / "run", target="kinds")
    for rows in ((IMAGES, LABELS), (torch.from_numpy(IMAGES), LABELS)):
        result = cotune.evaluate(run, rows)
        assert {part: score.rows for part, score in result.parts.items()} == {
            "train": 192,
            "validation": 48,
            "test": 60,
        }
