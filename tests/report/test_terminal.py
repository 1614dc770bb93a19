from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, replace
from io import StringIO
from math import nan
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cotune.exceptions import CotuneError, StorageError
from cotune.records import (
    EpochReport,
    Finalist,
    FinalResult,
    ObjectiveFinalist,
    TrialResult,
    TrialSpec,
    Value,
)
from cotune.report.terminal.lines import format_value, make_console
from cotune.report.terminal.live import LiveObserver, make_observer
from cotune.report.terminal.plain import PlainObserver
from cotune.report.terminal.summary import print_run
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, FinalSummary, ParetoTrial, Seconds, Summary, TrialCounts
from cotune.tuning.observer import Observer

PARAMS: dict[str, Value] = {
    "n_layers": 2,
    "width": 232,
    "batch_norm": True,
    "dropout": 0.0424999,
    "lr": 0.001868,
    "optimizer": "adamw",
    "weight_decay": 2.217e-05,
    "batch_size": 128,
    "epochs": 20,
}
CONFIG = {
    "dataset": {
        "name": "digits",
        "rows": {"train": 48_000, "validation": 12_000, "test": 10_000},
        "input_shape": [8, 8],
        "classes": [str(digit) for digit in range(10)],
    },
    "metric": "accuracy",
    "n_trials": None,
    "device": "cpu",
    "workers": 2,
}
BEST = BestTrial(
    number=7, params=PARAMS, validation_accuracy=0.98765, value=0.98765, search_best=0.99
)
FINAL = FinalSummary(
    test_accuracy=0.9812,
    test_ci95=(0.97, 0.99),
    epochs=1,
    parameters=71_930,
    validation_accuracy_mean=0.98,
    validation_accuracy_sd=0.0123,
    default_test_accuracy=0.97,
    default_test_ci95=(0.96, 0.98),
    default_p_value=0.01,
)
COMPLETE = Summary(
    state="complete",
    seconds=Seconds(total=12.34, search=8.0, finalists=2.0, final=2.0, study=0.5),
    trials=TrialCounts(complete=5, pruned=12, failed=1, running=0),
    best=BEST,
    final=FINAL,
)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config(CONFIG)
    run.write_summary(COMPLETE)
    yield run
    run.close()


def write_summary(run: RunDirectory, **changes: object) -> None:
    """Writes what the records would not hold."""
    run.summary_path.write_text(json.dumps({**COMPLETE.to_json(), **changes}))


def console(width=100, tty=True) -> Console:
    made = make_console()
    return Console(
        file=StringIO(),
        width=width,
        force_terminal=tty,
        highlight=False,
        markup=made._markup,
        emoji=made._emoji,
        color_system=None,
    )


def printed(on: Console) -> str:
    assert isinstance(on.file, StringIO)
    # Less the sequences that move the cursor.
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on.file.getvalue())


def show(run: RunDirectory, width=100, tty=False) -> dict[str, str]:
    """What is printed of a run, by label."""
    on = console(width, tty)
    print_run(run, on)
    rows: dict[str, str] = {}
    label = ""
    for line in printed(on).splitlines():
        label = line[:21].strip() or label
        rows[label] = f"{rows.get(label, '')} {line[21:].strip()}".strip()
    return rows


def make_report(number, epoch, loss=0.5) -> EpochReport:
    scores = {"loss": loss, "accuracy": 0.5, "f1": 0.5}
    return EpochReport(number, epoch, loss, 0.5, scores, 0.1, steps=3)


def tell_a_run(observer: Observer, run: RunDirectory, trials=3, timeout: float | None = 60.0):
    """Every call that a run makes, in its order."""
    observer.run_started(run, time.monotonic() - 5, timeout)
    best = None
    for number in range(trials):
        observer.trial_started(TrialSpec(number, dict(PARAMS), 1))
        observer.trial_reported(make_report(number, 1), 0.5)
        observer.tick()
        state, reason = ("failed", "epoch 2: the loss is nan") if number == 1 else ("complete", "")
        trial = TrialResult(number, state, 0.5 + number / 10, 20, dict(PARAMS), 1.0, reason)  # type: ignore[arg-type]
        best = trial if state == "complete" else best
        observer.trial_ended(trial, best)
    assert best
    observer.finalists_started([best, best], 3)
    observer.finalists_reported(make_report(-3, 1))
    observer.finalists_ended([Finalist(2, 3, 0.7, 0.7, 0.01)])
    observer.final_started(best, TrialSpec(-1, dict(PARAMS), 0, "all"))
    observer.final_reported(make_report(-1, 1))
    observer.final_ended(FinalResult(0.9, (0.8, 0.95), 20, 100))
    observer.run_ended()


class TestPrintRun:
    def test_a_complete_run(self, run):
        (run.path / "report.html").touch()
        (run.path / "best").mkdir()
        (run.path / "best" / "model.safetensors").touch()
        rows = show(run)
        assert rows == {
            "state": "complete",
            "data": "digits: 10 classes, 48,000 rows to train on, 12,000 to validate, "
            "10,000 sealed for the test",
            "trials": "5 complete, 12 pruned, 1 failed",
            "time": "12.3 s: search 8.0 s (Optuna and storage 0.5 s), finalists 2.0 s, "
            "final model 2.0 s",
            "chosen trial": "7",
            "n_layers": "2",
            "width": "232",
            "batch_norm": "yes",
            "dropout": "0.0425",
            "lr": "0.00187",
            "optimizer": "adamw",
            "weight_decay": "2.22e-05",
            "batch_size": "128",
            "epochs": "20",
            "search's best": "99.00% (optimistic: it was chosen by this data)",
            "validation accuracy": "98.77% in the search",
            "finalists' mean": "98.00% +- 1.23% (trained again with fresh seeds on other folds)",
            "default's test": "97.00% (tuning gained 1.12%, beyond noise)",
            "test accuracy": "98.12% (95 % interval 97.00% to 99.00%, 10,000 rows read once)",
            "final model": "71,930 parameters, 1 epoch on training + validation data",
            "folder": str(run.path),
            "report": "report.html",
            "model": "best/model.safetensors",
        }

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"default_p_value": 0.05}, "97.00% (tuning gained 1.12%, within noise)"),
            ({"default_test_accuracy": 0.99}, "99.00% (tuning lost 0.88%, beyond noise)"),
            (
                {"default_chosen": True},
                "97.00% (nothing did better than the default configuration)",
            ),
        ],
    )
    def test_beside_the_default(self, run, changes, line):
        run.write_summary(replace(COMPLETE, final=replace(FINAL, **changes)))
        assert show(run)["default's test"] == line

    def test_a_run_that_had_no_time_for_finalists(self, run):
        final = replace(FINAL, validation_accuracy_mean=None, default_test_accuracy=None)
        run.write_summary(replace(COMPLETE, final=final))
        assert not {"finalists' mean", "default's test"} & show(run).keys()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("validation_accuracy_mean", "high"),
            ("validation_accuracy_sd", [0.1]),
            ("default_test_accuracy", True),
            ("default_p_value", None),
            ("default_chosen", 1),
            ("ensemble_test_accuracy", {}),
        ],
    )
    def test_a_damaged_score(self, run, name, value):
        write_summary(run, final={**asdict(FINAL), name: value})
        with pytest.raises(StorageError, match="is damaged"):
            show(run)

    @pytest.mark.parametrize("front", ["x", ["x"], [{"number": 1}], [{"number": 1, "value": "x"}]])
    def test_a_damaged_front(self, run, front):
        write_summary(run, pareto=front)
        with pytest.raises(StorageError, match="is damaged"):
            show(run)

    def test_the_pareto_front(self, run):
        one = ParetoTrial(number=3, value=0.91, parameters=1234.0, latency=0.0321)
        run.write_summary(replace(COMPLETE, pareto=[one]))
        shown = show(run)["on the Pareto front"]
        assert shown == "trial 3: 0.9100, 1,234 parameters, 0.0321 ms a row"

    def test_an_ensemble(self, run):
        final = replace(
            FINAL,
            ensemble_test_accuracy=0.99,
            ensemble_test_ci95=(0.985, 0.995),
            ensemble_members=3,
        )
        run.write_summary(replace(COMPLETE, final=final))
        line = "99.00% (95 % interval 98.50% to 99.50%, 3 networks)"
        assert show(run)["ensemble's test"] == line

    def test_a_run_that_goes_on(self, run):
        state = TrialCounts(complete=1, pruned=0, failed=0, running=2)
        run.write_summary(Summary("running", COMPLETE.seconds, state))
        rows = show(run)
        assert rows["state"] == "running"
        assert rows["trials"] == "1 complete, 0 pruned, 0 failed, 2 running"
        assert "best trial" not in rows
        assert "test accuracy" not in rows

    def test_an_interrupted_run(self, run):
        message = "stopped by the user"
        run.write_summary(replace(COMPLETE, state="interrupted", final=None, message=message))
        rows = show(run)
        assert rows["state"] == "interrupted"
        assert rows["note"] == message
        assert "final model" not in rows

    def test_a_killed_run(self, run):
        run.write_summary(replace(COMPLETE, state="running", final=None))
        run.close()
        rows = show(run)
        assert rows["state"] == "interrupted"
        assert rows["note"] == "the process that ran it was killed"

    def test_a_failed_run(self, run):
        message = "all 3 trials that ended failed, most of them because the loss is nan"
        counts = TrialCounts(complete=0, pruned=0, failed=3, running=0)
        run.write_summary(Summary("failed", COMPLETE.seconds, counts, message=message))
        rows = show(run)
        assert rows["state"] == "failed"
        assert rows["note"] == message

    @pytest.mark.parametrize(("metric", "value"), [("loss", 0.0712345), ("f1", 0.5)])
    def test_another_metric(self, run, metric, value):
        run.write_config({**CONFIG, "metric": metric})
        run.write_summary(replace(COMPLETE, best=replace(BEST, value=value)))
        rows = show(run)
        assert rows[f"validation {metric}"] == f"{value:.3g}"
        # It was not chosen by this one.
        assert rows["validation accuracy"] == "98.77%"

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
    def test_narrow_terminals(self, run, width):
        on = console(width)
        print_run(run, on)
        lines = printed(on).splitlines()
        # Paths stay whole, to be copied; all else is wrapped.
        others = [line for line in lines if str(run.path) not in line]
        if width >= 60:
            assert max(map(len, others)) <= width
        assert show(run, width, tty=True) == show(run)

    def test_in_a_pipe_every_line_is_whole(self, run):
        on = console(40, tty=False)
        print_run(run, on)
        assert len(printed(on).splitlines()) == len(show(run))
        assert all(line == line.rstrip() for line in printed(on).splitlines())

    @pytest.mark.parametrize("name", ["[red]", "[/]", "[link=x]", ":smile:", "a[b]c\\["])
    def test_names_that_look_like_markup(self, tmp_path, name):
        run = RunDirectory.create(tmp_path / name)
        run.write_config({**CONFIG, "dataset": {**CONFIG["dataset"], "name": name}})  # type: ignore[dict-item]
        run.write_summary(replace(COMPLETE, message=name, best=replace(BEST, params={name: name})))
        on = console(tty=False)
        print_run(run, on)
        assert printed(on).count(name) == 5  # data, hyperparameter and value, folder, note
        run.close()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        ),
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        st.sampled_from(["accuracy", "loss", "?"]),
    )
    def test_whatever_a_summary_holds(self, run, params, value, metric):
        best = {"number": 1, "params": params, "validation_accuracy": 0.5, "value": value}
        run.config_path.write_text(json.dumps({**CONFIG, "metric": metric}))
        write_summary(run, best=best)
        try:
            print_run(run, console())
        except CotuneError as error:
            message = str(error)
            assert "\n" not in message


class TestPlainLines:
    def test_a_whole_run(self, run):
        on = console(60, tty=False)
        tell_a_run(PlainObserver(on), run)
        lines = printed(on).splitlines()
        assert lines[0].startswith("digits: 10 classes, 48,000 rows to train on")
        assert lines[0].endswith("sealed for the test")
        assert any(line.startswith(f"2 worker processes, writing to {run.path}") for line in lines)
        assert any(
            re.fullmatch(
                r"trial 0 complete: accuracy 0\.5000 after 20 epochs, best 0\.5000 \(trial 0\), "
                r"0:5\d left",
                line,
            )
            for line in lines
        ), lines
        assert "finalists: trials 2, 2, trained again on other folds, rounds: 3 at most" in lines
        assert "best finalist: trial 2, mean accuracy 0.7000" in lines
        assert any(
            line.startswith("training the final model as trial 2 on training + validation data")
            for line in lines
        )

    def test_not_too_many(self, run):
        on = console(tty=False)
        observer = PlainObserver(on)
        observer.run_started(run, time.monotonic(), None)
        best = TrialResult(0, "complete", 0.9, 20, dict(PARAMS), 1.0)
        observer.trial_ended(best, best)
        for number in range(1, 500):
            observer.trial_ended(TrialResult(number, "pruned", 0.5, 1, dict(PARAMS), 0.1), best)
        assert 1 <= sum(line.startswith("trial ") for line in printed(on).splitlines()) <= 3
        # A new best is always told.
        better = TrialResult(500, "complete", 0.95, 20, dict(PARAMS), 1.0)
        observer.trial_ended(better, better)
        assert "trial 500 complete" in printed(on)
        assert "gone" in printed(on)

    def test_why_a_trial_failed(self, run):
        on = console(tty=False)
        observer = PlainObserver(on)
        observer.run_started(run, time.monotonic(), 60.0)
        failed = TrialResult(0, "failed", None, 0, dict(PARAMS), 0.1, "epoch 1: the loss is nan")
        observer.trial_ended(failed, None)
        assert "trial 0 failed (epoch 1: the loss is nan): accuracy - after 0 epochs" in printed(on)

    def test_who_gets_what(self, capsys):
        assert type(make_observer(quiet=True)) is Observer
        assert isinstance(make_observer(quiet=False), PlainObserver)


def picture(observer: LiveObserver, width: int) -> list[str]:
    """What the display shows now."""
    on = console(width)
    observer._console = on
    on.print(observer._render())
    return printed(on).rstrip("\n").split("\n")


class TestLiveDisplay:
    @pytest.fixture
    def observer(self, run):
        on = console()
        observer = LiveObserver(on)
        observer.run_started(run, time.monotonic() - 30, 60.0)
        yield observer
        observer.run_ended()

    def busy(self, observer: LiveObserver, count: int):
        for number in range(100, 100 + count):
            observer.trial_started(TrialSpec(number, dict(PARAMS), 1))
            observer.trial_reported(make_report(number, 12), 0.98765)
        best = TrialResult(7, "complete", 0.99, 20, dict(PARAMS), 1.0)
        observer.trial_started(TrialSpec(7, dict(PARAMS), 1))
        observer.trial_ended(best, best)

    def test_what_is_seen(self, observer):
        self.busy(observer, 2)
        lines = picture(observer, 100)
        assert re.search(r"0:(30|29) left  1 complete, 0 pruned, 0 failed", lines[0])
        assert lines[1].startswith("best accuracy 0.9900, trial 7: n_layers 2, width 232")
        table = lines[-3:]
        assert table[0].split() == ["trial", "epoch", "accuracy", "hyperparameters"]
        assert re.match(r"  100    12/20    0\.9877  n_layers 2, width 232, batch_norm", table[1])
        assert table[1].rstrip().endswith("…")

    @pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
    def test_no_line_is_too_long(self, observer, width):
        self.busy(observer, 3)
        assert max(map(len, picture(observer, width))) <= width
        if width >= 60:
            # Trial, epoch and score are not squeezed out by the hyperparameters.
            assert re.match(r"  100    12/20    0\.9877  n_layers 2", picture(observer, width)[-3])

    def test_the_height_stays_between_two_trials(self, observer):
        self.busy(observer, 2)
        height = len(picture(observer, 100))
        trial = TrialResult(100, "pruned", 0.5, 12, dict(PARAMS), 1.0)
        observer.trial_ended(trial, TrialResult(7, "complete", 0.99, 20, dict(PARAMS), 1.0))
        assert len(picture(observer, 100)) == height

    def test_many_at_once(self, observer):
        self.busy(observer, 40)
        lines = picture(observer, 100)
        assert len(lines) < 15
        assert lines[-1].strip() == "and 32 more"

    def test_a_count_of_trials_has_a_bar_too(self, run, observer):
        run.write_config({**CONFIG, "n_trials": 4})
        counted = LiveObserver(console())
        counted.run_started(run, time.monotonic(), None)
        assert "0:00 gone" in picture(counted, 100)[0]
        self.busy(counted, 1)
        # A quarter of a bar of a quarter of the width; without colours the rest is blank.
        assert picture(counted, 100)[0].count("━") == 6
        counted.run_ended()

    def test_the_finalists(self, observer):
        self.busy(observer, 2)
        best = TrialResult(7, "complete", 0.99, 20, dict(PARAMS), 1.0)
        observer.finalists_started([best], 3)
        observer.finalists_reported(make_report(-3, 1))
        assert "finalists: 1 epochs in all, rounds: 3 at most" in picture(observer, 100)[0]

    def test_the_final_model(self, observer):
        self.busy(observer, 2)
        best = TrialResult(7, "complete", 0.99, 20, dict(PARAMS), 1.0)
        observer.final_started(best, TrialSpec(-1, dict(PARAMS), 0, "all"))
        assert "final model: epoch 0 of 20" in picture(observer, 100)[0]
        observer.final_reported(make_report(-1, 3, loss=0.125))
        assert "final model: epoch 3 of 20, training loss 0.1250" in picture(observer, 100)[0]
        assert max(map(len, picture(observer, 60))) <= 60

    @pytest.mark.parametrize("width", [40, 60, 100])
    @pytest.mark.parametrize("timeout", [60.0, None])
    def test_a_whole_run(self, run, width, timeout):
        on = console(width)
        tell_a_run(LiveObserver(on), run, timeout=timeout)
        text = printed(on)
        assert text.startswith("digits: 10 classes, 48,000")
        path = str(run.path)
        assert all(len(line) <= width for line in text.splitlines() if path not in line)

    @pytest.mark.parametrize("name", ["[red]", "[/]", ":smile:"])
    def test_names_that_look_like_markup(self, run, name):
        run.write_config({**CONFIG, "dataset": {**CONFIG["dataset"], "name": name}})  # type: ignore[dict-item]
        on = console()
        observer = LiveObserver(on)
        observer.run_started(run, time.monotonic(), 60.0)
        observer.trial_started(TrialSpec(0, {"optimizer": name, "epochs": 3}, 1))
        assert f"optimizer {name}" in picture(observer, 100)[-1]
        observer.run_ended()
        assert f"{name}: 10 classes" in printed(on)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (0.0123456, "0.0123"),
        (7, "7"),
        ("sgd", "sgd"),
        (1e-5, "1e-05"),
    ],
)
def test_values(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize("kind", [PlainObserver, LiveObserver])
def test_a_run_that_is_gone_on_with(kind, run):
    on = console()
    observer = kind(on)
    observer.run_started(run, time.monotonic() - 5, 60.0)
    ended = TrialResult(0, "complete", 0.9, 3, dict(PARAMS), 1.0)
    observer.resumed([ended], [TrialSpec(1, dict(PARAMS), 1)], ended)
    observer.trial_reported(make_report(1, 4), 0.5)
    observer.engine_lost("signal 9")
    observer.trial_ended(TrialResult(1, "complete", 0.95, 5, dict(PARAMS), 1.0), ended)
    observer.run_ended()
    text = printed(on)
    assert "resumed: 1 trials have finished, 1 were in training" in text
    assert "a worker process was replaced: signal 9" in text


OBJECTIVE_CONFIG = {
    "kind": "objective",
    "objective": "[b]train.py:objective",
    "direction": "minimize",
    "metric": "value",
    "workers": 2,
    "n_trials": 3,
}


@pytest.mark.parametrize("kind", [PlainObserver, LiveObserver])
def test_a_run_of_an_objective(kind, tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config(OBJECTIVE_CONFIG)
    on = console()
    observer = kind(on)
    observer.run_started(run, time.monotonic() - 5, 60.0)
    drawn: dict[str, Value] = {}
    observer.trial_started(TrialSpec(0, drawn, 1))
    drawn["lr"] = 0.25  # after it was started, as an objective draws it
    observer.trial_reported(EpochReport(0, 12, nan, nan, {}, 0.0, 0), 0.5)
    live = isinstance(observer, LiveObserver)
    if live:
        assert re.search(r"0 +12 +0.5000 +lr 0.25", "\n".join(picture(observer, 100)))
        observer._console = on
    trial = TrialResult(0, "complete", 0.25, 13, dict(drawn), 1.0)
    observer.trial_ended(trial, trial)
    observer.repeats_started([trial, trial], 3)
    observer.repeat_ended(0, 0.25)
    if live:
        assert "finalists: 1 of 6 runs have ended" in picture(observer, 100)[0]
        observer._console = on
    observer.repeats_ended([ObjectiveFinalist(0, 2, 1, 0.123456, 0.015)])
    observer.run_ended()
    run.close()
    text = printed(on)
    assert "[b]train.py:objective, minimized" in text
    assert live or "trial 0 complete: value 0.2500 after 13 reports, best 0.2500 (trial 0)" in text
    assert "finalists: trials 0, 0, run again 3 times with fresh seeds" in text
    assert "best finalist: trial 0, mean value 0.123456 +- 0.015" in text


def test_the_tests_here_know_every_call():
    calls = {name for name in vars(Observer) if not name.startswith("_")}
    source = Path(__file__).read_text()
    assert all(f"observer.{name}(" in source for name in calls)
