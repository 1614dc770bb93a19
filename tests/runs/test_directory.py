from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotune.diagnostics import Calibration, ColumnImportance, ColumnImportances, Reliability
from cotune.exceptions import CotuneError, StorageError, UsageError
from cotune.metrics import METRICS
from cotune.records import EnsembleResult, EpochReport, FinalResult, TrialResult
from cotune.runs.directory import RunDirectory
from cotune.runs.paths import check_free, default_path
from cotune.runs.summary import BestTrial, Seconds, Summary, TrialCounts

CONFIG = {
    "dataset": {
        "name": "digits",
        "rows": {"train": 1149, "validation": 288, "test": 360},
        "input_shape": [8, 8],
        "classes": ["0", "1"],
    },
    "space": {},
    "metric": "accuracy",
    "n_trials": None,
    "device": "cpu",
    "workers": 2,
}
SUMMARY = Summary(
    state="running",
    seconds=Seconds(total=3.5, search=2.0, final=0.0, study=0.25),
    trials=TrialCounts(complete=3, pruned=1, failed=0, running=2),
    best=BestTrial(number=1, params={"lr": 0.1}, validation_accuracy=0.75),
)
SURE = Reliability(9, 0.5, 0.1, 0.05, [(0.6, 0.5, 4), (0.9, 0.8, 5)])
FINAL = FinalResult(
    test_accuracy=0.9,
    test_ci95=(0.8, 0.95),
    epochs=3,
    parameters=100,
    curve={"loss": [0.5], "accuracy": [0.9]},
    confusion=[[1, 2], [3, 4]],
    mistakes=[{"row": 1, "true": 0, "predicted": 1, "probability": 0.5}],
    test_scores=dict.fromkeys(METRICS, 0.5),
    default_test_scores=dict.fromkeys(METRICS, 0.5),
    ensemble=EnsembleResult({3: 2}, None, calibration=Calibration(reason="few")),
    calibration=Calibration(1.5, 1.5, 9, 2, 0.1, 0.01, "", False, (SURE, SURE), (SURE, SURE)),
    columns=ColumnImportances([ColumnImportance("age", 0.1, None)], "f1", 9, 9, 2, 5),
)


@pytest.fixture
def run(tmp_path):
    """A run that goes on: its lock is held."""
    run = RunDirectory.create(tmp_path / "run")
    run.write_config(CONFIG)
    run.write_summary(SUMMARY)
    yield run
    run.close()


def storage_error(read) -> str:
    with pytest.raises(StorageError) as caught:
        read()
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


class TestCreate:
    def test_makes_its_parents(self, tmp_path):
        run = RunDirectory.create(tmp_path / "a" / "b")
        assert run.path == tmp_path / "a" / "b"
        assert os.listdir(run.path) == ["lock"]
        run.close()

    def test_an_empty_folder_will_do(self, tmp_path):
        RunDirectory.create(tmp_path).close()

    def test_a_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        run = RunDirectory.create("here")
        monkeypatch.chdir("/")
        run.write_config(CONFIG)
        assert (tmp_path / "here" / "config.yaml").is_file()
        run.close()

    @pytest.mark.parametrize("name", ["config.yaml", "notes.txt", ".hidden", "lock"])
    def test_never_writes_over_anything(self, tmp_path, name):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError) as caught:
            RunDirectory.create(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: a run or other files are there already; choose another --out DIR"
        )
        assert caught.value.exit_code == 2
        assert os.listdir(tmp_path) == [name]
        assert (tmp_path / name).read_text() == "mine"

    def test_a_run_that_goes_on(self, run):
        with pytest.raises(UsageError, match=r"a run or other files are there already"):
            RunDirectory.create(run.path)
        assert run.summary().state == "running"

    @pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
    def test_a_file_is_there(self, tmp_path, make):
        path = tmp_path / "run"
        make(path)
        with pytest.raises(UsageError, match=r"run: is a file; choose another --out DIR$"):
            RunDirectory.create(path)
        assert os.path.lexists(path)
        assert not path.is_dir()

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("/proc/cotune/run", "No such file or directory"),
            ("/proc/version/run", "Not a directory"),
            ("/dev/null/run", "Not a directory"),
            ("/tmp/" + "x" * 300, "File name too long"),
        ],
    )
    def test_a_place_that_cannot_be_written(self, path, why):
        message = storage_error(lambda: RunDirectory.create(path))
        assert message.startswith(path)
        assert message.endswith(why)

    def test_a_read_only_folder(self, tmp_path):
        (tmp_path / "run").mkdir()
        os.chmod(tmp_path / "run", 0o555)
        if os.access(tmp_path / "run", os.W_OK):
            pytest.skip("this user may write everywhere")
        message = storage_error(lambda: RunDirectory.create(tmp_path / "run"))
        assert message == f"{tmp_path / 'run'}: cannot be written: Permission denied"
        assert os.listdir(tmp_path / "run") == []

    def test_looking_changes_nothing(self, tmp_path):
        check_free(tmp_path / "a" / "b")
        check_free(tmp_path)
        assert os.listdir(tmp_path) == []


class TestDefaultPath:
    def test_under_runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = default_path("digits")
        assert path.parent == Path("runs")
        assert path.name.startswith("digits-2")

    def test_two_in_one_second(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        paths = set()
        for _ in range(5):
            path = default_path("digits")
            RunDirectory.create(path).close()
            paths.add(path)
        assert len(paths) == 5

    def test_a_name_never_leads_elsewhere(self):
        assert default_path("../../etc/x y").parent == Path("runs")


class TestTables:
    def test_trials_come_back(self, run):
        trials = [
            TrialResult(0, "complete", 0.1 + 0.2, 20, {"lr": 1e-5 / 3, "batch_norm": True}, 1.5),
            TrialResult(1, "pruned", 0.5, 3, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}, 0.2),
            TrialResult(2, "failed", None, 0, {"lr": 0.1}, 0.0, 'a "reason",\nof two lines'),
        ]
        run.tables.start(["lr", "batch_norm", "optimizer", "momentum"])
        for trial in trials:
            run.tables.append_trials([trial])
        with open(run.trials_path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0])[:6] == [
            "number",
            "state",
            "value",
            "epochs_trained",
            "seconds",
            "reason",
        ]
        for row, trial in zip(rows, trials, strict=True):
            assert int(row["number"]) == trial.number
            assert row["state"] == trial.state
            assert (float(row["value"]) if row["value"] else None) == trial.value
            assert int(row["epochs_trained"]) == trial.epochs
            assert float(row["seconds"]) == trial.seconds
            assert row["reason"] == trial.reason
            params = {name: row[name] for name in ("lr", "batch_norm", "optimizer", "momentum")}
            assert {n: v for n, v in params.items() if v} == {
                name: str(value) for name, value in trial.params.items()
            }
            assert float(params["lr"]) == trial.params["lr"]

    def test_curves_come_back(self, run):
        scores = {"loss": 1 / 3, "accuracy": 0.5, "f1": 0.25}
        reports = [
            EpochReport(number, epoch, 2 / 3, 0.1, scores, 0.125, steps=0)
            for epoch in (1, 2)
            for number in (0, 7)
        ]
        run.tables.start(["lr"])
        for report in reports:
            run.tables.append_reports([report])
        assert run.tables.curves() == {
            number: [report for report in reports if report.number == number] for number in (0, 7)
        }

    def test_a_line_that_was_cut_off_is_left_out(self, run):
        run.tables.start(["lr"])
        for epoch in (1, 2):
            run.tables.append_reports(
                [EpochReport(0, epoch, 0.5, 0.5, {"loss": 1.0}, 0.1, steps=0)]
            )
        whole = run.curves_path.read_bytes()
        for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
            run.curves_path.write_bytes(whole[:-cut])
            assert [report.epoch for report in run.tables.curves()[0]] in ([1], [1, 2])

    @pytest.mark.parametrize(
        "line", [b"1,2\r\n", b"x,1,1,1,1,1,1,1\r\n", b'"' + b"x" * 200_000 + b'"\r\n', b"\0\r\n"]
    )
    def test_damage_in_the_middle(self, run, line):
        run.tables.start(["lr"])
        run.tables.append_reports([EpochReport(0, 1, 0.5, 0.5, {"loss": 1.0}, 0.1, steps=0)])
        with open(run.curves_path, "ab") as file:
            file.write(line)
        run.tables.append_reports([EpochReport(0, 2, 0.5, 0.5, {"loss": 1.0}, 0.1, steps=0)])
        message = storage_error(run.tables.curves)
        assert message.startswith(f"{run.curves_path}:")
        assert message.endswith(": is damaged")

    def test_curves_that_are_no_text(self, run):
        run.curves_path.write_bytes(b"\xff\xfe")
        assert "cannot be read" in storage_error(run.tables.curves)


class TestWriting:
    def test_a_file_is_whole_or_absent(self, run):
        run.write_final(FINAL)
        assert not list(run.path.glob("*.tmp"))
        assert run.final() is not None
        assert run.final() == FINAL

    def test_no_final_yet(self, run):
        assert run.final() is None

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk(self, run):
        os.symlink("/dev/full", run.path / "summary.json.tmp")
        before = (run.path / "summary.json").read_bytes()
        message = storage_error(lambda: run.write_summary(SUMMARY))
        assert message.endswith("summary.json: cannot be written: No space left on device")
        assert (run.path / "summary.json").read_bytes() == before
        os.symlink("/dev/full", run.trials_path)
        message = storage_error(lambda: run.tables.start(["lr"]))
        assert message.endswith("trials.csv: cannot be written: No space left on device")

    def test_a_folder_that_went_away(self, tmp_path):
        run = RunDirectory.create(tmp_path / "run")
        os.remove(tmp_path / "run" / "lock")
        os.rmdir(tmp_path / "run")
        assert "cannot be written" in storage_error(lambda: run.write_config(CONFIG))
        run.close()

    def test_text_that_is_no_utf_8(self, run):
        # As sys.argv has a path that holds the byte 0xff.
        run.write_config({**CONFIG, "command": "cotune --out \udcff"})
        assert run.config().command == "cotune --out \udcff"


class TestState:
    def test_running_while_the_lock_is_held(self, run):
        summary = RunDirectory.open(run.path).summary()
        assert summary == SUMMARY

    def test_reading_leaves_the_lock_alone(self, run):
        for _ in range(3):
            assert RunDirectory.open(run.path).summary().state == "running"

    def test_a_killed_writer_was_interrupted(self, tmp_path):
        code = (
            "import sys, time\n"
            "sys.path.insert(0, sys.argv[2])\n"
            "from tests.runs.test_directory import CONFIG, SUMMARY, RunDirectory\n"
            "run = RunDirectory.create(sys.argv[1])\n"
            "run.write_config(CONFIG)\n"
            "run.write_summary(SUMMARY)\n"
            "print('ready', flush=True)\n"
            "time.sleep(60)\n"
        )
        path = tmp_path / "run"
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(Path(__file__).parents[2])],
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            run = RunDirectory.open(path)
            assert run.summary().state == "running"
            assert (path / "lock").read_text().split()[0] == str(writer.pid)
            with pytest.raises(UsageError):
                RunDirectory.create(path)
            writer.send_signal(signal.SIGKILL)
            writer.wait(10)
        summary = run.summary()
        assert summary.state == "interrupted"
        assert summary.message == "the process that ran it was killed"
        assert summary.trials == replace(SUMMARY.trials, running=0)
        assert summary.best == SUMMARY.best

    def test_a_run_that_ended_stays_as_it_ended(self, run):
        done = Summary("complete", SUMMARY.seconds, SUMMARY.trials, SUMMARY.best)
        run.write_summary(done)
        run.close()
        assert run.summary() == done


class TestReading:
    @pytest.mark.parametrize("name", ["", "nothing", "file"])
    def test_no_run(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match=r"no run is there .no config.yaml.; give the folder"):
            RunDirectory.open(tmp_path / name)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is damaged, or not what a run writes there"),
            (b"- 1", "is damaged"),
            (b"a: [", "cannot be read: while parsing"),
            (b"\xff", "cannot be read: 'utf-8' codec"),
            (b"a: !!python/object:os.system {}", "cannot be read: could not determine a constr"),
            (b"a: !!int x", "cannot be read: invalid literal"),
            (b"a: " + b"[" * 5000, "cannot be read"),
            (b"dataset: {}", "is damaged, or not what a run writes there"),
            (b"dataset: 3\nmetric: a\ndevice: b", "writes there (dataset)"),
            (
                yaml.safe_dump(
                    {**CONFIG, "dataset": {**CONFIG["dataset"], "rows": {"train": "x"}}}  # type: ignore[dict-item]
                ).encode(),
                "writes there (dataset.rows.train)",
            ),
        ],
    )
    def test_a_damaged_config(self, run, content, said):
        run.config_path.write_bytes(content)
        message = storage_error(run.config)
        assert message.startswith(f"{run.config_path}: ")
        assert said in message

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"trials": []}, "(trials)"),
            ({"trials": {"complete": 1}}, "(trials)"),
            ({"trials": {**asdict(SUMMARY.trials), "pruned": "1"}}, "(trials.pruned)"),
            ({"trials": {**asdict(SUMMARY.trials), "pruned": True}}, "(trials.pruned)"),
            ({"seconds": {**asdict(SUMMARY.seconds), "final": None}}, "(seconds.final)"),
            ({"best": {"number": 1}}, "(best)"),
            ({"best": 3}, "(best)"),
            ({"final": {"test_accuracy": 0.5}}, "(final)"),
            ({"final": {**FINAL.to_json(), "test_ci95": [0.5]}}, "(final.test_ci95)"),
            ({"final": {**FINAL.to_json(), "test_ci95": [0.5, "x"]}}, "(final.test_ci95.1)"),
            ({"state": None}, "(state)"),
        ],
    )
    def test_a_damaged_summary(self, run, change, key):
        (run.path / "summary.json").write_text(json.dumps({**SUMMARY.to_json(), **change}))
        message = storage_error(run.summary)
        assert message.startswith(f"{run.path / 'summary.json'}: is ")
        assert key in message

    def test_keys_of_another_version(self, run):
        known = SUMMARY.to_json()
        changed = {**known, "unheard": 1, "seconds": {**known["seconds"], "unheard": 2.0}}
        run.summary_path.write_text(json.dumps(changed))
        assert run.summary() == SUMMARY

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"\xff", b"9" * 5000, b"[" * 100_000, b'{"state": "running"}']
    )
    @pytest.mark.parametrize("name", ["summary.json", "final.json"])
    def test_what_is_no_json(self, run, name, content):
        (run.path / name).write_bytes(content)
        message = storage_error(run.summary if name == "summary.json" else run.final)
        assert message.startswith(f"{run.path / name}: ")

    def test_no_summary(self, run):
        os.remove(run.path / "summary.json")
        assert storage_error(run.summary).endswith("cannot be read: No such file or directory")

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_anything_in_place_of_a_part(self, run, data):
        scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
        nested = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(), scalars)
        for path, whole in (
            (run.config_path, CONFIG),
            (run.path / "summary.json", SUMMARY.to_json()),
            (run.path / "final.json", FINAL.to_json()),
        ):
            changed = json.loads(json.dumps(whole))
            target = changed
            while isinstance(
                inner := target[key := data.draw(st.sampled_from(sorted(target)))], dict
            ):
                if not inner or data.draw(st.booleans()):
                    break
                target = inner
            target[key] = data.draw(nested)
            # JSON is YAML; NaN is not the same in both, which is as good as any other damage.
            path.write_text(json.dumps(changed))
        for read in (run.config, run.summary, run.final):
            try:
                read()
            except CotuneError as error:
                message = str(error)
                assert "\n" not in message
