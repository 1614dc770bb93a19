"""What runs on a node of a cluster: Cotune's worker loop on a thread of an actor.

Its pipe is two queues. :meth:`Engine.put` numbers what it brings and :meth:`Engine.take` is told
what has arrived, so that a call that was lost is made again and nothing is applied twice.
"""

from __future__ import annotations

import os
import pickle
import platform
import queue
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cotune.version import VERSION

Message = tuple[str, bytes]
"""A message's kind, and its pickled content."""

_CLOSED = "closed"


def versions() -> dict[str, str]:
    """Return the versions that have to be the same on all machines."""
    from importlib.metadata import version

    return {"Cotune": VERSION, "PyTorch": version("torch"), "Python": platform.python_version()}


class QueuePipe:
    """The worker's end of a pipe that ends in an actor.

    Files do not travel by their paths: lanes that are saved are sent as bytes, and lanes to resume
    come as bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.incoming: queue.Queue[Message] = queue.Queue()
        self._folder = folder
        self._saving: Path | None = None
        self._outgoing: list[tuple[int, Message]] = []
        self._sent = 0
        self._changed = threading.Condition()

    def poll(self) -> bool:
        return not self.incoming.empty()

    def recv(self) -> tuple[str, Any]:
        """Return the next message.

        Raises:
            EOFError: The driver's end is closed.
        """
        kind, content = self.incoming.get()
        if kind == _CLOSED:
            raise EOFError
        message = pickle.loads(content)
        if kind == "save":
            self._saving = self._folder / "saved.safetensors"
            return kind, self._saving
        if kind == "resume":
            specs, files = message
            paths = []
            for i, lanes in enumerate(files):
                paths.append(self._folder / f"resumed-{i}.safetensors")
                paths[-1].write_bytes(lanes)
            return kind, (specs, paths)
        return kind, message

    def send(self, message: tuple[str, Any]) -> None:
        kind, content = message
        if kind == "saved" and self._saving is not None:
            error, seconds = content
            lanes = b"" if error else self._saving.read_bytes()
            self._saving.unlink(missing_ok=True)
            content = (error, seconds, lanes)
        with self._changed:
            self._sent += 1
            self._outgoing.append((self._sent, (kind, pickle.dumps(content, protocol=5))))
            self._changed.notify_all()

    def take(self, acknowledged: int, timeout: float) -> list[tuple[int, Message]]:
        """Return numbered messages after one; wait for the first."""
        with self._changed:
            self._outgoing = [one for one in self._outgoing if one[0] > acknowledged]
            if not self._outgoing:
                self._changed.wait(timeout)
            return list(self._outgoing)


class Engine:
    """An engine on a node; the class of the actors.

    Args:
        labels, inputs: The dataset, read-only views of the node's object store.
        threads: Of PyTorch.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(
        self, labels: np.ndarray[Any, Any], inputs: np.ndarray[Any, Any], threads: int, device: str
    ) -> None:
        self._data = labels, inputs
        self._threads, self._device = threads, device
        self._received = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="cotune-")
        self._pipe = QueuePipe(Path(self._temporary.name))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def describe(self) -> dict[str, Any]:
        """Return this machine's versions, its host and its node."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return {"versions": versions(), "host": platform.node(), "node": node, "pid": os.getpid()}

    def begin(self) -> None:
        """Begin to work; called once the versions are known to be the same."""
        if not self._thread.is_alive():
            self._thread.start()

    def put(self, number: int, messages: Sequence[Message]) -> int:
        """Take messages in, of which the first has that number; return how many came so far."""
        for i, message in enumerate(messages, start=number):
            if i == self._received + 1:
                self._received = i
                self._pipe.incoming.put(message)
        return self._received

    def take(self, acknowledged: int, timeout: float) -> list[tuple[int, Message]]:
        """Return what the worker says after a message; see :meth:`QueuePipe.take`."""
        return self._pipe.take(acknowledged, timeout)

    def _serve(self) -> None:
        import torch

        from cotune.data.dataset import TrainingData
        from cotune.workers.training import serve, shown_error

        torch.set_num_threads(self._threads)
        torch.set_flush_denormal(True)
        labels, inputs = self._data

        def read_data(layout: Mapping[str, Any]) -> TrainingData:
            parts = {name: one for name, one in layout.items() if name not in ("shape", "dtype")}
            return TrainingData(inputs, labels, **parts)

        # PyTorch warns of arrays that are read-only; the engine does not write to them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        try:
            serve(self._pipe, read_data, self._device)
        except EOFError:
            pass
        except Exception as error:
            self._pipe.send(("error", shown_error(error)))
