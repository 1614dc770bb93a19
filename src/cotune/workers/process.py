"""Worker processes: starting one, its signs of life, its end, and when losses are too many."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Final, Protocol, TypeVar

from cotune.exceptions import StorageError

# Without the last two, glibc returns every large tensor's pages to the system and faults them in
# again.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
T = TypeVar("T")

CHANCES: Final = 2
"""Workers that a trial may end before it fails."""

EXIT_SECONDS: Final = 2.0
"""What a worker may take to end once its pipe is closed."""


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


class WorkerProcess:
    """A worker process at the end of a pipe.

    Args:
        pipe: The driver's end.
        process: The process.

    Attributes:
        last_sign: When it last gave a sign of life, by ``time.monotonic()``.
    """

    def __init__(self, pipe: Connection[Any, Any], process: Process) -> None:
        self.pipe = pipe
        self.process = process
        self.last_sign = time.monotonic()

    def is_silent(self, seconds: float) -> bool:
        """Return whether it gave no sign of life for so long, and none waits to be read."""
        return time.monotonic() - self.last_sign > seconds and not self.pipe.poll()


class Losses:
    """Workers that were lost, and what they were at.

    Args:
        most: Workers that may end one after another without a sign of use; one more is an error.

    Attributes:
        reasons: For each, why.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._barren = 0
        self._deaths: Counter[object] = Counter()
        self.reasons: list[str] = []

    def useful(self) -> None:
        """Note that workers are of use: losses one after another are counted anew."""
        self._barren = 0

    def barren(self, reason: str) -> None:
        """Count a worker that ended without having been of use.

        Raises:
            StorageError: It is one too many.
        """
        self._barren += 1
        if self._barren >= self._most:
            raise StorageError(f"worker processes exit one after another: {reason}")

    def blame(self, tasks: Iterable[T], reason: str) -> dict[T, str]:
        """Count what a lost worker was at; return what has ended too many, and why it fails."""
        at = list(tasks)
        self._deaths.update(at)
        return {
            task: f"it ended its worker process {CHANCES} times ({reason})"
            for task in at
            if self._deaths[task] >= CHANCES
        }


def how_it_ended(process: Process) -> str:
    """Say how a worker ended, as in ``signal 9; too little memory is one cause``."""
    try:
        code = process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return f"{cause}; too little memory is one cause"
