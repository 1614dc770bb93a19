"""Objectives that are written for Optuna, run unchanged on worker processes."""

from __future__ import annotations

import csv
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import cotune
from cotune.cli.main import main
from cotune.exceptions import ModelFileError, NoUsableTrialError, UsageError
from cotune.runs.summary import TrialCounts
from cotune.tuning.repeats import plan_repeats
from cotune.workers.objective.pool import Call, Event, ObjectiveProcesses
from cotune.workers.objective.source import Source
from tests.support.processes import lives, workers_of

# As in Optuna's tutorials; it runs its study where it is not guarded against being imported.
DIGITS = """
import os

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

INPUTS, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
INPUTS = INPUTS.float() / 16


def objective(trial):
    trial.set_user_attr("pid", os.getpid())
    layers, width = [], 64
    for i in range(trial.suggest_int("n_layers", 1, 2)):
        units = trial.suggest_int(f"units_{i}", 8, 64, log=True)
        layers += [nn.Linear(width, units), trial.suggest_categorical("act", [nn.ReLU, nn.Tanh])()]
        width = units
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(4):
        for batch in torch.arange(1000).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(INPUTS[batch]), LABELS[batch]).backward()
            optimizer.step()
        accuracy = (model(INPUTS[1000:]).argmax(1) == LABELS[1000:]).float().mean()
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
    print("trained", trial.number)
    return accuracy.item()


study = optuna.create_study(direction="maximize")
study.optimize(objective, n_trials=3)
print("the script's own best:", study.best_value)
"""

HEAD = "import math, os, pathlib, random, signal, subprocess, sys, time\nimport optuna\n"


def write(folder: Path, body: str, name: str = "objective") -> str:
    """``FILE.py:NAME`` of an objective; it starts with the line number 3."""
    path = folder / "user.py"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(f"{HEAD}def {name}(trial):\n{lines}")
    return f"{path}:{name}"


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def plain_study(run: Path) -> optuna.Study:
    """As anyone opens it."""
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    return optuna.load_study(study_name="cotune", storage=storage)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit code and standard error of a command that fails."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    return int(exit.value.code or 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "digits.py"
    path.write_text(DIGITS)
    return path


@pytest.fixture(scope="module")
def result(file: Path, tmp_path_factory: pytest.TempPathFactory) -> cotune.RunResult:
    out = tmp_path_factory.mktemp("digits") / "run"
    options: dict[str, Any] = {"n_trials": 14, "workers": 2, "seed": 1, "out": out}
    return cotune.optimize(f"{file}:objective", direction="maximize", **options)


@pytest.mark.slow
class TestDigits:
    """A network on scikit-learn's digits, on two workers."""

    @pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
    def test_the_script_runs_by_itself(self, file):
        assert len(runpy.run_path(str(file))["study"].trials) == 3

    def test_trials(self, result):
        assert result.summary.state == "complete"
        study = plain_study(result.path)
        assert [trial.number for trial in study.trials] == list(range(14))
        counts = result.summary.trials
        assert counts.complete + counts.pruned == 14
        assert counts.pruned >= 3
        assert len({trial.user_attrs["pid"] for trial in study.trials}) == 2
        assert os.getpid() not in {trial.user_attrs["pid"] for trial in study.trials}
        for trial in study.trials:
            steps = trial.intermediate_values
            assert list(steps) == list(range(len(steps)))
            assert len(steps) == 4 or trial.state == TrialState.PRUNED
            assert trial.value == steps[max(steps)]
        assert study.best_value == result.summary.best.search_best > 0.8

    def test_tables(self, result):
        trials = {int(row["number"]): row for row in table(result.path / "trials.csv")}
        for trial in plain_study(result.path).trials:
            row = trials.pop(trial.number)
            assert row["state"] == trial.state.name.lower()
            assert float(row["value"]) == trial.value
            assert int(row["reports"]) == len(trial.intermediate_values)
            assert {name: str(value) for name, value in trial.params.items()} == {
                name: row[name] for name in trial.params
            }
            assert row["act"] in ("ReLU", "Tanh")
        assert not trials
        steps = {(int(r["number"]), int(r["step"])): float(r["value"]) for r in curves(result)}
        assert steps == {
            (trial.number, step): value
            for trial in plain_study(result.path).trials
            for step, value in trial.intermediate_values.items()
        }

    def test_finalists(self, result):
        values: dict[int, list[float]] = {}
        for row in table(result.path / "finalists.csv"):
            values.setdefault(int(row["number"]), []).append(float(row["value"]))
        assert {len(own) for own in values.values()} == {3}
        assert len(values) == min(3, result.summary.trials.complete)
        found = {one.number: (one.mean, one.sd) for one in result.summary.finalists}
        assert found == {n: pytest.approx((fmean(v), stdev(v))) for n, v in values.items()}
        assert result.summary.best.number == max(values, key=lambda n: fmean(values[n]))
        assert len({v for own in values.values() for v in own}) > len(values)  # fresh seeds

    def test_what_it_prints_is_kept(self, result):
        lines = (result.path / "output.log").read_text().splitlines()
        count = result.summary.trials.complete + sum(one.runs for one in result.summary.finalists)
        assert sum(line.startswith("trained ") for line in lines) == count
        assert not any("own best" in line for line in lines)

    def test_report(self, result):
        page = (result.path / "report.html").read_text()
        assert "digits.py:objective" in page
        assert "Finalists’ best mean" in page
        assert 'id="chart-history"' in page
        assert 'id="chart-curves-value"' in page
        assert 'id="chart-parallel"' in page
        assert 'id="chart-confusion"' not in page
        assert "test accuracy" not in page.lower()

    def test_show(self, result, capsys):
        main(["show", str(result.path)])
        printed = capsys.readouterr().out
        assert "digits.py:objective, maximized" in printed
        assert f"trial {result.summary.best.number} again" in printed
        assert "No test data" in printed
        assert "test accuracy" not in printed

    def test_as_a_result(self, result):
        assert result.best_params["lr"] == result.summary.best.params["lr"]
        assert result.best_value == result.summary.best.value
        assert result.test_accuracy is None
        assert result.final is None
        assert len(result.study.trials) == 14
        assert cotune.open_run(result.path).summary == result.summary
        with pytest.raises(ModelFileError):
            cotune.load(result.path)

    def test_commands_for_runs_on_data(self, result, capsys):
        code, error = ended(capsys, "replay", result.path, "0")
        assert code == 2
        assert "is a run of an objective" in error


def curves(result: cotune.RunResult) -> list[dict[str, str]]:
    return table(result.path / "curves.csv")


class TestTrial:
    """What an objective can ask of its trial."""

    def test_interface(self, tmp_path):
        body = """
import datetime
import numpy as np
choices = [(1, 2), [3], None, "a", math.sin, np.int64(7)]
assert isinstance(trial, optuna.trial.BaseTrial)
assert trial.relative_params == {}
x = trial.suggest_float("x", 0.0, 1.0, step=0.25)
assert x == trial.suggest_float("x", 0.0, 1.0, step=0.25)
n = trial.suggest_int("n", 2, 64, log=True)
assert type(n) is int
c = trial.suggest_categorical("c", choices)
assert any(c is choice for choice in choices)
u = trial.suggest_uniform("u", -2, -1)
w = trial.suggest_loguniform("w", 1e-5, 1e-3)
d = trial.suggest_discrete_uniform("number", 0.0, 2.0, 1.0)
assert trial.params == {"x": x, "n": n, "c": c, "u": u, "w": w, "number": d}
assert trial.distributions["n"].log
trial.set_user_attr("array", np.arange(3))
trial.set_user_attr("c", repr(c))
assert trial.user_attrs["array"] == [0, 1, 2]
assert isinstance(trial.datetime_start, datetime.datetime)
assert trial.study.direction == optuna.study.StudyDirection.MINIMIZE
assert trial.study.get_trials()[trial.number].params["x"] == x
assert not trial.should_prune()
trial.report(np.float32(x), np.int64(10))
try:
    trial.suggest_float("y", 1.0, 0.0)
except ValueError as error:
    trial.set_user_attr("error", str(error))
return np.float64(x)
"""
        result = cotune.optimize(write(tmp_path, body), n_trials=8, workers=1, out=tmp_path / "run")
        assert result.summary.trials.complete == 8, table(tmp_path / "run" / "trials.csv")
        study = plain_study(result.path)
        assert "`low <= high` must hold" in study.trials[0].user_attrs["error"]
        assert {trial.params["c"] for trial in study.trials} <= {
            "(1, 2)",
            "[3]",
            None,
            "a",
            "sin",
            7,
        }
        assert {row["params_number"] for row in table(result.path / "trials.csv")} <= {
            "0.0",
            "1.0",
            "2.0",
        }

    def test_seeds(self, tmp_path):
        """The same seed gives the same trials, and each call has its own."""
        body = (
            "import numpy as np\ntrial.suggest_float('x', 0, 1)\n"
            "return random.random() + np.random.rand()"
        )
        objective, values = write(tmp_path, body), []
        for i, seed in enumerate((3, 3, 4)):
            options: dict[str, Any] = {"finalists": 2, "repeats": 2, "out": tmp_path / str(i)}
            cotune.optimize(objective, n_trials=4, workers=2, seed=seed, **options)
            rows = [*table(tmp_path / str(i) / "trials.csv")]
            rows += table(tmp_path / str(i) / "finalists.csv")
            values.append({(row["number"], row.get("repeat")): float(row["value"]) for row in rows})
        assert values[0] == values[1]
        assert not {*values[0].values()} & {*values[2].values()}
        assert len({*values[0].values()}) == 8

    @pytest.mark.parametrize(
        "pruner", ["median", "hyperband", optuna.pruners.ThresholdPruner(upper=0.5)]
    )
    def test_pruners_of_optuna(self, pruner, tmp_path):
        body = """
x = trial.suggest_float("x", 0, 1)
for step in range(5):
    trial.report(x, step)
    if trial.should_prune():
        raise optuna.TrialPruned
return x
"""
        options: dict[str, Any] = {"sampler": "random", "workers": 1, "out": tmp_path / "run"}
        result = cotune.optimize(write(tmp_path, body), n_trials=20, pruner=pruner, **options)
        assert 0 < result.summary.trials.pruned < 20
        assert result.best_value == plain_study(result.path).best_value

    def test_a_grid_ends(self, tmp_path):
        body = "return trial.suggest_int('a', 1, 2) * trial.suggest_categorical('b', [1, 10])"
        options: dict[str, Any] = {"timeout": "30s", "workers": 1, "out": tmp_path / "run"}
        began = time.monotonic()
        result = cotune.optimize(write(tmp_path, body), sampler="grid", **options)
        assert time.monotonic() - began < 20
        assert {trial.value for trial in plain_study(result.path).trials} == {1, 2, 10, 20}


class TestWithoutAFile:
    def test_a_script_without_a_guard(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            "import os, cotune\n"
            "OFFSET = 3\n"
            "class Helper:\n    offset = OFFSET\n"
            "def objective(trial):\n"
            "    trial.set_user_attr('pid', os.getpid())\n"
            "    return (trial.suggest_float('x', 0, 1) + Helper().offset) ** 2\n"
            "r = cotune.optimize(objective, n_trials=5, workers=2, out='run')\n"
            "print(r.summary.state, r.best_value > 9, os.getpid())\n"
        )
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        state, is_right, pid = done.stdout.split()
        assert (state, is_right) == ("complete", "True")
        trials = plain_study(tmp_path / "run").trials
        assert len(trials) == 5
        assert int(pid) not in {trial.user_attrs["pid"] for trial in trials}

    def test_a_lambda(self, tmp_path):
        shift = 2.0
        result = cotune.optimize(
            lambda trial: trial.suggest_float("x", 0, 1) + shift,
            n_trials=2,
            workers=1,
            out=tmp_path / "run",
        )
        assert result.best_value == plain_study(result.path).best_value >= 2.0
        with pytest.raises(UsageError, match="which Cotune runs only where you name it"):
            cotune.resume(result.path, more=1)

    def test_what_cannot_be_sent(self, tmp_path):
        with (
            open(tmp_path / "file", "w") as file,
            pytest.raises(UsageError, match="cannot be sent"),
        ):
            cotune.optimize(lambda trial: file.write("x"), n_trials=1, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


class TestFailures:
    def test_of_some_trials(self, tmp_path):
        body = """
x = trial.suggest_float("x", 0, 1)
if trial.number == 1:
    raise ValueError("no such\\nthing")
if trial.number == 2:
    return float("nan")
if trial.number == 3:
    return None
if trial.number == 4:
    math.sqrt(-1)
if trial.number == 5:
    return math.inf
return x
"""
        result = cotune.optimize(
            write(tmp_path, body), direction="maximize", n_trials=9, workers=2, out=tmp_path / "run"
        )
        assert result.summary.trials == TrialCounts(complete=5, pruned=0, failed=4, running=0)
        reasons = {int(r["number"]): r["reason"] for r in table(tmp_path / "run" / "trials.csv")}
        assert reasons[1] == "ValueError: no such thing (user.py, line 7)"
        assert reasons[2] == "it returned nan"
        assert reasons[3] == "it returned None, which is no number"
        assert reasons[4] == "ValueError: math domain error (user.py, line 13)"
        assert "Traceback" in (tmp_path / "run" / "output.log").read_text()
        study = plain_study(result.path)
        assert {t.number for t in study.trials if t.state == TrialState.FAIL} == {1, 2, 3, 4}
        assert study.trials[1].user_attrs["reason"] == reasons[1]
        assert "inf" not in str(result.best_value)  # it is no score

    def test_of_all(self, tmp_path, capsys):
        """There is no use in going on with all of them."""
        objective = write(tmp_path, "trial.suggest_int('n', 1, 3)\nreturn 1 / 0")
        out = tmp_path / "run"
        options = ("--n-trials", "5000", "--workers", "1", "--out", out, "--quiet")
        code, error = ended(capsys, "optimize", objective, *options)
        assert code == 5
        assert len(table(out / "trials.csv")) == 20
        assert "most of them because ZeroDivisionError: division by zero (user.py, line 5)" in error
        assert cotune.open_run(out).summary.state == "failed"
        assert "ZeroDivisionError" in (out / "report.html").read_text()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nothing.py:objective"], "nothing.py: cannot be read: No such file or directory"),
            (["objective"], "objective: 'objective' is not FILE.py:NAME, as train.py:objective"),
            (["{file}:objectiv"], "has no function objectiv; it has objective"),
            (["{broken}:objective"], "NameError: name 'nonsense' is not defined (broken.py, line"),
            (["{invalid}:objective"], "SyntaxError"),
            (["{file}:objective", "--direction", "up"], "direction: 'up' is unknown; choose min"),
            (["{file}:objective", "--pruner", "medain"], "did you mean median?"),
        ],
    )
    def test_what_cannot_be_used(self, arguments, message, tmp_path, capsys):
        names = {"file": write(tmp_path, "return 1.0").partition(":")[0]}
        for name, text in (("broken", "import os\nnonsense\n"), ("invalid", "def (:\n")):
            names[name] = str(tmp_path / f"{name}.py")
            Path(names[name]).write_text(text)
        out = tmp_path / "run"
        given = [argument.format(**names) for argument in arguments]
        code, error = ended(capsys, "optimize", *given, "--n-trials", "1", "--out", out)
        assert code == 2
        assert message in error
        assert error.count("\n") == 1
        assert not out.exists()

    def test_an_existing_run(self, tmp_path, capsys):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "file").touch()
        objective = write(tmp_path, "return 1.0")
        code, error = ended(capsys, "optimize", objective, "--out", tmp_path / "run")
        assert code == 2
        assert "are there already" in error


class TestProcesses:
    def test_a_trial_that_ends_its_worker(self, tmp_path):
        """It has a second chance, with the parameters that it had."""
        body = """
x = trial.suggest_float("x", 0, 1)
trial.report(x, 0)
seen = pathlib.Path(__file__).with_name(f"seen-{trial.number}")
with open(seen, "a") as file:
    print(x, file=file)
if trial.number == 2 or trial.number == 1 and len(seen.read_text().split()) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
return x
"""
        result = cotune.optimize(
            write(tmp_path, body), n_trials=5, workers=2, pruner="none", out=tmp_path / "run"
        )
        states = {int(row["number"]): row for row in table(tmp_path / "run" / "trials.csv")}
        assert states.pop(2)["state"] == "failed"
        assert {row["state"] for row in states.values()} == {"complete"}
        study = plain_study(result.path)
        reason = "it ended its worker process 2 times (signal 9; too little memory is one cause)"
        assert study.trials[2].user_attrs["reason"] == reason
        for number in (1, 2):
            first, second = (tmp_path / f"seen-{number}").read_text().split()
            assert first == second == str(study.trials[number].params["x"])
        assert workers_of(os.getpid()) == []

    def test_a_worker_whose_child_lives_on(self, tmp_path):
        """The child holds the worker's end of the pipe open, and ends with it."""
        body = """
x = trial.suggest_float("x", 0, 1)
if trial.number == 1:
    child = os.fork()
    if not child:
        time.sleep(600)
    pathlib.Path(__file__).with_name(f"child-{child}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
return x
"""
        options: dict[str, Any] = {"n_trials": 4, "workers": 2, "out": tmp_path / "run"}
        result = cotune.optimize(write(tmp_path, body), **options)
        assert result.summary.trials == TrialCounts(complete=3, pruned=0, failed=1, running=0)
        children = [int(path.name.partition("-")[2]) for path in tmp_path.glob("child-*")]
        assert len(children) == 2
        assert not any(lives(child) for child in children)

    def test_a_worker_that_hangs(self, tmp_path):
        source = Source(write(tmp_path, "time.sleep(60)").partition(":")[0], "objective")
        with ObjectiveProcesses(1, source, hang_seconds=2.0) as pool:
            pool.wait(lambda: False)
            call = Call(0, 0, 1)
            pool.start(call)
            began = time.monotonic()
            while time.monotonic() < began + 2.6:  # it is at work, and gives signs of life
                assert pool.events(0.1) == []
            _, pid = workers_of(os.getpid())  # it is a fork of the one that loaded the objective
            os.kill(pid, signal.SIGSTOP)
            events: list[Event] = []
            while not events and time.monotonic() < began + 30:
                events = pool.events(0.1)
            assert [(event.call, event.kind) for event in events] == [(call, "lost")]
            assert pool.take_lost() == ["no sign of life for 2 s"]
            pool.wait(lambda: False)
            assert pool.idle == 1
            assert not lives(pid)

    @pytest.mark.slow
    def test_time(self, tmp_path):
        body = """
x = trial.suggest_float("x", 0, 1)
for step in range(10 if trial.number < 4 else 10_000):
    time.sleep(0.02)
    trial.report(x, step)
return x
"""
        began = time.monotonic()
        options: dict[str, Any] = {"pruner": "none", "workers": 2, "out": tmp_path / "run"}
        result = cotune.optimize(write(tmp_path, body), timeout=10, finalists=2, **options)
        assert 6 < time.monotonic() - began < 10.5
        assert result.summary.trials.complete == 4
        assert result.summary.trials.pruned == 2
        assert len(result.summary.finalists) == 2  # each of which took its time
        rows = table(tmp_path / "run" / "trials.csv")
        assert [row["reason"] for row in rows] == ["", "", "", "", "time was up", "time was up"]
        assert all(int(row["reports"]) > 10 for row in rows[4:])

    def start(self, objective: str, out: Path) -> subprocess.Popen[str]:
        """A run whose trial 3 has just begun and waits."""
        options = ["--n-trials", "6", "--workers", "1", "--seed", "5", "--out", str(out), "--quiet"]
        driver = subprocess.Popen(
            [sys.executable, "-m", "cotune", "optimize", objective, *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 60
        while not (out.parent / "waits").exists():
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        return driver

    BODY = """
x = trial.suggest_float("x", 0, 1)
folder = pathlib.Path(__file__).parent
trial.report(x, 0)
if trial.number == 3 and not (folder / "go").exists():
    child = subprocess.Popen(["sleep", "600"])
    (folder / "child").write_text(str(child.pid))
    (folder / "waits").touch()
    time.sleep(600)
y = trial.suggest_float("y", 0, 1)
return x
"""

    def test_a_signal_and_going_on(self, tmp_path, capsys):
        objective, out = write(tmp_path, self.BODY), tmp_path / "run"
        driver = self.start(objective, out)
        workers = workers_of(driver.pid)
        began = time.monotonic()
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=30)
        assert time.monotonic() - began < 10
        assert driver.returncode == 130
        advice = f"cotune resume {out} --objective {objective}"
        assert errors.strip() == f"cotune: stopped by Ctrl-C; to resume: {advice}"
        child = int((tmp_path / "child").read_text())
        assert not any(lives(pid) for pid in [*workers, child])
        assert cotune.open_run(out).summary.state == "interrupted"
        before, drawn = table(out / "trials.csv"), plain_study(out).trials[3].params["x"]
        assert len(before) == 3
        code, error = ended(capsys, "resume", out)
        assert code == 2
        assert f"give --objective {objective}" in error
        (tmp_path / "go").touch()
        main(["resume", str(out), "--objective", objective, "--quiet"])
        rows = table(out / "trials.csv")
        assert rows[:3] == before
        assert [int(row["number"]) for row in rows] == list(range(6))
        assert {row["state"] for row in rows} <= {"complete", "pruned"}
        trials = plain_study(out).trials
        assert trials[3].params["x"] == drawn
        assert len(curves(cotune.open_run(out))) == 6
        main(["resume", str(out), "--objective", objective, "--more", "2", "--quiet"])
        assert table(out / "trials.csv")[:6] == rows
        assert len(plain_study(out).trials) == 8

    def test_a_killed_driver_leaves_nothing_behind(self, tmp_path):
        objective, out = write(tmp_path, self.BODY), tmp_path / "run"
        driver = self.start(objective, out)
        pids = [*workers_of(driver.pid), int((tmp_path / "child").read_text())]
        assert len(pids) == 3  # the first worker process loads the objective
        driver.kill()
        driver.communicate()
        end = time.monotonic() + 10
        while any(lives(pid) for pid in pids):
            assert time.monotonic() < end, "orphans"
            time.sleep(0.05)
        (tmp_path / "go").touch()
        (tmp_path / "user.py").write_text((tmp_path / "user.py").read_text() + "\n")
        with pytest.warns(UserWarning, match="is not what it was when the run began"):
            result = cotune.resume(out, objective=objective)
        assert result.summary.state == "complete"
        assert len(result.study.trials) == 6


@pytest.mark.parametrize(
    ("count", "repeats", "slots", "plan"),
    [
        (3, 3, 9, (3, 3)),
        (3, 3, 100, (3, 3)),
        (3, 3, 8, (3, 2)),
        (3, 3, 4, (2, 2)),
        (3, 3, 2, (2, 1)),
        (3, 3, 1, (0, 0)),
        (1, 3, 2, (1, 2)),
        (3, 3, 0, (0, 0)),
    ],
)
def test_finalists_fit_the_time(count, repeats, slots, plan):
    assert plan_repeats(count, repeats, slots) == plan


def test_no_value_in_the_time(tmp_path):
    objective = write(tmp_path, "time.sleep(60)")
    with pytest.raises(NoUsableTrialError, match="no trial came to a value in the time given"):
        cotune.optimize(objective, timeout=5, workers=1, out=tmp_path / "run")
