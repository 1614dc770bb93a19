"""``python -m benchmarks.fidelity``: does a part of the rows rank trials, or a part of the epochs?

Random trials of the tutorials' space, each trained to its end on all rows, and for a share of that
cost in two ways: all its epochs on a part of the rows, and a part of its epochs on all rows (below
one pass: on the first rows of it). For each share: the rank correlation (Spearman) of the scores
with those at the end.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import make_classification

from benchmarks.engine import random_trials
from benchmarks.schedules import curves
from cotune.data import from_arrays, load, prepare
from cotune.data.dataset import Dataset, TrainingData
from cotune.engine.device import n_cores
from cotune.records import TrialSpec
from cotune.workers.base import EngineJob
from cotune.workers.pool import ProcessExecutor

_DATASETS: Final = ("fashion-mnist", "digits", "table")
_SHARES: Final = (0.02, 0.05, 0.1, 0.25, 0.5)
_PARTS: Final = 10  # of a pass
_TABLE_ROWS: Final = 200_000


def dataset(name: str) -> Dataset:
    """Return one of the datasets; the table has 30 columns, a third of which tell classes apart."""
    if name != "table":
        return load(name)
    inputs, labels = make_classification(
        _TABLE_ROWS, 30, n_informative=10, n_classes=5, flip_y=0.1, random_state=0
    )
    return from_arrays(inputs.astype(np.float32), labels)


def part_of(data: TrainingData, share: float) -> TrainingData:
    """Return the first rows of the training part, and the whole validation part."""
    kept = np.arange(max(1, round(share * data.n_train)))
    index = np.concatenate([kept, np.arange(data.n_train, len(data.labels))])
    return replace(
        data,
        inputs=data.inputs[index],
        labels=data.labels[index],
        n_train=len(kept),
        fold_of=None,
    )


def scores_at(data: TrainingData, specs: list[TrialSpec]) -> np.ndarray[Any, Any]:
    """Return validation accuracies ``[trials, epochs]``."""
    with ProcessExecutor(n_cores()) as executor:
        executor.load(EngineJob(data, 0))
        return curves(executor, specs)


def compare(name: str, trials: int, passes: int) -> list[dict[str, Any]]:
    """Return a row for each share of the cost of training to the end."""
    data, _ = prepare(dataset(name), validation=0.1, seed=0)
    specs = [replace(spec, averaged=True) for spec in random_trials(trials, passes)]
    parts = [
        replace(
            spec,
            params={**spec.params, "epochs": passes * _PARTS, "epoch_rows": data.n_train // _PARTS},
        )
        for spec in specs
    ]
    whole = scores_at(data, parts)
    final = whole[:, -1]
    rows = []
    for share in _SHARES:
        fewer_rows = scores_at(part_of(data, share), specs)[:, -1]
        fewer_epochs = whole[:, round(share * passes * _PARTS) - 1]
        rows.append(
            {
                "dataset": name,
                "share": share,
                "rank_by_fewer_rows": float(spearmanr(fewer_rows, final)[0]),
                "rank_by_fewer_epochs": float(spearmanr(fewer_epochs, final)[0]),
                "best_by_fewer_rows": float(final[fewer_rows.argmax()]),
                "best_by_fewer_epochs": float(final[fewer_epochs.argmax()]),
                "best": float(final.max()),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--datasets", nargs="+", default=list(_DATASETS), choices=_DATASETS)
    parser.add_argument("--trials", type=int, default=24, help="random trials (24)")
    parser.add_argument("--passes", type=int, default=10, help="over the rows, to the end (10)")
    options = parser.parse_args()
    all_rows = []
    for name in options.datasets:
        all_rows += (rows := compare(name, options.trials, max(5, options.passes)))
        if options.json:
            continue
        columns = [column for column in rows[0] if column not in ("dataset", "share")]
        print(f"{name:22}" + "".join(f"{column:>22}" for column in columns))
        for row in rows:
            cells = "".join(f"{row[column]:22.3f}" for column in columns)
            print(f"{row['share']:<22.0%}{cells}", flush=True)
    if options.json:
        print(json.dumps(all_rows, indent=1))


if __name__ == "__main__":
    main()
