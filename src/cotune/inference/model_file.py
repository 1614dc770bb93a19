"""Saving and loading a tuned model: ``model.safetensors`` and ``model.json``.

Nothing is unpickled. ``model.json`` holds the architecture, the classes, the preprocessing, the
SHA-256 of the weights and its own; what it claims is checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from cotune.data.preprocessing.preprocess import Preprocessing, preprocessing_from_json
from cotune.engine.networks import (
    CNN,
    FAMILIES,
    MLP,
    OWN,
    CNNShape,
    MLPShape,
    OwnModule,
    OwnNetwork,
    OwnShape,
    Shape,
    dropout_rates,
    make_shape,
)
from cotune.exceptions import ModelFileError, UsageError
from cotune.inference.preprocessing_module import example_rows, preprocessing_module
from cotune.records import Value
from cotune.runs.files import write_files
from cotune.space.hyperparameters import MAX_LAYERS
from cotune.text import shown

_VERSION: Final = 2
_JSON_BYTES: Final = 16 << 20
_HEADER_BYTES: Final = 1 << 20  # more than safetensors' header takes for any of our models
_FLOAT_BYTES: Final = 4
_MAX_COUNT: Final = 1 << 48


Network = MLP | CNN | OwnModule


class Classifier(nn.Module):
    """A tuned network with its preprocessing: raw rows in, logits out.

    Attributes:
        classes: Class names, in the order of the logits.
        network: The tuned network.
        class_counts: Rows of each class that it was trained on; None where that is not known, as
            of models that an older Cotune saved.

    Args:
        network: Maps ``[batch, features]`` to logits.
        preprocessing: What was done to the rows in training.
        classes: Class names.
        class_counts: Rows of each class that it was trained on.
    """

    class_counts: tuple[int, ...] | None = None

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        classes: tuple[str, ...],
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.classes = classes
        if class_counts is not None:
            self.class_counts = tuple(class_counts)
        self.to_features = preprocessing_module(preprocessing)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits.

        Args:
            rows: ``[batch, *input_shape]``, values as they are in the data (pixels 0-255). Of a
                table ``float64 [batch, columns]``, see ``Dataset.columns``.

        Returns:
            ``[batch, classes]``.
        """
        logits: Tensor = self.network(self.to_features(rows))
        return logits


def save_model(
    folder: Path, model: Classifier, hyperparameters: Mapping[str, Any], version: str
) -> None:
    """Write a model to a folder, made when missing.

    Args:
        hyperparameters: What it was trained with; kept for people, and to make a network of the
            user's own again.
        version: Cotune's version.

    Raises:
        StorageError: The folder cannot be written.
    """
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in _state(model).items()}
    )
    card = {
        "format": "cotune-model",
        "version": _VERSION,
        "cotune": version,
        "architecture": _describe(model),
        "classes": list(model.classes),
        "class_counts": model.class_counts and list(model.class_counts),
        "preprocessing": model.preprocessing.to_json(),
        "hyperparameters": dict(hyperparameters),
        "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)},
    }
    write_files(folder, {"model.safetensors": weights, "model.json": signed(card)})


def signed(card: Mapping[str, Any]) -> bytes:
    """A description as JSON, with the SHA-256 of all else that is in it."""
    plain = json.loads(json.dumps(card))  # as it will be read
    return json.dumps({**plain, "sha256": _checksum(plain)}, indent=1).encode()


def _checksum(card: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _describe(model: Classifier) -> dict[str, Any]:
    network = model.network
    if isinstance(network, OwnModule):
        shape = list(network.input_shape)
        return {
            "family": OWN,
            "input_shape": shape,
            "n_classes": len(model.classes),
            "seed": network.seed,
        }
    return {
        "family": "mlp" if isinstance(network.shape, MLPShape) else "cnn",
        **asdict(network.shape),
        "dropout": [layer.p for layer in network.dropout],
    }


def _state(model: Classifier) -> dict[str, Tensor]:
    if isinstance(model.network, OwnModule):
        shape = OwnShape(model.network, len(model.classes))
        return {**shape.parameters(), **shape.buffers()}
    return dict(model.network.state_dict())


def load_model(folder: str | Path, own: OwnNetwork | None = None) -> Classifier:
    """A saved model, ready to predict (``eval`` mode), on the CPU.

    Args:
        folder: A run directory, or the folder that holds ``model.json``.
        own: What makes the network, where it is one of the user's own: a model's files hold
            weights and no code.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
        UsageError: It is one of the user's own networks, and ``own`` is not given.
    """
    folder = model_folder(folder)
    card = read_card(folder)
    try:
        preprocessing = preprocessing_from_json(card["preprocessing"])
        if own is not None and (rows := example_rows(preprocessing)) is not None:
            own = own.tried_with(rows)
        shape, dropout = _architecture(card, own)
        classes = _class_names(card["classes"])
        class_counts = _class_counts(card.get("class_counts"), len(classes))
        checksum = str(card["weights"]["sha256"])
    except UsageError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{folder / 'model.json'}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"{folder / 'model.json'}: is incomplete or damaged") from error
    n_inputs = preprocessing.features if isinstance(shape, OwnShape) else shape.n_inputs
    if len(classes) != shape.n_classes or preprocessing.features != n_inputs:
        raise ModelFileError(f"{folder / 'model.json'}: its parts contradict each other")
    state = _read_weights(folder / "model.safetensors", checksum, shape)
    try:
        network = _load(shape, dropout, state)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"{folder / 'model.safetensors'}: the weights do not fit the architecture"
        ) from error
    return Classifier(network, preprocessing, classes, class_counts).eval()


def model_folder(folder: str | Path) -> Path:
    """The folder that holds ``model.json``, given that or its run directory."""
    folder = Path(folder)
    if not os.path.exists(folder / "model.json") and os.path.exists(folder / "best"):
        return folder / "best"
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """What ``model.json`` says, not checked yet.

    Raises:
        ModelFileError: It is not there, or is something else.
    """
    return read_json(folder / "model.json", "cotune-model", _VERSION)


def _load(shape: Shape, dropout: list[float], state: dict[str, Tensor]) -> Network:
    if isinstance(shape, OwnShape):
        shape.load(state)
        return shape.live.eval()
    network = shape.module(dropout)
    network.load_state_dict(state)
    return network.eval()


def _architecture(card: Mapping[str, Any], own: OwnNetwork | None) -> tuple[Shape, list[float]]:
    """The tensors' shapes, and the dropout rates."""
    data = card["architecture"]
    family = data["family"]
    if family == OWN:
        if own is None:
            raise UsageError(
                "this model is a network of your own; give what makes it: model=build from Python, "
                "--model FILE.py:build on the command line"
            )
        n_classes, params = _count(data["n_classes"]), dict(card["hyperparameters"])
        seed = _count(data["seed"], least=0, most=2**63)
        module = own.build(params, _counts(data["input_shape"], least=1), n_classes, seed)
        return OwnShape(module, n_classes), []
    if family not in FAMILIES:
        raise ModelFileError(f"unknown family {shown(family)}; a newer Cotune may read it")
    if type(data["batch_norm"]) is not bool:
        raise ValueError("not a switch")
    n_classes = _count(data["n_classes"])
    shape: Shape
    if family == "mlp":
        widths = _counts(data["widths"])
        shape = MLPShape(_count(data["n_inputs"]), widths, data["batch_norm"], n_classes)
        n_rates = len(widths)
    else:
        height, width, channels = _counts(data["image"])
        if not data["filters"]:
            raise ValueError("no blocks")
        shape = CNNShape(
            image=(height, width, channels),
            filters=_counts(data["filters"], least=1),
            kernel=_count(data["kernel"]),
            batch_norm=data["batch_norm"],
            dense=_count(data["dense"], least=0),
            n_classes=n_classes,
        )
        n_rates = 1
    dropout = [float(rate) for rate in data["dropout"]]
    if len(dropout) != n_rates or not all(0.0 <= rate < 1.0 for rate in dropout):
        raise ValueError("not one rate a layer")
    return shape, dropout


def _class_names(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise TypeError("not a list of names")
    return tuple(data)


def _class_counts(data: Any, n_classes: int) -> tuple[int, ...] | None:
    if data is None:
        return None
    if not isinstance(data, list) or len(data) != n_classes:
        raise TypeError("not a list of counts")
    counts = _counts(data)
    if not any(counts):
        raise ValueError("no rows")
    return counts


def read_json(path: Path, format: str, version: int) -> dict[str, Any]:
    """A description that Cotune wrote.

    Args:
        format: What its ``format`` has to be, ``cotune-model`` or another.
        version: What its ``version`` has to be.

    Raises:
        ModelFileError: It is not there, or is something else.
    """
    what = format.removeprefix("cotune-")
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise ModelFileError(f"{path}: is too large to be a {what}'s description")
        card = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"{path.parent}: no {what} is there (no {path.name})") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: is not JSON") from error
    if not isinstance(card, dict) or card.get("format") != format:
        raise ModelFileError(f"{path}: is not a Cotune {what}")
    if card.get("version") != version:
        raise ModelFileError(
            f"{path}: is of version {shown(card.get('version'))}, this Cotune reads {version}"
        )
    if card.get("sha256") != _checksum(card):
        raise ModelFileError(f"{path}: is damaged or was altered (its SHA-256 differs)")
    return card


def _read_weights(path: Path, checksum: str, shape: Shape) -> dict[str, Tensor]:
    sizes = [*shape.parameter_shapes().values()]
    if isinstance(shape, OwnShape):
        sizes += shape.buffer_shapes().values()
    needed = _FLOAT_BYTES * sum(math.prod(size) for size in sizes)
    try:
        # Neither a description that asks for more than the file holds nor a file that holds more
        # than the description asks for gets to fill the memory.
        size = path.stat().st_size
        if not needed <= size <= 2 * needed + _HEADER_BYTES:
            raise ModelFileError(f"{path}: has {size:,} bytes, its architecture {needed:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelFileError(f"{path}: is damaged or was altered (its SHA-256 differs)")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: is not a safetensors file of weights") from error


def trained_network(
    params: Mapping[str, Value],
    weights: Mapping[str, Any],
    input_shape: tuple[int, ...],
    n_classes: int,
    own: OwnNetwork | None = None,
    seed: int = 0,
) -> Network:
    """The network of a configuration with the weights that an engine gave out.

    Args:
        params: Its complete hyperparameters.
        input_shape: Of one row.
        own: What makes the networks where they are the user's own.
        seed: What such a network was made from in training.
    """
    if own is not None:
        made = OwnShape(own.build(params, input_shape, n_classes, seed), n_classes)
        made.load({name: torch.from_numpy(value) for name, value in weights.items()})
        return made.live.eval()
    shape = make_shape(params, input_shape, n_classes)
    return module_from_weights(shape, dropout_rates(params), weights)


def module_from_weights(
    shape: MLPShape | CNNShape, dropout: list[float], weights: Mapping[str, Any]
) -> MLP | CNN:
    """The module twin of a lane, from the arrays that an engine gives out."""
    network = shape.module(dropout)
    state = network.state_dict()
    known = {*shape.parameter_shapes(), *shape.buffer_shapes()}
    state.update({name: torch.from_numpy(weights[name]) for name in known})
    network.load_state_dict(state)
    return network.eval()


def _count(value: Any, least: int = 1, most: int = _MAX_COUNT) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("not a positive whole number, or absurdly large")
    return value


def _counts(values: Any, least: int = 0) -> tuple[int, ...]:
    if not isinstance(values, list) or not least <= len(values) <= MAX_LAYERS:
        raise ValueError("not a list, or too few or too many layers")
    return tuple(_count(value) for value in values)
