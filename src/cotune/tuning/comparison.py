"""Samplers side by side: what searches with equal budgets came to, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, median_low
from typing import Any, Final

from cotune.tuning.best_so_far import Band, Steps, band, best_so_far, is_better, reached, sampled

BASELINE: Final = "random"
"""The sampler that the others are held against."""


@dataclass(frozen=True)
class Ended:
    """A trial of a search.

    Attributes:
        number: Its number in the study.
        state: ``complete``, ``pruned`` or ``failed``, with Optuna's meaning.
        seconds: From the search's start to the trial's end.
        value: The metric on the validation part after its last epoch; None where it has none.
    """

    number: int
    state: str
    seconds: float
    value: float | None


@dataclass(frozen=True)
class SearchRecord:
    """A search by one sampler from one seed.

    Attributes:
        directory: Its run directory, by name.
        seconds: Wall clock.
        trials: In the order in which they ended.
    """

    sampler: str
    seed: int
    directory: str
    seconds: float
    trials: list[Ended]

    def steps(self, by: str, maximize: bool) -> Steps:
        """Return the best score so far.

        Args:
            by: Against the ``trials`` that have ended, or the ``seconds`` since the search began.
        """
        points = [
            (trial.seconds if by == "seconds" else count, trial.value)
            for count, trial in enumerate(self.trials, start=1)
        ]
        return best_so_far(points, maximize)

    def best(self, maximize: bool) -> float | None:
        steps = self.steps("trials", maximize)
        return steps[-1][1] if steps else None


@dataclass(frozen=True)
class Row:
    """The results of a sampler over its seeds.

    Attributes:
        searches: How many there are.
        trials: Median number of trials that ended.
        best: Median of the searches' best scores; None where none has a score.
        low, high: The smallest and the largest of them.
        seconds: By when half of its searches had reached :attr:`Comparison.target`; None where
            fewer did.
        wins, ties, against: In how many seeds it was better than random search and in how many
            as good, of how many; None for random search itself, or where that is missing.
    """

    sampler: str
    searches: int
    trials: float
    best: float | None
    low: float | None
    high: float | None
    seconds: float | None
    wins: int | None
    ties: int | None
    against: int | None


@dataclass
class Comparison:
    """The searches of :func:`cotune.compare` that ended, and their table.

    Attributes:
        path: The folder with a run directory for each search, ``compare.html`` and
            ``compare.json``.
        settings: What all searches had in common: data set, metric, budget, device, versions.
        samplers: Their names, in the order that was asked for.
        seeds: How many were asked for.
        maximize: Whether larger scores are better.
        searches: Those that ended, in that order.
    """

    path: Path
    settings: dict[str, Any]
    samplers: tuple[str, ...]
    seeds: int
    maximize: bool
    searches: list[SearchRecord] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether every search that was asked for ended."""
        return len(self.searches) == len(self.samplers) * self.seeds

    @property
    def target(self) -> float | None:
        """The median best score of the sampler for which it is worst: what all came to."""
        medians = [best for name in self.samplers if (best := self._median(name)) is not None]
        if not medians:
            return None
        return min(medians) if self.maximize else max(medians)

    @property
    def table(self) -> list[Row]:
        """A row for each sampler that has a search."""
        return [self._row(name) for name in self.samplers if self.of(name)]

    def bands(self, by: str) -> dict[str, Band]:
        """Return the best score so far over the seeds, by sampler.

        Args:
            by: ``trials`` or ``seconds``.
        """
        if by == "trials":
            ends = [float(len(search.trials)) for search in self.searches]
        else:
            ends = [search.seconds for search in self.searches]
        steps = {
            name: [search.steps(by, self.maximize) for search in self.of(name)]
            for name in self.samplers
        }
        return {name: band(own, max(ends)) for name, own in steps.items() if any(own)}

    def focus(self, by: str) -> tuple[float, float]:
        """Return the range of scores to draw, without the weakest first trials.

        Args:
            by: ``trials`` or ``seconds``.

        Returns:
            Lowest and highest of the better four fifths of what the bands are over the axis, and
            a margin. There has to be a score.
        """
        bands = [one for one in self.bands(by).values() if one.x]
        end = max(one.x[-1] for one in bands)
        places = [end * i / 100 for i in range(101)]
        edges = [(one.x, edge) for one in bands for edge in (one.low, one.high)]
        values = sorted(y for x, edge in edges for y in sampled(x, edge, places)[1])
        left_out = len(values) // 5
        values = values[left_out:] if self.maximize else values[: len(values) - left_out]
        margin = 0.05 * (values[-1] - values[0]) or 0.005
        low, high = values[0] - margin, values[-1] + margin
        # A loss is at least 0, a share at most 1.
        return (low, min(high, 1.0)) if self.maximize else (max(low, 0.0), high)

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as plain data: settings, table, searches with their trials, bands."""
        return {
            **self.settings,
            "samplers": list(self.samplers),
            "seeds": self.seeds,
            "target": self.target,
            "table": [asdict(row) for row in self.table],
            "searches": [asdict(search) for search in self.searches],
            "bands": {
                by: {name: asdict(one) for name, one in self.bands(by).items()}
                for by in ("trials", "seconds")
            },
        }

    def of(self, sampler: str) -> list[SearchRecord]:
        """Return the searches of a sampler, by seed."""
        return [search for search in self.searches if search.sampler == sampler]

    def _bests(self, sampler: str) -> dict[int, float]:
        """Return a sampler's best scores by seed."""
        bests = {search.seed: search.best(self.maximize) for search in self.of(sampler)}
        return {seed: best for seed, best in bests.items() if best is not None}

    def _median(self, sampler: str) -> float | None:
        bests = self._bests(sampler)
        return median(bests.values()) if bests else None

    def _row(self, sampler: str) -> Row:
        own, bests, target = self.of(sampler), self._bests(sampler), self.target
        if target is None:
            seconds = float("inf")
        else:
            steps = [search.steps("seconds", self.maximize) for search in own]
            seconds = median_low(reached(one, target, self.maximize) for one in steps)
        # Seeds decide the split too, so scores are comparable within one only.
        others = {} if sampler == BASELINE else self._bests(BASELINE)
        pairs = [(best, others[seed]) for seed, best in bests.items() if seed in others]
        return Row(
            sampler=sampler,
            searches=len(own),
            trials=median(len(search.trials) for search in own),
            best=self._median(sampler),
            low=min(bests.values(), default=None),
            high=max(bests.values(), default=None),
            seconds=None if seconds == float("inf") else seconds,
            wins=sum(is_better(a, b, self.maximize) for a, b in pairs) if pairs else None,
            ties=sum(a == b for a, b in pairs) if pairs else None,
            against=len(pairs) or None,
        )


HEADINGS: Final = ("sampler", "seeds", "trials", "best", "range", "seconds", "beat random")
"""Of :func:`cells`."""


def cells(row: Row) -> tuple[str, ...]:
    """Return a row of the table for people."""
    beat = "-"
    if row.wins is not None:
        beat = f"{row.wins} of {row.against}"
        if row.ties:
            beat += f", {row.ties} equal"
    return (
        row.sampler,
        str(row.searches),
        f"{row.trials:g}",
        _score(row.best),
        f"{_score(row.low)} to {_score(row.high)}" if row.best is not None else "-",
        "-" if row.seconds is None else f"{row.seconds:.1f}",
        beat,
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
