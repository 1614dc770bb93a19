"""What a run came to, read from its directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotune.diagnostics import Calibration
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.given import read_custom_network
from cotune.inference.ensemble import Ensemble
from cotune.inference.ensemble import load_ensemble as read_ensemble
from cotune.inference.model_file import Classifier, load_model
from cotune.records import FinalResult, Value
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary
from cotune.study.journal import OptunaStudy, load_study

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure

    from cotune.report.figures import Figures


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

    @property
    def trials(self) -> DataFrame:
        """The trials as a pandas DataFrame: a row each, with a column a hyperparameter.

        Raises:
            UsageError: pandas is not installed.
        """
        from cotune.report.trials_frame import trials_frame

        return trials_frame(self._run)

    @property
    def calibration(self) -> Calibration | None:
        """The temperature of the final model's probabilities, what it was fitted on, what it does.

        None where there is no final model, and in runs of an older Cotune.
        """
        final = self.final
        return final.calibration if final else None

    @property
    def columns(self) -> DataFrame:
        """The importances of a table's columns as a pandas DataFrame, the most important first.

        ``mean`` is how much the run's metric gets worse on held-out rows where the column's cells
        are shuffled, ``sd`` the standard deviation over shuffles and networks. Without a row for
        images, and in runs of an older Cotune.

        Raises:
            UsageError: pandas is not installed.
        """
        from cotune.report.trials_frame import columns_frame

        return columns_frame(self._run)

    def predict(self, data: Any, **options: Any) -> Any:
        """Predict classes with the final model; as :func:`cotune.predict`."""
        from cotune.inference.predict import predict

        return predict(self.path, data, **self._with_model(options))

    def evaluate(self, data: Any, **options: Any) -> Any:
        """Score the final model on labelled rows; as :func:`cotune.evaluate`."""
        from cotune.inference.evaluate import evaluate

        return evaluate(self.path, data, **self._with_model(options))

    def export(self, format: str, **options: Any) -> Any:
        """Write the final model for other programs; as :func:`cotune.export`."""
        from cotune.inference.export import export

        return export(self.path, format, **self._with_model(options))

    def card(self) -> str:
        """Return a model card in Markdown, from what the run recorded."""
        from cotune.report.card import model_card

        return model_card(self._run)

    def _with_model(self, options: dict[str, Any]) -> dict[str, Any]:
        return options if self._custom is None else {"model": self._custom, **options}

    def plot_history(self) -> Figure:
        """Draw every trial's value, and the best so far, as a Plotly figure."""
        return self._figures().history()

    def plot_curves(self, metric: str | None = None) -> Figure:
        """Draw what all trials came to after every epoch.

        Args:
            metric: ``accuracy``, ``loss``, or the run's own, which it is by default.
        """
        return self._figures().curves(metric)

    def plot_learning(self, metric: str = "accuracy") -> Figure:
        """Draw the chosen trial's score on training and validation rows after every epoch.

        Args:
            metric: ``accuracy`` or ``loss``.
        """
        return self._figures().learning(metric)

    def plot_importances(self) -> Figure:
        """Draw how much each hyperparameter decides whether a trial is among the best."""
        return self._figures().importances()

    def plot_slices(self) -> Figure:
        """Draw each hyperparameter's values against the trials'."""
        return self._figures().slices()

    def plot_parallel(self) -> Figure:
        """Draw every trial as a line through its hyperparameters."""
        return self._figures().parallel()

    def plot_confusion(self) -> Figure:
        """Draw which classes the final model took for which, on the test set."""
        return self._figures().confusion()

    def plot_calibration(self) -> Figure:
        """Draw how often the final model is right, by how sure it is, on the test set."""
        return self._figures().calibration()

    def plot_columns(self) -> Figure:
        """Draw how much the score falls where a column's cells are shuffled; as :attr:`columns`."""
        return self._figures().columns()

    def plot_mistakes(self) -> Figure:
        """Show the final model's worst mistakes on the test set, where the rows are images."""
        return self._figures().mistakes()

    def plot_samples(self) -> Figure:
        """Show some training images of each class."""
        return self._figures().samples()

    def _figures(self) -> Figures:
        from cotune.report.figures import Figures

        return Figures(self._run)

    def show(self) -> None:
        """Show what ``cotune show`` prints; in a notebook, one output."""
        from cotune.report.notebook.front_end import has_front_end

        if has_front_end():
            from IPython.display import HTML, display

            display(HTML(self._repr_html_()))
            return
        from cotune.report.terminal.summary import print_run

        print_run(self._run)

    def _repr_html_(self) -> str:
        from cotune.report.notebook.result import result_html

        return result_html(self._run)

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
