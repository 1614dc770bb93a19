"""A worker's end of the pipe to its driver."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NoReturn

_SIGN_OF_LIFE_SECONDS = 1.0


class Pipe:
    """Sends and receives; where the driver is gone, it ends the process."""

    def __init__(self, handle: int) -> None:
        self._connection: Connection[Any, Any] = Connection(handle)
        self._lock = threading.Lock()  # the sign of life is sent from a thread of its own
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        self._connection.close()

    def send(self, kind: str, content: Any) -> None:
        with self._lock:
            try:
                self._connection.send((kind, content))
            except OSError:
                _end()

    def receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            _end()

    def has_come(self, seconds: float) -> bool:
        """Return whether there is something to receive; waits so long for it."""
        try:
            return self._connection.poll(seconds)
        except OSError:
            _end()

    def receive_handle(self) -> int:
        """Return a file descriptor that the driver has sent."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as channel:
            content, handles, _, _ = socket.recv_fds(channel, 1, 1)
        if not content:
            _end()
        return handles[0]

    @contextmanager
    def signs_of_life(self) -> Iterator[None]:
        """Send a sign of life each second, within it or until :meth:`stop_signs`."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self.stop_signs()

    def stop_signs(self) -> None:
        """End the thread that sends them. May be called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _live(self) -> None:
        while not self._stop.wait(_SIGN_OF_LIFE_SECONDS):
            self.send("alive", None)


def send_handle(connection: Connection[Any, Any], handle: int) -> None:
    """Send a file descriptor to the worker at the other end.

    Raises:
        OSError: The worker is gone.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as channel:
        socket.send_fds(channel, [b"F"], [handle])


def _end() -> NoReturn:
    """End this process at once, whatever the objective is at, and those that it has started."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise SystemExit
