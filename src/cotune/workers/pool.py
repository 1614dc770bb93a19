"""Engines that train side by side: worker processes on the CPU, one torch thread each.

Workers are started as commands of their own, not forked or spawned from the caller's ``__main__``:
a script or notebook that calls Cotune needs no ``if __name__ == "__main__"`` guard. The dataset
lies in one unlinked temporary file that every worker maps into memory, so it is in memory once and
leaves nothing behind, however the processes end. A worker ends when its pipe does.

A worker that dies, fails or hangs is replaced. Its trials go on from the last saved lanes, those
that it was training one at a time: one that ends its worker again is the one to blame, and fails.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from abc import abstractmethod
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine.families import FAMILIES
from cotune.exceptions import StorageError
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.workers.base import EngineJob, Executor, worth_filling
from cotune.workers.process import Pool, Process, WorkerLostError, WorkerProcess, launch

_HANG_SECONDS = 120.0  # without a sign of life; a worker gives one a second
_BARREN = 5  # workers that end one after another without a report, before that is an error
_LOAD_SECONDS = 120.0


class PoolExecutor(Pool["Worker"], Executor):
    """Trains trials in several workers, several together in each.

    Subclasses say how a worker is started and how it gets the dataset.

    Args:
        lockstep: Of a single worker: train an epoch only when the driver waits for its reports.
            Which trials meet then does not depend on how fast the driver is, and the same seed
            gives the same results bit for bit.
        hang_seconds: A worker that gives no sign of life for so long is replaced.
    """

    def __init__(self, lockstep: bool = False, hang_seconds: float = _HANG_SECONDS) -> None:
        super().__init__(hang_seconds, _BARREN)
        self._lockstep = lockstep
        self._stepping = False
        self._lanes = 0
        self._load: tuple[Any, ...] = ()
        self._failures: list[EpochReport] = []
        self._folder: Path | None = None
        self._kept: list[Path] = []

    @abstractmethod
    def _launch(self) -> tuple[Connection, Process]:
        """Start a worker; return a pipe to it, and its process."""

    def _make_worker(self, pipe: Connection, process: Process) -> Worker:
        return Worker(pipe, process)

    def _new_worker(self) -> Worker:
        """Return a new worker; once there is a job, it has that."""
        worker = self._make_worker(*self._launch())
        if self._load:
            worker.send(("load", self._load))
        return worker

    def _describe(self, job: EngineJob) -> tuple[Any, ...]:
        """Return what a worker is told of its job."""
        data = job.data
        layout = {
            "shape": data.inputs.shape,
            "dtype": data.inputs.dtype.str,
            "n_train": data.n_train,
            "n_classes": data.n_classes,
            "input_shape": data.input_shape,
            "fold_of": data.fold_of,
        }
        engine = (job.lanes, job.precision, job.metric, job.custom)
        return layout, job.seed, engine, self._lockstep

    @property
    def lanes(self) -> int:
        return self._lanes

    def alone(self, spec: TrialSpec) -> bool:
        # Lanes that are stepped one after another would each only take longer together.
        family = FAMILIES.get(str(spec.params.get("model", "mlp")))
        return family is not None and not family.is_fused

    def openings(self) -> list[int]:
        return worth_filling([(self._room(w), w.lanes) for w in self._workers if w.is_ready])

    def _room(self, worker: Worker) -> int:
        specs = worker.specs.values()
        return 0 if any(self.alone(spec) for spec in specs) else worker.lanes - len(specs)

    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        worker = max((w for w in self._workers if w.is_ready), key=self._room)
        if len(specs) > worker.lanes - len(worker.specs):
            raise ValueError(f"trial {specs[0].number}: no worker has room for {len(specs)} trials")
        worker.specs |= {spec.number: spec for spec in specs}
        worker.resume(specs, saved)

    def reports(self, timeout: float) -> list[EpochReport]:
        if self._lockstep and not self._stepping:
            self._stepping = True
            self._workers[0].send(("step", None))
        self._share_cores()
        reports = self.pending()
        self._listen(self._in_use(), 0.0 if reports else timeout)
        if self._stepping or not self._lockstep:
            self._watch(self._in_use())
        return reports + self.pending()

    def _in_use(self) -> list[Worker]:
        """Return workers that have something to say."""
        return [worker for worker in self._workers if worker.specs or not worker.is_ready]

    def _share_cores(self) -> None:
        """Give the cores of idle workers to a network that trains alone.

        In lockstep, sums are rounded as on one thread, whatever the machine.
        """
        at_work = [worker for worker in self._workers if worker.specs]
        for worker in at_work if not self._lockstep else ():
            is_alone = any(self.alone(spec) for spec in worker.specs.values())
            threads = len(self._workers) // len(at_work) if is_alone else 1
            if threads != worker.threads:
                worker.threads = threads
                worker.send(("threads", threads))

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        for worker in self._workers:
            # Together, so that lanes which go on go on together.
            if own := [verdict for verdict in verdicts if verdict.number in worker.specs]:
                for verdict in own:
                    if verdict.stop:
                        del worker.specs[verdict.number]
                worker.send(("apply", own))
                self._clear_suspects(worker)

    def settle(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while self._stepping and time.monotonic() < end:
            worker = self._workers[0]
            if worker.pipe.poll(0.05):
                self._receive(worker)
            else:
                self._watch([worker])
        return not self._stepping

    def pending(self) -> list[EpochReport]:
        failures, self._failures = self._failures, []
        return failures + [report for worker in self._workers for report in worker.take_reports()]

    def save(self, folder: Path) -> None:
        self._folder = folder
        for i, worker in enumerate(self._workers):
            worker.last_sign = time.monotonic()
            worker.save(folder / f"lanes-{i}.safetensors")

    def saved(self, timeout: float) -> list[Path] | None:
        end = time.monotonic() + timeout
        while waiting := [worker for worker in self._workers if worker.saved is None]:
            for worker in waiting:
                if worker.pipe.poll(0.01 if timeout else 0.0):
                    self._receive(worker)
                else:
                    self._watch([worker])
            if time.monotonic() >= end:
                break
        if any(worker.saved is None for worker in self._workers) or self._folder is None:
            return None
        for worker in self._workers:
            if worker.saved:
                raise StorageError(worker.saved)
        self.saving_seconds += max(worker.saving_seconds for worker in self._workers)
        return sorted(self._folder.glob("lanes-*.safetensors"))

    def keep(self, saved: Sequence[Path]) -> None:
        self._kept = list(saved)

    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        worker = next((worker for worker in self._workers if number in worker.specs), None)
        if worker is None:
            return {}
        worker.send(("weights", (number, best)))
        try:
            return dict(worker.ask("weights", self._hang_seconds))
        except WorkerLostError as error:
            self._replace(worker, str(error))
            return {}

    def clear(self) -> None:
        self._failures = []
        for worker in self._workers:
            worker.specs.clear()
            worker.send(("clear", None))
            self._clear_suspects(worker)

    def _take(self, worker: Worker, kind: str, content: Any) -> None:
        if kind == "reports":
            self._stepping = False
            self._barren = 0
            self._clear_suspects(worker)

    def _clear_suspects(self, worker: Worker) -> None:
        """Let a worker train all its lanes together again when none of them can be to blame."""
        if worker.suspects:
            worker.suspects &= worker.specs.keys() - worker.reported
            if not worker.suspects:
                worker.send(("limit", worker.lanes))

    def _replace(self, worker: Worker, reason: str) -> None:
        # What it told before its end stands; its lanes train on from further back.
        with contextlib.suppress(WorkerLostError, OSError):
            while worker.pipe.poll():
                worker.receive()
        super()._replace(worker, reason)

    def _restart(self, worker: Worker, reason: str) -> None:
        """Resume a lost worker's trials in a new one."""
        self._failures += worker.take_reports()
        in_training = [number for number in worker.in_training if number in worker.specs]
        if worker.is_blamed:
            for number, error in self._blame(in_training, reason).items():
                epoch = worker.epochs.get(number, 0) + 1
                self._failures.append(EpochReport.failed(number, epoch, error))
                del worker.specs[number]
            self._count_barren(reason)
        self._stepping = False
        new = self._new_worker()
        self._workers[self._workers.index(worker)] = new
        new.lanes = worker.lanes
        if worker.is_blamed:
            new.suspects = {number for number in in_training if number in worker.specs}
        self._resume(new, worker.specs, worker.epochs)
        if worker.saved is None and worker.saving:
            new.save(worker.saving)

    def _resume(self, worker: Worker, specs: dict[int, TrialSpec], epochs: dict[int, int]) -> None:
        """Have a worker train on what another one did."""
        worker.specs |= specs
        worker.epochs |= {number: epochs[number] for number in specs if number in epochs}
        if worker.suspects:
            worker.send(("limit", 1))
        worker.resume(list(specs.values()), self._kept)


class ProcessExecutor(PoolExecutor):
    """Trains trials in several worker processes on this machine.

    The processes start at once and import PyTorch while the caller reads its data; :meth:`load`
    gives them the dataset.

    Args:
        lockstep, hang_seconds: As for :class:`PoolExecutor`; only one worker can be in lockstep.
    """

    def __init__(
        self, workers: int, lockstep: bool = False, hang_seconds: float = _HANG_SECONDS
    ) -> None:
        super().__init__(lockstep and workers == 1, hang_seconds)
        self._file = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._workers = [self._new_worker() for _ in range(workers)]

    def _launch(self) -> tuple[Connection, Process]:
        return launch("cotune.workers.training", self._file.fileno())

    def load(self, job: EngineJob) -> None:
        write_data(self._file, job.data)
        layout, seed, (_, *engine), lockstep = self._load = self._describe(job)
        for worker in self._workers:
            worker.send(("load", self._load))
        # Measured side by side, as they will train; the least keeps all workers alike.
        for i in range(len(self._workers)):
            self._wait_until_ready(i)
        self._lanes = min((worker.lanes for worker in self._workers), default=0)
        for worker in self._workers:
            worker.lanes = self._lanes
        self._load = layout, seed, (self._lanes, *engine), lockstep

    def _wait_until_ready(self, i: int) -> None:
        while not self._workers[i].is_ready:
            try:
                self._workers[i].ask("lanes", _LOAD_SECONDS)
            except WorkerLostError as error:
                self._workers[i].kill()
                self._count_barren(str(error))
                self._workers[i] = self._new_worker()

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):  # what a full disk had no room for is tried once more
            self._file.close()


def write_data(file: IO[bytes], data: TrainingData) -> None:
    """Write a dataset as :func:`cotune.workers.training.map_data` reads it.

    Raises:
        StorageError: There is no room.
    """
    try:
        # The labels first, as all that follows 8-byte numbers is aligned.
        file.write(np.ascontiguousarray(data.labels).data)
        file.write(np.ascontiguousarray(data.inputs).data)
        file.flush()
    except OSError as error:
        raise StorageError(
            f"{tempfile.gettempdir()}: the dataset cannot be shared through it: "
            f"{error.strerror}; set TMPDIR to a folder with more room"
        ) from error


class Worker(WorkerProcess):
    """A worker with an engine, at the end of a pipe.

    Attributes:
        lanes: How many trials it trains at a time; 0 until it has measured that.
        is_ready: It has its job.
        is_blamed: Where it is lost, its trials may be the reason.
    """

    def __init__(self, pipe: Connection, process: Process) -> None:
        super().__init__(pipe, process)
        self.lanes = 0
        self.is_ready = False
        self.is_blamed = True
        self.specs: dict[int, TrialSpec] = {}
        self.epochs: dict[int, int] = {}  # by trial, the last that was reported
        self.in_training: list[int] = []
        self.threads = 1
        self.suspects: set[int] = set()  # in training when the worker before this one ended
        self.reported: set[int] = set()
        self.saved: str | None = ""  # None while it saves its lanes, then why that failed
        self.saving: Path | None = None
        self.saving_seconds = 0.0
        self._reports: list[EpochReport] = []

    def send(self, content: Any) -> None:
        if not self.specs:
            self.last_sign = time.monotonic()  # until now there was nothing to tell
        super().send(content)

    def resume(self, specs: Sequence[TrialSpec], saved: Sequence[Path]) -> None:
        self.last_sign = time.monotonic()
        self.send(("resume", (list(specs), list(saved))))

    def save(self, path: Path) -> None:
        self.saved, self.saving = None, path
        self.send(("save", path))

    def ask(self, kind: str, seconds: float) -> Any:
        """Return the answer of that kind; reports that come before it are kept.

        Args:
            seconds: For the answer, or another sign of life.
        """
        while True:
            if not self.pipe.poll(seconds):
                raise WorkerLostError(f"no sign of life for {seconds:g} s")
            if (answer := self.receive())[0] == kind:
                return answer[1]

    def receive(self) -> tuple[str, Any]:
        kind, content = super().receive()
        if kind == "error":
            raise WorkerLostError(content)
        if kind == "began":
            self.in_training = content
        elif kind == "reports":
            self._reports += content
            self.epochs |= {report.number: report.epoch for report in content}
            self.reported |= {report.number for report in content}
            self.in_training = []
        elif kind == "lanes":
            self.is_ready, self.lanes = True, content
        elif kind == "saved":
            self.saved, self.saving_seconds = content
        return kind, content

    def take_reports(self) -> list[EpochReport]:
        """Return reports that were received, but for those of trials that were stopped before."""
        reports = [report for report in self._reports if report.number in self.specs]
        self._reports = []
        for report in reports:
            if report.error:
                del self.specs[report.number]
        return reports
