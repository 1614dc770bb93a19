"""Progress of a run in a notebook: one display that is updated."""

from __future__ import annotations

import io
import time
from typing import Final

from rich.console import Console

from cotune.records import TrialResult
from cotune.report.notebook.front_end import Display
from cotune.report.notebook.markup import bar, block, curve, heading, line, table
from cotune.report.terminal.following import FollowingObserver, progress_of
from cotune.report.terminal.lines import format_params
from cotune.runs.directory import RunDirectory
from cotune.tuning.compare import ComparisonObserver
from cotune.tuning.comparison import HEADINGS, Comparison, SearchRecord, cells

_EVERY_SECONDS: Final = 0.5
_SHOWN_RUNNING: Final = 6
_SHOWN_LINES: Final = 6
_MOST_POINTS: Final = 400  # of the curve


class NotebookObserver(FollowingObserver):
    """Shows in one display how a run goes.

    Args:
        doing: What is said until the run begins.
    """

    def __init__(self, doing: str = "reading the data, starting workers") -> None:
        self._text = io.StringIO()
        super().__init__(
            Console(file=self._text, width=140, color_system=None, force_jupyter=False)
        )
        self._display = Display()
        self._shown = 0.0
        self._history: list[float] = []
        self._phase = doing
        self._data = ""
        self._show()

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        super().run_started(run, began, timeout)
        self._data = run.path.name
        self._phase = "search"
        self._show()

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        if best is not None and best.value is not None:
            self._history.append(best.value)

    def run_ended(self) -> None:
        self._phase = "ended"
        self._running.clear()
        self._final = None
        self._show()

    def tick(self) -> None:
        if time.monotonic() - self._shown >= _EVERY_SECONDS:
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._display.show(self._html())

    def _html(self) -> str:
        title = f"Cotune: {self._data}" if self._data else "Cotune"
        if not self._data:
            return block(heading(title), line(f"{self._phase} ...", dim=True))
        said = self._text.getvalue().splitlines()[-_SHOWN_LINES:]
        parts = [heading(title), *(line(one, dim=True) for one in said)]
        if self._phase == "ended":
            return block(*parts, line(f"ended after {self._spent}: {self._counted}"))
        parts += [line(self._turn()), bar(self._progress()), self._best_line()]
        step = max(1, len(self._history) // _MOST_POINTS)
        return block(*parts, curve(self._history[::step]), self._running_table())

    @property
    def _spent(self) -> str:
        return f"{time.monotonic() - self._began:.0f} s"

    def _turn(self) -> str:
        """Return what is done now, with the time that is left."""
        if self._final:
            spec, report = self._final
            return f"{self._time_left}, final model: epoch {progress_of(spec, report)}"
        if self._finalists:
            return f"{self._time_left}, finalists: {self._finalists[1]} epochs in all"
        if self._repeats:
            return f"{self._time_left}, finalists: {self._repeats[0]} of {self._repeats[1]} calls"
        return f"{self._time_left}, {self._counted}"

    def _progress(self) -> float:
        if self._final:
            spec, report = self._final
            return (report.epoch if report else 0) / spec.epochs
        return self._share

    def _best_line(self) -> str:
        if self._best is None:
            return line("no trial is complete yet", dim=True)
        params = format_params(self._best.params)
        score = f"best {self._metric} {self._score(self._best.value)}"
        return line(f"{score}, trial {self._best.number}: {params}")

    def _running_table(self) -> str:
        if self._final or self._finalists or self._repeats or not self._running:
            return ""
        shown = list(self._running.items())[:_SHOWN_RUNNING]
        rows = [
            (
                number,
                progress_of(spec, report),
                self._score(value),
                format_params({k: v for k, v in spec.params.items() if k != "epochs"})[:90],
            )
            for number, (spec, report, value) in shown
        ]
        more = len(self._running) - len(shown)
        note = line(f"and {more} more", dim=True) if more > 0 else ""
        unit = "step" if self._unit == "report" else "epoch"
        return table(["trial", unit, self._metric, "hyperparameters"], rows) + note


class NotebookComparisonObserver(ComparisonObserver):
    """Shows in one display how a comparison goes."""

    def __init__(self) -> None:
        self._display = Display()
        self._lines: list[str] = []
        self._show("starting")

    def search_started(self, sampler: str, seed: int, number: int, of: int) -> None:
        self._show(f"{sampler}, seed {seed}: search {number} of {of}")

    def search_ended(self, search: SearchRecord, best: float | None) -> None:
        score = "no score" if best is None else f"best {best:.4f}"
        self._lines.append(
            f"{search.sampler}, seed {search.seed}: {len(search.trials)} trials, {score}"
        )
        self._show("")

    def ended(self, comparison: Comparison) -> None:
        rows = [cells(row) for row in comparison.table] if comparison.searches else []
        self._display.show(
            block(
                heading("Cotune: samplers compared"),
                table(list(HEADINGS), rows),
                line(str(comparison.path / "compare.html"), dim=True),
            )
        )

    def _show(self, doing: str) -> None:
        said = [line(one, dim=True) for one in self._lines]
        now = [line(f"{doing} ...")] if doing else []
        self._display.show(block(heading("Cotune: samplers compared"), *said, *now))
