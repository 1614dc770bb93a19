"""Engines on a Ray cluster, one an actor, behind a gateway process."""

from __future__ import annotations

import math
import pickle
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, Final

from cotune.exceptions import ClusterError
from cotune.records import Cluster, EpochReport
from cotune.workers.base import EngineJob
from cotune.workers.pool import PoolExecutor, Worker, write_data
from cotune.workers.process import Process, WorkerLostError, WorkerProcess, launch
from cotune.workers.ray.cluster import LOCAL, why_unreachable

_CONNECT_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 120.0  # without any worker
_HOMELESS_SECONDS: Final = 5.0  # trials of a lost worker wait so long for the one in its place
_MOST_GATEWAYS: Final = 3  # that may end one after another
_TOGETHER_SECONDS: Final = 5.0  # what the other workers may take after the first, to begin with it
_LEAVE_SECONDS: Final = 5.0  # to save the lanes of a node that is to be drained
_CLOSE_SECONDS: Final = 10.0
_UNKNOWN: Final = "nothing yet"
_ENVIRONMENT: Final = {"RAY_USAGE_STATS_ENABLED": "0"}


class RayWorker(Worker):
    """A worker in an actor.

    What it is told has its kind before its content: the gateway does not know a user's classes.

    Attributes:
        began: When it was started, by ``time.monotonic()``.
        is_leaving: Its node is to be drained.
    """

    def __init__(self, pipe: Connection, process: Process) -> None:
        super().__init__(pipe, process)
        self.began = time.monotonic()
        self.is_leaving = False
        self._is_told = False  # by the gateway, that the actor is lost

    def _write(self, content: Any) -> None:
        kind, what = content
        self.pipe.send_bytes(b"\0".join((kind.encode(), pickle.dumps(what, protocol=5))))

    def _read(self, message: bytes) -> tuple[str, Any]:
        kind, _, content = message.partition(b"\0")
        return kind.decode(), pickle.loads(content)

    def _how_it_ended(self) -> str:
        self.is_blamed = self.is_blamed and self._is_told
        return "the connection was lost"

    def receive(self) -> tuple[str, Any]:
        kind, content = super().receive()
        if kind == "lost":
            self._is_told, (self.is_blamed, reason) = True, content
            raise WorkerLostError(reason)
        if kind == "leaving":
            self.is_leaving = True
        return kind, content

    def kill(self) -> None:
        """Have the gateway end the actor; its process is the gateway."""
        self.pipe.close()


class RayExecutor(PoolExecutor):
    """Trains trials in actors of a Ray cluster.

    Actors that the cluster has no room for wait until it has. Where as many are wanted as there is
    room for, their number follows the nodes that join and leave.

    Raises:
        ClusterError: Nothing answers at the address.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._check_address()
        self._offer = _UNKNOWN
        self._wanted = cluster.workers or 1
        self._gateways = 0
        self._served = time.monotonic()  # when there was a worker last
        self._file = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._n_left = 0
        self._left = tempfile.TemporaryDirectory(prefix="cotune-")
        self._is_connected = False
        self._start_gateway()

    def _check_address(self) -> None:
        if why := why_unreachable(self._cluster):
            raise ClusterError(f"address: no Ray cluster answers at {self._cluster.address}: {why}")

    def _start_gateway(self) -> None:
        self._gateways += 1
        self._is_connected = False
        # What Ray prints is about itself.
        self._log = tempfile.TemporaryFile(prefix="cotune-")  # noqa: SIM115 - until close()
        self._control, self._gateway = launch(
            "cotune.workers.ray.gateway", output=self._log, environment=_ENVIRONMENT
        )
        self._control.send(self._cluster)

    def _connect(self) -> None:
        end = time.monotonic() + _CONNECT_SECONDS
        while not self._is_connected:
            if not self._control.poll(max(0.0, end - time.monotonic())):
                raise ClusterError(f"{self._place} did not answer in {_CONNECT_SECONDS:g} s")
            self._hear_gateway()

    @property
    def _place(self) -> str:
        if self._cluster.address == LOCAL:
            return "the local Ray cluster"
        return f"the Ray cluster at {self._cluster.address}"

    def load(self, job: EngineJob) -> None:
        self._connect()
        write_data(self._file, job.data)
        self._load = self._describe(job)
        self._begin()
        self._served = time.monotonic()
        first = math.inf
        while not self._all_are_ready and time.monotonic() < first + _TOGETHER_SECONDS:
            self._listen(self._workers, 0.1, self._control)
            self._follow_cluster()
            if self._is_served:
                first = min(first, time.monotonic())

    @property
    def _is_served(self) -> bool:
        return any(worker.is_ready for worker in self._workers)

    @property
    def _all_are_ready(self) -> bool:
        is_known = self._cluster.workers is not None or self._offer != _UNKNOWN
        return is_known and all(worker.is_ready for worker in self._workers)

    def _begin(self) -> None:
        """Send the dataset to a new gateway, and start workers in the place of those before."""
        self._control.send(("data", self._load[0]))
        send_handle(self._control, self._file.fileno(), self._gateway.pid)
        for i, worker in enumerate(self._workers):
            new = self._workers[i] = self._new_worker()
            new.lanes = worker.lanes
            if worker.specs:
                self._resume(new, worker.specs, worker.epochs)
        self._fit_room()

    def _launch(self) -> tuple[Connection, Process]:
        ours, theirs = Pipe()
        try:
            self._control.send(("engine", None))
            send_handle(self._control, theirs.fileno(), self._gateway.pid)
        except OSError:
            pass  # the gateway has ended, which is seen when it is read
        theirs.close()
        return ours, self._gateway

    def _make_worker(self, pipe: Connection, process: Process) -> Worker:
        return RayWorker(pipe, process)

    @property
    def lanes(self) -> int:
        return max((worker.lanes for worker in self._workers), default=0)

    def openings(self) -> list[int]:
        self._follow_cluster()
        return super().openings()

    def _follow_cluster(self) -> None:
        """Take in what the gateway says, and find room for trials that have none.

        Raises:
            ClusterError: The cluster is gone, or there was no worker for minutes.
        """
        while self._control.poll():
            self._hear_gateway()
        now = time.monotonic()
        if self._is_served:
            self._served = now
        elif now - self._served > _IDLE_SECONDS:
            raise ClusterError(
                f"{self._place} had no room for a worker of {self._cluster.cpus:g} CPUs and "
                f"{self._cluster.gpus:g} GPUs for {_IDLE_SECONDS:g} s; it offers {self._offer}"
            )
        self._leave_nodes()
        self._find_homes(now)

    def _hear_gateway(self) -> None:
        try:
            kind, content = self._control.recv()
        except (EOFError, OSError):
            self._replace_gateway()
            return
        if kind == "connected":
            self._is_connected = True
        elif kind == "refused":
            raise ClusterError(f"{self._place}: {content}")
        elif kind == "room":
            room, self._offer = content
            if self._cluster.workers is None:
                self._wanted = max(1, room)
                if self._load:
                    self._fit_room()

    def _replace_gateway(self) -> None:
        """Connect anew; all actors ended with the gateway."""
        # Ray ends a program whose cluster is gone, but not by this signal.
        is_killed = self._gateway.wait() == -signal.SIGKILL
        if not (self._is_connected or is_killed) or self._gateways > _MOST_GATEWAYS:
            raise ClusterError(f"{self._place} is gone")
        for worker in self._workers:
            self._failures += worker.take_reports()
            worker.pipe.close()
        self._lost.append(f"the connection to {self._place} was lost")
        self._control.close()
        self._log.close()
        self._check_address()
        self._start_gateway()
        self._connect()
        if self._load:
            self._begin()

    def _fit_room(self) -> None:
        """Have as many workers as there is room for."""
        while len(self._workers) < self._wanted:
            self._workers.append(self._new_worker())
        for worker in list(self._workers):
            if len(self._workers) > self._wanted and not worker.is_ready and not worker.specs:
                self._workers.remove(worker)
                worker.kill()

    def _leave_nodes(self) -> None:
        """Save the lanes of workers whose nodes are to be drained, and replace these."""
        for worker in list(self._workers):
            assert isinstance(worker, RayWorker)
            if not worker.is_leaving:
                continue
            kept = self._kept
            if worker.specs and worker.saved is not None:
                self._n_left += 1
                path = Path(self._left.name) / f"{self._n_left}.safetensors"
                if self._save_now(worker, path):
                    self._kept = [path, *kept]
            if worker in self._workers:
                worker.is_blamed = False
                self._replace(worker, "its node is being drained")
            self._kept = kept

    def _save_now(self, worker: Worker, path: Path) -> bool:
        """Return whether a worker's lanes are in a file, after seconds at most."""
        worker.save(path)
        end = time.monotonic() + _LEAVE_SECONDS
        while time.monotonic() < end:
            if worker.pipe.poll(0.1) and not self._receive(worker):
                return False
            if worker.saved is not None:
                return worker.saved == ""
        return False

    def _find_homes(self, now: float) -> None:
        """Give the trials of workers that the cluster has no room for to others."""
        for i, worker in enumerate(self._workers):
            assert isinstance(worker, RayWorker)
            if worker.is_ready or not worker.specs or now - worker.began < _HOMELESS_SECONDS:
                continue
            others = [one for one in self._workers if one.is_ready]
            home = max(others, key=self._room, default=None)
            if home is None or not (moved := dict(list(worker.specs.items())[: self._room(home)])):
                continue
            home.suspects |= worker.suspects & moved.keys()
            self._resume(home, moved, worker.epochs)
            left = {number: one for number, one in worker.specs.items() if number not in moved}
            worker.kill()  # it has been told of all of them
            new = self._workers[i] = self._new_worker()
            new.lanes, new.suspects = worker.lanes, worker.suspects & left.keys()
            if left:
                self._resume(new, left, worker.epochs)
        self._fit_room()

    def reports(self, timeout: float) -> list[EpochReport]:
        self._follow_cluster()
        return super().reports(timeout)

    def _share_cores(self) -> None:
        """Do nothing: an actor has the cores that it was given."""

    def _watch(self, workers: Iterable[Worker]) -> None:
        # The others may wait for room in the cluster, however long that takes.
        super()._watch(worker for worker in workers if worker.is_ready)

    def _take(self, worker: Worker, kind: str, content: Any) -> None:
        super()._take(worker, kind, content)
        if kind == "reports":
            self._gateways = 1

    def _replace(self, worker: Worker, reason: str) -> None:
        if self._gateway.poll() is None:
            super()._replace(worker, reason)
        # Else all are replaced, once there is another gateway.

    def close(self) -> None:
        super().close()
        self._control.close()
        try:
            self._gateway.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            WorkerProcess(self._control, self._gateway).kill()
        self._log.close()
        self._file.close()
        self._left.cleanup()
