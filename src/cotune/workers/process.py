"""Worker processes: starting one, its signs of life, its end, and a pool that replaces them."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, Final, Generic, Protocol, TypeVar

from cotune.exceptions import StorageError

# Without the last two, glibc returns every large tensor's pages to the system and faults them in
# again.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the core to other processes
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
T = TypeVar("T")
W = TypeVar("W", bound="WorkerProcess")

_CHANCES: Final = 2  # workers that a trial may end before it fails
_EXIT_SECONDS: Final = 2.0  # what a worker may take to end once it is killed


def launch(
    module: str,
    *fds: int,
    output: IO[Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Connection[Any, Any], subprocess.Popen[bytes]]:
    """Start ``python -m MODULE PIPE_FD FDS...``, its math libraries on one thread.

    It imports what this process would, from the same places.

    Args:
        fds: Further files that it is given.
        output: Where what it prints goes; to this process's own streams by default.
        environment: Further variables.

    Returns:
        The driver's end of the pipe, and the process.
    """
    pipe, theirs = Pipe()
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    process = subprocess.Popen(
        # -P: it imports what the driver would, and no numpy.py that lies in this folder.
        [sys.executable, "-P", "-m", module, str(theirs.fileno()), *map(str, fds)],
        env={**os.environ, **ENVIRONMENT, **(environment or {}), "PYTHONPATH": paths},
        pass_fds=(theirs.fileno(), *fds),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        # A Ctrl-C in the terminal is for the driver, which then ends its workers.
        start_new_session=True,
    )
    theirs.close()
    return pipe, process


class Process(Protocol):
    """A process, as :class:`subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class WorkerLostError(Exception):
    """A worker ended or failed; the message says how."""


class WorkerProcess:
    """A worker process at the end of a pipe.

    Args:
        process: The process; it leads a group.

    Attributes:
        last_sign: When it last gave a sign of life, by ``time.monotonic()``.
    """

    def __init__(self, pipe: Connection[Any, Any], process: Process) -> None:
        self.pipe = pipe
        self.process = process
        self.last_sign = time.monotonic()

    def send(self, content: Any) -> None:
        """Send it something; that a worker has ended is seen when its pipe is read."""
        with contextlib.suppress(OSError):
            self._write(content)

    def _write(self, content: Any) -> None:
        self.pipe.send(content)

    def _read(self, message: bytes) -> tuple[str, Any]:
        kind, content = pickle.loads(message)
        return kind, content

    def _how_it_ended(self) -> str:
        return how_it_ended(self.process)

    def receive(self) -> tuple[str, Any]:
        """Return a message: its kind and content.

        Raises:
            WorkerLostError: It has ended.
        """
        try:
            message = self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise WorkerLostError(self._how_it_ended()) from None
        self.last_sign = time.monotonic()
        return self._read(message)

    def kill(self) -> None:
        """End the process and all of its group at once."""
        if self.process.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.pipe.close()  # by which a fork that has not said its number ends
        if self.process.pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_EXIT_SECONDS)


class Pool(ABC, Generic[W]):
    """Worker processes that are watched, and replaced where they end, fail or hang.

    Args:
        hang_seconds: A worker that gives no sign of life for so long is replaced.
        most_barren: Workers that may end one after another without having been of use.
    """

    def __init__(self, hang_seconds: float, most_barren: int) -> None:
        self._hang_seconds = hang_seconds
        self._most_barren = most_barren
        self._barren = 0
        self._deaths: Counter[object] = Counter()
        self._workers: list[W] = []
        self._lost: list[str] = []

    @abstractmethod
    def _take(self, worker: W, kind: str, content: Any) -> None:
        """Take in a message of a worker."""

    @abstractmethod
    def _restart(self, worker: W, reason: str) -> None:
        """Put another worker in the place of one that was lost, and is killed."""

    def _listen(self, workers: Iterable[W], timeout: float, *others: Connection[Any, Any]) -> None:
        """Take in what workers say within about ``timeout`` seconds; ``others`` end the wait."""
        pipes = {worker.pipe: worker for worker in workers}
        for pipe in wait([*pipes, *others], timeout):
            worker = pipes.get(pipe)  # type: ignore[call-overload]
            while worker in self._workers and self._receive(worker) and worker.pipe.poll():
                pass

    def _receive(self, worker: W) -> bool:
        """Take in a worker's next message; False if it is lost, and replaced."""
        try:
            kind, content = worker.receive()
        except WorkerLostError as error:
            self._replace(worker, str(error))
            return False
        self._take(worker, kind, content)
        return True

    def _watch(self, workers: Iterable[W]) -> None:
        """Replace those that hang or have ended; what they have said is read first."""
        for worker in list(workers):
            if worker.pipe.poll():
                continue
            # A process that a worker has started may hold the other end of its pipe open.
            if worker.process.poll() is not None:
                self._replace(worker, how_it_ended(worker.process))
            elif time.monotonic() - worker.last_sign > self._hang_seconds:
                self._replace(worker, f"no sign of life for {self._hang_seconds:g} s")

    def _replace(self, worker: W, reason: str) -> None:
        worker.kill()
        self._lost.append(reason)
        self._restart(worker, reason)

    def take_lost(self) -> list[str]:
        """Return why workers were replaced, for each since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def _count_barren(self, reason: str) -> None:
        """Count a worker that ended without having been of use; ``_barren`` is 0 after one was.

        Raises:
            StorageError: It is one too many.
        """
        self._barren += 1
        if self._barren >= self._most_barren:
            raise StorageError(f"worker processes exit one after another: {reason}")

    def _blame(self, tasks: Iterable[T], reason: str) -> dict[T, str]:
        """Count what a lost worker was at; return what has ended too many, and why it fails."""
        at = list(tasks)
        self._deaths.update(at)
        return {
            task: f"it ended its worker process {_CHANCES} times ({reason})"
            for task in at
            if self._deaths[task] >= _CHANCES
        }

    def close(self) -> None:
        """End all workers. May be called twice."""
        for worker in self._workers:
            worker.kill()
        self._workers = []


def how_it_ended(process: Process) -> str:
    """Say how a worker ended, as in ``signal 9; too little memory is one cause``."""
    try:
        code = process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return f"{cause}; too little memory is one cause"
