"""Where a run stands: how long its phases took, and its summary."""

from __future__ import annotations

import time
from collections.abc import Mapping

from cotune.records import FinalResult, TrialResult
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import (
    BestTrial,
    Lanes,
    ParetoTrial,
    RunState,
    Seconds,
    Summary,
    TrialCounts,
)
from cotune.study.study import Study
from cotune.tuning.checkpointer import Checkpoints
from cotune.tuning.final_model import summarize_final
from cotune.tuning.observer import Observer
from cotune.tuning.search import Search

_SUMMARY_SECONDS = 2.0  # between two writings of summary.json


class Progress:
    """Keeps ``summary.json`` up to date.

    Args:
        run: The run directory.
        search: Has the trials.
        study: Likewise.
        checkpoints: What they cost is told.
        observer: Told of every tick.
        began: When the run began, by ``time.monotonic()``.
        before: Seconds that the phases took before the run was stopped or killed.
        baseline: Scores of always predicting the most frequent class, on the validation part.
    """

    def __init__(
        self,
        run: RunDirectory,
        search: Search,
        study: Study,
        checkpoints: Checkpoints,
        observer: Observer,
        began: float,
        before: Mapping[str, float],
        baseline: Mapping[str, float],
    ) -> None:
        self._run = run
        self._search = search
        self._study = study
        self._checkpoints = checkpoints
        self._observer = observer
        self._began = began
        self._before = before
        self._baseline = dict(baseline)
        self._search_began = time.monotonic()
        self._search_ended = self._finalists_ended = self._written = 0.0

    def end_search(self) -> None:
        """The search is over."""
        self._search_ended = time.monotonic()

    def end_finalists(self) -> None:
        """The finalists are judged."""
        self._finalists_ended = time.monotonic()

    def tick(self) -> None:
        """Called about ten times a second."""
        self._observer.tick()
        if time.monotonic() - self._written > _SUMMARY_SECONDS:
            self.write("running", "")
            self._written = time.monotonic()

    def write(
        self,
        state: RunState,
        message: str,
        trial: TrialResult | None = None,
        final: FinalResult | None = None,
    ) -> Summary:
        """Write ``summary.json``.

        Args:
            trial: The one that was chosen; by default the one that ranks first.
            final: What the final model came to.
        """
        finished, ranked = self._search.finished, self._search.ranked()
        best = trial or (ranked[0] if ranked else None)
        summary = Summary(
            state=state,
            seconds=self._seconds(),
            trials=TrialCounts(
                complete=sum(t.state == "complete" for t in finished),
                pruned=sum(t.state == "pruned" for t in finished),
                failed=sum(t.state == "failed" for t in finished),
                running=self._search.running if state == "running" else 0,
            ),
            best=self._best(best, ranked[0]) if best else None,
            final=summarize_final(final, best.number if best else None) if final else None,
            lanes=Lanes(
                mean=round(self._search.mean_lanes, 2),
                together=len(self._search.together),
                alone=len(self._search.alone),
            ),
            why_alone=sorted(self._search.why_alone),
            message=message,
            pareto=self._pareto() if state != "running" else [],
        )
        self._run.write_summary(summary)
        return summary

    def _seconds(self) -> Seconds:
        now = time.monotonic()
        ended = self._search_ended or now
        judged = self._finalists_ended or now
        phases = {
            "search": ended - self._search_began,
            "finalists": max(0.0, judged - ended),
            "final": now - judged,
            "study": self._study.seconds,
            "checkpoints": self._checkpoints.seconds,
        }
        seconds = {name: self._before.get(name, 0.0) + phases[name] for name in phases}
        seconds = {"total": now - self._began, **seconds}
        return Seconds(**{name: round(value, 2) for name, value in seconds.items()})

    def _best(self, trial: TrialResult, first: TrialResult) -> BestTrial:
        return BestTrial(
            number=trial.number,
            params=dict(trial.params),
            validation_accuracy=self._search.accuracies[trial.number],
            value=trial.value,
            search_best=self._search.accuracies[first.number],
            baseline=self._baseline or None,
        )

    def _pareto(self) -> list[ParetoTrial]:
        """The trials that no other one beats in every objective, the best value first."""
        front = set(self._study.pareto_front())
        trials = [trial for trial in self._search.ranked() if trial.number in front]
        return [
            ParetoTrial(number=trial.number, value=trial.value or 0.0, **trial.costs)
            for trial in trials
        ]
