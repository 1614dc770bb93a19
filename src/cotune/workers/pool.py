"""Worker processes on the CPU: one torch thread each, the dataset shared and not copied.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.engine.families import FAMILIES
from cotune.exceptions import StorageError
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.workers.base import EngineJob, Executor, worth_filling
from cotune.workers.process import Pool, WorkerLostError, WorkerProcess, launch

_HANG_SECONDS = 120.0  # without a sign of life; a worker gives one a second
_STARTS = 3  # of a worker, before that is an error
_BARREN = 5  # workers that end one after another without a report, before that is an error
_LOAD_SECONDS = 120.0


class ProcessExecutor(Pool["_Worker"], Executor):
    """Trains trials in several worker processes, several together in each.

    The processes start at once and import PyTorch while the caller reads its data; :meth:`load`
    gives them the dataset.

    Args:
        lockstep: Of a single worker: train an epoch only when the driver waits for its reports.
            Which trials meet then does not depend on how fast the driver is, and the same seed
            gives the same results bit for bit.
        hang_seconds: A worker that gives no sign of life for so long is replaced.
    """

    def __init__(
        self, workers: int, lockstep: bool = False, hang_seconds: float = _HANG_SECONDS
    ) -> None:
        super().__init__(hang_seconds, _BARREN)
        self._lockstep = lockstep and workers == 1
        self._stepping = False
        self._file = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._workers = [_Worker(self._file.fileno()) for _ in range(workers)]
        self._lanes = 0
        self._load: tuple[Any, ...] = ()
        self._failures: list[EpochReport] = []
        self._folder: Path | None = None
        self._kept: list[Path] = []

    def load(self, job: EngineJob) -> None:
        data = job.data
        try:
            # The labels first, as all that follows 8-byte numbers is aligned.
            self._file.write(np.ascontiguousarray(data.labels).data)
            self._file.write(np.ascontiguousarray(data.inputs).data)
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()}: the dataset cannot be shared through it: "
                f"{error.strerror}; set TMPDIR to a folder with more room"
            ) from error
        layout = {
            "shape": data.inputs.shape,
            "dtype": data.inputs.dtype.str,
            "n_train": data.n_train,
            "n_classes": data.n_classes,
            "input_shape": data.input_shape,
            "fold_of": data.fold_of,
        }
        given = (job.precision, job.metric, job.custom, self._lockstep)
        self._load = (layout, job.seed, job.lanes, *given)
        for worker in self._workers:
            worker.send(("load", self._load))
        # Measured side by side, as they will train; the least keeps all workers alike.
        measured = []
        for i, worker in enumerate(self._workers):
            try:
                measured.append(worker.ask("lanes", _LOAD_SECONDS))
            except WorkerLostError:
                worker.kill()
                self._workers[i], found = self._start()
                measured.append(found)
        self._lanes = min(measured, default=0)
        self._load = (layout, job.seed, self._lanes, *given)

    def _start(self) -> tuple[_Worker, int]:
        """Return a new worker that has the dataset, and how many lanes pay there."""
        for attempt in range(1, _STARTS + 1):
            worker = _Worker(self._file.fileno())
            worker.send(("load", self._load))
            try:
                return worker, worker.ask("lanes", _LOAD_SECONDS)
            except WorkerLostError as error:
                worker.kill()
                if attempt == _STARTS:
                    raise StorageError(
                        f"worker processes exit immediately after starting: {error}"
                    ) from None
        raise AssertionError

    @property
    def lanes(self) -> int:
        return self._lanes

    def alone(self, spec: TrialSpec) -> bool:
        # Lanes that are stepped one after another would each only take longer together.
        family = FAMILIES.get(str(spec.params.get("model", "mlp")))
        return family is not None and not family.is_fused

    def openings(self) -> list[int]:
        return worth_filling([self._lanes - self._taken(w) for w in self._workers], self._lanes)

    def _taken(self, worker: _Worker) -> int:
        specs = worker.specs.values()
        return self._lanes if any(self.alone(spec) for spec in specs) else len(specs)

    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        worker = min(self._workers, key=self._taken)
        if len(specs) > self._lanes - len(worker.specs):
            raise ValueError(f"trial {specs[0].number}: no worker has room for {len(specs)} trials")
        worker.specs |= {spec.number: spec for spec in specs}
        worker.resume(specs, saved)

    def reports(self, timeout: float) -> list[EpochReport]:
        if self._lockstep and not self._stepping:
            self._stepping = True
            self._workers[0].send(("step", None))
        self._share_cores()
        reports = self.pending()
        at_work = [worker for worker in self._workers if worker.specs]
        self._listen(at_work, 0.0 if reports else timeout)
        if self._stepping or not self._lockstep:
            self._watch([worker for worker in self._workers if worker.specs])
        return reports + self.pending()

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

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):  # what a full disk had no room for is tried once more
            self._file.close()

    def _take(self, worker: _Worker, kind: str, content: Any) -> None:
        if kind == "reports":
            self._stepping = False
            self._barren = 0
            self._clear_suspects(worker)

    def _clear_suspects(self, worker: _Worker) -> None:
        """Let a worker train all its lanes together again when none of them can be to blame."""
        if worker.suspects:
            worker.suspects &= worker.specs.keys() - worker.reported
            if not worker.suspects:
                worker.send(("limit", self._lanes))

    def _replace(self, worker: _Worker, reason: str) -> None:
        # What it told before its end stands; its lanes train on from further back.
        with contextlib.suppress(WorkerLostError, OSError):
            while worker.pipe.poll():
                worker.receive()
        super()._replace(worker, reason)

    def _restart(self, worker: _Worker, reason: str) -> None:
        """Resume a lost worker's trials in a new process."""
        self._failures += worker.take_reports()
        in_training = [number for number in worker.in_training if number in worker.specs]
        for number, error in self._blame(in_training, reason).items():
            epoch = worker.epochs.get(number, 0) + 1
            self._failures.append(EpochReport.failed(number, epoch, error))
            del worker.specs[number]
        self._count_barren(reason)
        self._stepping = False
        new, _ = self._start()
        self._workers[self._workers.index(worker)] = new
        new.specs, new.epochs = worker.specs, worker.epochs
        new.suspects = {number for number in in_training if number in new.specs}
        if new.suspects:
            new.send(("limit", 1))
        new.resume(list(new.specs.values()), self._kept)
        if worker.saved is None and worker.saving:
            new.save(worker.saving)


class _Worker(WorkerProcess):
    def __init__(self, data_fd: int) -> None:
        super().__init__(*launch("cotune.workers.training", data_fd))
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
