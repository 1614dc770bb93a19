"""Shapes of objectives, what they may return, choose among, and ask of the trial and its study."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import optuna
import pytest

import cotune
from cotune.exceptions import UsageError
from tests.workers.test_objective_pool import ended, plain_study, table, write

SHAPES = """
import functools
class Square:
    def __init__(self, scale=1):
        self.scale = scale
    def __call__(self, trial):
        return self.scale * trial.suggest_float("x", 1, 2) ** 2
    def method(self, trial):
        return self(trial)
    @staticmethod
    def static(trial):
        return trial.suggest_float("x", 1, 2)
class Needs:
    def __init__(self, data, folds):
        pass
    def __call__(self, trial):
        return 1.0
class NotCalled:
    pass
class Box:
    inner = Square(2)
instance = Square(3)
part = functools.partial(lambda trial, k: k * trial.suggest_float("x", 1, 2), k=2)
bound = instance.method
anonymous = lambda trial: trial.suggest_float("x", 1, 2)
def default(trial, data=None):
    return trial.suggest_float("x", 1, 2)
def two(trial, data):
    return 1.0
def none():
    return 1.0
def pair(trial):
    return trial.suggest_float("x", 1, 2), 1.0
number = 3
"""


@pytest.fixture
def shapes(tmp_path: Path) -> str:
    path = tmp_path / "shapes.py"
    path.write_text(SHAPES)
    return str(path)


def run(objective: Any, out: Path, n_trials: int = 4, **options: Any) -> cotune.RunResult:
    named = {"workers": 1, "finalists": 0, "out": out / "run", **options}
    return cotune.optimize(objective, n_trials=n_trials, **named)


class TestShapes:
    @pytest.mark.parametrize(
        "name",
        [
            *("Square", "instance", "part", "bound", "anonymous", "default"),
            *("instance.method", "Square.static", "Box.inner"),
        ],
    )
    def test_that_work(self, name, shapes, tmp_path):
        result = run(f"{shapes}:{name}", tmp_path, n_trials=2)
        assert result.summary.trials.complete == 2
        assert (result.best_value or 0) >= 1

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("Needs", "Needs is a class that is made with (data, folds); make an instance"),
            ("NotCalled", "NotCalled is a class without __call__"),
            ("two", "two(trial, data) cannot be called with a trial alone; bind the other"),
            ("none", "none() cannot be called with a trial alone"),
            ("number", "number is no function of a trial: it is of type int"),
            ("instance.nothing", "object has no attribute 'nothing'"),
            ("nothing.method", "has no function nothing.method; it has"),
            ("a b", "is not FILE.py:NAME"),
        ],
    )
    def test_that_are_refused(self, name, message, shapes, tmp_path, capsys):
        out = tmp_path / "run"
        code, error = ended(capsys, "optimize", f"{shapes}:{name}", "--n-trials", "2", "--out", out)
        assert (code, error.count("\n")) == (2, 1)
        assert message in error
        assert not out.exists()

    def test_of_several_values(self, shapes, tmp_path, capsys):
        code, error = ended(
            capsys,
            *("optimize", f"{shapes}:pair", "--n-trials", "50", "--workers", "1", "--quiet"),
            *("--out", tmp_path / "run"),
        )
        assert (code, error.count("\n")) == (2, 1)
        assert "it returned 2 values; Cotune optimizes one number: return one, as" in error
        assert table(tmp_path / "run" / "trials.csv") == []

    def test_from_python(self, tmp_path):
        class Own:
            def __call__(self, trial: optuna.Trial) -> float:
                return trial.suggest_float("x", 1, 2)

            def method(self, trial: optuna.Trial) -> float:
                return self(trial)

        def scaled(trial: optuna.Trial, k: float) -> float:
            return k * trial.suggest_float("x", 1, 2)

        for i, one in enumerate((Own, Own(), Own().method, functools.partial(scaled, k=1))):
            assert run(one, tmp_path / str(i), n_trials=1).summary.state == "complete"
        with pytest.raises(UsageError, match=r"scaled\(trial, k\) cannot be called with a trial"):
            run(scaled, tmp_path)
        with pytest.raises(UsageError, match="arguments: are a script's"):
            run(Own, tmp_path, arguments=["--x"])


class TestReturned:
    def test_values(self, tmp_path):
        """As Optuna judges them."""
        body = """
import numpy, torch
trial.suggest_float("x", 0, 1)
class Mine(Exception):
    def __init__(self, a, b):
        super().__init__(a)
if trial.number == 8:
    raise Mine("custom", 2)
if trial.number == 9:
    raise SystemExit(3)
print("\\rloss 0.1", end="")
print("é日本 \\x1b[31m", flush=True)
return [
    torch.tensor([2.0], requires_grad=True), numpy.float32(3), (4.0,), True, "0.5", None,
    [], torch.tensor([1.0, 2.0]), None, None, float("nan"), trial,
][trial.number]
"""
        run(write(tmp_path, body), tmp_path, n_trials=12, direction="maximize")
        rows = table(tmp_path / "run" / "trials.csv")
        assert [row["value"] for row in rows[:4]] == ["2.0", "3.0", "4.0", "1.0"]
        assert {row["state"] for row in rows[4:]} == {"failed"}
        reasons = [row["reason"] for row in rows]
        assert reasons[4] == "it returned '0.5', which is no number"
        assert reasons[5] == "it returned None, which is no number"
        assert reasons[6] == "it returned [], which is no number"
        assert reasons[8] == "Mine: custom (user.py, line 11)"
        assert reasons[9] == "SystemExit: 3 (user.py, line 13)"
        assert reasons[10] == "it returned nan"


class TestChoices:
    def names(self, body: str, tmp_path: Path, n_trials: int = 8) -> set[Any]:
        result = run(write(tmp_path, body), tmp_path, n_trials=n_trials, sampler="random")
        assert result.summary.trials.failed == 0, table(tmp_path / "run" / "trials.csv")
        return {trial.params["c"] for trial in plain_study(result.path).trials}

    def test_of_one_name(self, tmp_path):
        body = """
def scaled(k):
    def f(v): return k * v
    return f
choices = [scaled(1), scaled(2), object(), object(), lambda v: 3]
c = trial.suggest_categorical("c", choices)
assert trial.params["c"] is c
assert any(c is choice for choice in choices)
trial.set_user_attr("place", [c is choice for choice in choices].index(True))
return 1.0
"""
        names = self.names(body, tmp_path, n_trials=20)
        f, place = "objective.<locals>.scaled.<locals>.f", "objective.<locals>.<lambda>"
        assert names == {f, f"{f} (2)", "<object object>", "<object object> (2)", place}
        pairs = {
            (trial.params["c"], trial.user_attrs["place"])
            for trial in plain_study(tmp_path / "run").trials
        }
        assert len(pairs) == len(names)

    def test_values(self, tmp_path):
        body = """
import enum, numpy, torch
class Act(str, enum.Enum):
    RELU = "relu"
class Kind(enum.Enum):
    A = 1
choices = [None, "balanced", 1, 2.5, True, (16,), (16, 16), [8], {"a": 1}, Act.RELU, Kind.A,
           numpy.float32(0.5), numpy.arange(2), torch.tensor(3.0)]
c = trial.suggest_categorical("c", choices)
trial.suggest_categorical("array", numpy.array([0.1, 0.2]))
trial.suggest_categorical("bools", [True, False])
assert any(c is choice for choice in choices) or c == 1
trial.suggest_float("low", torch.tensor(0.1), numpy.float32(1))
return 1.0
"""
        names = self.names(body, tmp_path, n_trials=40)
        every = {None, "balanced", 1, 2.5, "(16,)", "(16, 16)", "[8]", "{'a': 1}", "relu"}
        every |= {"<Kind.A: 1>", 0.5, "[0, 1]", 3.0}
        assert names <= every
        assert len(names) > 8

    def test_seen_by_others(self, tmp_path):
        """Parameters of other trials are choices as well, and can be enqueued."""
        body = """
f, g = math.sin, math.cos
if trial.number == 0:
    trial.study.enqueue_trial({"c": g})
c = trial.suggest_categorical("c", [f, g])
assert trial.study.get_trials()[trial.number].params["c"] is c
if trial.number > 1:
    assert trial.study.best_params["c"] in (f, g)
return 1.0
"""
        self.names(body, tmp_path, n_trials=3)
        assert plain_study(tmp_path / "run").trials[1].params["c"] == "cos"


class TestStudy:
    def test_what_takes_the_trial(self, tmp_path):
        body = """
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.terminator import report_cross_validation_scores
assert isinstance(trial, optuna.Trial) and isinstance(trial.study, optuna.Study)
x = trial.suggest_float("x", 0, 1)
folder = pathlib.Path(__file__).parent
(folder / "store").mkdir(exist_ok=True)
(folder / "weights").write_text("weights")
store = FileSystemArtifactStore(str(folder / "store"))
id = upload_artifact(artifact_store=store, file_path=str(folder / "weights"), study_or_trial=trial)
trial.set_user_attr("id", id)
report_cross_validation_scores(trial, [x, x + 0.1])
trial.set_system_attr("k", 1)
trial.storage.set_trial_user_attr(trial._trial_id, "direct", trial.number)
assert trial.study.trials[trial.number].user_attrs["direct"] == trial.number
assert len(trial.study.trials) == trial.number + 1
assert trial._cached_frozen_trial.params == trial.params
trial.study.set_user_attr("last", x)
assert trial.study.user_attrs == {"last": x}
if trial.number:
    assert trial.study.best_trial.value == trial.study.best_value
    assert list(trial.study.trials_dataframe()["number"]) == list(range(trial.number + 1))
for call in (
    lambda: trial.study.ask(),
    lambda: trial.study.tell(0, 1.0),
    lambda: trial.study.optimize(lambda trial: 1.0),
    lambda: trial.study.add_trial(optuna.trial.create_trial(value=1.0)),
    lambda: trial.storage.delete_study(0),
):
    try:
        call()
    except RuntimeError as error:
        pass
    else:
        raise AssertionError
inner = optuna.create_study()
inner.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=2)
return x
"""
        objective = write(tmp_path, body)
        result = run(objective, tmp_path, finalists=1, repeats=1)
        assert result.summary.trials.complete == 4, table(tmp_path / "run" / "trials.csv")
        study = plain_study(result.path)
        assert len(result.summary.finalists) == 1  # whose call leaves nothing in the study
        assert study.user_attrs == {"last": study.trials[3].params["x"]}
        for trial in study.trials:
            assert trial.system_attrs["terminator:cv_scores"] == pytest.approx(
                [trial.params["x"], trial.params["x"] + 0.1]
            )
            assert (tmp_path / "store" / trial.user_attrs["id"]).read_text() == "weights"

    def test_stop(self, tmp_path):
        body = """
x = trial.suggest_float("x", 0, 1)
if trial.number == 2:
    trial.study.stop()
return x
"""
        result = run(write(tmp_path, body), tmp_path, n_trials=50, timeout=20)
        assert result.summary.state == "complete"
        assert len(plain_study(result.path).trials) == 3

    def test_enqueued_trials_come_next(self, tmp_path):
        body = """
x = trial.suggest_int("x", 0, 1000)
if trial.number in (0, 3):
    trial.study.enqueue_trial({"x": 500 + trial.number}, user_attrs={"own": True})
    trial.study.enqueue_trial({"x": 500 + trial.number}, skip_if_exists=True)
return x
"""
        run(write(tmp_path, body), tmp_path, n_trials=6, sampler="random")
        trials = plain_study(tmp_path / "run").trials
        assert [trials[n].params["x"] for n in (1, 4)] == [500, 503]
        assert [trial.number for trial in trials if trial.user_attrs] == [1, 4]
        assert len({trial.params["x"] for trial in trials}) == 6
