"""Worker processes that run a user's objective, one trial at a time each.

The first process loads the objective. Where that is safe, the workers are forks of it; else it is a
worker, and further ones load the objective as well, once it has. A worker leads a process group,
which ends with it: what an objective has started, as a DataLoader's workers, leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Literal, Self

from cotune.exceptions import UsageError
from cotune.workers.objective.pipe import send_handle
from cotune.workers.objective.source import Facts, Source
from cotune.workers.process import Pool, Process, WorkerLostError, WorkerProcess, launch

_HANG_SECONDS = 300.0  # without a sign of life; a worker gives one a second
_POLL_SECONDS = 0.1
_MODULE = "cotune.workers.objective.worker"
# Without the threads of OpenBLAS, and with a look for GPUs that does not use CUDA, the process that
# loads the objective can be forked.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_STARTS = 3  # workers that may exit one after another before they are ready


@dataclass(frozen=True)
class Call:
    """One call of the objective.

    Attributes:
        repeat: 0 in the search; a finalist's calls count from 1.
        seed: What the worker seeds Python, NumPy and PyTorch with.
    """

    number: int
    repeat: int
    seed: int


@dataclass(frozen=True)
class Event:
    """A message of a worker about its call.

    Attributes:
        kind: ``asked``: it waits for :meth:`ObjectiveProcesses.answer`. ``ended``: the objective
            returned or raised, or ended too many workers. ``lost``: the worker died or hung.
        content: ``(name, arguments, named arguments)`` of the trial's method or property;
            ``(state, value, reason)``; why.
    """

    call: Call
    kind: Literal["asked", "ended", "lost"]
    content: Any


class ObjectiveProcesses(Pool["_Worker"]):
    """Calls an objective in several worker processes.

    Args:
        output: Where goes what it prints.
        hang_seconds: A worker that gives no sign of life for so long is replaced.

    Attributes:
        load_seconds: What the last worker took to start, with loading the objective if it had to.
        is_loaded: The objective has been loaded once.
        facts: What became known by that.
    """

    def __init__(
        self,
        workers: int,
        source: Source,
        output: IO[Any] | None = None,
        hang_seconds: float = _HANG_SECONDS,
    ) -> None:
        super().__init__(hang_seconds, _STARTS)
        self._source = source
        self._output = output
        self.load_seconds = 0.0
        self.facts = Facts()
        self._count = self._wanted = workers
        self._events: list[Event] = []
        self._forker: _Forker | None = None
        self._loader: _Worker | None = None  # loads the objective, while others wait
        self.is_loaded = False
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def idle(self) -> int:
        """Workers that wait for a call."""
        return sum(worker.is_idle for worker in self._workers)

    @property
    def busy(self) -> int:
        """Workers that are at a call."""
        return sum(worker.call is not None for worker in self._workers)

    def start(self, call: Call) -> None:
        """Make the call in a worker that is idle."""
        worker = next(worker for worker in self._workers if worker.is_idle)
        worker.call = call
        worker.send((call.number, call.seed))

    def answer(self, call: Call, value: Any = None, error: Exception | None = None) -> None:
        """Answer what the objective asked; an error is raised in it."""
        for worker in self._workers:
            if worker.call == call:
                try:
                    worker.send((value, error))
                except (AttributeError, TypeError):  # it cannot be pickled
                    worker.send((None, RuntimeError(f"{type(error or value).__name__}: {error}")))

    def events(self, timeout: float) -> list[Event]:
        """Return what has come in, after at most about ``timeout`` seconds.

        Raises:
            UsageError: The objective cannot be loaded.
            StorageError: Workers exit immediately after starting.
        """
        self._listen(self._workers, timeout, *([self._forker.pipe] if self._forker else []))
        if self._forker is not None and not self._forker.hears():
            self._forker = None  # the next worker loads the objective again
        self._watch(self._workers)
        events, self._events = self._events, []
        return events

    def _take(self, worker: _Worker, kind: Any, content: Any) -> None:
        if kind == "unusable":
            raise UsageError(content)
        if kind == "ready":
            self._is_ready(worker, content)
        elif worker.call is not None and kind in ("asked", "ended"):
            self._events.append(Event(worker.call, kind, content))
            if kind == "ended":
                worker.call = None

    def _is_ready(self, worker: _Worker, content: Facts | int) -> None:
        self._barren = 0
        self.load_seconds = time.monotonic() - worker.began
        if isinstance(content, int):  # a fork's number
            worker.process.pid = content
        else:
            self._source = self._source.again(content)
            if not self.is_loaded:
                self.is_loaded = True
                self.facts = content
            if worker is self._loader:
                self._loader = None
                if not content.no_forks:
                    self._workers.remove(worker)
                    self._forker = _Forker(worker)
        worker.is_ready = True
        self._fill()

    def _restart(self, worker: _Worker, reason: str) -> None:
        self._workers.remove(worker)
        if worker is self._loader:
            self._loader = None
        if not worker.is_ready:
            self._count_barren(reason)
        self._fill()
        if worker.call is None:
            return
        if failed := self._blame([worker.call], reason):
            ended = ("failed", None, failed[worker.call])
            self._events.append(Event(worker.call, "ended", ended))
        else:
            self._events.append(Event(worker.call, "lost", reason))

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until a worker has loaded the objective, or until a stop.

        Raises:
            As :meth:`events`.
        """
        while not any(worker.is_ready for worker in self._workers) and not stopped():
            self.events(_POLL_SECONDS)

    def clear(self) -> list[Call]:
        """End all calls at once, with the processes that they are in.

        Returns:
            The calls.
        """
        ended = [worker for worker in self._workers if worker.call is not None]
        for worker in ended:
            worker.kill()
            self._workers.remove(worker)
        self._wanted = len(self._workers)
        return [worker.call for worker in ended if worker.call is not None]

    def refill(self) -> None:
        """Start workers in place of those that :meth:`clear` has ended."""
        self._wanted = self._count
        self._fill()

    def _fill(self) -> None:
        """Start the workers that there should be; where one loads the objective, that one first."""
        while len(self._workers) < self._wanted and self._loader is None:
            if self._forker is not None:
                self._workers.append(self._forker.fork())
                continue
            worker = _Worker(*launch(_MODULE, output=self._output, environment=_ENVIRONMENT))
            worker.send(self._source)
            self._workers.append(worker)
            if not self.facts.no_forks:
                self._loader = worker

    def close(self) -> None:
        super().close()
        if self._forker is not None:
            self._forker.kill()
            self._forker = None


class _Worker(WorkerProcess):
    """A worker process, and the call that it is at."""

    def __init__(self, pipe: Connection[Any, Any], process: Process) -> None:
        super().__init__(pipe, process)
        self.call: Call | None = None
        self.is_ready = False
        self.began = self.last_sign

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.call is None

    def receive(self) -> tuple[str, Any]:
        try:
            return super().receive()
        except WorkerLostError:
            raise
        except Exception as error:  # a type of the script's, which this process has not
            self.send((None, TypeError(f"it cannot be sent to the study: {error}")))
            return "unknown", None


class _Forker:
    """The process that has loaded the objective, and forks workers."""

    def __init__(self, loader: _Worker) -> None:
        self._loader = loader
        self.pipe = loader.pipe
        self.exits: dict[int, int] = {}
        self.is_gone = False

    def fork(self) -> _Worker:
        """Start another worker."""
        ours, theirs = Pipe()
        with contextlib.suppress(OSError):  # its end is seen as the worker's
            send_handle(self.pipe, theirs.fileno())
        theirs.close()
        return _Worker(ours, _Fork(self))

    def hears(self) -> bool:
        """Take in which workers have ended; False where this process has."""
        try:
            while self.pipe.poll():
                kind, content = self.pipe.recv()
                if kind == "exited":
                    number, code = content
                    self.exits[number] = code
        except (EOFError, OSError):
            self.is_gone = True
            self.kill()
        return not self.is_gone

    def kill(self) -> None:
        self._loader.kill()


class _Fork:
    """A worker that is no child of this process; its parent tells how it ends."""

    def __init__(self, forker: _Forker) -> None:
        self.pid = 0  # until it says it
        self._forker = forker

    def poll(self) -> int | None:
        """Return its exit code; None while it lives."""
        if not self.pid:
            return -signal.SIGKILL if self._forker.is_gone else None
        if self.pid in self._forker.exits:
            return self._forker.exits[self.pid]
        if not self._forker.is_gone:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return -signal.SIGKILL
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            TimeoutExpired: It has not, after so many seconds.
        """
        end = time.monotonic() + (timeout or 0.0)
        while (code := self.poll()) is None:
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(0.01)
            if not self._forker.is_gone:
                self._forker.hears()
        return code
