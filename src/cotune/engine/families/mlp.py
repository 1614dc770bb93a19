"""The family of multilayer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cotune.engine.cohorts.mlp import MLPCohort
from cotune.engine.cohorts.stacked_mlp import StackedMLPCohort
from cotune.engine.families.base import Family, read_count, read_counts, read_rates, read_switch
from cotune.engine.networks.mlp import MLPArchitecture, dropout_rates
from cotune.records import Value
from cotune.space.hyperparameters import OF_FAMILY

if TYPE_CHECKING:
    from cotune.engine.lane import Lane


class MLPFamily(Family):
    """Perceptrons of any widths and depths, for rows of any shape."""

    name = "mlp"
    hyperparameters = OF_FAMILY["mlp"]

    def architecture(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> MLPArchitecture:
        return MLPArchitecture.from_params(params, math.prod(input_shape), n_classes)

    def dropout_rates(self, params: Mapping[str, Value]) -> list[float]:
        return dropout_rates(params)

    def cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> MLPCohort:
        return MLPCohort(lanes, batch_size, bfloat16, balanced)

    def stacked_cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> StackedMLPCohort:
        return StackedMLPCohort(lanes, batch_size, bfloat16, balanced)

    def read(
        self, described: Mapping[str, Any], params: Any
    ) -> tuple[MLPArchitecture, list[float]]:
        widths = read_counts(described["widths"])
        architecture = MLPArchitecture(
            n_inputs=read_count(described["n_inputs"]),
            widths=widths,
            batch_norm=read_switch(described["batch_norm"]),
            n_classes=read_count(described["n_classes"]),
        )
        return architecture, read_rates(described["dropout"], len(widths))
