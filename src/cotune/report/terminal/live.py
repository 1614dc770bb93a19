"""A live display that is redrawn in place, and the choice between it and plain lines."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cotune.records import EpochReport, TrialSpec
from cotune.report.notebook.front_end import has_front_end
from cotune.report.terminal.following import FollowingObserver, progress_of
from cotune.report.terminal.lines import format_params, make_console
from cotune.report.terminal.plain import PlainObserver
from cotune.runs.directory import RunDirectory
from cotune.tuning.observer import Observer

_SHOWN_RUNNING = 8


def make_observer(quiet: bool) -> Observer:
    """Return a live display in a notebook or on a terminal, plain lines elsewhere.

    Args:
        quiet: Return one that shows nothing.
    """
    if quiet:
        return Observer()
    if has_front_end():
        from cotune.report.notebook.live import NotebookObserver

        return NotebookObserver()
    console = make_console(stderr=True)
    return LiveObserver(console) if console.is_terminal else PlainObserver(console)


class LiveObserver(FollowingObserver):
    """A display that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None
        self._rows = 0

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        super().run_started(run, began, timeout)
        self._live = Live(
            console=self._console,
            refresh_per_second=8,
            transient=True,
            get_renderable=self._render,
        )
        self._live.start()

    def run_ended(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _render(self) -> RenderableType:
        if self._final:
            return self._final_bar(*self._final)
        if self._finalists:
            return Text(
                f"{self._time_left}  finalists: {self._finalists[1]} epochs in all, "
                f"rounds: {self._finalists[0]} at most"
            )
        if self._repeats:
            ended, count = self._repeats
            return Text(f"{self._time_left}  finalists: {ended} of {count} runs have ended")
        parts: list[RenderableType] = [self._progress_line()]
        if self._best:
            score = f"best {self._metric} {self._score(self._best.value)}, "
            params = format_params(self._best.params)
            parts.append(Text(f"{score}trial {self._best.number}: {params}", style="green"))
        return Group(*parts, self._running_table())

    def _progress_line(self) -> RenderableType:
        """Return a bar of the time or the trials used, whichever is further, and counts."""
        return self._bar_line(self._share, 1.0, f"{self._time_left}  {self._counted}")

    def _final_bar(self, spec: TrialSpec, report: EpochReport | None) -> RenderableType:
        epoch = report.epoch if report else 0
        loss = f", training loss {report.train_loss:.4f}" if report else ""
        text = f"{self._time_left}  final model: epoch {epoch} of {spec.epochs}{loss}"
        return self._bar_line(epoch, spec.epochs, text)

    def _bar_line(self, completed: float, total: float, text: str) -> RenderableType:
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total, completed=completed, width=self._console.width // 4)
        line.add_row(bar, Text(text, no_wrap=True, overflow="ellipsis"))
        return line

    def _running_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        # Fixed widths, so that nothing moves from one picture to the next.
        step = "step" if self._unit == "report" else "epoch"
        for column, width in (
            ("trial", 5),
            (step, 7),
            (self._metric, max(8, len(self._metric))),
        ):
            table.add_column(column, width=width, justify="right", no_wrap=True)
        table.add_column("hyperparameters")
        shown = list(self._running.items())[:_SHOWN_RUNNING]
        for number, (spec, report, value) in shown:
            params = {name: v for name, v in spec.params.items() if name != "epochs"}
            table.add_row(
                str(number),
                progress_of(spec, report),
                self._score(value),
                Text(format_params(params), no_wrap=True, overflow="ellipsis"),
            )
        hidden = len(self._running) - _SHOWN_RUNNING
        if hidden > 0:
            table.add_row("", "", "", f"and {hidden} more")
        # A place is empty for an instant between two trials; the display keeps its height.
        self._rows = max(self._rows, table.row_count)
        for _ in range(self._rows - table.row_count):
            table.add_row()
        return table
