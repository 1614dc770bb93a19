"""The summary of a run: what ``cotune show`` prints, and what a run prints when it ends."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from cotune.records import FinalResult, ObjectiveFinalist
from cotune.report.gain import gain_over
from cotune.report.terminal.lines import (
    baseline_line,
    calibration_line,
    columns_line,
    data_line,
    format_value,
    make_console,
)
from cotune.runs.config import ObjectiveConfig, RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, FinalSummary, Summary, TrialCounts
from cotune.text import counted

_LABEL_WIDTH = 21

Rows = list[tuple[str, str]]
"""Labels and what stands beside them."""


def print_run(run: RunDirectory, console: Console | None = None) -> None:
    """Print where a run stands or how it ended: data, best trial, counts, scores, files."""
    console = console or make_console()
    config, summary = run.config(), run.summary()
    if isinstance(config, ObjectiveConfig):
        rows = _objective_rows(config, summary)
    else:
        rows = _rows(config, summary, len(run.readings()))
        rows += _trust_rows(run.final())
    rows += _files(run)
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


def _rows(config: RunConfig, summary: Summary, readings: int) -> Rows:
    rows = [
        ("state", summary.state),
        ("data", data_line(config)),
        ("trials", _trials_line(summary.trials)),
        ("time", f"{_time_line(summary)}, final model {summary.seconds.final:.1f} s"),
    ]
    if summary.lanes.mean:
        rows.append(("lanes", _lanes_line(summary)))
    if summary.best:
        rows += _best_rows(config, summary.best, is_chosen=summary.final is not None)
    for one in summary.pareto:
        costs = [_cost(name, value) for name, value in one.costs.items()]
        front = ", ".join([f"trial {one.number}: {one.value:.4f}", *costs])
        rows.append(("on the Pareto front", front))
    if summary.final:
        rows += _final_rows(config, summary.final, readings)
        if summary.final.warning:
            rows.append(("warning", summary.final.warning))
    return rows


def _best_rows(config: RunConfig, best: BestTrial, *, is_chosen: bool) -> Rows:
    rows = [("chosen trial" if is_chosen else "best trial", str(best.number)), *_params(best)]
    optimistic = " (optimistic: it was chosen by this data)"
    if best.search_best is not None and best.search_best != best.validation_accuracy:
        rows.append(("search's best", f"{best.search_best:.2%}{optimistic}"))
        optimistic = " in the search"
        if best.epochs:
            optimistic += f", after {counted(best.epochs, 'epoch')}"
    metric = config.metric
    if metric != "accuracy":
        value = "" if best.value is None else format_value(best.value)
        rows.append((f"validation {metric}", value))
        optimistic = ""
    rows.append(("validation accuracy", f"{best.validation_accuracy:.2%}{optimistic}"))
    if best.baseline:
        rows.append(("  baseline", baseline_line(best.baseline, config)))
    return rows


def _final_rows(config: RunConfig, final: FinalSummary, readings: int) -> Rows:
    rows = []
    metric = config.metric
    if final.validation_accuracy_mean is not None:
        sd = final.validation_accuracy_sd
        spread = "" if sd is None else f" +- {sd:.2%}"
        again = "trained again with fresh seeds on other folds"
        rows.append(("finalists' mean", f"{final.validation_accuracy_mean:.2%}{spread} ({again})"))
    if final.test_accuracy is None:
        rows.append(("test accuracy", "none: the data has no test set"))
    else:
        n_rows = config.dataset.rows.test
        note = f"{_interval(final.test_ci95)}, {n_rows:,} rows read {_often(readings)}"
        rows.append(("test accuracy", f"{final.test_accuracy:.2%} ({note})"))
    if metric != "accuracy" and final.test_scores:
        rows.append((f"test {metric}", _metric_line(metric, final)))
    if final.baseline_test_scores:
        rows.append(("  baseline", baseline_line(final.baseline_test_scores, config)))
    if final.default_test_accuracy is not None:
        rows.append(("default's test", _default_line(final)))
    if final.ensemble_test_accuracy is not None:
        note = f"{_interval(final.ensemble_test_ci95)}, {final.ensemble_members} networks"
        rows.append(("ensemble's test", f"{final.ensemble_test_accuracy:.2%} ({note})"))
    trained = f"{counted(final.epochs, 'epoch')} on training + validation data"
    rows.append(("final model", f"{final.parameters:,} parameters, {trained}"))
    return rows


def _trust_rows(final: FinalResult | None) -> Rows:
    """Return how far the final model's probabilities can be believed, and what they rest on."""
    rows = []
    if final is not None and final.calibration is not None:
        rows.append(("calibration", calibration_line(final.calibration)))
    if final is not None and final.columns is not None:
        rows.append(("columns", columns_line(final.columns)))
    return rows


def _objective_rows(config: ObjectiveConfig, summary: Summary) -> Rows:
    best = summary.best
    rows = [
        ("state", summary.state),
        ("objective", data_line(config)),
        ("trials", _trials_line(summary.trials)),
        ("time", _time_line(summary)),
    ]
    if not best:
        return rows
    rows.append(("chosen trial" if summary.finalists else "best trial", str(best.number)))
    rows += _params(best)
    rows.append(("value in the search", f"{best.value:.6g} (optimistic: it was chosen by it)"))
    rows += [(f"trial {one.number} again", _repeats_line(one)) for one in summary.finalists]
    if summary.finalists:
        rows.append(("", "No test data: the value is as good as what the objective judges by."))
    return rows


def _files(run: RunDirectory) -> Rows:
    rows = [("folder", str(run.path))]
    for path, label in (
        (run.report_path, "report"),
        (run.best_path / "model.safetensors", "model"),
        (run.ensemble_path / "ensemble.json", "ensemble"),
        (run.trials_path, "all trials"),
        (run.output_path, "output"),
        (run.journal_path, "Optuna study"),
    ):
        if path.exists():
            rows.append((f"  {label}", str(path.relative_to(run.path))))
    return rows


def _params(best: BestTrial) -> Rows:
    return [(f"  {name}", format_value(value)) for name, value in best.params.items()]


def _trials_line(counts: TrialCounts) -> str:
    line = f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
    return line + (f", {counts.running} running" if counts.running else "")


def _time_line(summary: Summary) -> str:
    seconds = summary.seconds
    return (
        f"{seconds.total:.1f} s: search {seconds.search:.1f} s "
        f"(Optuna and storage {seconds.study:.1f} s), finalists {seconds.finalists:.1f} s"
    )


def _lanes_line(summary: Summary) -> str:
    lanes = summary.lanes
    line = f"{lanes.mean:.1f} in a cohort on average; {lanes.together} trials trained together"
    if lanes.alone:
        why = "; ".join(summary.why_alone) or "no other shared batch size and batch norm then"
        line += f", {lanes.alone} alone ({why})"
    return line


def _metric_line(metric: str, final: FinalSummary) -> str:
    """Return the run's metric on the test set, beside the default's."""
    scores = final.test_scores or {}
    if metric not in scores:
        return "none: all rows are of one class"
    line = f"{scores[metric]:.4f}"
    if final.default_test_scores and not final.default_chosen:
        line += f" (the default's: {final.default_test_scores[metric]:.4f})"
    return line


def _default_line(final: FinalSummary) -> str:
    accuracy, p_value = final.default_test_accuracy, final.default_p_value
    assert accuracy is not None
    if final.default_chosen or final.test_accuracy is None or p_value is None:
        return f"{accuracy:.2%} (nothing did better than the default configuration)"
    verb, points, noise = gain_over(accuracy, final.test_accuracy, p_value)
    return f"{accuracy:.2%} (tuning {verb} {points:.2%}, {noise} noise)"


def _repeats_line(finalist: ObjectiveFinalist) -> str:
    spread = "" if finalist.sd is None else f" +- {finalist.sd:.2g}"
    again = f"the objective's own value, of {counted(finalist.runs, 'run')} with fresh seeds"
    failed = f"; {finalist.failed} failed" if finalist.failed else ""
    return f"{finalist.mean:.6g}{spread} ({again}{failed})"


def _interval(interval: tuple[float, float] | None) -> str:
    assert interval is not None
    low, high = interval
    return f"95 % interval {low:.2%} to {high:.2%}"


def _cost(name: str, value: float) -> str:
    return f"{value:,.0f} parameters" if name == "parameters" else f"{value:.3g} ms a row"


def _often(count: int) -> str:
    return f"{count} times" if count > 1 else "once"
