"""Hosts on one machine: network namespaces that a bridge joins, a node of one Ray cluster in each.

Linux, as root. A host's link can be cut and slowed, its node killed, drained and started again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.processes import lives, stat

PORT: Final = 6379
_START_SECONDS: Final = 60.0
_RAY: Final = str(Path(sys.executable).with_name("ray"))
_numbers = itertools.count()


def can_make_hosts() -> bool:
    """Whether this user may make network namespaces, and has the commands for it."""
    if os.name != "posix" or shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"cotune-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    _run("ip", "netns", "del", name)
    return True


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class Hosts:
    """Hosts of one Ray cluster, with a token; the first is the head.

    Args:
        cpus: That each offers.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        self._cpus = cpus
        self._prefix = f"c{os.getpid() % 100_000}x{next(_numbers)}"
        self._network = 1 + secrets.randbelow(250)
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets want a short path
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.address = f"{self._host(0)}:{PORT}"

    def __enter__(self) -> Self:
        try:
            _run("ip", "netns", "add", self._switch)
            _run("ip", "-n", self._switch, "link", "add", "hub", "type", "bridge")
            _run("ip", "-n", self._switch, "link", "set", "hub", "up")
            for i in range(len(self._cpus)):
                self._wire(i)
            for i in range(len(self._cpus)):
                self.start(i)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _switch(self) -> str:
        return f"{self._prefix}-hub"

    def _name(self, i: int) -> str:
        return f"{self._prefix}-{i}"

    def _host(self, i: int) -> str:
        return f"10.77.{self._network}.{i + 1}"

    def _wire(self, i: int) -> None:
        name, end = self._name(i), f"to{i}"
        _run("ip", "netns", "add", name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
        made = ["type", "veth", "peer", "name", end, "netns", self._switch]
        _run("ip", "-n", name, "link", "add", "up0", *made)
        _run("ip", "-n", self._switch, "link", "set", end, "master", "hub", "up")
        _run("ip", "-n", name, "address", "add", f"{self._host(i)}/24", "dev", "up0")
        _run("ip", "-n", name, "link", "set", "up0", "up")

    def command(self, i: int, *command: str) -> list[str]:
        """A command line that runs another on a host."""
        return ["ip", "netns", "exec", self._name(i), *command]

    def start(self, i: int, changes: Mapping[str, str] | None = None) -> None:
        """Start a host's node, and wait until it has joined.

        Args:
            changes: To its environment.
        """
        place = ["--head", f"--port={PORT}", "--include-dashboard=false", "--temp-dir"]
        place = [*place, self._folder] if i == 0 else [f"--address={self.address}"]
        place += [f"--num-cpus={self._cpus[i]}", f"--node-ip-address={self._host(i)}"]
        done = subprocess.run(
            self.command(i, _RAY, "start", *place, f"--object-store-memory={200 << 20}"),
            env={**self.environment, **(changes or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def processes(self, i: int, *names: str) -> list[int]:
        """Processes on a host; where names are given, those whose command lines hold one."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self._name(i)], capture_output=True, text=True, check=False
        )
        found = []
        for pid in map(int, listed.stdout.split()):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if lives(pid) and (not names or any(name.encode() in command for name in names)):
                    found.append(pid)
        return found

    def actors(self) -> list[int]:
        """Processes of Cotune's actors, on all hosts."""
        return [pid for i in range(len(self._cpus)) for pid in self.processes(i, "ray::Engine")]

    def raylet(self, i: int) -> int | None:
        """The process of a host's node."""
        return next(iter(self.processes(i, "/raylet/raylet")), None)

    def kill(self, i: int, keep: int | None = None) -> None:
        """Kill all processes on a host at once, as if its power failed.

        Args:
            keep: This process and those it started stay.
        """
        for pid in self.processes(i):
            if keep is None or not _descends(pid, keep):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def drain(self, i: int, seconds: int) -> None:
        """Have the cluster tell a node that it will be gone in some seconds."""
        drain = ["drain-node", f"--address={self.address}", f"--node-id={self.node_id(i)}"]
        drain += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=preempted"]
        command = self.command(0, _RAY, *drain, f"--deadline-remaining-seconds={seconds}")
        subprocess.run(command, env=self.environment, capture_output=True, check=True, timeout=60)

    def node_id(self, i: int) -> str:
        """A node's identifier in the cluster."""
        raylet = self.raylet(i)
        assert raylet is not None
        words = Path(f"/proc/{raylet}/cmdline").read_bytes().decode().split("\0")
        return next(one.partition("=")[2] for one in words if one.startswith("--node_id="))

    def cut(self, i: int) -> None:
        """Cut a host's link; what is sent is lost until :meth:`mend`."""
        _run("ip", "-n", self._switch, "link", "set", f"to{i}", "down")

    def mend(self, i: int) -> None:
        """Join a host again."""
        _run("ip", "-n", self._switch, "link", "set", f"to{i}", "up")

    def slow(self, i: int, kbit: int | None) -> None:
        """Let so many kilobits a second through to a host and from it; None: as many as come."""
        ends = [(self._name(i), "up0"), (self._switch, f"to{i}")]
        for namespace, device in ends:
            place = ["-n", namespace, "qdisc"]
            if kbit is None:
                _run("tc", *place, "del", "dev", device, "root")
            else:
                shape = ["tbf", "rate", f"{kbit}kbit", "burst", "16k", "latency", "400ms"]
                _run("tc", *place, "add", "dev", device, "root", *shape)

    def close(self) -> None:
        """End all processes, and remove the hosts."""
        for i in range(len(self._cpus)):
            self.kill(i)
        end = time.monotonic() + 10
        while any(self.processes(i) for i in range(len(self._cpus))) and time.monotonic() < end:
            time.sleep(0.05)
        for name in (*map(self._name, range(len(self._cpus))), self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = stat(pid)[1]
        except (OSError, ProcessLookupError):
            return False
    return False
