"""Several networks as one: chosen greedily on validation data, saved and loaded as one module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cotune.data.dataset import TrainingData
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.engine.networks import CustomNetwork
from cotune.exceptions import ModelFileError
from cotune.inference.model_file import (
    Classifier,
    Temperature,
    decode_card,
    load_model,
    read_json,
    save_model,
    signed,
    trained_network,
)
from cotune.records import EnsembleResult, Value
from cotune.runs.files import write_files

_VERSION: Final = 2
_ROWS: Final = 1024  # predicted at a time
_MOST_MEMBERS: Final = 1000


class Ensemble(nn.Module):
    """Classifiers whose probabilities are averaged.

    Attributes:
        classes: Class names, in the order of the logits.
        members: The classifiers.
        preprocessing: Fitted preprocessing of their training rows.
        class_counts: Rows of each class that they were trained on; None where not known.
        temperature: Divides the logarithms of the average; its members have 1.

    Args:
        members: Of the same classes.
        weights: Positive weights of the average, divided by their sum.
    """

    shares: Tensor
    temperature: float = 1.0

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.classes = members[0].classes
        self.preprocessing = members[0].preprocessing
        self.class_counts = members[0].class_counts
        shares = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("shares", shares / shares.sum(), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return logarithms of the averaged probabilities, scaled, which serve as logits.

        Args:
            rows: As for :class:`Classifier`.

        Returns:
            ``[batch, classes]``.
        """
        logs = torch.stack([member(rows).log_softmax(-1) for member in self.members])
        return torch.logsumexp(logs + self.shares.log()[:, None, None], 0) / self.temperature


def select_greedily(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], size: int
) -> list[int]:
    """Select networks to average, with replacement (Caruana et al. 2004).

    Begins with the most accurate network and adds, one at a time, the one with which the average
    is most accurate. A network can be added again; ties go to the first.

    Args:
        probabilities: ``[networks, rows, classes]`` on rows that no network was trained on.
        labels: ``[rows]``.
        size: Networks to take, counted with repeats.

    Returns:
        Indices of the networks in the order of their addition, up to the highest accuracy.
    """
    total = np.zeros(probabilities.shape[1:])
    taken: list[int] = []
    scores: list[float] = []
    for _ in range(size):
        accuracies = ((total + probabilities).argmax(-1) == labels).mean(-1)
        best = int(accuracies.argmax())
        taken.append(best)
        scores.append(float(accuracies[best]))
        total += probabilities[best]
    return taken[: int(np.argmax(scores)) + 1]


@dataclass(frozen=True)
class Candidate:
    """A trained trial that an ensemble may take.

    Attributes:
        number: The trial's.
        params: Its complete hyperparameters.
        weights: By name, as an engine gives them out.
        seed: The trial's own.
    """

    number: int
    params: Mapping[str, Value]
    weights: Mapping[str, NDArray[Any]]
    seed: int = 0


def make_ensemble(
    candidates: Sequence[Candidate],
    training: TrainingData,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    size: int,
    custom: CustomNetwork | None = None,
) -> tuple[Ensemble, EnsembleResult, list[Candidate]]:
    """Choose from the candidates, the best first, by the validation part.

    Args:
        custom: Maker of the networks where they are the user's own.

    Returns:
        The ensemble, its members' counts and accuracy on that part, and its members.
    """
    networks = [
        trained_network(
            candidate.params,
            candidate.weights,
            preprocessing.input_shape,
            len(classes),
            custom,
            candidate.seed,
        )
        for candidate in candidates
    ]
    rows = torch.from_numpy(training.inputs[training.n_train :])
    labels = training.labels[training.n_train :]
    with torch.no_grad():
        probabilities = torch.stack(
            [torch.cat([net(part).softmax(-1) for part in rows.split(_ROWS)]) for net in networks]
        ).numpy()
    taken = select_greedily(probabilities, labels, size)
    counts = Counter(taken)
    trained = np.bincount(training.labels[: training.n_train], minlength=len(classes)).tolist()
    ensemble = Ensemble(
        [Classifier(networks[i], preprocessing, classes, trained) for i in counts],
        [float(count) for count in counts.values()],
    )
    average = probabilities[taken].mean(0)
    result = EnsembleResult(
        members={candidates[i].number: count for i, count in counts.items()},
        validation_accuracy=float((average.argmax(-1) == labels).mean()),
    )
    return ensemble.eval(), result, [candidates[i] for i in counts]


def save_ensemble(
    folder: Path, ensemble: Ensemble, hyperparameters: Sequence[Mapping[str, Any]], version: str
) -> None:
    """Write an ensemble to a folder: ``ensemble.json`` and a folder for each member.

    Args:
        hyperparameters: Of each member's training; kept for people.
        version: Cotune's version.

    Raises:
        StorageError: The folder cannot be written.
    """
    for i, (member, params) in enumerate(zip(ensemble.members, hyperparameters, strict=True)):
        assert isinstance(member, Classifier)
        save_model(folder / str(i), member, params, version)
    card = {
        "format": "cotune-ensemble",
        "version": _VERSION,
        "shares": [float(share) for share in ensemble.shares],
        "temperature": ensemble.temperature,
    }
    write_files(folder, {"ensemble.json": signed(card)})


@dataclass(frozen=True)
class _Card:
    """``ensemble.json``, as far as it is needed to load the ensemble."""

    shares: Annotated[
        list[Annotated[float, msgspec.Meta(gt=0, le=1)]],
        msgspec.Meta(min_length=1, max_length=_MOST_MEMBERS),
    ]
    temperature: Temperature = 1.0


def load_ensemble(folder: str | Path, custom: CustomNetwork | None = None) -> Ensemble:
    """Load a saved ensemble, ready to predict (``eval`` mode), on the CPU.

    Args:
        folder: A run directory, or the folder that holds ``ensemble.json``.
        custom: As for :func:`cotune.inference.model_file.load_model`.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
    """
    folder = ensemble_folder(folder)
    path = folder / "ensemble.json"
    card = decode_card(read_json(path, "cotune-ensemble", _VERSION), _Card, path)
    members = [load_model(folder / str(i), custom) for i in range(len(card.shares))]
    if len({_rows_and_classes(member) for member in members}) > 1:
        raise ModelFileError(f"{path}: its members are for different data")
    ensemble = Ensemble(members, card.shares)
    ensemble.temperature = card.temperature
    return ensemble.eval()


def ensemble_folder(folder: str | Path) -> Path:
    """Return the folder that holds ``ensemble.json``, given that or its run directory."""
    folder = Path(folder)
    return folder / "ensemble" if (folder / "ensemble").is_dir() else folder


def _rows_and_classes(model: Classifier) -> tuple[object, ...]:
    """Return facts that are equal for models of the same data."""
    preprocessing = model.preprocessing
    return model.classes, preprocessing.input_shape, preprocessing.columns
