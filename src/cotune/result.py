"""What a run came to, read from its directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.given import read_custom_network
from cotune.inference.ensemble import Ensemble
from cotune.inference.ensemble import load_ensemble as read_ensemble
from cotune.inference.model_file import Classifier, load_model
from cotune.records import FinalResult, Value
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary
from cotune.study.journal import OptunaStudy, load_study


class RunResult:
    """A run that has ended, or one that is still running.

    Attributes:
        path: The run directory.
        summary: State, seconds, counts, best trial and final model.
    """

    def __init__(self, run: RunDirectory, custom: CustomNetwork | None = None) -> None:
        self._run = run
        self._custom = custom
        self.path = run.path
        self.summary: Summary = run.summary()

    @property
    def best_params(self) -> dict[str, Value]:
        """The hyperparameters of the trial that was chosen; empty when there is none."""
        return dict(self.summary.best.params) if self.summary.best else {}

    @property
    def validation_accuracy(self) -> float | None:
        """That trial's accuracy on the validation part, 0-1: optimistic, it was chosen by it."""
        return self.summary.best.validation_accuracy if self.summary.best else None

    @property
    def best_value(self) -> float | None:
        """That trial's value in the search, of the run's metric or as an objective returned it."""
        return self.summary.best.value if self.summary.best else None

    @property
    def test_accuracy(self) -> float | None:
        """The final model's accuracy on the sealed test set, 0-1; None when there is none."""
        return self.summary.final.test_accuracy if self.summary.final else None

    @property
    def baseline_scores(self) -> dict[str, float]:
        """Scores of always predicting the most frequent class of the training rows, by metric.

        On the test set; on the validation part where there is no test set, or no final model.
        Empty in runs of an older Cotune and of objectives.
        """
        best, final = self.summary.best, self.summary.final
        on_test = final.baseline_test_scores if final else None
        return dict(on_test or (best.baseline if best else None) or {})

    @property
    def baseline_accuracy(self) -> float | None:
        """The accuracy, 0-1, of :attr:`baseline_scores`; None where there are none."""
        return self.baseline_scores.get("accuracy")

    @property
    def warning(self) -> str:
        """A line where the final model is not better than the baseline beyond noise, or ""."""
        return (self.summary.final.warning if self.summary.final else "") or ""

    @property
    def final(self) -> FinalResult | None:
        """The final model's curve, confusion matrix and mistakes."""
        return self._run.final()

    @cached_property
    def study(self) -> OptunaStudy:
        """The Optuna study."""
        return load_study(self._run.journal_path)

    @cached_property
    def model(self) -> Classifier:
        """The final model, an ``nn.Module`` that takes rows as they are in the data."""
        return load_model(self._run.best_path, self._custom)

    def show(self) -> None:
        """Print what ``cotune show`` prints."""
        from cotune.report.terminal.summary import print_run

        print_run(self._run)

    def __repr__(self) -> str:
        score = "" if self.test_accuracy is None else f", test_accuracy={self.test_accuracy:.4f}"
        return f"RunResult({str(self.path)!r}, state={self.summary.state!r}{score})"


def open_run(path: str | Path) -> RunResult:
    """Read a run directory.

    Raises:
        UsageError: There is no run.
    """
    return RunResult(RunDirectory.open(path))


def load(path: str | Path, model: str | Callable[..., Any] | None = None) -> Classifier:
    """Load a run's final model, ready to predict (``eval`` mode), on the CPU.

    Args:
        path: The run directory, or a folder that holds ``model.json``.
        model: What makes the network, as for :func:`run`, where it is one of your own.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
        UsageError: It is a network of your own, and ``model`` is not given.
    """
    return load_model(path, read_custom_network(model))


def load_ensemble(path: str | Path, model: str | Callable[..., Any] | None = None) -> Ensemble:
    """Load the ensemble of a run that was asked for one; as :func:`load`."""
    return read_ensemble(path, read_custom_network(model))
