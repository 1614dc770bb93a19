"""``python -m benchmarks.calibration``: whether what a run announces is what its user then gets.

Each run gets 7,500 images drawn from all 70,000 of Fashion-MNIST, of which it seals a fifth for its
test. Its final model then classifies the 62,500 images that the run never had: that is the accuracy
that a user gets, known to 0.15 points. Printed are, over all runs, how much the finalists' mean and
the search's best score are above it, and how often it lies in the announced 95 % interval of the
test score. The same for digits, but for the interval: there are no further digits, so what is
announced is held against the test score.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cotune import run
from cotune.data import Dataset, from_arrays, load

ROWS = 7_500


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        search_best, announced: Best validation accuracy of the search; the finalists' mean.
        test, ci95: Accuracy on the sealed test part, and its interval.
        true: On images that the run never had; None where there are none.
    """

    dataset: str
    seed: int
    search_best: float
    announced: float | None
    test: float
    ci95: tuple[float, float]
    true: float | None

    @property
    def optimism(self) -> float | None:
        """What was announced minus what the user gets."""
        gets = self.test if self.true is None else self.true
        return None if self.announced is None else self.announced - gets


def tune(data: Dataset, timeout: float, seed: int) -> tuple[Outcome, torch.nn.Module]:
    with tempfile.TemporaryDirectory() as folder:
        result = run(data, timeout=timeout, seed=seed, out=Path(folder) / "run")
        final, best = result.summary.final, result.summary.best
        assert final is not None
        assert best is not None
        assert best.search_best is not None
        assert final.test_accuracy is not None
        assert final.test_ci95 is not None
        outcome = Outcome(
            data.name,
            seed,
            best.search_best,
            final.validation_accuracy_mean,
            final.test_accuracy,
            final.test_ci95,
            None,
        )
        return outcome, result.model


def fashion_mnist(timeout: float, seed: int) -> Outcome:
    """Of images drawn by the seed."""
    inputs, labels = _shuffled("fashion-mnist", seed)
    data = from_arrays(inputs[:ROWS], labels[:ROWS], name="fashion-mnist, 7,500 images")
    outcome, model = tune(data, timeout, seed)
    return replace(outcome, true=_accuracy(model, inputs[ROWS:], labels[ROWS:]))


def digits(timeout: float, seed: int) -> Outcome:
    """With the test part drawn by the seed."""
    return tune(from_arrays(*_shuffled("digits", seed), name="digits"), timeout, seed)[0]


def _shuffled(name: str, seed: int) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """All rows of a data set, the sealed ones too."""
    data = load(name)
    test_inputs, test_labels = data.open_test()
    order = np.random.default_rng(seed).permutation(len(data) + data.n_test)
    inputs = np.concatenate([data.inputs, test_inputs])
    return inputs[order], np.concatenate([data.labels, test_labels])[order]


def _accuracy(
    model: torch.nn.Module, inputs: NDArray[np.generic], labels: NDArray[np.int64]
) -> float:
    with torch.no_grad():
        chunks = [model(rows).argmax(1) for rows in torch.from_numpy(inputs).split(2048)]
    return float((torch.cat(chunks).numpy() == labels).mean())


def report(outcomes: list[Outcome]) -> list[str]:
    """What the runs of one data set came to."""
    optimism = [one.optimism for one in outcomes if one.optimism is not None]
    gets = [one.test if one.true is None else one.true for one in outcomes]
    best = statistics.fmean(one.search_best - g for one, g in zip(outcomes, gets, strict=True))
    lines = [f"{outcomes[0].dataset}, {len(outcomes)} runs, accuracy {statistics.fmean(gets):.2%}"]
    if optimism:
        spread = f", sd {100 * statistics.stdev(optimism):.2f}" if len(optimism) > 1 else ""
        lines.append(
            f"  finalists' mean above it by {100 * statistics.fmean(optimism):+.2f}{spread}"
        )
    lines.append(f"  search's best above it by {100 * best:+.2f} points")
    known = [one for one in outcomes if one.true is not None]
    if known:
        inside = sum(one.ci95[0] <= (one.true or 0.0) <= one.ci95[1] for one in known)
        lines.append(f"  inside the 95 % interval of the test score: {inside} of {len(known)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each data set (20)")
    parser.add_argument("--timeout", type=float, default=20, help="seconds of each run (20)")
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    options = parser.parse_args()
    for kind in (fashion_mnist, digits):
        outcomes = [kind(options.timeout, seed) for seed in range(options.runs)]
        lines = [json.dumps(asdict(o)) for o in outcomes] if options.json else report(outcomes)
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
