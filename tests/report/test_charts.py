"""The charts of a report, as plain data."""

from __future__ import annotations

import math
from pathlib import Path

from cotune.records import EpochReport
from cotune.report import build_report
from cotune.report.html.chart import focus
from cotune.report.html.curve_charts import thinned
from cotune.runs.directory import RunDirectory
from tests.support.report_runs import figures, make_run


def test_every_trial_has_a_learning_curve(run: RunDirectory) -> None:
    charts = figures(build_report(run).read_text(encoding="utf-8"))
    drawn: dict[int, int] = {}
    for trace in charts["curves-loss"]["data"]:
        if trace["mode"] == "lines":
            assert len(trace["x"]) == len(trace["y"]) == len(trace["customdata"])
            for number in trace["customdata"]:
                if number is not None:
                    drawn[number] = drawn.get(number, 0) + 1
    assert drawn == {number: len(reports) for number, reports in run.tables.curves().items()}
    names = [trace["name"] for trace in charts["curves-loss"]["data"]]
    best = run.summary().best
    assert best is not None
    assert f"best: trial {best.number}" in names


def test_infinite_and_missing_scores_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=2, final=False)
    for epoch, loss in ((1, math.inf), (2, math.nan), (3, 0.5)):
        scores = {"loss": loss, "accuracy": 0.5, "f1": 0.5}
        run.tables.append_reports([EpochReport(7, epoch, loss, 0.5, scores, 0.1, 1)])
    charts = figures(build_report(run).read_text(encoding="utf-8"))
    [points] = [
        trace["y"]
        for trace in charts["curves-loss"]["data"]
        if trace["name"] == "unfinished" and trace["mode"] == "lines"
    ]
    assert points == [0.5, None]


def test_the_worst_tenth_does_not_flatten_the_rest() -> None:
    values = [0.9 + 0.001 * i for i in range(20)] + [0.1]
    limits, hidden = focus(values, maximize=True)
    assert limits is not None
    assert 0.89 < limits[0] < limits[1] < 0.93
    assert hidden == 1
    assert focus([1 - value for value in values], maximize=False)[1] == 1
    assert focus(range(20), maximize=True) == (None, 0)
    assert focus([0.5] * 20, maximize=True) == (None, 0)


def test_long_curves_are_thinned_with_their_ends() -> None:
    reports = [EpochReport(0, epoch, 0.0, 0.0, {}, 0.0, 1) for epoch in range(1, 51)]
    kept = [report.epoch for report in thinned(reports, 20)]
    assert len(kept) == 20
    assert kept[0] == 1
    assert kept[-1] == 50
