"""When the lanes in training are saved, and what with them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cotune.engine.lane_state import saved_specs
from cotune.exceptions import StorageError
from cotune.records import EpochReport, TrialSpec
from cotune.runs.checkpoint_store import Generation, Generations
from cotune.tuning.context import RunContext
from cotune.workers.base import Executor

Handle = Callable[[list[EpochReport]], None]
"""Records reports and lets their trials go on or stop."""

Weights = dict[int, dict[str, NDArray[Any]]]
"""A network's weights by name, by the trial's number."""

_STOP_SECONDS: Final = 5.0  # what saving the lanes may take when the user wants the run to end
_EXACT_SECONDS: Final = 600.0
_COST_SHARE: Final = 0.02  # of the wall clock, at most
_KEPT: Final = "kept.safetensors"


class Checkpoints:
    """Saves the lanes of an executor from time to time.

    A checkpoint is of lanes only: finished trials and reports are in the run's other files, which
    are appended to as they come. With it goes how long those were, for an executor in lockstep:
    from there, all that came later comes again, bit for bit.

    Args:
        is_deterministic: Whether all that comes after a checkpoint would come again bit for bit.
        state: What else to keep, as JSON.
        kept: Weights of finished trials that are still wanted.
    """

    def __init__(
        self,
        context: RunContext,
        is_deterministic: Callable[[], bool],
        state: Callable[[], dict[str, Any]],
        kept: Callable[[], Weights],
    ) -> None:
        self._run = context.directory
        self._executor = context.executor
        self._every = context.checkpoint_seconds
        self._max_bytes = context.max_disk
        self._lockstep = context.is_lockstep
        self._is_deterministic = is_deterministic
        self._state = state
        self._kept = kept
        self._generations = Generations(self._run.checkpoint_path)
        self._folder: Path | None = None  # of the one that is being written
        self._sizes: dict[str, int] = {}
        self._due = 0.0  # the first has no lanes; from then on, it is known what was exact
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """What they cost: how long engines or the driver stood still for them."""
        return self._seconds + self._executor.saving_seconds

    def step(self, handle: Handle) -> None:
        """Begin a checkpoint if it is time, or end one that was begun. Called again and again.

        Raises:
            StorageError: It cannot be written; the one before is there.
        """
        if self._every is None:
            return
        if self._folder is None:
            if time.monotonic() < self._due or not self._executor.settle(0.0):
                return
            self._begin(handle)
        self._end(handle, _EXACT_SECONDS if self._lockstep else 0.0)

    def finish(self, handle: Handle) -> None:
        """Save the lanes now; if that takes too long, leave it."""
        if self._every is None:
            return
        end = time.monotonic() + _STOP_SECONDS
        if self._folder is None:
            if not self._executor.settle(_STOP_SECONDS):
                return
            self._begin(handle)
        if not self._end(handle, max(0.0, end - time.monotonic())) and self._folder is not None:
            self._generations.discard(self._folder)
            self._folder = None

    def drop(self) -> None:
        """Remove all checkpoints: nothing is left to resume."""
        self._folder = None
        self._generations.remove()

    def _begin(self, handle: Handle) -> None:
        handle(self._executor.pending())
        self._folder = self._generations.begin()
        self._run.sync()
        self._sizes = self._run.sizes()
        self._executor.save(self._folder)

    def _end(self, handle: Handle, timeout: float) -> bool:
        assert self._folder is not None
        files = self._executor.saved(timeout)
        if files is None:
            return False
        # Reports of epochs that are in the files have to be recorded before these count.
        handle(self._executor.pending())
        began = time.monotonic()
        folder, self._folder = self._folder, None
        files += _save_kept(folder / _KEPT, self._kept())
        if self._has_room(folder):
            state = {"exact": self._is_deterministic(), "sizes": self._sizes, **self._state()}
            generation = self._generations.commit(folder, files, state)
            self._executor.keep(lane_files(generation))
        cost = time.monotonic() - began
        self._seconds += cost
        self._due = time.monotonic() + max(self._every or 0.0, cost / _COST_SHARE)
        return True

    def _has_room(self, folder: Path) -> bool:
        taken = sum(path.stat().st_size for path in self._run.path.rglob("*") if path.is_file())
        if taken <= self._max_bytes:
            return True
        self._generations.discard(folder)
        self._generations.remove()
        self._executor.keep(())
        self._every = None
        warnings.warn(
            f"with checkpoints the run takes {taken / 2**20:,.0f} MiB, more than --max-disk "
            "allows; without them, trials in training begin anew when it is resumed",
            stacklevel=2,
        )
        return False


def resume_lanes(
    executor: Executor, lanes: Sequence[Path], wanted: Mapping[int, TrialSpec]
) -> set[int]:
    """Train on what is wanted and has a lane in these files; returns its numbers."""
    left = dict(wanted)
    for path in lanes:
        if saved := [spec for spec in saved_specs(path) if left.get(spec.number) == spec]:
            executor.submit(saved, lanes)
        for spec in saved:
            del left[spec.number]
    return wanted.keys() - left.keys()


def lane_files(generation: Generation | None) -> list[Path]:
    """Return the lanes in a checkpoint."""
    files = generation.files if generation else []
    return [path for path in files if path.name != _KEPT]


def kept_weights(generation: Generation | None) -> Weights:
    """Return the weights of finished trials in a checkpoint."""
    weights: Weights = {}
    for path in generation.files if generation else []:
        if path.name != _KEPT:
            continue
        try:
            with safe_open(path, "np") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    number, _, name = key.partition("/")
                    weights.setdefault(int(number), {})[name] = file.get_tensor(key)
        except (OSError, SafetensorError, ValueError) as error:
            raise StorageError(f"{path}: cannot be used: {error}") from error
    return weights


def _save_kept(path: Path, kept: Mapping[int, Mapping[str, NDArray[Any]]]) -> Sequence[Path]:
    tensors = {
        f"{number}/{name}": value
        for number, weights in kept.items()
        for name, value in weights.items()
    }
    if not tensors:
        return []
    try:
        save_file(tensors, path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error
    return [path]
