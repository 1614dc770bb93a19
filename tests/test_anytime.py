"""What benchmarks.anytime makes of runs; nothing is tuned here."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import pytest
from benchmarks import anytime
from benchmarks.methods import METHODS, Method, RunFailedError, _run_process, figures, run
from benchmarks.records import HEADER, Record, line, medians

RECORD = Record("cotune", "digits", 30.0, 0, 29.5, 0.98, 0.99, 0.97, 40)


@dataclass(frozen=True)
class Script(Method):
    source: str = ""

    def command(self, dataset, budget, seed, folder):
        return [sys.executable, "-S", "-c", self.source]

    def read(self, folder):
        return {"announced": 0.9, "search_best": 0.9, "test_accuracy": 0.8, "trials": 3}


class TestMedians:
    def test_over_seeds(self):
        runs = [
            replace(RECORD, seed=seed, test_accuracy=test, announced=announced, trials=trials)
            for seed, test, announced, trials in (
                (0, 0.9, 0.91, 10),
                (1, 0.8, 0.9, 40),
                (2, 1, 1, 30),
            )
        ]
        row = medians(runs)
        assert row.test_accuracy == 0.9
        assert row.optimism == pytest.approx(0.01)  # of the differences, not of the medians
        assert (row.trials, row.runs, row.failed) == (30, 3, 0)

    def test_a_failed_run_is_counted_and_left_out(self):
        row = medians([RECORD, Record("cotune", "digits", 30.0, 1, 1.0, error="it broke")])
        assert (row.seconds, row.runs, row.failed) == (29.5, 1, 1)
        assert line(row).endswith("1/2")

    def test_all_failed(self):
        row = medians([Record("ray", "digits", 30.0, 0, 1.0, error="it broke")])
        assert line(row).split() == ["digits", "30s", "ray", "failed"]

    def test_line(self):
        text = line(medians([RECORD]))
        assert len(text) == len(HEADER)
        assert text.split() == ["digits", "30s", "cotune", "97.00%", "+1.00%", "29.5s", "40", "1/1"]


class TestFigures:
    summary = {  # noqa: RUF012
        "state": "complete",
        "trials": {"complete": 3, "pruned": 4, "failed": 0, "running": 0},
        "best": {"validation_accuracy": 0.9},
        "final": {"test_accuracy": 0.8},
        "message": "",
    }

    def test_the_best_of_the_search_is_announced(self):
        found = figures(self.summary)
        assert (found["announced"], found["test_accuracy"], found["trials"]) == (0.9, 0.8, 7)

    def test_the_finalists_mean_goes_before_it(self):
        final = {"test_accuracy": 0.8, "validation_accuracy_mean": 0.85}
        found = figures({**self.summary, "final": final})
        assert (found["announced"], found["search_best"]) == (0.85, 0.9)

    def test_no_final_model(self):
        with pytest.raises(RunFailedError, match="time was up"):
            figures({**self.summary, "final": None, "message": "time was up"})


class TestRun:
    def test_recorded(self):
        record = run(Script("script"), "digits", 5.0, 1)
        assert (record.dataset, record.seed, record.test_accuracy) == ("digits", 1, 0.8)
        assert 0 < record.seconds < 5

    def test_failed_with_its_last_line(self):
        record = run(Script("script", source="print(1); raise KeyError('x')"), "digits", 5.0, 0)
        assert record.error == "KeyError: 'x'"
        assert record.test_accuracy is None

    def test_killed(self, tmp_path):
        command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        assert _run_process(command, 0.2, tmp_path / "stderr") == "it was killed after 0.2 s"


class TestOptions:
    def test_a_missing_package_is_told_in_a_line(self):
        method = Method("some", needs=("json", "no_such_package"))
        why = anytime.why_skipped(method)
        assert why == "some: skipped without no_such_package; make bench-peers installs them"
        assert anytime.why_skipped(METHODS["cotune"]) == ""

    def test_quick_leaves_the_rest_as_asked(self):
        options = anytime.read_options(["--quick", "--methods", "optuna"])
        assert options.methods == ["optuna"]
        assert (options.datasets, options.budgets) == (["fashion-mnist-small"], [20.0])
        assert options.seeds == 1

    def test_all(self):
        options = anytime.read_options([])
        assert options.methods == list(METHODS)
        assert (options.seeds, options.budgets) == (5, None)

    def test_skipped_and_failed_methods_do_not_stop_the_others(self, monkeypatch, capsys):
        methods = {
            "absent": Method("absent", needs=("no_such_package",)),
            "broken": Script("broken", source="raise SystemExit('out of luck')"),
            "good": Script("good"),
        }
        monkeypatch.setattr(anytime, "METHODS", methods)
        monkeypatch.setattr(anytime, "load", lambda name: None)
        arguments = [
            "anytime",
            "--datasets",
            "digits",
            "--budgets",
            "5",
            "--seeds",
            "1",
            "--methods",
        ]
        monkeypatch.setattr(sys, "argv", [*arguments, *methods])
        anytime.main()
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("absent: skipped")
        assert lines[2] == "broken, digits, 5 s, seed 0: failed: out of luck"
        assert [text.split()[2:4] for text in lines[3:]] == [
            ["broken", "failed"],
            ["good", "80.00%"],
        ]
