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
from cotune.executors.base import Executor
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
    """Trains each trial in one of several worker processes.

    The processes start at once and import PyTorch while the caller reads its data; :meth:`load`
    gives them the dataset.

    Args:
        workers: Number of processes, one trial at a time each.
    """

    def __init__(self, workers: int) -> None:
        self._file = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._workers = [_Worker(self._file.fileno()) for _ in range(workers)]
        self._of_trial: dict[int, _Worker] = {}

    def load(self, data: TrainingData, seed: int) -> None:
        """Share the dataset with the workers.

        Raises:
            StorageError: The temporary folder has no room for it.
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
        for worker in self._workers:
            shape, dtype = data.inputs.shape, data.inputs.dtype.str
            worker.send("load", (shape, dtype, data.n_train, data.n_classes, seed))

    @property
    def places(self) -> int:
        return len(self._workers)

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        for spec in specs:
            free = (w for w in self._workers if w not in self._of_trial.values())
            worker = next(free, None)
            if worker is None:
                raise ValueError(f"trial {spec.number}: all {self.places} workers are busy")
            self._of_trial[spec.number] = worker
            worker.send("add", [spec])

    def reports(self, timeout: float) -> list[Report]:
        pipes = {worker.pipe: worker for worker in self._of_trial.values()}
        reports: list[Report] = []
        for pipe in wait(list(pipes), timeout):
            reports += pipes[pipe].receive()  # type: ignore[index]
        # A report may have been under way when its trial was stopped.
        reports = [report for report in reports if report.number in self._of_trial]
        for report in reports:
            if report.error:
                del self._of_trial[report.number]
        return reports

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            worker = self._of_trial[verdict.number]
            worker.send("apply", [verdict])
            if verdict.stop:
                del self._of_trial[verdict.number]

    def weights(self, number: int) -> dict[str, NDArray]:  # type: ignore[type-arg]
        worker = self._of_trial[number]
        worker.send("weights", number)
        weights: dict[str, NDArray] = worker.receive()  # type: ignore[type-arg]
        return weights

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

    def receive(self) -> Any:
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if kind == "error":
            raise StorageError(f"a worker process failed: {content}")
        return content

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
