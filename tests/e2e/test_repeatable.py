"""The same seed gives the same run."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

import cotune

pytestmark = pytest.mark.slow


def table(path: Path) -> list[dict[str, str]]:
    with open(path / "trials.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_one_worker_and_a_number_of_trials(tmp_path: Path):
    runs = [
        cotune.run(
            "digits",
            model="mlp",
            n_trials=12,
            seed=seed,
            workers=1,
            fixed={"epochs": 6},
            out=tmp_path / f"{i}",
        )
        for i, seed in enumerate((5, 5, 6))
    ]
    first, same, other = (table(run.path) for run in runs)
    assert first == same
    assert first != other
    files = [run.path / "best" / "model.safetensors" for run in runs]
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert sums[0] == sums[1] != sums[2]
    assert runs[0].final == runs[1].final
