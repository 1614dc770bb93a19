"""``python -m tests.torture_cluster``: a cluster of hosts is damaged while runs train on it.

The hosts are network namespaces of this machine (Linux, as root): the driver is on the head, and
three others train. At random instants an actor, a node, the gateway, the driver or the head is
killed; a node is drained, and joins again; a link is slow, or cut. Checked is what
:mod:`tests.torture` checks, and that a run which stops says how to go on.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.support.hosts import Hosts, can_make_hosts
from tests.support.processes import lives, workers_of
from tests.torture import Case, Row, Torture

_CASE = Case("digits", "max", 150, executor="ray")
_WORKERS = (1, 2, 3)  # hosts that train; 0 is the head
_SLOW_KBIT = 1_000
_DRAIN_SECONDS = 6
_STOP_SECONDS = 180.0
_ORPHAN_SECONDS = 30.0


class ClusterTorture(Torture):
    """Runs on a cluster that is damaged, one after another.

    Attributes:
        faults: How many there were of each kind.
    """

    _hosts: Hosts
    _driver: subprocess.Popen[bytes]

    def __init__(self, faults: int, seed: int, say: bool = True) -> None:
        super().__init__(faults, seed, say)
        self.faults: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "actor": self._kill_actor,
            "node": self._kill_node,
            "gateway": self._kill_gateway,
            "driver": self._kill_driver,
            "head": self._kill_head,
            "drain": self._drain,
            "slow": self._slow_link,
            "cut 3 s": lambda: self._cut(3),
            "cut 8 s": lambda: self._cut(8),
            "cut 60 s": lambda: self._cut(60),
        }
        self._next: list[str] = []

    def go_on_cluster(self, faults_a_run: int = 12) -> None:
        """Damage runs until all faults are spent."""
        number = 0
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            while self._left > 0:
                out = Path(folder) / f"run-{number}"
                with Hosts([0, *(1 for _ in _WORKERS)]) as self._hosts:
                    self._run_on_cluster(out, number, faults_a_run)
                number += 1

    def _run_on_cluster(self, out: Path, seed: int, faults: int) -> None:
        self.count.runs += 1
        before: dict[str, Row] = {}
        command = replace(_CASE, address=self._hosts.address).command(out, seed)
        self._start(command, out)
        while faults > 0 and self._left > 0:
            try:
                self._driver.wait(self._random.uniform(0.5, 20.0))
                if not self._is_told(out):
                    break
            except subprocess.TimeoutExpired:
                kind = self._draw()
                self._kinds[kind]()
                self.faults[kind] += 1
                self._left -= 1
                faults -= 1
                before = self._look(out, before, True, kind)
            if self._driver.poll() is not None and self._is_told(out):
                self._repair()
                command = self._next_command(out, command)
                self._start(command, out)
        while (code := self._wait(self._driver, out)) and self._is_told(out):
            self._repair()
            self._start(self._next_command(out, command), out)
        if code:
            self._problem(f"{out.name}: exit code {code}", out)
        self._check(_CASE, out, seed, before, True)
        self._see_ended(self._hosts.actors, _ORPHAN_SECONDS, f"{out.name}: actors are left")

    def _start(self, command: list[str], out: Path) -> None:
        with open(out.with_suffix(".stderr"), "w") as errors:
            self._driver = subprocess.Popen(
                self._hosts.command(0, *command),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=self._hosts.environment,
            )

    def _is_told(self, out: Path) -> bool:
        """Whether the driver was killed, or stopped and said how to go on; or nothing was begun."""
        code = self._driver.returncode
        said = out.with_suffix(".stderr").read_text()
        is_told = "cotune resume" in said or not (out / "config.yaml").exists()
        return code == -signal.SIGKILL or (code != 0 and is_told)

    def _repair(self) -> None:
        """Start what is not there of the cluster; where the head is not, all of it."""
        everywhere = range(1 + len(_WORKERS))
        if self._hosts.raylet(0) is None:
            for i in everywhere:
                self._hosts.kill(i)
            time.sleep(1)
        for i in everywhere:
            if self._hosts.raylet(i) is None:
                self._hosts.start(i)

    def _draw(self) -> str:
        """The next kind of fault: all in turn, in an order that is drawn anew each time."""
        if not self._next:
            self._next = self._random.sample(list(self._kinds), len(self._kinds))
        return self._next.pop()

    def _victim(self) -> int:
        """A host that trains and has a node."""
        able = [i for i in _WORKERS if self._hosts.raylet(i) is not None]
        if not able:
            self._repair()
            able = list(_WORKERS)
        return self._random.choice(able)

    def _kill_actor(self) -> None:
        if actors := self._hosts.actors():
            os.kill(self._random.choice(actors), signal.SIGKILL)

    def _kill_node(self) -> None:
        victim = self._victim()
        self._hosts.kill(victim)
        time.sleep(self._random.uniform(0, 5))
        self._hosts.start(victim)  # it joins again

    def _kill_gateway(self) -> None:
        for pid in workers_of(self._driver.pid)[:1]:
            os.kill(pid, signal.SIGKILL)

    def _kill_driver(self) -> None:
        actors = self._hosts.actors()
        self._driver.kill()
        self._driver.wait()
        self._see_ended(lambda: [pid for pid in actors if lives(pid)], _ORPHAN_SECONDS)

    def _kill_head(self) -> None:
        self._hosts.kill(0, keep=self._driver.pid)
        try:
            self._driver.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._problem("the driver did not stop after the head was gone")
            self._driver.kill()
            self._driver.wait()

    def _drain(self) -> None:
        victim = self._victim()
        self._hosts.drain(victim, _DRAIN_SECONDS)
        time.sleep(_DRAIN_SECONDS)
        self._hosts.kill(victim)
        self._hosts.start(victim)

    def _slow_link(self) -> None:
        victim = self._victim()
        self._hosts.slow(victim, _SLOW_KBIT)
        time.sleep(10)
        self._hosts.slow(victim, None)

    def _cut(self, seconds: int) -> None:
        victim = self._victim()
        self._hosts.cut(victim)
        time.sleep(seconds)
        self._hosts.mend(victim)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture_cluster", description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    options = parser.parse_args()
    if not can_make_hosts():
        sys.exit("tests.torture_cluster: needs Linux, root, ip and tc")
    began = time.monotonic()
    torture = ClusterTorture(options.faults, options.seed)
    torture.go_on_cluster()
    kinds = ", ".join(f"{kind} {count}" for kind, count in torture.faults.items())
    print(
        f"seed {options.seed}: {torture.faults.total()} faults ({kinds}) in {torture.count.runs} "
        f"runs, {time.monotonic() - began:.0f} s; {torture.count.seen} finished trials were seen "
        f"before a fault; {len(torture.count.problems)} problems"
    )
    sys.exit(bool(torture.count.problems))


if __name__ == "__main__":
    main()
