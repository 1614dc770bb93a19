"""Trials that end where more epochs make them no better."""

from __future__ import annotations

from pathlib import Path

import cotune
from cotune.runs.directory import RunDirectory

PATIENCE = 2
SPACE = {
    "early_stopping": PATIENCE,
    "schedule": {"type": "categorical", "choices": ["constant", "plateau"]},
    "lr": {"type": "float", "low": 1e-2, "high": 1e-1, "log": True},
    "width": 32,
    "epochs": 40,
}


def start(path: Path, metric: str) -> cotune.RunResult:
    return cotune.run(
        "digits",
        space=SPACE,
        metric=metric,
        pruner="none",
        n_trials=3,
        workers="in-process",
        out=path,
    )


def check(result: cotune.RunResult) -> None:
    """Each ended when none of its last epochs was the best, and counts as it was at its best."""
    run = RunDirectory.open(result.path)
    metric = run.config().metric
    sign = -1 if metric == "loss" else 1
    curves, trials = run.tables.curves(), run.tables.trials()
    best = {}
    for trial in trials:
        scores = [sign * report.scores[metric] for report in curves[trial.number]]
        first = scores.index(max(scores))
        best[trial.number] = first + 1
        assert trial.state == "complete"
        assert trial.value == sign * scores[first]
        assert result.study.trials[trial.number].value == trial.value
        assert trial.epochs == len(scores) == first + 1 + PATIENCE < 40
        assert trial.reason == f"stopped early: none was better than epoch {first + 1}"
        bests = [scores.index(max(scores[:epochs])) for epochs in range(1, len(scores))]
        assert all(i - best < PATIENCE for i, best in enumerate(bests)), "it went on too long"
    chosen = result.summary.best
    assert chosen is not None
    assert (
        chosen.validation_accuracy
        == (curves[chosen.number][best[chosen.number] - 1].scores["accuracy"])
    )
    assert result.final is not None
    assert result.final.epochs == best[chosen.number]


def test_the_lowest_loss(tmp_path):
    check(start(tmp_path / "run", "loss"))


def test_a_run_that_goes_on(tmp_path):
    check(start(tmp_path / "run", "accuracy"))
    result = cotune.resume(tmp_path / "run", n_trials=4)
    check(result)
    assert result.summary.trials.complete == 4
