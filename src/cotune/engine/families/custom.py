"""The family of one user's own networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cotune.engine.cohorts.base import Cohort
from cotune.engine.cohorts.module import ModuleCohort, SoloCohort
from cotune.engine.families.base import Family, read_count, read_counts
from cotune.engine.networks.common import CUSTOM
from cotune.engine.networks.custom.architecture import CustomArchitecture
from cotune.engine.networks.custom.network import CustomNetwork
from cotune.records import Value

if TYPE_CHECKING:
    from cotune.engine.lane import Lane


class CustomFamily(Family):
    """Networks that a function or class of the user makes.

    Args:
        custom: Their maker.
    """

    name = CUSTOM
    runs_user_code = True

    def __init__(self, custom: CustomNetwork) -> None:
        self._custom = custom

    def architecture(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> CustomArchitecture:
        """Make a network with its weights.

        Raises:
            Exception: Any error of the user's code.
        """
        return CustomArchitecture(self._custom.build(params, input_shape, n_classes, seed))

    def dropout_rates(self, params: Mapping[str, Value]) -> list[float]:
        """Return none: the network has its rates already."""
        return []

    def cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> Cohort:
        kind = SoloCohort if lanes[0].alone else ModuleCohort
        return kind(lanes, bfloat16, balanced)

    def read(
        self, described: Mapping[str, Any], params: Any
    ) -> tuple[CustomArchitecture, list[float]]:
        shape = read_counts(described["input_shape"], least=1)
        n_classes = read_count(described["n_classes"])
        seed = read_count(described["seed"], least=0, most=2**63)
        return self.architecture(dict(params), shape, n_classes, seed), []
