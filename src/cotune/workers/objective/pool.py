"""Worker processes that run a user's objective, one trial at a time each.

The first process loads the objective. Where that is safe, the workers are forks of it; else it is a
worker, and further ones load the objective as well, once it has. A worker leads a process group,
which ends with it: what an objective has started, as a DataLoader's workers, leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, Literal, Self

from cotune.exceptions import UsageError
from cotune.workers.objective.pipe import send_handle
from cotune.workers.objective.source import Facts, Source
from cotune.workers.process import Losses, Process, WorkerProcess, how_it_ended, launch

_HANG_SECONDS = 300.0  # without a sign of life; a worker gives one a second
_POLL_SECONDS = 0.1
_KILL_SECONDS = 2.0
_MODULE = "cotune.workers.objective.worker"
# Without the threads of OpenBLAS, and with a look for GPUs that does not use CUDA, the process that
# loads the objective can be forked.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_STARTS = 3  # workers that may exit one after another before they are ready


@dataclass(frozen=True)
class Call:
    """One call of the objective.

    Attributes:
        number: The trial's.
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


class ObjectiveProcesses:
    """Calls an objective in several worker processes.

    Args:
        workers: Number of processes.
        source: The objective.
        output: Where goes what it prints.
        hang_seconds: A worker that gives no sign of life for so long is replaced.

    Attributes:
        lost: For each worker that was replaced, why.
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
        self._source = source
        self._output = output
        self._hang_seconds = hang_seconds
        self._losses = Losses(_STARTS)  # of workers before they were ready
        self.lost = self._losses.reasons
        self.load_seconds = 0.0
        self.facts = Facts()
        self._count = self._wanted = workers
        self._workers: list[_Worker] = []
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
        events: list[Event] = []
        pipes = {worker.pipe: worker for worker in self._workers}
        for pipe in wait([*pipes, *([self._forker.pipe] if self._forker else [])], timeout):
            worker = pipes.get(pipe)  # type: ignore[call-overload]
            if worker is not None:
                events += self._receive(worker)
        if self._forker is not None and not self._forker.hears():
            self._forker = None  # the next worker loads the objective again
        for worker in list(self._workers):
            # A process that the objective started may hold the other end of the pipe open.
            if worker.process.poll() is not None and not worker.pipe.poll():
                events += self._replace(worker, how_it_ended(worker.process))
            elif worker.is_silent(self._hang_seconds):
                events += self._replace(worker, f"no sign of life for {self._hang_seconds:g} s")
        return events

    def _receive(self, worker: _Worker) -> list[Event]:
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            return self._replace(worker, how_it_ended(worker.process))
        worker.last_sign = time.monotonic()
        try:
            kind, content = pickle.loads(message)
        except Exception as error:  # a type of the script's, which this process has not
            worker.send((None, TypeError(f"it cannot be sent to the study: {error}")))
            return []
        if kind == "unusable":
            raise UsageError(content)
        if kind == "ready":
            self._is_ready(worker, content)
        elif worker.call is not None and kind != "alive":
            event = Event(worker.call, kind, content)
            if kind == "ended":
                worker.call = None
            return [event]
        return []

    def _is_ready(self, worker: _Worker, content: Facts | int) -> None:
        self._losses.useful()
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

    def _replace(self, worker: _Worker, reason: str) -> list[Event]:
        worker.kill()
        self._workers.remove(worker)
        if worker is self._loader:
            self._loader = None
        if not worker.is_ready:
            self._losses.barren(reason)
        self.lost.append(reason)
        self._fill()
        if worker.call is None:
            return []
        if failed := self._losses.blame([worker.call], reason):
            return [Event(worker.call, "ended", ("failed", None, failed[worker.call]))]
        return [Event(worker.call, "lost", reason)]

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
        """End all processes. May be called twice."""
        for worker in self._workers:
            worker.kill()
        self._workers = []
        if self._forker is not None:
            self._forker.kill()
            self._forker = None


class _Worker(WorkerProcess):
    """A worker process, and the call that it is at.

    Args:
        pipe: To it.
        process: It leads a group.
    """

    def __init__(self, pipe: Connection[Any, Any], process: Process) -> None:
        super().__init__(pipe, process)
        self.call: Call | None = None
        self.is_ready = False
        self.began = self.last_sign

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.call is None

    def send(self, content: Any) -> None:
        with contextlib.suppress(OSError):  # its end is seen when its pipe is read
            self.pipe.send(content)

    def kill(self) -> None:
        """End the process and all of its group."""
        if self.process.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.pipe.close()  # by which a fork that has not said its number ends
        if self.process.pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_KILL_SECONDS)


class _Forker:
    """The process that has loaded the objective, and forks workers.

    Args:
        loader: The worker that it was until then.
    """

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
