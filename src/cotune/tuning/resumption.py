"""The arguments of :func:`cotune.resume`, and the limits that follow from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cotune.data.reading import Data
from cotune.exceptions import UsageError
from cotune.study.pruners import PrunerLike
from cotune.study.samplers import SamplerLike
from cotune.workers.objective.given import ObjectiveLike

if TYPE_CHECKING:  # it imports PyTorch, which runs of objectives do without
    from cotune.engine.networks.custom.given import ModelLike


@dataclass(frozen=True)
class Resumption:
    """The arguments of :func:`cotune.resume`."""

    timeout: str | float | None
    n_trials: int | None
    more: int | None
    data: Data
    target: str | int | None
    test: Data
    model: ModelLike
    objective: ObjectiveLike | None
    arguments: str | Sequence[object] | None
    sampler: SamplerLike | None
    pruner: PrunerLike | None
    executor: str | None = None
    address: str | None = None
    workers: int | Literal["max"] | None = None
    publish: str | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of a resumed run, as asked for.

    Attributes:
        seconds: Further seconds, finalists and final model included.
        n_trials: Trials altogether.
        more: Trials beside those that the run has; not together with ``n_trials``.
    """

    seconds: float | None
    n_trials: int | None
    more: int | None

    def apply(
        self, n_trials: int | None, timeout: float | None, used: float, so_far: int
    ) -> tuple[int | None, float | None, bool]:
        """Return the run's new limits.

        Args:
            n_trials, timeout: The run's own.
            used: Seconds that it took so far.
            so_far: Trials that it has.

        Returns:
            Trials altogether; seconds altogether; whether the search continues even if it was over.
        """
        extended = self.seconds is not None or self.more is not None
        limited = self.more is not None or self.n_trials is not None
        if limited:
            total = self.n_trials or so_far + (self.more or 0)
            extended = extended or n_trials is None or total > n_trials
            n_trials = total
        if self.seconds is not None:
            return (n_trials if limited else None), used + self.seconds, extended
        if timeout is not None and not extended:
            # What is left to do takes its time, though none of what was asked for may be left.
            return n_trials, max(timeout, used + timeout / 3), extended
        # So many trials, however long they take.
        return n_trials, (None if extended else timeout), extended


def recorded_part(what: str, recorded: str, given: Any, names: Collection[str]) -> Any:
    """Return a run's sampler or pruner by its recorded name, or the object given again."""
    if recorded in names:
        if given is not None and given != recorded:
            raise UsageError(f"{what}: the run's is {recorded}; start another run for another one")
        return recorded
    if given is None or isinstance(given, str):
        raise UsageError(
            f"{what}: the run was given a {recorded} object; resume it from Python with {what}=..."
        )
    return given
