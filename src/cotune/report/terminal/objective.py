"""Displays of a run of an objective: those of any run, and its finalists."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from cotune.records import ObjectiveFinalist, TrialResult
from cotune.report.terminal.lines import make_console
from cotune.report.terminal.live import LiveObserver
from cotune.report.terminal.plain import PlainObserver
from cotune.tuning.observer import Observer


def make_objective_observer(quiet: bool) -> Observer:
    """Return a live display on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Observer()
    console = make_console(stderr=True)
    return LiveObjective(console) if console.is_terminal else PlainObjective(console)


class PlainObjective(PlainObserver):
    """Lines for logs and pipes."""

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        self._say(_begin_line(trials, repeats))

    def repeats_ended(self, finalists: Sequence[ObjectiveFinalist]) -> None:
        if finalists:
            self._say(_end_line(finalists[0]))


class LiveObjective(LiveObserver):
    """A display that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._calls: list[int] = []  # of finalists: that ended, and all

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        self._calls = [0, len(trials) * repeats]
        self._console.print(_begin_line(trials, repeats))

    def repeat_ended(self, number: int, value: float | None) -> None:
        self._calls[0] += 1

    def repeats_ended(self, finalists: Sequence[ObjectiveFinalist]) -> None:
        if finalists:
            self._console.print(_end_line(finalists[0]))

    def _render(self) -> RenderableType:
        if not self._calls:
            return super()._render()
        ended, count = self._calls
        return Text(f"{self._time_left}  finalists: {ended} of {count} runs have ended")


def _begin_line(trials: Sequence[TrialResult], repeats: int) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials)
    times = "once" if repeats == 1 else f"{repeats} times"
    return f"finalists: trials {numbers}, run again {times} with fresh seeds"


def _end_line(finalist: ObjectiveFinalist) -> str:
    spread = "" if finalist.sd is None else f" +- {finalist.sd:.2g}"
    return f"best finalist: trial {finalist.number}, mean value {finalist.mean:.6g}{spread}"
