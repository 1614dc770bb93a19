"""Worker processes that run a user's objective, one trial at a time each.

They are started as :class:`ProcessExecutor` starts its own. A worker leads a process group, which
ends with it: what an objective has started, as a DataLoader's workers, leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import IO, Any, Literal, Self

from cotune.exceptions import StorageError, UsageError
from cotune.executors.launch import how_it_ended, launch

_HANG_SECONDS = 300.0  # without a sign of life; a worker gives one a second
_POLL_SECONDS = 0.1
_STARTS = 3  # of workers one after another that end as they begin, before that is an error


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
    """What a worker says of its call.

    Attributes:
        kind: ``asked``: it waits for :meth:`ObjectiveProcesses.answer`. ``ended``: the objective
            returned or raised. ``lost``: the worker died or hung.
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
        source: The objective, as ``load_objective`` takes it.
        output: Where goes what it prints.
        hang_seconds: A worker that gives no sign of life for so long is replaced.

    Attributes:
        lost: For each worker that was replaced, why.
        load_seconds: What a worker took to start and load the objective.
    """

    def __init__(
        self,
        workers: int,
        source: tuple[str, Any],
        output: IO[Any] | None = None,
        hang_seconds: float = _HANG_SECONDS,
    ) -> None:
        self._source = source
        self._output = output
        self._hang_seconds = hang_seconds
        self._barren = 0  # workers that ended one after another before they were ready
        self.lost: list[str] = []
        self.load_seconds = 0.0
        self._count = workers
        self._workers: list[_Worker] = []
        self.refill()

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
        """What has come in; waits at most about ``timeout`` seconds for the first.

        Raises:
            UsageError: The objective cannot be loaded.
            StorageError: Workers end as they begin.
        """
        events = []
        pipes = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(pipes), timeout):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                events += self._replace(worker, how_it_ended(worker.process))
                continue
            worker.last_sign = time.monotonic()
            if kind == "unusable":
                raise UsageError(content)
            if kind == "ready":
                worker.is_ready = True
                self.load_seconds = time.monotonic() - worker.began
                self._barren = 0
            elif worker.call is not None and kind != "alive":
                events.append(Event(worker.call, kind, content))
                if kind == "ended":
                    worker.call = None
        for worker in list(self._workers):
            # A process that the objective started may hold the other end of the pipe open.
            if worker.process.poll() is not None and not worker.pipe.poll():
                events += self._replace(worker, how_it_ended(worker.process))
            elif time.monotonic() - worker.last_sign > self._hang_seconds:
                events += self._replace(worker, f"no sign of life for {self._hang_seconds:g} s")
        return events

    def _replace(self, worker: _Worker, reason: str) -> list[Event]:
        worker.kill()
        if not worker.is_ready:
            self._barren += 1
            if self._barren >= _STARTS:
                raise StorageError(f"worker processes end as they begin: {reason}")
        self.lost.append(reason)
        self._workers[self._workers.index(worker)] = _Worker(self._source, self._output)
        return [] if worker.call is None else [Event(worker.call, "lost", reason)]

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
        return [worker.call for worker in ended if worker.call is not None]

    def refill(self) -> None:
        """Start workers in place of those that :meth:`clear` has ended."""
        while len(self._workers) < self._count:
            self._workers.append(_Worker(self._source, self._output))

    def close(self) -> None:
        """End all processes. May be called twice."""
        for worker in self._workers:
            worker.kill()
        self._workers = []


class _Worker:
    def __init__(self, source: tuple[str, Any], output: IO[Any] | None) -> None:
        self.call: Call | None = None
        self.is_ready = False
        self.began = self.last_sign = time.monotonic()
        self.pipe, self.process = launch("cotune.objective_worker", output=output)
        self.send(source)

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.call is None

    def send(self, content: Any) -> None:
        with contextlib.suppress(OSError):  # its end is seen when its pipe is read
            self.pipe.send(content)

    def kill(self) -> None:
        """End the process and all of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.pipe.close()
