"""A tuned network as a scikit-learn classifier."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from cotune.api import run
from cotune.data import Dataset, from_arrays
from cotune.data.dataset import Column
from cotune.data.readers.arrays import check_numbers
from cotune.data.readers.missing import columns_with_missing
from cotune.data.readers.objects import tidy_inputs
from cotune.data.readers.registry import read_raw
from cotune.data.readers.sparse import is_sparse, to_dense_frame
from cotune.data.tables.columns import understand
from cotune.data.tables.mixed_objects import without_mask
from cotune.data.tables.tables import read_cells
from cotune.engine.device import n_cores
from cotune.inference.ensemble import Ensemble
from cotune.inference.model_file import Classifier
from cotune.inference.scores import compute_logits
from cotune.records import Value
from cotune.result import RunResult, load_ensemble
from cotune.study.journal import study_in_memory
from cotune.study.pruners import PrunerLike
from cotune.study.samplers import SamplerLike

_AXES: Final = 2  # of an array in which cells may be missing
_ROWS: Final = 2048  # of a sparse array that are dense at a time
_CHECKS: Final[dict[str, Any]] = {
    "allow_nd": True,
    "accept_sparse": "csr",
    "ensure_all_finite": "allow-nan",
}


class CotuneClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A neural network that tunes itself while it is fitted.

    :meth:`fit` searches, trains finalists again and fits the final model on all rows, as
    :func:`cotune.run` does, but that no rows are sealed for a test: whoever wants a score holds
    rows out, as with any other estimator. It standardizes the features itself.

    Args:
        timeout: Wall clock of a fit: seconds, or ``"90s"``, ``"5m"``; None for no limit, which
            needs ``n_trials``.
        n_trials: Trials to run.
        model: ``mlp``, ``cnn`` (of images: ``X`` is then ``[rows, height, width(, 3)]``), or
            ``auto``: both where the rows are images. Or a network of your own, as for
            :func:`cotune.run`.
        space: A preset, a YAML file or a mapping, instead of the model's; or what a network of
            your own is searched in.
        metric: The metric on rows held out of ``X``: ``accuracy``, ``balanced-accuracy``,
            ``f1``, ``auc`` or ``loss``.
        sampler, pruner, inputs, channels, device: As for :func:`cotune.run`.
        ensemble: Predict with the average of so many networks, of the best finalists'
            configurations, each trained on all rows, as many as there is time for; 1: with the
            final model alone.
        n_jobs: Worker processes; None or 1: none, it trains in this process, on one core; -1: one
            a core.
        random_state: With ``n_trials`` and without ``timeout``, the same whole number gives the
            same model on the same machine.
        out: The run directory to keep; by default there is none after the fit.
        verbose: 1: print how the search goes.

    Attributes:
        classes_: Class labels.
        n_features_in_: Features of a row.
        feature_names_in_: Their names, where ``X`` has columns with names.
        best_params_: Hyperparameters of the final model.
        best_score_: Their ``metric`` on rows that were held out: the mean of the finalist's
            trainings on other folds, or, where there was no time for them, the search's own score,
            which is optimistic.
        baseline_score_: The ``metric`` of always predicting the most frequent class, on the
            validation part. :meth:`fit` warns where ``best_score_`` is not better beyond noise.
        study_: The Optuna study, in memory.
        module_: An ``nn.Module``: rows as they are in ``X`` to logits, in the order of
            ``classes_``. Images come to it with their channels last.
    """

    def __init__(
        self,
        timeout: str | float | None = 60,
        n_trials: int | None = None,
        *,
        model: str | Callable[..., Any] = "auto",
        space: str | Path | Mapping[str, Any] | None = None,
        metric: str = "accuracy",
        sampler: SamplerLike = "tpe",
        pruner: PrunerLike = "asha",
        inputs: str = "auto",
        channels: str = "auto",
        ensemble: int = 8,
        n_jobs: int | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        out: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        self.timeout = timeout
        self.n_trials = n_trials
        self.model = model
        self.space = space
        self.metric = metric
        self.sampler = sampler
        self.pruner = pruner
        self.inputs = inputs
        self.channels = channels
        self.ensemble = ensemble
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.out = out
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Tune and train a network.

        Args:
            X: ``[rows, features]``, where NaN is a missing value, or one of SciPy's sparse
                matrices or arrays, made dense if a quarter of the free memory holds it; or images;
                or a DataFrame, of which columns of texts are categories and empty cells missing
                values.
            y: ``[rows]`` labels of two classes or more, each of two rows or more.

        Raises:
            ValueError: ``X`` or ``y`` cannot be learned from, or a parameter cannot be used.
            NoUsableTrialError: Every trial failed.
        """
        X, y = _plain(X), without_mask(y)
        self._columns: tuple[Column, ...] = ()
        self._has_names = _is_table(X)  # its columns are asked for by their names
        if self._has_names:
            validate_data(self, X, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
            raw = read_raw(X, "X")
            found = understand(raw, list(raw.columns), counters=True)
            self._columns, X = found.columns, found.cells
        else:
            X, y = validate_data(self, X, y, **_CHECKS)
            X = self._tidy(X)
            self._columns = columns_with_missing(X)
            X = X.astype(np.float64) if self._columns else X
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class, {self.classes_[0]}; a classifier needs rows of two classes"
            )
        names = [str(label) for label in self.classes_]
        self._tune(
            from_arrays(X, labels, test=False, classes=names, name="X", columns=self._columns)
        )
        return self

    def _tune(self, dataset: Dataset) -> None:
        from cotune.report.terminal.live import make_observer

        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            # As PolynomialFeatures makes them; other estimators say nothing of them either.
            warnings.filterwarnings("ignore", ".* single value in the training part", UserWarning)
            out = self.out
            if out is None:
                folder = tempfile.TemporaryDirectory(prefix="cotune-")
                out = Path(stack.enter_context(folder)) / "run"
            result = run(
                dataset,
                timeout=self.timeout,
                n_trials=self.n_trials,
                model=None if self.space is not None and self.model == "auto" else self.model,
                space=self.space,
                metric=self.metric,
                sampler=self.sampler,
                pruner=self.pruner,
                inputs=self.inputs,
                channels=self.channels,
                ensemble=self.ensemble,
                ensemble_of="finalists",
                workers=_workers(self.n_jobs),
                device=self.device,
                seed=self._seed(),
                out=out,
                report=self.out is not None,
                observer=make_observer(quiet=not self.verbose),
            )
            self._keep(result)

    def _keep(self, result: RunResult) -> None:
        self.module_: Classifier | Ensemble = (
            result.model if self.ensemble == 1 else load_ensemble(result.path, self.model)
        )
        self.best_params_: dict[str, Value] = result.best_params
        self.best_score_ = _score(result)
        self.baseline_score_ = result.baseline_scores[self.metric]
        if result.warning:
            warnings.warn(result.warning, UserWarning, stacklevel=4)
        self.study_ = study_in_memory(result.study)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the likeliest class of each row, ``[rows]``."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return predicted

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities ``[rows, classes]``, in the order of ``classes_``."""
        check_is_fitted(self)
        X = _plain(X)
        if getattr(self, "_has_names", bool(self._columns)):  # older pickles do not say
            validate_data(self, X, reset=False, skip_check_array=True)
            if not hasattr(X, "__arrow_c_stream__"):
                raise ValueError("X is no DataFrame; give one with the columns of the fit")
            return self._probabilities(read_cells(X, self._columns)[0])
        rows = validate_data(self, X, reset=False, **_CHECKS)
        if not is_sparse(rows):
            return self._probabilities(self._tidy(rows))
        parts = [rows[start : start + _ROWS] for start in range(0, rows.shape[0], _ROWS)]
        return np.concatenate([self._probabilities(self._tidy(part)) for part in parts])

    def _probabilities(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = compute_logits(self.module_, rows).softmax(-1).numpy()
        return shares

    def _tidy(self, X: Any) -> NDArray[Any]:
        """Return rows that are dense, and images with their channels last."""
        rows = tidy_inputs(X, "X")[0]
        if rows.ndim > _AXES:
            check_numbers(rows, "X")
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        return tags

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))


def _is_table(X: Any) -> bool:
    """Return whether it is a DataFrame with texts or missing values."""
    if not hasattr(X, "__arrow_c_stream__") or _has_zeros_left_out(X):
        return False
    cells = np.asarray(X)
    return cells.dtype.kind not in "buif" or (
        cells.dtype.kind == "f" and bool(np.isnan(cells).any())
    )


def _plain(X: Any) -> Any:
    """Return rows without what scikit-learn ignores, masks, or refuses, some sparse columns."""
    if not hasattr(X, "__arrow_c_stream__"):
        return without_mask(X)
    return X if _has_zeros_left_out(X) else to_dense_frame(X, "X")


def _has_zeros_left_out(X: Any) -> bool:
    """Return whether all columns of a DataFrame are sparse, with 0 for what they omit."""
    return all(getattr(kind, "fill_value", None) == 0 for kind in getattr(X, "dtypes", (None,)))


def _workers(n_jobs: int | None) -> Any:
    """Count workers as joblib does: -1 is all cores, -2 all but one."""
    if n_jobs is None or n_jobs == 1:
        return "in-process"
    if n_jobs == 0:
        raise ValueError("n_jobs: 0 is no number of processes; give 1 or more, or -1 for all cores")
    return max(1, n_cores() + 1 + n_jobs) if n_jobs < 0 else n_jobs


def _score(result: RunResult) -> float:
    best, final = result.summary.best, result.final
    assert best is not None
    assert final is not None
    means = [one.value for one in final.finalists if one.number == best.number]
    return float(means[0] if means else best.value or 0.0)
