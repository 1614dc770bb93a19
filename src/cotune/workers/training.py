"""What a worker process runs: an engine at the end of a pipe.

``python -m cotune.workers.training PIPE_FD DATA_FD``; started by ``ProcessExecutor`` only.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import torch

from cotune.data.dataset import TrainingData
from cotune.engine.engine import Engine
from cotune.exceptions import StorageError

_SIGN_OF_LIFE_SECONDS = 1.0
_SHOWN = 300  # characters of an error


def main(pipe_fd: int, data_fd: int) -> None:
    """Serve the driver until its end of the pipe closes."""
    torch.set_num_threads(1)
    # Subnormal numbers, which weights under strong decay reach, are many times slower.
    torch.set_flush_denormal(True)
    pipe = Connection(pipe_fd)
    try:
        serve(pipe, lambda layout: map_data(data_fd, **layout))
    except (EOFError, ConnectionError):
        os._exit(0)  # the driver waits, and Python's own tidying up takes half a second
    except Exception as error:
        pipe.send(("error", shown_error(error)))
        os._exit(1)


def shown_error(error: Exception) -> str:
    """Return an error on one line, cut short."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]


class Pipe(Protocol):
    """A pipe to the driver, as :class:`multiprocessing.connection.Connection` is one."""

    def poll(self) -> bool: ...

    def recv(self) -> Any: ...

    def send(self, message: Any) -> None: ...


def serve(
    pipe: Pipe, read_data: Callable[[Mapping[str, Any]], TrainingData], device: str = "cpu"
) -> None:
    """Do what the driver says, until its end of the pipe closes.

    Args:
        read_data: Returns the dataset, given what the driver says of it.

    Raises:
        EOFError: The pipe is closed.
    """
    engine: Engine | None = None
    lockstep, may_step = False, True
    unread: deque[tuple[str, Any]] = deque()  # what came in mid-epoch, to be done after it
    signed = time.monotonic()

    def cancelled() -> bool:
        """Return whether the driver wants the epoch to end at once."""
        nonlocal signed
        while pipe.poll():
            kind, content = pipe.recv()
            if kind == "weights" and not unread and engine is not None:
                pipe.send((kind, engine.weights(*content)))  # of a lane that waits
            else:
                unread.append((kind, content))
        if time.monotonic() > signed + _SIGN_OF_LIFE_SECONDS:
            signed = time.monotonic()
            pipe.send(("alive", None))
        return any(kind == "clear" for kind, _ in unread)

    def began(numbers: Sequence[int]) -> None:
        pipe.send(("began", list(numbers)))

    while True:
        # Wait for word only when no lane can be trained, or in lockstep.
        while (
            engine is None
            or unread
            or not may_step
            or not (lockstep or engine.waiting)
            or pipe.poll()
        ):
            kind, content = unread.popleft() if unread else pipe.recv()
            if kind == "load":
                layout, seed, (lanes, precision, metric, custom), lockstep = content
                may_step = not lockstep
                data = read_data(layout)
                engine = Engine(data, seed, device, lanes, precision, metric, custom)
                pipe.send(("lanes", engine.max_lanes))
            elif engine is None:
                raise RuntimeError(f"{kind!r} came before the dataset")
            elif kind == "step":
                may_step = True
            elif kind == "threads":
                torch.set_num_threads(content)
            elif kind == "weights":
                pipe.send(("weights", engine.weights(*content)))
            elif kind == "save":
                pipe.send(("saved", _save(engine, content)))
            elif kind == "clear":
                engine.clear()
            elif kind == "resume":
                engine.resume(*content)
            else:
                getattr(engine, kind)(content)
        reports = engine.step(cancelled, began)
        may_step = not lockstep
        if reports or lockstep:
            pipe.send(("reports", reports))


def _save(engine: Engine, content: Any) -> tuple[str, float]:
    """Return why it failed, or "", and how long it took."""
    began = time.monotonic()
    try:
        engine.save(content)
    except StorageError as error:
        return str(error), 0.0
    return "", time.monotonic() - began


def map_data(fd: int, shape: tuple[int, int], dtype: str, **parts: Any) -> TrainingData:
    """Return a dataset that :func:`cotune.workers.pool.write_data` has written."""
    # Private mappings of one file share its pages; "c" gives PyTorch the writable view it wants.
    with os.fdopen(fd, "rb") as file:
        labels = np.memmap(file, np.int64, "c", 0, (shape[0],))
        inputs = np.memmap(file, dtype, "c", labels.nbytes, shape)
    return TrainingData(np.asarray(inputs), np.asarray(labels), **parts)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
