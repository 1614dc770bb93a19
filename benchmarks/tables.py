"""``python -m benchmarks.tables``: small tables, ``CotuneClassifier`` beside scikit-learn.

Accuracy by stratified cross-validation from a fixed seed, mean and standard deviation over the
folds, of ``CotuneClassifier``; of a random forest, tuned by a random search over the usual grid
with five folds of its own, for as long as Cotune has at most; and of an untuned ``MLPClassifier``,
on the rows as they are and standardized. All have one core. All of it takes forty minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterSampler, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.records import Record
from cotune import CotuneClassifier

DATASETS: Final = {
    "breast-cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
}
SEED: Final = 0
GRID: Final = {
    "n_estimators": [100, 200, 300, 500],
    "max_features": ["sqrt", "log2", 0.3, 0.5, None],
    "max_depth": [None, 4, 8, 16],
    "min_samples_split": [2, 5, 10],
    "min_samples_leaf": [1, 2, 4],
    "bootstrap": [True, False],
}
"""Of the random forest."""


def forest(X: Any, y: Any, timeout: float, seed: int) -> tuple[Any, int]:
    """The best of the grid's points that there is time for, the default first.

    ``RandomizedSearchCV`` with a clock.

    Returns:
        The forest, fitted, and how many points were tried.
    """
    began, longest = time.monotonic(), 0.0
    splits = StratifiedKFold(5, shuffle=True, random_state=seed)
    tried: list[tuple[float, dict[str, Any]]] = []
    for point in [{}, *ParameterSampler(GRID, 1_000, random_state=seed)]:
        started = time.monotonic()
        if tried and started - began + longest > timeout:
            break
        model = RandomForestClassifier(**point, random_state=seed)
        tried.append((float(cross_val_score(model, X, y, cv=splits).mean()), point))
        longest = max(longest, time.monotonic() - started)
    best = max(tried, key=lambda one: one[0])[1]
    return RandomForestClassifier(**best, random_state=seed).fit(X, y), len(tried)


def cotune(X: Any, y: Any, timeout: float, seed: int) -> tuple[Any, int]:
    model = CotuneClassifier(timeout=timeout, random_state=seed).fit(X, y)
    return model, len(model.study_.trials)


def mlp(X: Any, y: Any, timeout: float, seed: int) -> tuple[Any, None]:
    return MLPClassifier(random_state=seed).fit(X, y), None


def mlp_scaled(X: Any, y: Any, timeout: float, seed: int) -> tuple[Any, None]:
    return make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)).fit(X, y), None


Fit = Callable[[Any, Any, float, int], tuple[Any, int | None]]
METHODS: Final[dict[str, Fit]] = {
    "cotune": cotune,
    "forest": forest,
    "mlp": mlp,
    "mlp-scaled": mlp_scaled,
}


def run(method: str, dataset: str, timeout: float, folds: int) -> list[Record]:
    """A record a fold; its ``seed`` is the fold's number."""
    X, y = DATASETS[dataset](return_X_y=True)
    records = []
    splits = StratifiedKFold(folds, shuffle=True, random_state=SEED).split(X, y)
    for number, (train, test) in enumerate(splits):
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model, trials = METHODS[method](X[train], y[train], timeout, number)
        records.append(
            Record(
                method,
                dataset,
                timeout,
                number,
                time.monotonic() - began,
                announced=getattr(model, "best_score_", None),
                test_accuracy=float(model.score(X[test], y[test])),
                trials=trials,
            )
        )
    return records


def line(dataset: str, by_method: dict[str, list[Record]]) -> str:
    """A data set's line of the table."""
    cells = []
    for records in by_method.values():
        accuracies = [record.test_accuracy or 0.0 for record in records]
        cells.append(f"{statistics.fmean(accuracies):.2%} +- {np.std(accuracies):.2%}".rjust(18))
    return f"{dataset:14}" + "".join(cells)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--datasets", default=",".join(DATASETS), help="(all)")
    parser.add_argument("--methods", default=",".join(METHODS), help="(all)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of each fit (60)")
    parser.add_argument("--folds", type=int, default=5, help="(5)")
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    options = parser.parse_args(arguments)
    names, methods = options.datasets.split(","), options.methods.split(",")
    for name, known in [*((n, DATASETS) for n in names), *((m, METHODS) for m in methods)]:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    out = sys.stderr if options.json else sys.stdout
    print(" " * 14 + "".join(method.rjust(18) for method in methods), file=out, flush=True)
    records: list[Record] = []
    for dataset in names:
        by_method = {
            method: run(method, dataset, options.timeout, options.folds) for method in methods
        }
        records += [record for several in by_method.values() for record in several]
        print(line(dataset, by_method), file=out, flush=True)
    if options.json:
        print(json.dumps([asdict(record) for record in records], indent=1))


if __name__ == "__main__":
    main()
