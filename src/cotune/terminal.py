"""What people see in the terminal: a live display, plain lines, and the summary of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cotune.duration import format_duration
from cotune.observer import Observer
from cotune.results import FinalResult, Report, Summary, TrialResult, TrialSpec
from cotune.rundir import RunDirectory

_LINE_SECONDS = 2.0  # between two plain lines, unless a trial is the best so far
_SHOWN_RUNNING = 8


def make_observer(quiet: bool) -> Observer:
    """A live display on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Observer()
    console = Console(stderr=True, highlight=False)
    return LiveObserver(console) if console.is_terminal else PlainObserver(console)


class _Counting(Observer):
    """Keeps what both displays show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts = {"complete": 0, "pruned": 0, "failed": 0}
        self._best: TrialResult | None = None
        self._metric = "accuracy"
        self._began = time.monotonic()
        self._timeout: float | None = None

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        config = run.config()
        self._metric = config["metric"]
        self._began, self._timeout = began, timeout
        self._console.print(_headline(config), markup=False)
        self._console.print(f"writing to {run.path}", style="dim", markup=False, soft_wrap=True)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        self._counts[trial.state] += 1
        self._best = best

    @property
    def _time_left(self) -> str:
        elapsed = time.monotonic() - self._began
        if self._timeout is None:
            return f"{format_duration(elapsed)} gone"
        return f"{format_duration(self._timeout - elapsed)} left"

    def _score(self, value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"


class PlainObserver(_Counting):
    """Lines for logs and pipes: every new best trial, and others as they end, not too many."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._said = 0.0

    def _is_due(self) -> bool:
        return time.monotonic() - self._said >= _LINE_SECONDS

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(line, markup=False, soft_wrap=True)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        is_best = best is not None and best.number == trial.number
        if not is_best and not self._is_due():
            return
        leader = f", best {self._score(best.value)} (trial {best.number})" if best else ""
        why = f" ({trial.reason})" if trial.state == "failed" else ""
        self._say(
            f"trial {trial.number} {trial.state}{why}: {self._metric} {self._score(trial.value)} "
            f"after {_epochs(trial.epochs)}{leader}, {self._time_left}"
        )

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._say(_final_line(trial, spec))

    def final_reported(self, report: Report) -> None:
        if self._is_due():
            self._say(
                f"final model: epoch {report.epoch}, training loss {report.train_loss:.4f}, "
                f"{self._time_left}"
            )


class LiveObserver(_Counting):
    """A display that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None
        self._running: dict[int, tuple[TrialSpec, Report | None, float | None]] = {}
        self._final: tuple[TrialSpec, Report | None] | None = None

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        super().run_started(run, began, timeout)
        self._live = Live(
            console=self._console,
            refresh_per_second=8,
            transient=True,
            get_renderable=self._render,
        )
        self._live.start()

    def trial_started(self, spec: TrialSpec) -> None:
        self._running[spec.number] = (spec, None, None)

    def trial_reported(self, report: Report, value: float) -> None:
        self._running[report.number] = (self._running[report.number][0], report, value)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        self._running.pop(trial.number, None)

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._final = (spec, None)
        self._console.print(_final_line(trial, spec), markup=False)

    def final_reported(self, report: Report) -> None:
        if self._final:
            self._final = (self._final[0], report)

    def final_ended(self, final: FinalResult) -> None:
        self._final = None

    def run_ended(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _render(self) -> RenderableType:
        elapsed = time.monotonic() - self._began
        counts = ", ".join(f"{count} {state}" for state, count in self._counts.items())
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._timeout, completed=elapsed, width=30)
        head.add_row(bar if self._timeout else Text(), Text(self._time_left), Text(counts))
        parts: list[RenderableType] = [head]
        if self._best:
            parts.append(
                Text(
                    f"best {self._metric} {self._score(self._best.value)}, "
                    f"trial {self._best.number}: {format_params(self._best.params)}",
                    style="green",
                )
            )
        if self._running and not self._final:
            parts.append(self._running_table())
        if self._final:
            spec, report = self._final
            epoch, loss = (report.epoch, report.train_loss) if report else (0, float("nan"))
            row = Table.grid(padding=(0, 2))
            row.add_row(
                "final model",
                ProgressBar(total=spec.epochs, completed=epoch, width=20),
                f"epoch {epoch} of {spec.epochs}",
                f"training loss {loss:.4f}" if report else "",
            )
            parts.append(row)
        return Group(*parts)

    def _running_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("trial", "epoch", self._metric, "hyperparameters"):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for number, (spec, report, value) in list(self._running.items())[:_SHOWN_RUNNING]:
            table.add_row(
                str(number),
                f"{report.epoch if report else 0}/{spec.epochs}",
                self._score(value),
                Text(format_params(spec.params)),
            )
        hidden = len(self._running) - _SHOWN_RUNNING
        if hidden > 0:
            table.add_row("", "", "", f"and {hidden} more")
        return table


def print_run(run: RunDirectory, console: Console | None = None) -> None:
    """Print where a run stands or how it ended: best trial, counts, scores, files."""
    console = console or Console(highlight=False)
    config, summary = run.config(), run.summary()
    console.print(_headline(config), markup=False, soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(config, summary):
        table.add_row(name, Text(value))
    table.add_row("files", Text(_files(run)))
    console.print(table)
    if summary.message:
        console.print(f"note: {summary.message}", markup=False, soft_wrap=True)


def format_params(params: Mapping[str, Any]) -> str:
    """``n_layers 2, lr 0.00123``: hyperparameters on one line."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in params.items())


def format_value(value: Any) -> str:
    """A hyperparameter's value, floats to three figures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _rows(config: Mapping[str, Any], summary: Summary) -> list[tuple[str, str]]:
    counts, seconds = summary.trials, summary.seconds
    rows: list[tuple[str, str]] = [("state", summary.state)]
    trials = ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed"))
    rows.append(
        ("trials", trials + (f", {counts['running']} running" if counts["running"] else ""))
    )
    rows.append(
        (
            "time",
            f"{seconds['total']:.1f} s: search {seconds['search']:.1f} s "
            f"(Optuna and storage {seconds['study']:.1f} s), final model {seconds['final']:.1f} s",
        )
    )
    best = summary.best
    if best:
        rows.append(("best trial", str(best["number"])))
        rows += [(f"  {name}", format_value(value)) for name, value in best["params"].items()]
        accuracy = f"{best['validation_accuracy']:.2%} (optimistic: it was chosen by this data)"
        if config["metric"] != "accuracy":
            rows.append((f"validation {config['metric']}", f"{best['value']:.4f}"))
            accuracy = f"{best['validation_accuracy']:.2%}"
        rows.append(("validation accuracy", accuracy))
    if summary.final:
        low, high = summary.final["test_ci95"]
        rows.append(
            (
                "test accuracy",
                f"{summary.final['test_accuracy']:.2%} "
                f"(95 % interval {low:.2%} to {high:.2%}, "
                f"{config['dataset']['rows']['test']:,} rows read once)",
            )
        )
        rows.append(
            (
                "final model",
                f"{summary.final['parameters']:,} parameters, {_epochs(summary.final['epochs'])} "
                "on training + validation data",
            )
        )
    return rows


def _files(run: RunDirectory) -> str:
    lines = [f"{run.path}"]
    for path, what in (
        (run.report_path, "the report"),
        (run.best_path / "model.safetensors", "the model"),
        (run.trials_path, "all trials"),
        (run.journal_path, "the study, for optuna-dashboard"),
    ):
        if path.exists():
            lines.append(f"  {path.relative_to(run.path)}  {what}")
    return "\n".join(lines)


def _headline(config: Mapping[str, Any]) -> str:
    rows, data = config["dataset"]["rows"], config["dataset"]
    where = (
        "the GPU"
        if config["device"] == "cuda"
        else f"{config['workers']} worker process{'es' if config['workers'] != 1 else ''}"
    )
    return (
        f"{data['name']}: {rows['train']:,} rows to train on, {rows['validation']:,} to validate, "
        f"{rows['test']:,} sealed for the test; {len(data['classes'])} classes; {where}"
    )


def _final_line(trial: TrialResult, spec: TrialSpec) -> str:
    return (
        f"training the final model as trial {trial.number} on training + validation data, "
        f"{_epochs(spec.epochs)}: {format_params(trial.params)}"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch" + ("" if count == 1 else "s")
