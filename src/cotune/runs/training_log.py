"""Trainings of finalists and final models, epoch by epoch, so that a killed run can resume there.

``trainings.jsonl`` has one line for whatever happened: which trials are finalists, what was given
to the executor, a report, the end of a round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from cotune.exceptions import StorageError, writing
from cotune.records import EpochReport, TrialSpec


@dataclass
class Round:
    """Trainings that were asked for together.

    Attributes:
        specs: What was to be trained.
        reports: Of each, in the order of epochs, by number.
        is_over: Nothing more will come.
    """

    specs: list[TrialSpec]
    reports: dict[int, list[EpochReport]] = field(default_factory=dict)
    is_over: bool = False


@dataclass
class _Line:
    """A line of the log, which has one of four kinds of content."""

    finalists: list[tuple[int, int]] | None = None
    rounds: int = 0
    round: int = 0
    specs: Annotated[list[TrialSpec], msgspec.Meta(min_length=1)] | None = None
    report: EpochReport | None = None
    over: bool | None = None


class TrainingLog:
    """A log that is appended to; what was in it at the start can be asked for.

    Args:
        path: ``trainings.jsonl``; a last line that was cut off has been removed.

    Attributes:
        finalists: Epochs of the trials that were chosen as finalists, by number, and the rounds;
            None before that.

    Raises:
        StorageError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.finalists: tuple[dict[int, int], int] | None = None
        self._rounds: list[Round] = []
        self._next = 0
        if path.exists():
            self._read()

    @property
    def next_part(self) -> str | None:
        """Return the part that the next logged trainings are fitted on; None after the last."""
        if self._next >= len(self._rounds):
            return None
        return self._rounds[self._next].specs[0].part

    def choose(self, epochs: Mapping[int, int], rounds: int) -> None:
        """Record the finalists, and the epochs of each."""
        self.finalists = dict(epochs), rounds
        self._append({"finalists": list(epochs.items()), "rounds": rounds})

    def round(self, specs: Sequence[TrialSpec]) -> Round:
        """Return the next trainings, as far as they were before, if they are the same."""
        if self._next < len(self._rounds):
            known = self._rounds[self._next]
            if known.specs == list(specs):
                self._next += 1
                return known
            del self._rounds[self._next :]  # decided otherwise this time
        self._rounds.append(Round(list(specs)))
        self._next = len(self._rounds)
        self._append({"round": self._next - 1, "specs": [spec.to_json() for spec in specs]})
        return self._rounds[-1]

    def report(self, round_: Round, report: EpochReport) -> None:
        """Record one epoch of one training."""
        round_.reports.setdefault(report.number, []).append(report)
        self._append({"report": report.to_json()})

    def end(self, round_: Round) -> None:
        """Record that all trainings of a round are over."""
        round_.is_over = True
        self._append({"over": True})

    def _append(self, line: dict[str, Any]) -> None:
        with writing(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self) -> None:
        number = 0
        try:
            for text in self._path.read_text(encoding="utf-8").splitlines():
                number += 1
                # json: msgspec reads no NaN, as a loss may be.
                self._take(msgspec.convert(json.loads(text), _Line))
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be read: {error.strerror}") from error
        except (msgspec.ValidationError, ValueError, IndexError, RecursionError) as error:
            raise StorageError(f"{self._path}:{number}: is damaged") from error

    def _take(self, line: _Line) -> None:
        if line.finalists is not None:
            self.finalists = dict(line.finalists), line.rounds
        elif line.specs is not None:
            del self._rounds[line.round :]
            self._rounds.append(Round(line.specs))
        elif line.report is not None:
            report = line.report
            self._rounds[-1].reports.setdefault(report.number, []).append(report)
        elif line.over is not None:
            self._rounds[-1].is_over = line.over
        else:
            raise ValueError("a line without content")
