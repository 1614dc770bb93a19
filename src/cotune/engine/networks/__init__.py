"""Families of networks: the shapes of their tensors, and their plain module twins."""

from __future__ import annotations

from collections.abc import Mapping

from cotune.engine.networks.cnn import CNN, CNNShape
from cotune.engine.networks.common import Tensors, init_buffers, init_parameters, per_layer
from cotune.engine.networks.custom.network import OwnModule, OwnNetwork, OwnShape, load_own
from cotune.engine.networks.mlp import MLP, MLPShape
from cotune.exceptions import DataError
from cotune.records import Value

Shape = MLPShape | CNNShape | OwnShape

FAMILIES = ("mlp", "cnn")
"""What the hyperparameter ``model`` can be, where the networks are not the user's own."""

OWN = "own"
"""The family of the user's own networks."""

__all__ = [
    "CNN",
    "FAMILIES",
    "MLP",
    "CNNShape",
    "MLPShape",
    "OwnModule",
    "OwnNetwork",
    "OwnShape",
    "Shape",
    "Tensors",
    "dropout_rates",
    "family_of",
    "init_buffers",
    "init_parameters",
    "load_own",
    "make_shape",
]


def family_of(params: Mapping[str, Value]) -> str:
    """``mlp`` or ``cnn``."""
    return str(params.get("model", "mlp"))


def make_shape(
    params: Mapping[str, Value], input_shape: tuple[int, ...], n_classes: int
) -> MLPShape | CNNShape:
    """The network that a configuration asks for.

    Args:
        input_shape: Of one row: an image's height and width, with or without channels, or for an
            MLP anything.

    Raises:
        DataError: A CNN for rows that are no images.
    """
    n_inputs = 1
    for size in input_shape:
        n_inputs *= size
    if family_of(params) == "mlp":
        return MLPShape.from_params(params, n_inputs, n_classes)
    if len(input_shape) not in (2, 3):
        raise DataError(f"a CNN needs images; these rows have shape {input_shape}: use an MLP")
    height, width = input_shape[:2]
    channels = input_shape[2] if len(input_shape) == 3 else 1
    return CNNShape.from_params(params, (height, width, channels), n_classes)


def dropout_rates(params: Mapping[str, Value]) -> list[float]:
    """Dropout after each hidden layer of an MLP, or the one before a CNN's head; 0-1."""
    if family_of(params) == "cnn":
        return [float(params.get("dropout", 0.0))]
    return [float(per_layer(params, "dropout", i)) for i in range(int(params["n_layers"]))]
