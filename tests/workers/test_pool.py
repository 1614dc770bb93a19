from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cotune.data.dataset import TrainingData
from cotune.exceptions import StorageError
from cotune.records import EpochReport
from cotune.workers.base import EngineJob, Executor, worth_filling
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor
from tests.contracts.executor_contract import (
    DATA,
    QUICK_SECONDS,
    RUN_SEED,
    SECONDS,
    ExecutorContract,
    collect,
    go_on,
    groups,
    long_spec,
    numbers_of,
    run,
    spec,
    stop,
    told,
)
from tests.support.processes import lives, workers_of


def in_process(lanes: int) -> InProcessExecutor:
    executor = InProcessExecutor("cpu")
    executor.load(EngineJob(DATA, RUN_SEED, lanes))
    return executor


def test_a_cnn_that_is_alone_gets_the_cores_of_idle_workers():
    images = replace(DATA, inputs=np.pad(DATA.inputs, [(0, 0), (0, 1)]), input_shape=(8, 8, 1))
    with ProcessExecutor(2) as executor:
        executor.load(EngineJob(images, RUN_SEED, 1))
        cnns = [
            spec(model="cnn", n_blocks=1, filters=4, kernel_size=3, dense_width=0, epochs=50)
            for _ in range(2)
        ]
        executor.submit(cnns[:1])
        assert not collect(executor, 1)[0].error
        assert [worker.threads for worker in executor._workers if worker.specs] == [2]
        executor.submit(cnns[1:])
        assert not collect(executor, 1)[0].error
        assert [worker.threads for worker in executor._workers] == [1, 1]
        assert executor.take_lost() == []


class TestInProcess(ExecutorContract):
    @staticmethod
    def make() -> Executor:
        return in_process(4)


class TestOneLane(ExecutorContract):
    @staticmethod
    def make() -> Executor:
        return in_process(1)


def processes(workers: int, lanes: int) -> ProcessExecutor:
    executor = ProcessExecutor(workers)
    executor.load(EngineJob(DATA, RUN_SEED, lanes))
    return executor


class TestOneWorker(ExecutorContract):
    @staticmethod
    def make() -> Executor:
        return processes(1, 3)

    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    def test_tells_the_same_as_in_process(self, executor, optimizer):
        """Bit for bit: one engine, one thread each."""
        trials = [
            spec(optimizer=optimizer, batch_norm=False, weight_decay=1e-3, momentum=0.5, **shape)
            for shape in ({}, {"n_layers": 3, "width": 7}, {"dropout": 0.37, "lr": 1e-4})
        ]
        with in_process(3) as alone:
            outcomes = []
            for place in (executor, alone):
                place.submit(trials)
                reports = []
                for epoch in range(4):
                    reports += collect(place, 3)
                    if epoch < 3:
                        go_on(place, *(trial.number for trial in trials))
                weights = [place.weights(trial.number) for trial in trials]
                stop(place, *(trial.number for trial in trials))
                bits = [{name: w.tobytes() for name, w in lane.items()} for lane in weights]
                outcomes.append(([told(report) for report in reports], bits))
        assert outcomes[0] == outcomes[1]


class TestTwoWorkers(ExecutorContract):
    @staticmethod
    def make() -> Executor:
        return processes(2, 4)

    def test_a_group_goes_to_one_worker(self, executor):
        """To that with the most room, so a second group has a worker of its own."""
        first, second = [[spec() for _ in range(3)] for _ in range(2)]
        for group in (first, second):
            executor.submit(group)
        reports = collect(executor, 6)
        assert [report.lanes for report in reports] == [3] * 6
        assert executor.openings() == []
        with pytest.raises(ValueError, match="no worker has room for 2 trials"):
            executor.submit([spec(), spec()])
        stop(executor, *(trial.number for trial in first))
        assert executor.openings() == [4]
        stop(executor, *(trial.number for trial in second))


class TestMeasured:
    def test_workers_agree_on_a_number_of_lanes(self):
        with ProcessExecutor(2) as executor:
            executor.load(EngineJob(DATA, RUN_SEED))
            assert executor.lanes in (1, 2, 4, 8, 16)
            assert executor.openings() == [executor.lanes] * 2
            submitted = groups(executor)
            reports = collect(executor, 2 * executor.lanes)
            assert {report.lanes for report in reports} == {executor.lanes}
            stop(executor, *numbers_of(submitted))


@pytest.mark.parametrize(
    ("free", "lanes", "expected"),
    [
        ([], 4, []),
        ([0, 1, 2, 3, 4], 4, [4, 3, 2]),
        ([0, 1, 2, 3], 3, [3, 2]),
        ([0, 1, 1], 1, [1, 1]),
        ([-3, 2], 4, [2]),
    ],
)
def test_worth_filling(free, lanes, expected):
    assert worth_filling([(places, lanes) for places in free]) == expected


def children() -> set[int]:
    """Of this process, dead ones that nobody has waited for included."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s"
        time.sleep(0.02)


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")


@needs_proc
class TestProcesses:
    def test_nothing_is_left_of_it(self, tmp_path, monkeypatch):
        """No process, no file: after the end, and after whatever may end it."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        before, descriptors = children(), len(os.listdir("/proc/self/fd"))
        executor = ProcessExecutor(2)
        assert len(workers_of(os.getpid())) == 2
        executor.load(EngineJob(DATA, RUN_SEED, 2))
        reported = spec()
        executor.submit([reported])
        collect(executor, 1)
        executor.submit([long_spec()])  # in mid-epoch when the end comes
        assert list(tmp_path.iterdir()) == []
        time.sleep(0.3)
        began = time.monotonic()
        executor.close()
        executor.close()
        assert time.monotonic() - began < QUICK_SECONDS
        assert children() == before
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert list(tmp_path.iterdir()) == []

    def test_a_worker_that_was_killed_while_idle(self):
        with ProcessExecutor(1) as executor:
            (pid,) = workers_of(os.getpid())
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not lives(pid), QUICK_SECONDS)
            executor.load(EngineJob(DATA, RUN_SEED))
            run(executor, spec(), 2)

    def test_imports_nothing_from_the_working_folder(self, tmp_path, monkeypatch):
        """Where a user keeps data and scripts, of whatever name."""
        for name in ("numpy", "torch", "struct", "cotune"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
        monkeypatch.chdir(tmp_path)
        with ProcessExecutor(1) as executor:
            executor.load(EngineJob(DATA, RUN_SEED))
            run(executor, spec(), 1)

    @pytest.mark.parametrize("missing_bytes", [300_000, 100])
    def test_a_dataset_that_does_not_fit_the_temporary_folder(self, missing_bytes):
        room = DATA.inputs.nbytes + DATA.labels.nbytes - missing_bytes
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        executor = ProcessExecutor(0)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            with pytest.raises(StorageError, match="set TMPDIR"), executor:
                executor.load(EngineJob(DATA, RUN_SEED))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    @pytest.mark.slow
    def test_the_dataset_is_shared(self):
        """Workers map its 100 MB and own no copy of it."""
        rows, features = 25_000, 1024
        generator = np.random.default_rng(1)
        large = TrainingData(
            generator.standard_normal((rows, features), dtype=np.float32),
            generator.integers(0, 10, rows),
            20_000,
            10,
            (features,),
        )
        small = replace(
            large,
            inputs=np.ascontiguousarray(large.inputs[:5000]),
            labels=large.labels[:5000],
            n_train=4000,
        )
        kib = []
        for data, workers in ((small, 1), (large, 2)):
            with ProcessExecutor(workers) as executor:
                executor.load(EngineJob(data, RUN_SEED, 1))
                for _ in range(workers):
                    executor.submit([spec(width=4, batch_size=1000)])
                collect(executor, workers)  # all rows have been read, to train or to validate
                kib.append([memory(pid) for pid in workers_of(os.getpid())])
        (little,), both = kib
        for much in both:
            assert much["Rss"] > large.inputs.nbytes // 1024
            # Anonymous memory is a process's own: its heap, and pages of the mapping that it wrote.
            more = (large.inputs.nbytes - small.inputs.nbytes) // 1024
            assert much["Anonymous"] - little["Anonymous"] < more / 4


@pytest.mark.slow
@needs_proc
class TestLostWorkers:
    def test_its_trial_goes_on_in_another(self):
        """From the beginning where nothing was saved, to the same scores."""
        trial = spec()
        with ProcessExecutor(2) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 1))
            expected = [told(report) for report in run(executor, trial, 6)]
            executor.submit([trial])
            came = collect(executor, 1)
            for _ in range(2):
                go_on(executor, trial.number)
                came += collect(executor, 1)
            for pid in workers_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            go_on(executor, trial.number)  # to a worker that is gone
            again = collect(executor, 1)
            while len(again) < 6:
                go_on(executor, trial.number)
                again += collect(executor, 1)
            stop(executor, trial.number)
        assert [told(report) for report in came] == expected[:3]
        assert [told(report) for report in again] == expected

    def test_it_goes_on_from_where_it_was_saved(self, tmp_path):
        trial = spec()
        with ProcessExecutor(1) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 2))
            expected = [told(report) for report in run(executor, trial, 5)]
            executor.submit([trial])
            for _ in range(3):
                collect(executor, 1)
                go_on(executor, trial.number)
            collect(executor, 1)
            executor.save(tmp_path)
            files = executor.saved(SECONDS)
            assert files is not None
            executor.keep(files)
            (pid,) = workers_of(os.getpid())
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not lives(pid), QUICK_SECONDS)
            assert executor.weights(trial.number) == {}
            (report,) = collect(executor, 1)
            assert report.epoch == 5
            assert told(report) == expected[4]
            stop(executor, trial.number)

    def test_a_trial_that_ends_two_workers_fails_alone(self):
        """Here by chance: the one that was in training both times."""
        trials = [long_spec(), spec(batch_size=32)]
        with ProcessExecutor(1) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 2))
            executor.submit(trials)
            reports: list[EpochReport] = []
            for _ in range(2):
                end = time.monotonic() + SECONDS
                while executor._workers[0].in_training != [trials[0].number]:
                    assert time.monotonic() < end
                    reports += executor.reports(0.1)
                (pid,) = workers_of(os.getpid())
                os.kill(pid, signal.SIGKILL)
                while workers_of(os.getpid()) in ([], [pid]):
                    reports += executor.reports(0.1)
            while not any(report.error for report in reports):
                reports += collect(executor, 1)
            (failed,) = [report for report in reports if report.error]
            assert failed.number == trials[0].number
            assert failed.error is not None
            assert failed.error.startswith("it ended its worker process 2 times (signal 9")
            assert any(report.number == trials[1].number for report in reports) or collect(
                executor, 1
            )
            executor.clear()
            run(executor, spec(), 2)

    def test_one_that_gives_no_sign_of_life(self):
        trial = spec()
        with ProcessExecutor(1, hang_seconds=2.0) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 1))
            executor.submit([trial])
            collect(executor, 1)
            (hung,) = workers_of(os.getpid())
            os.kill(hung, signal.SIGSTOP)
            go_on(executor, trial.number)
            (report,) = collect(executor, 1)
            assert report.epoch == 1
            assert not lives(hung)
            stop(executor, trial.number)

    def test_a_long_epoch_gives_signs_of_life(self):
        with ProcessExecutor(1, hang_seconds=3.0) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 1))
            executor.submit([long_spec()])
            (pid,) = workers_of(os.getpid())
            end = time.monotonic() + 6.0
            while time.monotonic() < end:
                executor.reports(0.1)
            assert workers_of(os.getpid()) == [pid]
            executor.clear()

    def test_what_cannot_be_saved_is_an_error(self, tmp_path):
        with ProcessExecutor(1) as executor:
            executor.load(EngineJob(DATA, RUN_SEED, 1))
            trial = spec()
            executor.submit([trial])
            collect(executor, 1)
            executor.save(tmp_path / "there is no such folder")
            with pytest.raises(StorageError, match="cannot be written"):
                executor.saved(SECONDS)
            stop(executor, trial.number)


def memory(pid: int) -> dict[str, int]:
    """KiB by kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


# As a user's script: with no __main__ guard. An epoch of the second trial takes half a minute.
DRIVER = """
    import signal, time
    import numpy as np
    from cotune.data.dataset import TrainingData
    from cotune.workers.base import EngineJob
    from cotune.workers.pool import ProcessExecutor
    from cotune.records import TrialSpec

    def trial(number, width):
        params = {"optimizer": "sgd", "lr": 1e-3, "n_layers": 3, "width": width, "batch_size": 2}
        return TrialSpec(number, {**params, "batch_norm": False, "epochs": 99}, number)

    came = []

    def report():
        while not came:
            came.extend(executor.reports(0.1))
        return came.pop(0)

    interrupts = []
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    executor = ProcessExecutor(2)
    inputs = np.random.default_rng(0).standard_normal((2000, 20), dtype=np.float32)
    executor.load(EngineJob(TrainingData(inputs, np.arange(2000) % 3, 1600, 3, (20,)), 0, 1))
    executor.submit([trial(0, 4)])
    report()
    executor.submit([trial(1, 2048)])
    print("ready", flush=True)
    while not interrupts:
        time.sleep(0.01)
    executor.clear()
    for number in (2, 3):  # one for each worker
        executor.submit([trial(number, 4)])
    for _ in range(2):
        print("went on:", report().error, flush=True)
    executor.close()
"""


@pytest.mark.slow
@needs_proc
class TestDriver:
    """A driver of its own, as signals are sent to it."""

    @pytest.fixture
    def driver(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        script = tmp_path / "driver.py"
        script.write_text(textwrap.dedent(DRIVER))
        (tmp_path / "tmp").mkdir()
        process = subprocess.Popen(
            [sys.executable, str(script)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "TMPDIR": str(tmp_path / "tmp"),
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            yield process
            process.kill()

    @staticmethod
    def workers(driver: subprocess.Popen[str]) -> list[int]:
        assert driver.stdout
        assert driver.stdout.readline() == "ready\n"
        pids = workers_of(driver.pid)
        assert len(pids) == 2
        return pids

    def test_killed_leaves_no_orphans(self, driver, tmp_path):
        """One worker is in the middle of an epoch, the other waits for a verdict."""
        pids = self.workers(driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_until(lambda: not any(map(lives, pids)), 5.0)
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_ctrl_c_is_for_the_driver_alone(self, driver):
        """A terminal sends it to the whole process group; the driver decides what it means."""
        pids = self.workers(driver)
        os.killpg(driver.pid, signal.SIGINT)
        output, _ = driver.communicate(timeout=SECONDS)
        assert output == 2 * "went on: None\n"
        assert driver.returncode == 0
        assert not any(map(lives, pids))
