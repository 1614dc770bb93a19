"""A run's final model on new data: what each row is predicted to be."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.data.reading import Data, read_inputs
from cotune.engine.device import read_device
from cotune.engine.networks.custom.given import ModelLike, read_own
from cotune.exceptions import DataError
from cotune.inference.ensemble import Ensemble, load_ensemble
from cotune.inference.model_file import Classifier, load_model
from cotune.inference.scores import compute_logits
from cotune.runs.directory import RunDirectory

Predictor = Classifier | Ensemble


class _Writer(Protocol):
    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True)
class Predictions:
    """What the rows of new data are predicted to be.

    Attributes:
        classes: Class names.
        probabilities: ``[rows, classes]``.
        files: What each row was read from, where every one has a file of its own.
        labels: What the data say that the rows are, texts or whole numbers; None where they say
            nothing.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    files: list[str] | None
    labels: NDArray[Any] | None

    @property
    def indices(self) -> NDArray[np.int64]:
        """Index of each row's most probable class, ``[rows]``."""
        best: NDArray[np.int64] = self.probabilities.argmax(1)
        return best

    def write_csv(self, file: _Writer, proba: bool = False) -> None:
        """One line a row: its place from 0, or its file, and its class.

        Args:
            proba: Add a column for the probability of each class.
        """
        writer = csv.writer(file, lineterminator="\n")
        names = [f"p_{name}" for name in self.classes] if proba else []
        writer.writerow(["row" if self.files is None else "file", "predicted", *names])
        rows: Iterable[int | str] = range(len(self.probabilities))
        for row, index, shares in zip(
            rows if self.files is None else self.files,
            self.indices.tolist(),
            # What is written is what a float32 holds, as the network gives no more.
            self.probabilities.astype(np.float32) if proba else self.probabilities[:, :0],
            strict=True,
        ):
            writer.writerow([row, self.classes[index], *map(str, shares)])


def load_predictor(path: str | Path, ensemble: bool = False, model: ModelLike = None) -> Predictor:
    """A run's final model, or its ensemble.

    Args:
        model: What makes the network, where it is the user's own.
    """
    own = read_own(model)
    return load_ensemble(path, own) if ensemble else load_model(path, own)


def run_of(path: str | Path) -> RunDirectory | None:
    """The run that a model is of, given its directory or a folder in it; None for a copy."""
    place = Path(path).absolute()
    above = (place.parents[1],) if place.parent.name == "ensemble" else ()
    for folder in (place, place.parent, *above):
        if (folder / "config.yaml").is_file():
            return RunDirectory.open(folder)
    return None


def rows_shape(preprocessing: Preprocessing) -> tuple[int, ...]:
    """Shape of one row as a model takes it."""
    columns = len(preprocessing.columns)
    return (columns,) if columns else preprocessing.input_shape


def predict(
    path: str | Path,
    data: Data,
    *,
    proba: bool = False,
    ensemble: bool = False,
    device: str = "cpu",
    model: ModelLike = None,
) -> NDArray[Any]:
    """What a run's final model makes of new data.

    Args:
        path: A run directory, or the folder that holds ``model.json``.
        data: A file or folder as in training, with labels or without; or a DataFrame, an array or
            a tensor of rows.
        proba: Give probabilities.
        ensemble: The run's ensemble instead of its final model.
        device: ``cpu``, ``cuda`` or ``auto``.
        model: What makes the network, as for :func:`run`, where it is one of your own.

    Returns:
        Class names ``[rows]``; with ``proba`` ``float64 [rows, classes]``, in the order of
        ``cotune.load(path).classes``.

    Raises:
        ModelFileError: There is no model, or it is damaged or altered.
        UsageError: It is a network of your own, and ``model`` is not given.
        DataError: The data cannot be read, or are not of the model's columns or shape.
    """
    found = predict_rows(load_predictor(path, ensemble, model), data, device=device)
    return found.probabilities if proba else np.array(found.classes)[found.indices]


def predict_rows(
    model: Predictor, data: Data, *, target: str | int | None = None, device: str = "cpu"
) -> Predictions:
    """The same with all that is known of the rows.

    Args:
        target: Where the labels are; without it they are found where their place is usual.
    """
    return classify(model, read_rows(model, data, target), device)


@dataclass(frozen=True)
class NewRows:
    """Rows of new data, as a model takes them.

    Attributes:
        what: What messages call the data.
        inputs: ``[rows, ...]``.
        labels, files: As in :class:`Predictions`.
    """

    what: str
    inputs: NDArray[Any]
    labels: NDArray[Any] | None
    files: list[str] | None


def read_rows(model: Predictor, data: Data, target: str | int | None = None) -> NewRows:
    """Read new data for a model.

    Raises:
        DataError: They cannot be read, or are not of the model's columns or shape.
    """
    # A text is a path here: the named datasets are for training.
    source = Path(data) if isinstance(data, str) else data
    inputs, labels, files = read_inputs(
        source, model.preprocessing, target=target, classes=model.classes
    )
    what = str(data) if isinstance(data, str | Path) else "data"
    shape = rows_shape(model.preprocessing)
    if inputs.dtype.kind not in "buif":
        raise DataError(f"{what}: is of type {inputs.dtype}; give an array of numbers")
    if inputs.shape[1:] != shape:
        raise DataError(
            f"{what}: its rows have shape {inputs.shape[1:]}, the model was trained on {shape}; "
            "give rows of that shape"
        )
    if len(inputs) == 0:
        raise DataError(f"{what}: has no rows; give at least one")
    return NewRows(what, inputs, labels, files)


def classify(model: Predictor, rows: NewRows, device: str = "cpu") -> Predictions:
    """Predict rows that are read.

    Raises:
        DataError: Some hold what the model cannot make a probability of.
    """
    shares = logits_of(model, rows, device).softmax(-1).numpy()
    return Predictions(model.classes, shares, rows.files, rows.labels)


def logits_of(model: Predictor, rows: NewRows, device: str = "cpu") -> Tensor:
    """Return the logits of rows that are read, ``float64 [rows, classes]``, on the CPU.

    Raises:
        DataError: Some hold what the model cannot make a probability of.
    """
    logits = compute_logits(model, rows.inputs, read_device(device))
    shares = logits.softmax(-1).numpy()
    wrong = np.flatnonzero(~np.isfinite(shares).all(1))
    if len(wrong):
        row = f"row {wrong[0]} (counted from 0)" if rows.files is None else rows.files[wrong[0]]
        raise DataError(
            f"{rows.what}: {row}: some values are no numbers, or too large for the model; mend or "
            "drop the row"
        )
    return logits
