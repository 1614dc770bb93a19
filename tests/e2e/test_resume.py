"""Runs that are stopped, killed or damaged, and gone on with."""

from __future__ import annotations

import csv
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml
from sklearn.datasets import load_wine

import cotune
from cotune.cli.main import main
from cotune.exceptions import StorageError, UsageError
from cotune.records import TrialResult
from cotune.runs.directory import RunDirectory
from cotune.space.yaml import space_from_dict
from cotune.study.journal import Journal, load_study
from cotune.study.study import Study
from tests.support.processes import lives, workers_of
from tests.torture import Case, Torture

pytestmark = pytest.mark.slow

COTUNE = [sys.executable, "-m", "cotune"]
SPACE = {
    "width": {"type": "int", "low": 8, "high": 64},
    "lr": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True},
    "epochs": 3,
}


class _Poison:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (_touch, (self.path,))


def _touch(path: str) -> None:
    Path(path).touch()


def table(path: Path) -> list[dict[str, str]]:
    with open(path / "trials.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


SIXTEEN_TRIALS = ["run", "digits", "--model", "mlp", "--n-trials", "16", "--workers", "2"]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COTUNE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_trials(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many trials have finished."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if (path / "trials.csv").exists() and len(table(path)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} trials: {process.communicate()}")


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    """A small run that is complete."""
    path = tmp_path_factory.mktemp("complete") / "run"
    cotune.run("digits", space=SPACE, n_trials=6, workers=1, seed=3, out=path)
    return path


@pytest.fixture
def copy(complete, tmp_path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "run"))


@pytest.mark.long
def test_kills_lose_nothing():
    """Of drivers and workers; ``python -m tests.torture`` does more of it."""
    cases = (Case("digits", 1, 3), Case("digits", 2, 5))
    count = Torture(kills=3, seed=1, say=False).go(cases, kills_a_run=2)
    assert count.problems == []
    assert count.driver_kills + count.worker_kills == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(number, code, tmp_path):
    out = tmp_path / "a run"
    arguments = [*SIXTEEN_TRIALS, "--seed", "2"]
    process = start(*arguments, "--out", out, "--quiet")
    until_trials(out, 3, process)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == code
    cause = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert errors.strip() == f"cotune: stopped by {cause}; to resume: cotune resume '{out}'"
    before = table(out)
    assert len(before) >= 3
    assert all("stopped" not in row["reason"] for row in before)
    assert (out / "checkpoint" / "000001" / "manifest.json").exists()
    assert cotune.open_run(out).summary.state == "interrupted"
    result = cotune.resume(out)
    assert result.summary.state == "complete"
    assert table(out)[: len(before)] == before
    assert len(table(out)) == 16
    assert not (out / "checkpoint").exists()


class TestComplete:
    def test_nothing_is_left_to_do(self, copy):
        before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        result = cotune.resume(copy)
        assert result.summary.state == "complete"
        after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        changed = {path.name for path in after if after[path] != before.get(path)}
        assert changed <= {"lock"}
        assert cotune.resume(copy, n_trials=6).summary.seconds == result.summary.seconds

    def test_more_trials(self, copy):
        before = table(copy)
        result = cotune.resume(copy, more=3)
        assert table(copy)[:6] == before
        assert [row["number"] for row in table(copy)[6:]] != []
        assert len(table(copy)) == 9
        assert result.summary.state == "complete"
        assert len(RunDirectory.open(copy).readings()) == 2
        assert len(cotune.resume(copy, n_trials=10).study.trials) == 10

    def test_a_split_of_its_own_stays(self, tmp_path):
        out = tmp_path / "run"
        given = {"space": SPACE, "workers": "in-process", "out": out}
        cotune.run("digits", n_trials=2, validation=0.3, **given)
        before = table(out)
        assert cotune.resume(out, more=1).summary.state == "complete"
        assert table(out)[:2] == before
        assert RunDirectory.open(out).options().validation == 0.3

    def test_more_time(self, copy):
        began = time.monotonic()
        result = cotune.resume(copy, timeout="20s")
        assert 3 < time.monotonic() - began < 30
        assert len(table(copy)) > 6
        assert result.summary.state == "complete"

    def test_the_sampler_repeats_nothing(self, copy):
        cotune.resume(copy, more=6)
        drawn = {(row["width"], row["lr"]) for row in table(copy)}
        assert len(drawn) == 12

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_trials": 3, "more": 2}, "n_trials: give the total, or how many more, not both"),
            ({"more": 0}, "more: 0 is not a whole number above 0"),
            ({"timeout": "soon"}, "timeout: 'soon' is not a duration"),
            ({"data": tuple(load_wine(return_X_y=True)), "more": 1}, "arrays: is not what the run"),
            ({"sampler": "random"}, "sampler: the run's is tpe; start another run"),
        ],
    )
    def test_what_cannot_be_used(self, options, message, copy):
        with pytest.raises(UsageError, match=message):
            cotune.resume(copy, **{"more": 1, **options} if "data" in options else options)
        assert len(table(copy)) == 6

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 4}, "seed: was 3 when the run began and is 4 now"),
            ({"metric": "f1"}, "metric: was accuracy when the run began and is f1 now"),
            ({"space": {**SPACE, "epochs": 4}}, "space: epochs was 3 when the run began and is 4"),
        ],
    )
    def test_another_seed_or_space(self, change, message, copy):
        config = yaml.safe_load((copy / "config.yaml").read_text())
        (copy / "config.yaml").write_text(yaml.safe_dump({**config, **change}))
        with pytest.raises(UsageError, match=message):
            cotune.resume(copy, more=1)

    def test_other_data(self, copy):
        config = yaml.safe_load((copy / "config.yaml").read_text())
        config["dataset"]["fingerprint"] = "0" * 64
        (copy / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(UsageError, match="digits: is not what the run was on"):
            cotune.resume(copy, more=1)


class TestCommand:
    def test_of_no_run(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["resume", str(tmp_path)])
        assert ended.value.code == 2
        assert "no run is there" in capsys.readouterr().err

    def test_of_one_that_another_process_writes(self, tmp_path):
        out = tmp_path / "run"
        first = start(
            "run", "digits", "--model", "mlp", "--timeout", "60s", "--workers", "1", "--out", out
        )
        until_trials(out, 0, first)
        second = start("resume", out)
        _, errors = second.communicate(timeout=60)
        first.kill()
        first.communicate()
        host = os.uname().nodename
        assert second.returncode == 4
        assert f"{out}: process {first.pid} on {host} is writing there; wait for it" in errors

    def test_prints_what_run_prints(self, copy, capsys):
        main(["resume", str(copy)])
        assert "test accuracy" in capsys.readouterr().out


class TestKilled:
    @pytest.mark.parametrize(
        "limit",
        [pytest.param(["--timeout", "25s"], marks=pytest.mark.long), ["--n-trials", "6"]],
    )
    def test_just_after_it_was_given_more(self, limit, tmp_path):
        """What was complete stays, whether or not it would come again bit for bit."""
        out = tmp_path / "run"
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
        arguments = ["run", "digits", "--space", tmp_path / "space.yaml", "--workers", "1", *limit]
        first = start(*arguments, "--out", out, "--quiet")
        first.communicate(timeout=60)
        assert first.returncode == 0
        before = table(out)
        process = start("resume", out, "--more", "20")
        until_trials(out, len(before) + 1, process)
        process.kill()
        process.communicate()
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        kept = table(out)
        assert kept[: len(before)] == before
        cotune.resume(out)
        assert table(out)[: len(kept)] == kept
        assert len(table(out)) == len(before) + 20

    def test_in_its_final_model(self, tmp_path):
        out = tmp_path / "run"
        process = start(
            "run",
            "digits",
            "--model",
            "mlp",
            "--timeout",
            "25s",
            "--out",
            out,
            "--checkpoint",
            "0.2s",
        )
        end = time.monotonic() + 60
        log = out / "trainings.jsonl"
        while '"part": "all"' not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.kill()
        process.communicate()
        before, finalists = table(out), log.read_text().count('"specs"')
        result = cotune.resume(out)
        assert result.summary.state == "complete"
        assert table(out) == before
        assert log.read_text().count('"specs"') == finalists
        assert len(RunDirectory.open(out).readings()) == 1

    def test_a_run_that_lost_patience_gets_it_back(self, tmp_path):
        out = tmp_path / "run"
        cotune.run("digits", space=SPACE, n_trials=40, patience=2, workers=1, out=out)
        before = table(out)
        assert len(before) < 40
        cotune.resume(out, more=1)
        assert table(out)[: len(before)] == before
        assert len(table(out)) > len(before)

    def test_a_search_of_a_comparison(self, tmp_path):
        cotune.compare(
            "digits", samplers="random", seeds=1, space=SPACE, n_trials=2, out=tmp_path / "out"
        )
        with pytest.raises(UsageError, match="is a search of a comparison, which is not resumed"):
            cotune.resume(tmp_path / "out" / "random-0", more=1)

    def test_on_other_arrays_without_a_name(self, tmp_path):
        data = load_wine(return_X_y=True)
        cotune.run(data, space=SPACE, n_trials=3, workers=1, out=tmp_path / "run")
        with pytest.raises(UsageError, match="arrays: is no named dataset"):
            cotune.resume(tmp_path / "run", more=1)
        assert len(cotune.resume(tmp_path / "run", more=2, data=data).study.trials) == 5

    def test_with_a_sampler_object(self, tmp_path):
        sampler = optuna.samplers.RandomSampler(seed=1)
        cotune.run(
            "digits", space=SPACE, n_trials=3, workers=1, sampler=sampler, out=tmp_path / "run"
        )
        with pytest.raises(UsageError, match="was given a RandomSampler object; resume it from P"):
            cotune.resume(tmp_path / "run", more=1)
        again = optuna.samplers.RandomSampler(seed=2)
        assert len(cotune.resume(tmp_path / "run", more=2, sampler=again).study.trials) == 5

    def test_without_a_checkpoint(self, tmp_path):
        """With two workers, finished trials stay; those in training begin anew."""
        out = tmp_path / "run"
        process = start(
            "run", "digits", "--model", "mlp", "--n-trials", "12", "--workers", "2", "--out", out
        )
        until_trials(out, 2, process)
        process.kill()
        process.communicate()
        before = table(out)
        shutil.rmtree(out / "checkpoint")
        assert cotune.resume(out).summary.state == "complete"
        assert table(out)[: len(before)] == before
        assert len(table(out)) == 12

    def test_a_grid_ends_where_it_would_have(self, tmp_path):
        out, options = tmp_path / "run", {"space": {**SPACE, "batch_norm": True}}
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(options["space"]))
        arguments = ["run", "digits", "--space", tmp_path / "space.yaml", "--sampler", "grid"]
        process = start(*arguments, "--n-trials", "99", "--workers", "1", "--out", out)
        until_trials(out, 3, process)
        process.kill()
        process.communicate()
        cotune.resume(out)
        drawn = [(row["width"], row["lr"]) for row in table(out)]
        assert len(drawn) == len(set(drawn)) == 9

    @pytest.mark.parametrize("kilobytes", [300, pytest.param(2500, marks=pytest.mark.long)])
    def test_a_full_disk_ends_it_and_room_lets_it_go_on(self, kilobytes, tmp_path):
        """A real one; what fills it first is the tables, the checkpoint, or the model."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        out = disk / "run"
        try:
            arguments = [*SIXTEEN_TRIALS, "--checkpoint", "1s"]
            process = start(*arguments, "--seed", "4", "--quiet", "--out", out)
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 4, errors
            (line,) = errors.strip().splitlines()
            assert line.startswith("cotune: error: ")
            assert "No space left on device" in line
            before = table(out)
            subprocess.run([*mount[:4], "size=50m,remount", *mount[5:]], check=True)
            process = start("resume", out, "--quiet")
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert table(out)[: len(before)] == before
            assert len(table(out)) == 16
            assert cotune.open_run(out).summary.state == "complete"
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)


class TestJournal:
    def test_a_record_that_has_no_room_leaves_nothing(self, tmp_path):
        journal = Journal(tmp_path / "journal")
        journal.append_logs([{"a": 1}])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
            with pytest.raises(OSError, match="File too large"):
                journal.append_logs([{"b": "b" * 100}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        assert (tmp_path / "journal").read_bytes() == b'{"a":1}\n'

    def test_poisoned_attributes_are_not_executed(self, copy, tmp_path):
        """As CmaEsSampler would: a pickle in the study, in hexadecimal."""
        mark = tmp_path / "executed"
        poison = pickle.dumps(_Poison(str(mark))).hex()
        study = load_study(copy / "study.journal")
        storage = study._storage
        for trial in study.trials:
            storage.set_study_system_attr(study._study_id, "cma:optimizer:0", poison)
            storage.set_study_user_attr(study._study_id, "sampler", poison)
            assert trial.number >= 0
        cotune.resume(copy, more=2)
        main(["report", str(copy)])
        main(["show", str(copy)])
        assert not mark.exists()
        assert pickle.loads(bytes.fromhex(poison)) is None  # it would have been
        assert mark.exists()

    def test_cut_at_every_byte_of_its_last_records(self, copy, tmp_path):
        """Whatever was left of them, the study goes on with what came before."""
        whole = (copy / "study.journal").read_bytes()
        starts = [i + 1 for i, byte in enumerate(whole[:-1]) if byte == 10][-6:]
        for cut in range(starts[0], len(whole)):
            (copy / "study.journal").write_bytes(whole[:cut])
            run = RunDirectory.reopen(copy)
            try:
                left = (copy / "study.journal").read_bytes()
                assert left == whole[: max(i for i in (*starts, len(whole)) if i <= cut)]
                space = space_from_dict(SPACE)
                if cut % 23 == 0:
                    identity = load_study(run.journal_path).user_attrs["cotune"]
                    study = Study(run.journal_path, space, identity=identity)
                    study.reopen()
                    (one,) = study.ask()
                    study.tell(TrialResult(one.number, "complete", 0.5, 1, {}, 1.0))
                    known = len(load_study(run.journal_path).trials)
                    assert known == one.number + 1
            finally:
                run.close()

    @pytest.mark.parametrize("name", ["trials.csv", "curves.csv", "trainings.jsonl"])
    def test_half_a_line_of_a_table(self, name, copy):
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(whole + b'17,"comp')
        RunDirectory.reopen(copy).close()
        assert (copy / name).read_bytes() == whole

    def test_a_journal_that_is_no_journal(self, copy):
        (copy / "study.journal").write_bytes(b"{}\n[1\n{}\n")
        with pytest.raises(StorageError, match="the study's journal is damaged"):
            cotune.resume(copy, more=1)


def test_the_clock_on_the_wall_decides_nothing():
    """It may be moved by a day; what is measured is by the monotonic clock."""
    for path in Path(cotune.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "time.time(" not in text, path
        assert "utcnow" not in text, path


def test_checkpoints_that_would_take_too_much(tmp_path):
    with pytest.warns(UserWarning, match="more than --max-disk allows"):
        result = cotune.run(
            "digits",
            model="mlp",
            n_trials=6,
            workers=1,
            checkpoint=0.2,
            max_disk="1MB",
            out=tmp_path / "run",
        )
    assert result.summary.state == "complete"


def test_no_worker_outlives_a_killed_driver(tmp_path):
    process = start(
        "run", "digits", "--model", "mlp", "--timeout", "60s", "--out", tmp_path / "run"
    )
    until_trials(tmp_path / "run", 1, process)
    workers = workers_of(process.pid)
    assert workers
    process.kill()
    process.communicate()
    end = time.monotonic() + 10
    while any(map(lives, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in workers if lives(pid)]
