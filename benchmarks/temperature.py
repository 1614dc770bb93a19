"""``python -m benchmarks.temperature``: what a temperature does to probabilities of unseen rows.

Each run tunes with the temperature that it fits by itself. Printed are the temperature, and log
loss and expected calibration error of the run's test rows without and with it, from their one
reading. Tables of scikit-learn and digits get another test part for each seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from sklearn import datasets

from cotune import run
from cotune.data import Dataset, from_arrays, load
from cotune.diagnostics import Calibration

TABLES: Final[dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]]] = {
    "digits": datasets.load_digits,
    "breast-cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}


def read(name: str, seed: int) -> Dataset:
    """A table whose rows are shuffled by the seed, or a named data set with its own test set."""
    if name not in TABLES:
        return load(name)
    inputs, labels = TABLES[name](return_X_y=True)
    if name == "digits":
        inputs = inputs.reshape(-1, 8, 8)
    order = np.random.default_rng(seed).permutation(len(labels))
    return from_arrays(inputs[order], labels[order], name=name)


def line(name: str, seed: int, found: Calibration) -> str:
    assert found.test is not None
    before, after = found.test
    fitted = "none" if found.fitted is None else f"{found.fitted:.3f}"
    used = "used" if not found.reason else "not used"
    return (
        f"{name:20}{seed:5}{found.rows:7,}{fitted:>8}{found.gain:>9.4f} +- {found.gain_error:.4f}"
        f"  {used:10}{before.loss:8.4f}{after.loss:9.4f}"
        f"{before.error:9.2%}{after.error:8.2%}{after.chance:8.2%}{after.rows:8,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.temperature", description=__doc__)
    names = [*TABLES, "fashion-mnist-small"]
    parser.add_argument("--datasets", nargs="+", default=names, help=f"({' '.join(names)})")
    parser.add_argument("--seeds", type=int, default=3, help="of each data set (3)")
    parser.add_argument("--timeout", type=float, default=20, help="seconds of each run (20)")
    options = parser.parse_args()
    print(
        f"{'data set':20}{'seed':>5}{'rows':>7}{'fitted':>8}{'gain of held-out':>19}  {'':10}"
        f"{'loss':>8}{'scaled':>9}{'ECE':>9}{'scaled':>8}{'chance':>8}{'test':>8}"
    )
    for name in options.datasets:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                data, out = read(name, seed), Path(folder) / "run"
                found = run(data, timeout=options.timeout, seed=seed, out=out).calibration
            assert found is not None
            print(line(name, seed, found), flush=True)


if __name__ == "__main__":
    main()
