"""All that the report reads from a run directory, gathered once."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from cotune.exceptions import StorageError
from cotune.metrics import METRICS
from cotune.records import EpochReport, FinalResult
from cotune.runs.config import ObjectiveConfig, RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary

if TYPE_CHECKING:
    import optuna

_FIXED = 6
"""The columns of ``trials.csv`` before the hyperparameters."""


def label_of(metric: str) -> str:
    """Return what a trial's value is called; ``value`` is that of an objective."""
    return METRICS[metric].label if metric in METRICS else "value of the objective"


@dataclass(frozen=True)
class Row:
    """A finished trial as ``trials.csv`` has it.

    Attributes:
        epochs: Epochs that were trained.
        seconds: Wall clock the engine spent on it.
        params: Text of the hyperparameters that exist for it, by name.
    """

    number: int
    state: str
    value: float | None
    epochs: str
    seconds: float | None
    reason: str
    params: dict[str, str]


@dataclass(frozen=True)
class Contents:
    """A run as the report sees it. ``study`` is None when the run ended before it was made."""

    config: RunConfig | ObjectiveConfig
    config_text: str
    summary: Summary
    final: FinalResult | None
    curves: dict[int, list[EpochReport]]
    trials: list[Row]
    study: optuna.Study | None

    @property
    def metric(self) -> str:
        """Return one of :data:`cotune.metrics.METRICS`; ``value`` for a run of an objective."""
        known = self.config.metric in METRICS or self.config.metric == "value"
        return self.config.metric if known else "accuracy"

    @property
    def maximize(self) -> bool:
        if isinstance(self.config, ObjectiveConfig):
            return self.config.direction == "maximize"
        return self.metric != "loss"

    @property
    def best(self) -> int | None:
        """Return the number of the trial that was chosen."""
        return self.summary.best.number if self.summary.best else None

    @property
    def classes(self) -> list[str]:
        return [] if isinstance(self.config, ObjectiveConfig) else self.config.dataset.classes

    def class_name(self, index: float) -> str:
        """Return the name of a class, or its index where the configuration does not name it."""
        position = int(index)
        names = self.classes
        return names[position] if 0 <= position < len(names) else str(position)

    def ranked(self) -> list[Row]:
        """Return the complete, then the pruned, then the failed trials, best value first."""
        order = {"complete": 0, "pruned": 1, "failed": 2}
        sign = -1.0 if self.maximize else 1.0
        return sorted(
            self.trials,
            key=lambda row: (
                order.get(row.state, 3),
                row.value is None,
                sign * (row.value or 0.0),
                row.number,
            ),
        )

    def commonest_failure(self) -> tuple[str, int] | None:
        """Return the reason that failed most trials, and how many."""
        reasons = Counter(row.reason for row in self.trials if row.state == "failed" and row.reason)
        return reasons.most_common(1)[0] if reasons else None


def gather(run: RunDirectory) -> Contents:
    """Read a run directory; what an interrupted run did not get to write is empty.

    Raises:
        StorageError: A file is there and cannot be read.
    """
    from cotune.study.journal import load_study

    study = _by_metric(load_study(run.journal_path)) if run.journal_path.exists() else None
    config = run.config()
    if isinstance(config, ObjectiveConfig):
        curves = _reported_steps(study) if study else {}
    else:
        curves = run.tables.curves() if run.curves_path.exists() else {}
    return Contents(
        config=config,
        config_text=run.config_path.read_text(encoding="utf-8"),
        summary=run.summary(),
        final=run.final(),
        curves=curves,
        trials=_trials(run) if run.trials_path.exists() else [],
        study=study,
    )


def _reported_steps(study: optuna.Study) -> dict[int, list[EpochReport]]:
    """Return an objective's reports by trial: the step as the epoch, the score as ``value``."""
    return {
        trial.number: [
            EpochReport(trial.number, step, nan, nan, {"value": value}, 0.0, 0)
            for step, value in sorted(trial.intermediate_values.items())
        ]
        for trial in study.get_trials(deepcopy=False)
    }


def _by_metric(study: optuna.Study) -> optuna.Study:
    """Return the study; one with costs as objectives is copied with its metric alone."""
    if len(study.directions) == 1:
        return study
    import optuna

    view = optuna.create_study(direction=study.directions[0])
    for trial in study.get_trials(deepcopy=False):
        view.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                value=trial.values[0] if trial.values else None,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=trial.user_attrs,
            )
        )
    return view


def _trials(run: RunDirectory) -> list[Row]:
    # By position: a hyperparameter may have the name of one of the first columns (epochs has).
    rows = []
    try:
        with open(run.trials_path, newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            names = next(lines, [])[_FIXED:]
            for line in lines:
                number, state, value, epochs, seconds, reason = line[:_FIXED]
                params = dict(zip(names, line[_FIXED:], strict=False))
                rows.append(
                    Row(
                        number=int(number),
                        state=state,
                        value=float(value) if value else None,
                        epochs=epochs,
                        seconds=float(seconds) if seconds else None,
                        reason=reason,
                        params={name: text for name, text in params.items() if text != ""},
                    )
                )
    except (OSError, ValueError, csv.Error) as error:
        raise StorageError(f"{run.trials_path}: cannot be read: {error}") from error
    return rows
