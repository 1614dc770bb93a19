"""Runs for TensorBoard: a folder of events a trial, and one of the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotune.exceptions import UsageError
from cotune.records import TrialResult
from cotune.report.trackers.tracker import Curve, Tracker, figures_of, settings_of
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary


class TensorBoardTracker(Tracker):
    """Writes events below ``tensorboard`` in the run directory.

    Args:
        where: Another folder; "" for that.
    """

    name = "tensorboard"

    def __init__(self, where: str = "") -> None:
        super().__init__()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise UsageError(
                "log: tensorboard is not installed; pip install 'cotune[tensorboard]'"
            ) from None
        self._make_writer: Any = SummaryWriter
        self._where = where
        self._folder = Path()

    def _begin(self, run: RunDirectory) -> None:
        self._folder = Path(self._where) / run.path.name if self._where else run.path / self.name
        with self._make_writer(str(self._folder)) as writer:
            lines = [f"    {name}: {value}" for name, value in settings_of(run).items()]
            writer.add_text("settings", "\n".join(lines))

    def _trial(self, trial: TrialResult, curve: Curve) -> None:
        folder = self._folder / f"trial-{trial.number:05}"
        with self._make_writer(str(folder)) as writer:
            _add_curve(writer, curve)
            params = {
                name: value if isinstance(value, (bool, int, float, str)) else str(value)
                for name, value in trial.params.items()
            }
            value = float("nan") if trial.value is None else trial.value
            writer.add_hparams(params | {"state": trial.state}, {"value": value}, run_name=".")

    def _end(self, run: RunDirectory, summary: Summary, final: Curve) -> None:
        with self._make_writer(str(self._folder)) as writer:
            for name, value in figures_of(summary).items():
                writer.add_scalar(f"run/{name}", value)
        if final:
            with self._make_writer(str(self._folder / "final-model")) as writer:
                _add_curve(writer, final)


def _add_curve(writer: Any, curve: Curve) -> None:
    for epoch, scores in curve:
        for name, value in scores.items():
            writer.add_scalar(f"epoch/{name}", value, epoch)
