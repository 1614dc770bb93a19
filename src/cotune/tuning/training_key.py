"""Which training of a run is meant: a trial's, a finalist's, a final model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["trial", "finalist", "final", "default", "member"]

_FIRST: Final[dict[Role, int]] = {
    "final": -1,
    "default": -2,
    "finalist": -3,
    "member": -10_000_000,
}


@dataclass(frozen=True)
class TrainingKey:
    """A training of a run.

    Engines and files know a training by one number. Trials have their numbers in the study, from 0;
    the others have negative ones.

    Attributes:
        role: What is trained: a ``trial`` of the search, a ``finalist``, the ``final`` model, the
            ``default`` that is compared with it, or a further ``member`` of an ensemble.
        index: Of a trial and a finalist, the trial's number; of members, from 0.
    """

    role: Role
    index: int = 0

    @property
    def number(self) -> int:
        """The number that engines and files know it by."""
        return self.index if self.role == "trial" else _FIRST[self.role] - self.index

    @classmethod
    def of(cls, number: int) -> TrainingKey:
        """Return the key of a number."""
        if number >= 0:
            return cls("trial", number)
        for role in ("member", "finalist", "default", "final"):
            first = _FIRST[role]
            if number <= first:
                return cls(role, first - number)
        raise AssertionError
