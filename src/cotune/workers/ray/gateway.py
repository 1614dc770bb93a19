"""The process between a driver and a Ray cluster: ``python -m cotune.workers.ray.gateway FD``.

Ray ends the program that is connected to a cluster about a minute after the cluster's head is gone.
That is this process, and the driver goes on. It holds one actor for each of the driver's pipes,
and relays. When the driver's end closes, or this process ends, Ray ends the actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from cotune.data.dataset import TrainingData
from cotune.engine.lane_state import saved_specs
from cotune.records import Cluster
from cotune.workers.ray.actor import Engine, Message, versions
from cotune.workers.ray.cluster import LOCAL
from cotune.workers.training import map_data, shown_error

_POLL_SECONDS: Final = 5.0  # of a call that waits for the actor to say something
_SILENCE_SECONDS: Final = 20.0  # of a link, until its node counts as lost
_WATCH_SECONDS: Final = 1.0


class Lost(Exception):
    """An actor is lost.

    Attributes:
        is_blamed: Its trials may be the reason; else it is its node.
    """

    def __init__(self, reason: str, is_blamed: bool) -> None:
        super().__init__(reason)
        self.is_blamed = is_blamed


class Relay:
    """One actor, and the driver's pipe to it."""

    def __init__(self, gateway: Gateway, pipe: Connection) -> None:
        self._gateway = gateway
        self._pipe = pipe
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._actor: Any = None
        self._saving: list[Path] = []
        self._is_leaving = False
        self.node = ""
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._read)
        try:
            await self._relay()
        except Lost as lost:
            self._say("lost", (lost.is_blamed, str(lost)))
        except Exception as error:
            self._say("lost", (True, shown_error(error)))
        finally:
            loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
            self._gateway.relays.discard(self)
            if self._actor is not None:
                with contextlib.suppress(RayError):
                    ray.kill(self._actor, no_restart=True)

    def _read(self) -> None:
        """Take in what the driver sends; where its end is closed, end."""
        try:
            while self._pipe.poll():
                kind, content = self._pipe.recv_bytes().split(b"\0", 1)
                self._outgoing.put_nowait((kind.decode(), content))
        except (EOFError, OSError):
            self.task.cancel()

    async def _relay(self) -> None:
        gateway = self._gateway
        cluster, data = gateway.cluster, await asyncio.shield(gateway.data)
        options: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
        remote = ray.remote(Engine).options(
            **options, max_concurrency=4, max_restarts=0, max_task_retries=0
        )
        device = "cuda" if cluster.gpus else "cpu"
        self._actor = remote.remote(*data, max(1, int(cluster.cpus)), device)
        # Waits until the cluster has room, however long that takes.
        described = await self._call(self._actor.describe.remote, seconds=None)
        self.node = described["node"]
        for what, here in versions().items():
            if (there := described["versions"][what]) != here:
                gateway.say("refused", f"{described['host']}: has {what} {there}, not {here}")
                await asyncio.sleep(_SILENCE_SECONDS)
        await self._call(self._actor.begin.remote)
        both = [asyncio.create_task(self._put()), asyncio.create_task(self._take())]
        try:
            await asyncio.gather(*both)
        finally:
            for one in both:
                one.cancel()

    async def _put(self) -> None:
        number = 1
        while True:
            messages = [await self._outgoing.get()]
            while not self._outgoing.empty():
                messages.append(self._outgoing.get_nowait())
            messages = [await asyncio.to_thread(self._with_files, *one) for one in messages]
            await self._call(self._actor.put.remote, number, messages)
            number += len(messages)

    def _with_files(self, kind: str, content: bytes) -> Message:
        """Send lanes as bytes in place of their paths."""
        if kind == "save":
            self._saving.append(pickle.loads(content))
        elif kind == "resume":
            specs, paths = pickle.loads(content)
            holding = [path for path in paths if any(one in specs for one in saved_specs(path))]
            content = pickle.dumps((specs, [path.read_bytes() for path in holding]))
        return kind, content

    async def _take(self) -> None:
        acknowledged = 0
        while True:
            said = await self._call(self._actor.take.remote, acknowledged, _POLL_SECONDS)
            for number, (kind, content) in said:
                if kind == "saved":
                    saved = await asyncio.to_thread(self._write_lanes, *pickle.loads(content))
                    self._say(kind, saved)
                else:
                    self._pipe.send_bytes(b"\0".join((kind.encode(), content)))
                acknowledged = number

    def _write_lanes(self, error: str, seconds: float, lanes: bytes) -> tuple[str, float]:
        path = self._saving.pop(0)
        if not error:
            try:
                path.write_bytes(lanes)
            except OSError as problem:
                error = f"{path}: cannot be written: {problem.strerror}"
        return error, seconds

    def _say(self, kind: str, content: Any) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(b"\0".join((kind.encode(), pickle.dumps(content))))

    async def _call(
        self, call: Callable[..., Any], *arguments: Any, seconds: float | None = _SILENCE_SECONDS
    ) -> Any:
        """Return what a call of the actor does; one that was lost is made again.

        Args:
            seconds: Of silence, until the node counts as lost; None to wait for ever.

        Raises:
            Lost: The actor is.
        """
        end = None if seconds is None else time.monotonic() + seconds + _POLL_SECONDS
        while True:
            left = None if end is None else end - time.monotonic()
            try:
                return await asyncio.wait_for(_awaited(call(*arguments)), left)
            except TimeoutError:
                raise Lost(f"no answer for {_SILENCE_SECONDS:g} s", is_blamed=False) from None
            except ActorUnavailableError:
                if left is not None and left < 1.0:
                    raise Lost("its node cannot be reached", is_blamed=False) from None
                await asyncio.sleep(0.5)
            except ActorDiedError as error:
                if self.node and (error.preempted or not self._gateway.lives(self.node)):
                    raise Lost("its node is gone", is_blamed=False) from None
                raise Lost(_how_it_died(error), is_blamed=True) from None

    def leave(self) -> None:
        """Tell the driver that the node is to be drained."""
        if not self._is_leaving:
            self._is_leaving = True
            self._say("leaving", None)


class Gateway:
    """The connection to a cluster.

    Attributes:
        relays: One for each of the driver's pipes.
        data: The dataset in the object store, once the driver has sent it.
    """

    def __init__(self, control: Connection, cluster: Cluster) -> None:
        self.cluster = cluster
        self.relays: set[Relay] = set()
        self.data: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._control = control
        self._ended = asyncio.Event()
        self._alive: set[str] = set()
        self._room: tuple[int, str] | None = None

    async def serve(self) -> None:
        """Relay until the driver's end of the control pipe closes."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control.fileno(), self._read)
        watch = asyncio.create_task(self._watch())
        await self._ended.wait()
        watch.cancel()
        for relay in list(self.relays):
            relay.task.cancel()

    def _read(self) -> None:
        try:
            while self._control.poll():
                kind, content = self._control.recv()
                fd = recv_handle(self._control)
                if kind == "engine":
                    self.relays.add(Relay(self, Connection(fd)))
                else:
                    data: TrainingData = map_data(fd, **content)
                    self.data.set_result([ray.put(data.labels), ray.put(data.inputs)])
        except (EOFError, OSError):
            self._ended.set()

    async def _watch(self) -> None:
        """Tell the driver what room there is, and which nodes are to be drained."""
        from ray._private.state import state

        while True:
            with contextlib.suppress(RayError):
                nodes = await asyncio.to_thread(ray.nodes)
                draining = await asyncio.to_thread(state.get_draining_nodes)
                self._alive = {node["NodeID"] for node in nodes if node["Alive"]}
                room = sum(
                    self._room_of(node["Resources"])
                    for node in nodes
                    if node["Alive"] and node["NodeID"] not in draining
                )
                free = await asyncio.to_thread(ray.available_resources)
                if (offer := (room, _offered(nodes, free))) != self._room:
                    self._room = offer
                    self.say("room", offer)
                for relay in self.relays:
                    if relay.node in draining:
                        relay.leave()
            await asyncio.sleep(_WATCH_SECONDS)

    def _room_of(self, resources: dict[str, float]) -> int:
        """Return how many actors fit a node."""
        wanted = {"CPU": self.cluster.cpus, "GPU": self.cluster.gpus}
        counts = [resources.get(name, 0.0) / each for name, each in wanted.items() if each]
        return int(min(counts) + 1e-6)

    def lives(self, node: str) -> bool:
        """Return whether a node is alive, as far as the cluster knows now."""
        with contextlib.suppress(RayError):
            return any(one["NodeID"] == node and one["Alive"] for one in ray.nodes())
        return node in self._alive

    def say(self, kind: str, content: Any) -> None:
        """Tell the driver something that is not about one actor."""
        with contextlib.suppress(OSError):
            self._control.send((kind, content))


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


def _how_it_died(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    missing = [line for line in lines if line.startswith("ModuleNotFoundError")]
    return missing[-1] if missing else "its process ended"


def _offered(nodes: list[dict[str, Any]], free: dict[str, float]) -> str:
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    amounts = (
        f"{sum(one.get(name, 0.0) for one in alive):g} {name}s ({free.get(name, 0.0):g} free)"
        for name in ("CPU", "GPU")
    )
    return f"{len(alive)} nodes with {' and '.join(amounts)}"


def connect(cluster: Cluster) -> None:
    """Connect to a cluster, or start one on this machine."""
    common: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "namespace": "cotune",
        "configure_logging": True,
    }
    if cluster.address == LOCAL:
        ray.init("local", include_dashboard=False, **common)
    else:
        ray.init(cluster.address, **common)


def main(control_fd: int) -> None:
    """Serve the driver until its end of the pipe closes."""
    control = Connection(control_fd)
    cluster: Cluster = control.recv()
    try:
        connect(cluster)
    except Exception as error:
        control.send(("refused", shown_error(error)))
        os._exit(1)
    control.send(("connected", None))

    async def serve() -> None:
        await Gateway(control, cluster).serve()

    asyncio.run(serve())
    ray.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
