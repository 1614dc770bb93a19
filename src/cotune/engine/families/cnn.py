"""The family of convolutional networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cotune.engine.cohorts.cnn import CNNCohort
from cotune.engine.families.base import (
    Family,
    read_count,
    read_counts,
    read_rates,
    read_switch,
    read_word,
)
from cotune.engine.networks.cnn import CNNArchitecture, dropout_rates
from cotune.exceptions import DataError
from cotune.records import Value
from cotune.space.hyperparameters import ACTIVATIONS, DOWNSAMPLINGS, HEADS, OF_FAMILY

if TYPE_CHECKING:
    from cotune.engine.lane import Lane


class CNNFamily(Family):
    """Blocks of convolutions, for images alone."""

    name = "cnn"
    hyperparameters = OF_FAMILY["cnn"]
    needs_images = True
    is_fused = False

    def architecture(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> CNNArchitecture:
        if len(input_shape) not in (2, 3):
            raise DataError(f"a CNN needs images; these rows have shape {input_shape}: use an MLP")
        height, width, channels = (*input_shape, 1)[:3]
        return CNNArchitecture.from_params(params, (height, width, channels), n_classes)

    def dropout_rates(self, params: Mapping[str, Value]) -> list[float]:
        return dropout_rates(params)

    def cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> CNNCohort:
        return CNNCohort(lanes, bfloat16, balanced)

    def read(
        self, described: Mapping[str, Any], params: Any
    ) -> tuple[CNNArchitecture, list[float]]:
        height, width, channels = read_counts(described["image"])
        architecture = CNNArchitecture(
            image=(height, width, channels),
            filters=read_counts(described["filters"], least=1),
            kernel=read_count(described["kernel"]),
            batch_norm=read_switch(described["batch_norm"]),
            dense=read_count(described["dense"], least=0),
            n_classes=read_count(described["n_classes"]),
            # Files of older versions name none of these.
            convolutions=read_counts(described.get("convolutions", [])),
            residual=read_switch(described.get("residual", False)),
            downsampling=read_word(described.get("downsampling", DOWNSAMPLINGS[0]), DOWNSAMPLINGS),
            activation=read_word(described.get("activation", ACTIVATIONS[0]), ACTIVATIONS),
            head=read_word(described.get("head", HEADS[0]), HEADS),
            mirrored=read_switch(described.get("mirrored", False)),
        )
        if architecture.convolutions and len(architecture.convolutions) != len(
            architecture.filters
        ):
            raise ValueError("not one number of convolutions a block")
        return architecture, read_rates(described["dropout"], 1)
