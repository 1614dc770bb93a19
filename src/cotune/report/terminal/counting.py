"""What both displays of a run share: lines at its turns, and the counts of its trials."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from cotune.records import Finalist, ObjectiveFinalist, TrialResult, TrialSpec
from cotune.report.terminal.lines import baseline_line, data_line, format_params
from cotune.runs.config import ObjectiveConfig, RunConfig
from cotune.runs.directory import RunDirectory
from cotune.text import counted, format_duration
from cotune.tuning.observer import Observer


class CountingObserver(Observer):
    """Lines at the turns of a run, counts of its trials and the best one."""

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
        self._metric, self._n_trials = config.metric, config.n_trials
        self._unit = "report" if isinstance(config, ObjectiveConfig) else "epoch"
        self._began, self._timeout = began, timeout
        # A log's lines stay whole.
        self._console.print(data_line(config), soft_wrap=not self._console.is_terminal)
        described = config if isinstance(config, ObjectiveConfig) else config.dataset
        for remark in described.remarks:
            self._console.print(remark, style="dim", soft_wrap=True)
        for note in config.notes:
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
            f"resumed: {len(finished)} trials have finished, {len(running)} were in training",
            style="dim",
        )

    def engine_lost(self, reason: str) -> None:
        self._console.print(f"a worker process was replaced: {reason}", style="yellow")

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        self._counts[trial.state] += 1
        self._best = best

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        self._say(
            f"finalists: trials {_numbers(trials)}, trained again on other folds, "
            f"rounds: {rounds} at most"
        )

    def finalists_ended(self, finalists: Sequence[Finalist]) -> None:
        for best in finalists[:1]:
            self._say(f"best finalist: trial {best.number}, mean {self._metric} {best.value:.4f}")

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        times = "once" if repeats == 1 else f"{repeats} times"
        self._say(f"finalists: trials {_numbers(trials)}, run again {times} with fresh seeds")

    def repeats_ended(self, finalists: Sequence[ObjectiveFinalist]) -> None:
        for best in finalists[:1]:
            spread = "" if best.sd is None else f" +- {best.sd:.2g}"
            self._say(f"best finalist: trial {best.number}, mean value {best.mean:.6g}{spread}")

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._say(
            f"training the final model as trial {trial.number} on training + validation data, "
            f"{counted(spec.epochs, 'epoch')}: {format_params(trial.params)}"
        )

    def _say(self, line: str) -> None:
        self._console.print(line)

    @property
    def _time_left(self) -> str:
        elapsed = time.monotonic() - self._began
        if self._timeout is None:
            return f"{format_duration(elapsed)} gone"
        return f"{format_duration(self._timeout - elapsed)} left"

    def _score(self, value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"


def _numbers(trials: Sequence[TrialResult]) -> str:
    return ", ".join(str(trial.number) for trial in trials)


def _baseline_at_start(config: RunConfig | ObjectiveConfig) -> str:
    if isinstance(config, ObjectiveConfig) or not config.dataset.baseline:
        return ""
    return f"baseline: {baseline_line(config.dataset.baseline, config)}"


def _where(config: RunConfig | ObjectiveConfig) -> str:
    if isinstance(config, RunConfig) and config.cluster is not None:
        cluster = config.cluster
        is_local = cluster.address == "local"  # localhost:PORT is an address
        where = "on this machine" if is_local else f"at {cluster.address}"
        return f"{cluster.actors} on the Ray cluster {where}"
    if isinstance(config, RunConfig) and config.device != "cpu":
        return "the GPU"
    if not config.workers:
        return "this process"
    return counted(config.workers, "worker process", "es")
