"""Worker processes on the CPU: one torch thread each, the dataset shared and not copied.

Workers are started as commands of their own, not forked or spawned from the caller's ``__main__``:
a script or notebook that calls Cotune needs no ``if __name__ == "__main__"`` guard. The dataset
lies in one unlinked temporary file that every worker maps into memory, so it is in memory once and
leaves nothing behind, however the processes end. A worker ends when its pipe does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Pipe, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.exceptions import StorageError
from cotune.executors.base import Executor, worth_filling
from cotune.results import Report, TrialSpec, Verdict

# Without these, glibc returns every large tensor's pages to the system and faults them in again.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
_EXIT_SECONDS = 2.0


class ProcessExecutor(Executor):
    """Trains trials in several worker processes, several together in each.

    The processes start at once and import PyTorch while the caller reads its data; :meth:`load`
    gives them the dataset.

    Args:
        workers: Number of processes.
        lockstep: Of a single worker: train an epoch only when the driver waits for its reports.
            Which trials meet then does not depend on how fast the driver is, and the same seed
            gives the same results bit for bit.
    """

    def __init__(self, workers: int, lockstep: bool = False) -> None:
        self._lockstep = lockstep and workers == 1
        self._stepping = False
        self._file = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._workers = [_Worker(self._file.fileno()) for _ in range(workers)]
        self._lanes = 0

    def load(
        self,
        data: TrainingData,
        seed: int,
        lanes: int | None = None,
        precision: str = "float32",
    ) -> None:
        """Share the dataset with the workers, and have them measure how many lanes pay.

        Args:
            seed: The run's seed.
            lanes: Trials in training at a time in each worker; measured by default.
            precision: As for :class:`Engine`.

        Raises:
            StorageError: The temporary folder has no room for the dataset.
        """
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
        for worker in self._workers:
            worker.send("load", (layout, seed, lanes, precision, self._lockstep))
        # Measured side by side, as they will train; the least keeps all workers alike.
        self._lanes = min(worker.ask("lanes") for worker in self._workers)

    @property
    def lanes(self) -> int:
        return self._lanes

    def openings(self) -> list[int]:
        return worth_filling([self._lanes - len(w.trials) for w in self._workers], self._lanes)

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        worker = min(self._workers, key=lambda worker: len(worker.trials))
        if len(specs) > self._lanes - len(worker.trials):
            raise ValueError(f"trial {specs[0].number}: no worker has room for {len(specs)} trials")
        worker.trials.update(spec.number for spec in specs)
        worker.send("add", list(specs))

    def reports(self, timeout: float) -> list[Report]:
        reports: list[Report] = []
        if self._lockstep and not self._stepping:
            self._workers[0].send("step", None)
            self._stepping = True
        for worker in self._workers:
            reports += worker.take_reports()
        pipes = {worker.pipe: worker for worker in self._workers if worker.trials}
        for pipe in wait(list(pipes), 0.0 if reports else timeout):
            worker = pipes[pipe]  # type: ignore[index]
            if worker.receive()[0] == "reports":
                self._stepping = False
            reports += worker.take_reports()
        return reports

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        for worker in self._workers:
            # Together, so that lanes which go on go on together.
            if own := [verdict for verdict in verdicts if verdict.number in worker.trials]:
                worker.send("apply", own)
                worker.trials -= {verdict.number for verdict in own if verdict.stop}

    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        worker = next(worker for worker in self._workers if number in worker.trials)
        worker.send("weights", (number, best))
        weights: dict[str, NDArray] = worker.ask("weights")  # type: ignore[type-arg]
        return weights

    def clear(self) -> None:
        for worker in self._workers:
            worker.trials.clear()
            worker.send("clear", None)

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.end()
        self._workers = []
        with contextlib.suppress(OSError):  # what a full disk had no room for is tried once more
            self._file.close()


class _Worker:
    def __init__(self, data_fd: int) -> None:
        self.pipe, theirs = Pipe()
        self.trials: set[int] = set()
        self._reports: list[Report] = []
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = [sys.executable, "-P", "-m", "cotune.executors.worker"]
        self._process = subprocess.Popen(
            # -P: it imports what the driver would, and no numpy.py that lies in this folder.
            [*command, str(theirs.fileno()), str(data_fd)],
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": paths},
            pass_fds=(theirs.fileno(), data_fd),
            stdin=subprocess.DEVNULL,
            # A Ctrl-C in the terminal is for the driver, which then ends its workers.
            start_new_session=True,
        )
        theirs.close()

    def send(self, kind: str, content: Any) -> None:
        try:
            self.pipe.send((kind, content))
        except OSError:
            raise self._lost() from None

    def ask(self, kind: str) -> Any:
        """The answer of that kind; reports that come before it are kept."""
        while True:
            if (answer := self.receive())[0] == kind:
                return answer[1]

    def receive(self) -> tuple[str, Any]:
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if kind == "error":
            raise StorageError(f"a worker process failed: {content}")
        if kind == "reports":
            self._reports += content
        return kind, content

    def take_reports(self) -> list[Report]:
        """Reports that were received, but for those of trials that were stopped before."""
        reports = [report for report in self._reports if report.number in self.trials]
        self._reports = []
        self.trials -= {report.number for report in reports if report.error}
        return reports

    def _lost(self) -> StorageError:
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return StorageError(f"a worker process ended ({cause}); too little memory is one cause")

    def end(self) -> None:
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
