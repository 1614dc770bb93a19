"""Runs for MLflow: a parent run, and one child a trial."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from typing import Any, Final

from cotune.exceptions import UsageError
from cotune.records import TrialResult
from cotune.report.trackers.tracker import Curve, Tracker, figures_of, settings_of
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary

_EXPERIMENT: Final = "cotune"
_LOCAL: Final = "sqlite:///mlflow.db"
_DIRECTORY: Final = "cotune.run_directory"
_STATES: Final = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_MOST_METRICS: Final = 1_000  # of one batch


class MLflowTracker(Tracker):
    """Writes to a tracking server or store.

    Args:
        where: Its URI; "" for ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in this folder.
    """

    name = "mlflow"

    def __init__(self, where: str = "") -> None:
        super().__init__()
        try:
            import mlflow  # noqa: F401 - whether it is there
        except ModuleNotFoundError:
            raise UsageError("log: mlflow is not installed; pip install 'cotune[mlflow]'") from None
        self._uri = where or os.environ.get("MLFLOW_TRACKING_URI") or _LOCAL
        self._client: Any = None
        self._experiment = ""
        self._parent = ""
        self._known: set[str] = set()  # numbers of trials that an earlier process has told

    def _begin(self, run: RunDirectory) -> None:
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # they tell of their database's tables
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = MlflowClient(self._uri)
        known = self._client.get_experiment_by_name(_EXPERIMENT)
        self._experiment = (
            known.experiment_id if known else self._client.create_experiment(_EXPERIMENT)
        )
        where = f"tags.`{_DIRECTORY}` = '{run.path}'"
        before = self._client.search_runs([self._experiment], where)
        if before:
            self._parent = before[0].info.run_id
            children = f"tags.`mlflow.parentRunId` = '{self._parent}'"
            for child in self._client.search_runs([self._experiment], children, max_results=50_000):
                self._known.add(child.data.tags.get("trial", ""))
            self._client.update_run(self._parent, status="RUNNING")
            return
        tags = {_DIRECTORY: str(run.path)}
        made = self._client.create_run(self._experiment, run_name=run.path.name, tags=tags)
        self._parent = made.info.run_id
        self._log(self._parent, settings_of(run), [])

    def _trial(self, trial: TrialResult, curve: Curve) -> None:
        if str(trial.number) in self._known:
            return
        tags = {"mlflow.parentRunId": self._parent, "trial": str(trial.number)}
        made = self._client.create_run(
            self._experiment, run_name=f"trial {trial.number}", tags=tags
        )
        if trial.value is not None:
            curve = [*curve, (trial.epochs, {"value": trial.value})]
        self._log(made.info.run_id, trial.params, curve)
        self._client.set_terminated(made.info.run_id, _STATES[trial.state])

    def _end(self, run: RunDirectory, summary: Summary, final: Curve) -> None:
        self._log(self._parent, {}, [*final, (0, figures_of(summary))])
        if summary.best is not None:
            best = {f"best_{name}": value for name, value in summary.best.params.items()}
            for name, value in best.items():
                self._client.set_tag(self._parent, name, str(value))
        if run.report_path.exists():
            self._client.log_artifact(self._parent, str(run.report_path))
        ended = {"complete": "FINISHED", "failed": "FAILED"}.get(summary.state, "KILLED")
        self._client.set_terminated(self._parent, ended)

    def _log(self, run_id: str, params: Any, curve: Curve) -> None:
        from mlflow.entities import Metric, Param

        now = int(datetime.now(UTC).timestamp() * 1e3)  # for people to read
        metrics = [
            Metric(name, value, now, epoch)
            for epoch, scores in curve
            for name, value in scores.items()
        ]
        named = [Param(name, str(value)) for name, value in params.items()]
        self._client.log_batch(run_id, params=named, metrics=metrics[:_MOST_METRICS])
        for first in range(_MOST_METRICS, len(metrics), _MOST_METRICS):
            self._client.log_batch(run_id, metrics=metrics[first : first + _MOST_METRICS])
