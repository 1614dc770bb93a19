"""The interface between the driver and the engines: plain data in, plain data out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine.networks import CustomNetwork
from cotune.records import EpochReport, TrialSpec, Verdict


@dataclass(frozen=True)
class EngineJob:
    """The job of an executor's engines, given before any trial.

    Attributes:
        lanes: Trials in training at a time in each engine; measured by default.
        precision: Of the large products, ``float32`` or ``bfloat16``.
        metric: By which a lane's best epoch is known.
        custom: What makes the networks, where they are the user's own.
    """

    data: TrainingData
    seed: int
    lanes: int | None = None
    precision: str = "float32"
    metric: str = "accuracy"
    custom: CustomNetwork | None = None


class Executor(ABC):
    """Trains trials somewhere.

    It may start at once, while the caller reads its data; :meth:`load` gives it the job. The driver
    submits groups of trials where there are openings. Each trial is trained epoch by epoch: after
    its report it waits for its verdict. A trial whose report has an error is over.

    Attributes:
        saving_seconds: How long engines stood still to save their lanes.
    """

    saving_seconds = 0.0

    @abstractmethod
    def load(self, job: EngineJob) -> None:
        """Give the engines their dataset, and have them measure how many lanes pay.

        Raises:
            StorageError: There is no room for the dataset, or a worker process ended.
        """

    @property
    @abstractmethod
    def lanes(self) -> int:
        """How many trials one engine trains at a time."""

    def alone(self, spec: TrialSpec) -> bool:
        """Return whether a trial is better trained without others beside it in the engine."""
        return False

    @abstractmethod
    def openings(self) -> list[int]:
        """Return how many trials each engine has room for, where filling it is worth while."""

    @abstractmethod
    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        """Start training these trials in one engine, which trains those together that fit.

        Args:
            saved: Files of :meth:`saved`; trials whose lanes are in them go on from there.

        Raises:
            ValueError: No engine has room for all of them.
        """

    @abstractmethod
    def reports(self, timeout: float) -> list[EpochReport]:
        """Return the reports that have come in, after at most about ``timeout`` seconds."""

    @abstractmethod
    def apply(self, verdicts: Sequence[Verdict]) -> None:
        """Let reported trials go on, or stop them and free their places."""

    @abstractmethod
    def clear(self) -> None:
        """Stop all trials at once, those in mid-epoch too."""

    @abstractmethod
    def settle(self, timeout: float) -> bool:
        """Wait until the state of the lanes follows from the verdicts alone.

        In lockstep, until no epoch is being trained; otherwise, as it never does, not at all.

        Returns:
            False if that takes longer than ``timeout`` seconds.
        """

    @abstractmethod
    def pending(self) -> list[EpochReport]:
        """Return reports that are here already; no epoch is begun for them."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Begin to write all lanes into files in the folder. Training may go on meanwhile."""

    @abstractmethod
    def saved(self, timeout: float) -> list[Path] | None:
        """Return the files once they are whole; None if that takes more than ``timeout`` seconds.

        Reports of what is in them came before, see :meth:`pending`.

        Raises:
            StorageError: One cannot be written.
        """

    @abstractmethod
    def keep(self, saved: Sequence[Path]) -> None:
        """Resume lanes of an engine that is lost from these files, from now on."""

    @abstractmethod
    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        """Return the weights of a trial that waits for its verdict, named as in its module.

        Args:
            best: Those of its epoch with the best validation accuracy so far (the first of
                several); those of now where nothing was validated.

        Returns:
            {} if its engine was lost just now; it then trains some epochs again, which are
            reported once more.
        """

    def take_lost(self) -> list[str]:
        """Return why engines were lost and replaced, for each since the last call.

        Their trials then train on in other company, so the last bits are no longer those of an
        undisturbed run.
        """
        return []

    @abstractmethod
    def close(self) -> None:
        """Stop everything; trials in training are lost. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def worth_filling(places: Sequence[tuple[int, int]]) -> list[int]:
    """Return the engines' free places where at least half of the lanes are free, the most first.

    Lanes that start together go through their epochs together; filled one by one, each would
    train alone. As a group goes to the engine with the most room, groups that are submitted in
    this order all fit.

    Args:
        places: Free ones of each engine, and all.
    """
    return sorted((free for free, lanes in places if 2 * free >= lanes > 0), reverse=True)
