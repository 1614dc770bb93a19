"""Predictions of a run's final model for new data."""

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
from cotune.engine.networks.custom.given import ModelLike, read_custom_network
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
    """Predictions for rows of new data.

    Attributes:
        classes: Class names.
        probabilities: ``[rows, classes]``.
        files: File of each row, where every row has its own.
        labels: Labels in the data, texts or whole numbers; None if there are none.
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

    @property
    def shown(self) -> NDArray[np.float32]:
        """The probabilities as people get them: the network has no more digits."""
        return self.probabilities.astype(np.float32)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the label and the probabilities of each row, as :meth:`write_csv` writes them."""
        return [
            {
                "label": self.classes[index],
                "probabilities": {
                    name: float(str(share)) for name, share in zip(self.classes, row, strict=True)
                },
            }
            for index, row in zip(self.indices.tolist(), self.shown, strict=True)
        ]

    def write_csv(self, file: _Writer, proba: bool = False) -> None:
        """Write one line a row: its place from 0, or its file, and its class.

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
            self.shown if proba else self.probabilities[:, :0],
            strict=True,
        ):
            writer.writerow([row, self.classes[index], *map(str, shares)])


def load_predictor(path: str | Path, ensemble: bool = False, model: ModelLike = None) -> Predictor:
    """Load a run's final model, or its ensemble.

    Args:
        model: Maker of the network, where it is the user's own.
    """
    own = read_custom_network(model)
    return load_ensemble(path, own) if ensemble else load_model(path, own)


def run_of(path: str | Path) -> RunDirectory | None:
    """Return the run of a model, given its directory or a folder in it; None for a copy."""
    place = Path(path).absolute()
    above = (place.parents[1],) if place.parent.name == "ensemble" else ()
    for folder in (place, place.parent, *above):
        if (folder / "config.yaml").is_file():
            return RunDirectory.open(folder)
    return None


def rows_shape(preprocessing: Preprocessing) -> tuple[int, ...]:
    """Return the shape of one row as a model takes it."""
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
    """Predict the classes of new data with a run's final model.

    Args:
        path: A run directory, or the folder that holds ``model.json``.
        data: A file or folder as in training, with labels or without; or a DataFrame, an array or
            a tensor of rows.
        proba: Return probabilities instead.
        ensemble: The run's ensemble instead of its final model.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        model: Maker of the network, as for :func:`run`, where it is one of your own.

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
    """Predict new data, with their labels and files where these are known.

    Args:
        target: Column or array of the labels; by default their usual place.
    """
    return predictions_of(model, read_rows(model, data, target), device)


def predictions_of(model: Predictor, rows: NewRows, device: str = "cpu") -> Predictions:
    """Predict rows that were read."""
    shares = logits_of(model, rows, device).softmax(-1).numpy()
    return Predictions(model.classes, shares, rows.files, rows.labels)


@dataclass(frozen=True)
class NewRows:
    """Rows of new data, as a model takes them.

    Attributes:
        what: Name of the data in messages.
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


def logits_of(model: Predictor, rows: NewRows, device: str = "cpu") -> Tensor:
    """Return the logits of rows that were read, ``float64 [rows, classes]``, on the CPU.

    Raises:
        DataError: The probabilities of some rows are not finite.
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
