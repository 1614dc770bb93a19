"""Runs of a benchmark as they were recorded, and the table of their medians."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Record:
    """One run of one method.

    Attributes:
        budget: Seconds given.
        seconds: Wall clock of the whole process.
        announced: The accuracy on the validation part that the method tells its user, 0-1.
        search_best: The best of the search, which the announced one may be too.
        test_accuracy: Of the final model, 0-1.
        trials: How many were begun.
        error: Why there are no figures, or "".
    """

    method: str
    dataset: str
    budget: float
    seed: int
    seconds: float
    announced: float | None = None
    search_best: float | None = None
    test_accuracy: float | None = None
    trials: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Medians:
    """A method's runs on one data set with one budget; None where all failed.

    Attributes:
        optimism: Announced less test accuracy.
        runs: How many did not fail.
        failed: How many did.
    """

    method: str
    dataset: str
    budget: float
    test_accuracy: float | None
    optimism: float | None
    seconds: float | None
    trials: float | None
    runs: int
    failed: int


def medians(records: Sequence[Record]) -> Medians:
    """Of runs that differ in nothing but the seed; failed ones are counted and left out."""
    first = records[0]
    good = [record for record in records if not record.error]

    def median(values: list[float | None]) -> float | None:
        present = [value for value in values if value is not None]
        return statistics.median(present) if present else None

    return Medians(
        first.method,
        first.dataset,
        first.budget,
        median([r.test_accuracy for r in good]),
        median(
            [
                r.announced - r.test_accuracy
                for r in good
                if r.announced is not None and r.test_accuracy is not None
            ]
        ),
        median([r.seconds for r in good]),
        median([r.trials for r in good]),
        runs=len(good),
        failed=len(records) - len(good),
    )


HEADER: Final = (
    f"{'dataset':21}{'budget':>7}  {'method':10}{'test':>8}{'announced - test':>18}"
    f"{'wall clock':>12}{'trials':>8}{'runs':>6}"
)


def line(row: Medians) -> str:
    """A line of the table."""
    head = f"{row.dataset:21}{row.budget:6g}s  {row.method:10}"
    if row.runs == 0:
        return f"{head}{'failed':>8}"
    runs = f"{row.runs}/{row.runs + row.failed}"
    return (
        f"{head}{_figure(row.test_accuracy, '.2%'):>8}{_figure(row.optimism, '+.2%'):>18}"
        f"{_figure(row.seconds, '.1f'):>11}s{_figure(row.trials, 'g'):>8}{runs:>6}"
    )


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
