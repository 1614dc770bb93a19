"""Worker processes as commands of their own, each at the end of a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Protocol

# Without the last two, glibc returns every large tensor's pages to the system and faults them in
# again.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
_EXIT_SECONDS = 2.0


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


class _Ending(Protocol):
    def wait(self, timeout: float | None = None) -> int: ...


def how_it_ended(process: _Ending) -> str:
    """Of a worker whose end of the pipe is closed: ``signal 9; too little memory is one cause``."""
    try:
        code = process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return f"{cause}; too little memory is one cause"
