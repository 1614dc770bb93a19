"""How long an epoch of a network will take, by what others took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cotune.data.dataset import TrainingData
from cotune.engine.families import family_of
from cotune.records import Value


@dataclass
class Pace:
    """Seconds of a network's epoch for each unit of its work, as the fastest so far had it.

    Attributes:
        data: What the networks are trained on.
    """

    data: TrainingData
    _least: dict[str, float] = field(default_factory=dict, init=False)

    def learn(self, params: Mapping[str, Value], seconds: float) -> None:
        """Take in the seconds that an epoch of a configuration took."""
        family = str(params["model"])
        each = seconds / self._work(params)
        self._least[family] = min(each, self._least.get(family, each))

    def seconds(self, params: Mapping[str, Value]) -> float | None:
        """Return about the seconds of an epoch; None where none of the family was trained."""
        each = self._least.get(str(params["model"]))
        return None if each is None else each * self._work(params)

    def _work(self, params: Mapping[str, Value]) -> int:
        data = self.data
        return family_of(params).architecture(params, data.input_shape, data.n_classes, 0).work
