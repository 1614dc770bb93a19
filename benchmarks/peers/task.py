"""What every peer is given and what it hands back: the data, the budget, one look at the test."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.budget import Budget
from cotune.data import Dataset, Standardize, TrainingData, load, prepare

VALIDATION = 0.2


@dataclass(frozen=True)
class Task:
    """A data set to tune on.

    Attributes:
        data: Training part, then validation part; the split is Cotune's for that seed.
        everything: The same rows, all of them in the training part.
    """

    budget: Budget
    seed: int
    data: TrainingData
    everything: TrainingData
    _dataset: Dataset
    _standardize: Standardize
    _out: Path

    def finish(
        self,
        predict: Callable[[NDArray[np.float32]], NDArray[Any]],
        announced: float,
        trials: int,
    ) -> None:
        """Read the test set, once, and write what came of the run.

        Args:
            predict: The final model: class indices of standardized rows.
            announced: The accuracy on the validation part that the tool tells its user.
            trials: How many were begun.
        """
        inputs, labels = self._dataset.open_test()
        hits = predict(self._standardize.apply(inputs)) == labels
        result = {
            "announced": announced,
            "search_best": announced,
            "test_accuracy": float(hits.mean()),
            "trials": trials,
        }
        self._out.write_text(json.dumps(result))


def read_task() -> Task:
    """The task of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--timeout", type=float, required=True, help="seconds for everything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    dataset = load(options.dataset)
    data, standardize = prepare(dataset, validation=VALIDATION, seed=options.seed)
    return Task(
        Budget(options.timeout),
        options.seed,
        data,
        replace(data, n_train=len(data.labels)),
        dataset,
        standardize,
        options.out,
    )
