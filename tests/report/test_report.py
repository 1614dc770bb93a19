"""The report: whole for every way a run can end, replaced at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotune.exceptions import StorageError
from cotune.report import build_report
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Seconds, Summary, TrialCounts
from tests.support.report_runs import figures, make_run, text_of, text_without_plotly


def test_a_whole_run_has_every_chart_and_number(run: RunDirectory) -> None:
    path = build_report(run)
    assert path == run.report_path
    assert not path.with_name("report.html.tmp").exists()
    page = path.read_text(encoding="utf-8")
    charts = figures(page)
    assert charts.keys() >= {
        "history",
        "curves-accuracy",
        "curves-loss",
        "importances",
        "parallel",
        "final-accuracy",
        "final-loss",
        "confusion",
    }
    assert sum(name.startswith("slice-") for name in charts) >= 8
    for name in charts:
        assert page.count(f'id="chart-{name}"') == 1
    final, summary = run.final(), run.summary()
    assert final is not None
    assert final.test_accuracy is not None
    assert final.test_ci95 is not None
    assert summary.best is not None
    text = text_of(page)
    assert f"{100 * final.test_accuracy:.2f} %" in text
    assert f"{100 * final.test_ci95[0]:.2f}–{100 * final.test_ci95[1]:.2f} %" in text
    assert f"{100 * (summary.best.validation_accuracy or 0):.2f} %" in text
    assert "optimistic" in text
    assert "sha256:6f1d9f2b1c0b4cbb8c27a9c5e2a1d38e" in text
    assert "cotune run digits --trials 24 --seed 7" in text
    assert page.count('<img src="data:image/png;base64,') == 2
    assert "Not drawn" not in text


@pytest.mark.slow
def test_a_run_without_a_final_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", final=False, pictures=False)
    page = build_report(run).read_text(encoding="utf-8")
    text = text_of(page)
    assert "This run was interrupted. There is no final model" in text
    assert "The best 24" not in text
    assert figures(page).keys() >= {"history", "curves-accuracy", "importances", "parallel"}
    assert "confusion" not in figures(page)
    assert "<img src=" not in text_without_plotly(page)


def test_a_run_whose_trials_all_failed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=4, every_trial_fails=True)
    page = build_report(run).read_text(encoding="utf-8")
    text = text_of(page)
    assert "This run failed: every trial failed: loss is not finite." in text
    assert "(4 of 4): loss is not finite at epoch 1." in text
    assert "it needs 1 complete trial; this run has none" in text
    assert figures(page) == {}


def test_a_run_of_one_trial(tmp_path: Path) -> None:
    page = build_report(make_run(tmp_path / "run", trials=1)).read_text(encoding="utf-8")
    assert figures(page).keys() >= {"history", "curves-accuracy", "confusion"}
    assert figures(page).keys().isdisjoint({"importances", "parallel", "slice-0"})
    text = text_of(page)
    assert "it needs 10 complete or pruned trials; this run has 1" in text
    assert "it needs 2 complete or pruned trials; this run has 1" in text


def test_a_run_that_wrote_little_more_than_its_config(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    rows = {"train": 8, "validation": 2, "test": 2}
    dataset = {"name": "digits", "rows": rows, "classes": ["0", "1"]}
    run.write_config({"dataset": dataset, "metric": "accuracy", "device": "cpu"})
    seconds = Seconds(total=0.5, search=0.0, final=0.0, study=0.0)
    counts = TrialCounts(complete=0, pruned=0, failed=0, running=0)
    run.write_summary(Summary("interrupted", seconds, counts, message="stopped by SIGINT"))
    run.close()
    text = text_of(build_report(run).read_text(encoding="utf-8"))
    assert "This run was interrupted: stopped by SIGINT." in text
    assert "No trial finished." in text


def test_an_earlier_report_survives_when_the_new_one_cannot_be_written(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build_report(run).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cotune.runs.files.os.fsync", full)
        with pytest.raises(StorageError, match="cannot be written: No space left"):
            build_report(run)
    assert run.report_path.read_bytes() == before
    assert not run.report_path.with_name("report.html.tmp").exists()
