"""Engines on a real Ray cluster: the contract, and what goes wrong with one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cotune.exceptions import ClusterError, UsageError
from cotune.records import Cluster, EpochReport
from cotune.workers.base import EngineJob
from cotune.workers.ray.cluster import read_cluster, refuse_cluster, why_unreachable
from cotune.workers.ray.executor import RayExecutor
from tests.contracts.executor_contract import (
    DATA,
    RUN_SEED,
    SECONDS,
    ExecutorContract,
    go_on,
    long_spec,
    spec,
    stop,
)


def started(workers: int | None = 2, lanes: int | None = 3, address: str = "local") -> RayExecutor:
    executor = RayExecutor(Cluster(address, workers))
    executor.load(EngineJob(DATA, RUN_SEED, lanes))
    return executor


def actors(parent: int | None = None) -> list[int]:
    """Processes of Cotune's actors on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::Engine" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def wait_until(what: Any, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
class TestContract(ExecutorContract):
    @staticmethod
    def make() -> RayExecutor:
        return started(address=os.environ.get("RAY_ADDRESS", "local"))


@pytest.mark.slow
class TestFaults:
    def train(self, executor: RayExecutor, count: int, epochs: int) -> dict[int, int]:
        """Train trials to an epoch; return the last epoch of each."""
        last: dict[int, int] = {}
        end = time.monotonic() + 2 * SECONDS
        while len(last) < count or min(last.values()) < epochs:
            assert time.monotonic() < end, last
            for report in executor.reports(0.1):
                assert not report.error, report.error
                last[report.number] = report.epoch
                if report.epoch < epochs:
                    go_on(executor, report.number)
        return last

    def test_a_killed_actor_is_replaced_and_its_trials_go_on_from_the_last_lanes(self, tmp_path):
        with started(1) as executor:
            trials = [spec() for _ in range(3)]
            executor.submit(trials)
            self.train(executor, 3, 4)
            executor.save(tmp_path)
            wait_until(lambda: executor.saved(0.1) is not None)
            executor.keep(executor.saved(0.0) or [])
            go_on(executor, *(trial.number for trial in trials))
            (pid,) = actors()
            os.kill(pid, signal.SIGKILL)
            seen: dict[int, EpochReport] = {}
            end = time.monotonic() + 2 * SECONDS
            while len(seen) < 3 and time.monotonic() < end:
                for report in executor.reports(0.1):
                    seen.setdefault(report.number, report)
            assert {report.epoch for report in seen.values()} == {5}
            assert not any(report.error for report in seen.values())
            assert executor.take_lost() == ["its process ended"]
            stop(executor, *seen)

    def test_a_trial_that_ends_its_actor_twice_fails(self):
        with started(1, lanes=1) as executor:
            executor.submit([long_spec()])
            for _ in range(2):

                def is_training() -> bool:
                    assert not executor.reports(0.1)
                    return bool(executor._workers[0].in_training and actors())

                wait_until(is_training)
                killed = actors()
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
                failed: list[EpochReport] = []
                while not executor._lost:
                    failed += executor.reports(0.1)
                wait_until(lambda killed=killed: not set(killed) & set(actors()))
                assert executor.take_lost() == ["its process ended"]
            failed += executor.reports(0.1)
            assert "2 times" in failed[0].failure

    def test_a_killed_gateway_is_replaced(self):
        with started(1) as executor:
            trials = [spec() for _ in range(2)]
            executor.submit(trials)
            self.train(executor, 2, 3)
            os.kill(executor._gateway.pid, signal.SIGKILL)
            go_on(executor, *(trial.number for trial in trials))
            self.train(executor, 2, 5)
            assert "was lost" in executor.take_lost()[0]
            stop(executor, *(trial.number for trial in trials))

    def test_nothing_is_left_behind(self):
        with started(2) as executor:
            gateway = executor._gateway.pid
            pids = actors()
            assert len(pids) == 2
        wait_until(lambda: not set(pids) & set(actors()))
        assert not Path(f"/proc/{gateway}").exists()

    def test_a_killed_driver_leaves_no_actor(self, tmp_path):
        command = [sys.executable, "-m", "cotune", "run", "digits", "--n-trials", "10000"]
        command += ["--model", "mlp", "--executor", "ray", "--address", "local", "--workers", "1"]
        process = subprocess.Popen([*command, "--quiet", "--out", str(tmp_path / "run")])
        curves = tmp_path / "run" / "curves.csv"
        wait_until(lambda: curves.exists() and curves.stat().st_size > 5_000, 2 * SECONDS)
        process.kill()
        process.wait()
        wait_until(lambda: not actors())


@pytest.mark.slow
class TestNodes:
    """A cluster of several nodes on this machine, made by Ray's own means."""

    @pytest.fixture
    def cluster(self) -> Iterator[Any]:
        from ray.cluster_utils import Cluster as Nodes

        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
        yield nodes
        nodes.shutdown()

    def train_until(self, executor: RayExecutor, is_over: Callable[[], bool]) -> None:
        """Train on, as a search does, until something is so."""
        end = time.monotonic() + 2 * SECONDS
        while not is_over():
            assert time.monotonic() < end
            for report in executor.reports(0.1):
                assert not report.error, report.error
                go_on(executor, report.number)

    def test_nodes_join_and_are_lost(self, cluster):
        first = cluster.add_node(num_cpus=1)
        with started(None, address=cluster.address) as executor:
            assert len(executor.openings()) == 1
            executor.submit([spec() for _ in range(2)])
            second = cluster.add_node(num_cpus=2)
            self.train_until(executor, lambda: len(executor.openings()) == 2)
            # What was trained on the first node goes on elsewhere, and no trial is to blame.
            cluster.remove_node(first, allow_graceful=False)
            self.train_until(executor, lambda: bool(executor._lost))
            trained = executor._workers[0].epochs.copy()
            self.train_until(
                executor,
                lambda: any(
                    worker.is_ready and worker.reported and worker.specs
                    for worker in executor._workers
                ),
            )
            assert executor.take_lost() == ["its node is gone"]
            assert not executor._deaths
            assert len(trained) == 2
            cluster.remove_node(second)

    def test_a_cluster_without_room_is_told(self, cluster, monkeypatch):
        monkeypatch.setattr("cotune.workers.ray.executor._IDLE_SECONDS", 3.0)
        with (
            pytest.raises(ClusterError, match=r"no room .* it offers 1 nodes with 0 CPUs"),
            RayExecutor(Cluster(cluster.address)) as executor,
        ):
            executor.load(EngineJob(DATA, RUN_SEED, 2))

    @pytest.mark.long
    def test_a_head_that_is_gone_is_told(self, cluster):
        node = cluster.add_node(num_cpus=1)
        with started(1, address=cluster.address) as executor:
            executor.submit([spec()])
            self.train_until(executor, lambda: bool(executor._workers[0].reported))
            cluster.remove_node(node, allow_graceful=False)
            cluster.remove_node(cluster.head_node, allow_graceful=False)
            with pytest.raises(ClusterError, match=r"is gone|answers at|did not answer"):
                self.train_until(executor, lambda: False)


class TestArguments:
    def test_amounts(self):
        assert read_cluster("local", 3, 0.5, None) == Cluster("local", 3, 0.5, 0.0)
        for cpus, gpus in ((0, 0), (-1, 0), (1.5, 0), ("2", 0), (True, 0)):
            with pytest.raises(UsageError, match="per_worker"):
                read_cluster("local", None, cpus, gpus)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("auto", "is not supported"),
            ("ray://head:10001", "ray job submit"),
            ("head", "HOST:PORT"),
            (":6379", "HOST:PORT"),
            ("head:port", "HOST:PORT"),
            ("head:99999", "HOST:PORT"),
        ],
    )
    def test_addresses_that_are_refused(self, address, message):
        with pytest.raises(UsageError, match=message):
            read_cluster(address, None, None, None)

    def test_the_environment_says_where(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
        assert read_cluster(None, None, None, None).address == "head:6379"
        monkeypatch.delenv("RAY_ADDRESS")
        assert read_cluster(None, None, None, None).address == "local"

    def test_ray_that_is_not_installed(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UsageError, match=r"pip install 'cotune\[ray\]'"):
            read_cluster("local", None, None, None)

    def test_what_is_for_a_cluster_only(self):
        refuse_cluster(address=None)
        with pytest.raises(UsageError, match="address: is for executor=ray only"):
            refuse_cluster(address="head:6379")

    def test_nothing_at_an_address_is_told_at_once(self):
        assert why_unreachable(Cluster("local")) == ""
        with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
            RayExecutor(Cluster("127.0.0.1:1"))
