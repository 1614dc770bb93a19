"""The interface between the driver and the engines: plain data in, plain data out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from numpy.typing import NDArray

from cotune.results import Report, TrialSpec, Verdict


class Executor(ABC):
    """Trains trials somewhere.

    The driver submits at most ``places`` trials at a time. Each trial is trained epoch by epoch:
    after its report it waits for its verdict. A trial whose report has an error is over.
    """

    @property
    @abstractmethod
    def places(self) -> int:
        """How many trials can be in training at a time."""

    @abstractmethod
    def submit(self, specs: Sequence[TrialSpec]) -> None:
        """Start training these trials."""

    @abstractmethod
    def reports(self, timeout: float) -> list[Report]:
        """The reports that have come in; waits at most about ``timeout`` seconds for the first."""

    @abstractmethod
    def apply(self, verdicts: Sequence[Verdict]) -> None:
        """Let reported trials go on, or stop them and free their places.

        A trial in mid-epoch can be stopped too; it is not reported again.
        """

    @abstractmethod
    def weights(self, number: int) -> dict[str, NDArray]:  # type: ignore[type-arg]
        """The weights of a trial that waits for its verdict, as its module twin names them."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything; trials in training are lost. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
