"""What people see in the terminal: a live display, plain lines, and the summary of a run."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cotune.records import (
    FINAL_NUMBER,
    SIGNIFICANT,
    Finalist,
    FinalResult,
    Report,
    Summary,
    TrialResult,
    TrialSpec,
)
from cotune.runs.config import OBJECTIVE
from cotune.runs.directory import RunDirectory
from cotune.text import format_duration, shown_class, shown_score
from cotune.tuning.observer import Observer

_LINE_SECONDS = 2.0  # between two plain lines, unless a trial is the best so far
_SHOWN_RUNNING = 8
_LABEL_WIDTH = 21
_NO_COSTS = ("number", "value")


def make_observer(quiet: bool) -> Observer:
    """A live display on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Observer()
    console = make_console(stderr=True)
    return LiveObserver(console) if console.is_terminal else PlainObserver(console)


def make_console(stderr: bool = False) -> Console:
    """A console that prints text as it is: names from data may look like rich's markup."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


class _Counting(Observer):
    """Keeps what both displays show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts = {"complete": 0, "pruned": 0, "failed": 0}
        self._best: TrialResult | None = None
        self._metric = "accuracy"
        self._unit = "epoch"  # what a trial's length is counted in
        self._began = time.monotonic()
        self._timeout: float | None = None
        self._n_trials: int | None = None

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        config = run.config()
        self._metric, self._n_trials = config["metric"], config.get("n_trials")
        self._unit = "report" if config.get("kind") == OBJECTIVE else "epoch"
        self._began, self._timeout = began, timeout
        # A log's lines stay whole.
        self._console.print(_data_line(config), soft_wrap=not self._console.is_terminal)
        for remark in config.get("dataset", config).get("remarks", ()):
            self._console.print(remark, style="dim", soft_wrap=True)
        for note in config.get("notes", ()):
            self._console.print(note, style="yellow", soft_wrap=True)
        if line := _baseline_at_start(config):
            self._console.print(line, style="dim", soft_wrap=True)
        where = f"{_where(config)}, writing to {run.path}"
        self._console.print(where, style="dim", soft_wrap=True)

    def resumed(
        self,
        finished: Sequence[TrialResult],
        running: Sequence[TrialSpec],
        best: TrialResult | None,
    ) -> None:
        for trial in finished:
            self._counts[trial.state] += 1
        self._best = best
        self._console.print(
            f"going on: {len(finished)} trials have finished, {len(running)} were in training",
            style="dim",
        )

    def engine_lost(self, reason: str) -> None:
        self._console.print(f"a worker process was replaced: {reason}", style="yellow")

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
        self._console.print(line, soft_wrap=True)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        is_best = best is not None and best.number == trial.number
        if not is_best and not self._is_due():
            return
        leader = f", best {self._score(best.value)} (trial {best.number})" if best else ""
        told = trial.state == "failed" or trial.stopped_early
        why = f" ({trial.reason})" if told else ""
        self._say(
            f"trial {trial.number} {trial.state}{why}: {self._metric} {self._score(trial.value)} "
            f"after {_counted(trial.epochs, self._unit)}{leader}, {self._time_left}"
        )

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        self._say(_finalists_line(trials, rounds))

    def finalists_ended(self, finalists: Sequence[Finalist]) -> None:
        if finalists:
            self._say(_finalist_line(finalists[0], self._metric))

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._say(_final_line(trial, spec))

    def final_reported(self, report: Report) -> None:
        if self._is_due() and report.number == FINAL_NUMBER:
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
        self._finalists: list[int] = []  # rounds, and epochs of all their trainings so far
        self._final: tuple[TrialSpec, Report | None] | None = None
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

    def resumed(
        self,
        finished: Sequence[TrialResult],
        running: Sequence[TrialSpec],
        best: TrialResult | None,
    ) -> None:
        super().resumed(finished, running, best)
        for spec in running:
            self.trial_started(spec)

    def trial_started(self, spec: TrialSpec) -> None:
        self._running[spec.number] = (spec, None, None)

    def trial_reported(self, report: Report, value: float) -> None:
        self._running[report.number] = (self._running[report.number][0], report, value)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        self._running.pop(trial.number, None)

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        self._finalists = [rounds, 0]
        self._console.print(_finalists_line(trials, rounds))

    def finalists_reported(self, report: Report) -> None:
        self._finalists[1] += 1

    def finalists_ended(self, finalists: Sequence[Finalist]) -> None:
        if finalists:
            self._console.print(_finalist_line(finalists[0], self._metric))

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._final = (spec, None)
        self._console.print(_final_line(trial, spec))

    def final_reported(self, report: Report) -> None:
        if self._final and report.number == self._final[0].number:
            self._final = (self._final[0], report)

    def final_ended(self, final: FinalResult) -> None:
        self._final = None

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
        parts: list[RenderableType] = [self._progress_line()]
        if self._best:
            score = f"best {self._metric} {self._score(self._best.value)}, "
            params = format_params(self._best.params)
            parts.append(Text(f"{score}trial {self._best.number}: {params}", style="green"))
        return Group(*parts, self._running_table())

    def _progress_line(self) -> RenderableType:
        """A bar for the time or the trials that are gone, whichever is further, and counts."""
        shares = [0.0]
        if self._timeout:
            shares.append((time.monotonic() - self._began) / self._timeout)
        if self._n_trials:
            shares.append(sum(self._counts.values()) / self._n_trials)
        counts = ", ".join(f"{count} {state}" for state, count in self._counts.items())
        return self._bar_line(max(shares), 1.0, f"{self._time_left}  {counts}")

    def _final_bar(self, spec: TrialSpec, report: Report | None) -> RenderableType:
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
                _progress(spec, report),
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


def _progress(spec: TrialSpec, report: Report | None) -> str:
    """``3/10``; of an objective, which does not say how far it goes, its last step."""
    if "epochs" in spec.params:
        return f"{report.epoch if report else 0}/{spec.epochs}"
    return str(report.epoch) if report else "-"


def print_run(run: RunDirectory, console: Console | None = None) -> None:
    """Print where a run stands or how it ended: data, best trial, counts, scores, files."""
    console = console or make_console()
    config, summary = run.config(), run.summary()
    if run.is_of_objective:
        rows = [*_objective_rows(config, summary), *_files(run)]
    else:
        rows = [*_rows(config, summary, len(run.readings())), *_files(run)]
    if summary.message:
        rows.append(("note", summary.message))
    # Wrapped for people; in a pipe every line stays whole.
    indent = max(_LABEL_WIDTH, *(len(label) + 1 for label, _ in rows))
    width = max(20, console.width - indent) if console.is_terminal else 1_000_000
    for label, value in rows:
        lines = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False)
        text = Text(label.ljust(indent), style="dim")
        text.append(f"\n{' ' * indent}".join(lines), style="not dim")
        console.print(text, soft_wrap=True)


def format_params(params: Mapping[str, Any]) -> str:
    """``n_layers 2, lr 0.00123``: hyperparameters on one line."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in params.items())


def format_value(value: Any) -> str:
    """A hyperparameter's value, floats to three figures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _lanes_line(summary: Summary) -> str:
    lanes = summary.lanes
    line = (
        f"{lanes['mean']:.1f} in a cohort on average; {lanes['together']} trials trained together"
    )
    if lanes["alone"]:
        why = "; ".join(summary.why_alone) or "no other shared batch size and batch norm then"
        line += f", {lanes['alone']} alone ({why})"
    return line


def _rows(config: Mapping[str, Any], summary: Summary, readings: int) -> list[tuple[str, str]]:
    seconds = summary.seconds
    rows: list[tuple[str, str]] = [("state", summary.state), ("data", _data_line(config))]
    rows.append(("trials", _trials_line(summary.trials)))
    rows.append(
        (
            "time",
            f"{seconds['total']:.1f} s: search {seconds['search']:.1f} s "
            f"(Optuna and storage {seconds['study']:.1f} s), finalists "
            f"{seconds.get('finalists', 0.0):.1f} s, final model {seconds['final']:.1f} s",
        )
    )
    if summary.lanes.get("mean"):
        rows.append(("lanes", _lanes_line(summary)))
    best = summary.best
    if best:
        rows.append(("chosen trial" if summary.final else "best trial", str(best["number"])))
        rows += [(f"  {name}", format_value(value)) for name, value in best["params"].items()]
        optimistic = " (optimistic: it was chosen by this data)"
        best_of_all = best.get("search_best")
        if best_of_all is not None and best_of_all != best["validation_accuracy"]:
            rows.append(("search's best", f"{best_of_all:.2%}{optimistic}"))
            optimistic = " in the search"
        if config["metric"] != "accuracy":
            rows.append((f"validation {config['metric']}", format_value(best.get("value", ""))))
            optimistic = ""
        rows.append(("validation accuracy", f"{best['validation_accuracy']:.2%}{optimistic}"))
        if best.get("baseline"):
            rows.append(("  baseline", baseline_line(best["baseline"], config)))
    for one in summary.pareto:
        costs = [_cost(name, value) for name, value in one.items() if name not in _NO_COSTS]
        front = ", ".join([f"trial {one['number']}: {one['value']:.4f}", *costs])
        rows.append(("on the Pareto front", front))
    if summary.final:
        rows += _final_rows(config, summary.final, readings)
        if summary.final.get("warning"):
            rows.append(("warning", summary.final["warning"]))
    return rows


def _trials_line(counts: Mapping[str, int]) -> str:
    trials = ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed"))
    return trials + (f", {counts['running']} running" if counts["running"] else "")


def _objective_rows(config: Mapping[str, Any], summary: Summary) -> list[tuple[str, str]]:
    seconds, best = summary.seconds, summary.best
    rows = [
        ("state", summary.state),
        ("objective", _data_line(config)),
        ("trials", _trials_line(summary.trials)),
        (
            "time",
            f"{seconds['total']:.1f} s: search {seconds['search']:.1f} s "
            f"(Optuna and storage {seconds['study']:.1f} s), finalists "
            f"{seconds.get('finalists', 0.0):.1f} s",
        ),
    ]
    if not best:
        return rows
    rows.append(("chosen trial" if summary.finalists else "best trial", str(best["number"])))
    rows += [(f"  {name}", format_value(value)) for name, value in best["params"].items()]
    rows.append(("value in the search", f"{best['value']:.6g} (optimistic: it was chosen by it)"))
    for one in summary.finalists:
        spread = "" if one.get("sd") is None else f" +- {one['sd']:.2g}"
        again = f"the objective's own value, of {_counted(one['runs'], 'run')} with fresh seeds"
        failed = f"; {one['failed']} failed" if one["failed"] else ""
        rows.append(
            (f"trial {one['number']} again", f"{one['mean']:.6g}{spread} ({again}{failed})")
        )
    if summary.finalists:
        rows.append(("", "No test data: the value is as good as what the objective judges by."))
    return rows


def _final_rows(
    config: Mapping[str, Any], final: Mapping[str, Any], readings: int
) -> list[tuple[str, str]]:
    rows = []
    if final.get("validation_accuracy_mean") is not None:
        sd = final["validation_accuracy_sd"]
        spread = "" if sd is None else f" +- {sd:.2%}"
        rows.append(
            (
                "finalists' mean",
                f"{final['validation_accuracy_mean']:.2%}{spread} (trained again with fresh seeds "
                "on other folds)",
            )
        )
    if final.get("test_accuracy") is None:
        rows.append(("test accuracy", "none: the data has no test set"))
    else:
        low, high = final["test_ci95"]
        rows.append(
            (
                "test accuracy",
                f"{final['test_accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
                f"{config['dataset']['rows']['test']:,} rows read {_often(readings)})",
            )
        )
    if config["metric"] != "accuracy" and final.get("test_scores"):
        rows.append((f"test {config['metric']}", _metric_line(config["metric"], final)))
    if final.get("baseline_test_scores"):
        rows.append(("  baseline", baseline_line(final["baseline_test_scores"], config)))
    if final.get("default_test_accuracy") is not None:
        rows.append(("default's test", _default_line(final)))
    if final.get("ensemble_test_accuracy") is not None:
        low, high = final["ensemble_test_ci95"]
        rows.append(
            (
                "ensemble's test",
                f"{final['ensemble_test_accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
                f"{final['ensemble_members']} networks)",
            )
        )
    rows.append(
        (
            "final model",
            f"{final['parameters']:,} parameters, {_epochs(final['epochs'])} on training + "
            "validation data",
        )
    )
    return rows


def baseline_line(scores: Mapping[str, float], config: Mapping[str, Any] | None = None) -> str:
    """Tell what always predicting the most frequent class scores.

    Args:
        scores: The baseline's, by metric.
        config: The run's; without it all scores are told, else accuracy and the run's metric.
    """
    names = [name for name in scores if config is None or name in ("accuracy", config["metric"])]
    shown = [f"{name} {shown_score(name, scores[name])}" for name in names]
    return f"{', '.join(shown)} ({_of_baseline(config or {})})"


def _of_baseline(config: Mapping[str, Any]) -> str:
    name = config.get("dataset", {}).get("baseline_class")
    which = f"{shown_class(name)}, " if isinstance(name, str) else ""
    return f"always predicting {which}the most frequent class"


def _baseline_at_start(config: Mapping[str, Any]) -> str:
    scores = config.get("dataset", {}).get("baseline")
    return f"baseline: {baseline_line(scores, config)}" if scores else ""


def _metric_line(metric: str, final: Mapping[str, Any]) -> str:
    """The run's metric on the test set, which the default's accuracy says nothing of."""
    if metric not in final["test_scores"]:
        return "none: all rows are of one class"
    line = f"{final['test_scores'][metric]:.4f}"
    if final.get("default_test_scores") and not final["default_chosen"]:
        line += f" (the default's: {final['default_test_scores'][metric]:.4f})"
    return line


def _default_line(final: Mapping[str, Any]) -> str:
    accuracy, p_value = final["default_test_accuracy"], final["default_p_value"]
    if final["default_chosen"]:
        return f"{accuracy:.2%} (nothing did better than the default configuration)"
    verdict = "tuning " + ("gained" if final["test_accuracy"] >= accuracy else "lost")
    noise = "beyond" if p_value < SIGNIFICANT else "within"
    return f"{accuracy:.2%} ({verdict} {abs(final['test_accuracy'] - accuracy):.2%}, {noise} noise)"


def _files(run: RunDirectory) -> list[tuple[str, str]]:
    rows = [("folder", str(run.path))]
    for path, what in (
        (run.report_path, "report"),
        (run.best_path / "model.safetensors", "model"),
        (run.ensemble_path / "ensemble.json", "ensemble"),
        (run.trials_path, "all trials"),
        (run.output_path, "output"),
        (run.journal_path, "Optuna study"),
    ):
        if path.exists():
            rows.append((f"  {what}", str(path.relative_to(run.path))))
    return rows


def _data_line(config: Mapping[str, Any]) -> str:
    if config.get("kind") == OBJECTIVE:
        return f"{config['objective']}, {config['direction']}d"
    data, rows = config["dataset"], config["dataset"]["rows"]
    test = f"{rows['test']:,} sealed for the test" if rows["test"] else "no test set"
    return (
        f"{data['name']}: {len(data['classes'])} classes, {rows['train']:,} rows to train on, "
        f"{rows['validation']:,} to validate, {test}"
    )


def _where(config: Mapping[str, Any]) -> str:
    if config.get("device") == "cuda":
        return "the GPU"
    if config["workers"] == 0:
        return "this process"
    return f"{config['workers']} worker process" + ("" if config["workers"] == 1 else "es")


def _finalists_line(trials: Sequence[TrialResult], rounds: int) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials)
    return f"finalists: trials {numbers}, trained again on other folds, rounds: {rounds} at most"


def _finalist_line(finalist: Finalist, metric: str) -> str:
    return f"best finalist: trial {finalist.number}, mean {metric} {finalist.value:.4f}"


def _cost(name: str, value: float) -> str:
    return f"{value:,.0f} parameters" if name == "parameters" else f"{value:.3g} ms a row"


def _often(count: int) -> str:
    return f"{count} times" if count > 1 else "once"


def _final_line(trial: TrialResult, spec: TrialSpec) -> str:
    return (
        f"training the final model as trial {trial.number} on training + validation data, "
        f"{_epochs(spec.epochs)}: {format_params(trial.params)}"
    )


def _epochs(count: int) -> str:
    return _counted(count, "epoch")


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" + ("" if count == 1 else "s")
