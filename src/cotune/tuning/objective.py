"""The phases of a run of a user's own objective: search and finalists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cotune.exceptions import NoUsableTrialError
from cotune.records import ObjectiveFinalist
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, RunState, Summary
from cotune.study.objective_study import ObjectiveStudy
from cotune.tuning.clock import Clock
from cotune.tuning.ledger import Ledger
from cotune.tuning.objective_calls import ObjectiveCalls
from cotune.tuning.objective_runner import ObjectiveRunner
from cotune.tuning.objective_settings import ObjectiveOptions
from cotune.tuning.observer import Observer
from cotune.tuning.progress import Progress
from cotune.tuning.recorder import Recorder
from cotune.tuning.repeats import Repeats
from cotune.tuning.search import Search
from cotune.tuning.stop_rules import StopRules
from cotune.workers.objective.pool import ObjectiveProcesses

_HOPELESS = 20  # trials that all failed, after which a search ends


@dataclass
class ObjectiveTuner:
    """Searches over an objective and runs its finalists.

    Attributes:
        options: What was asked for; the direction is settled.
        is_resumed: The run had been stopped or killed.
    """

    run: RunDirectory
    pool: ObjectiveProcesses
    study: ObjectiveStudy
    options: ObjectiveOptions
    observer: Observer
    clock: Clock
    is_resumed: bool = False

    def __post_init__(self) -> None:
        run, pool, study, options = self.run, self.pool, self.study, self.options
        observer, clock = self.observer, self.clock
        self._finalists: list[ObjectiveFinalist] = []
        self._ledger = Ledger(options.direction or "minimize", ranks_cut_short=False)
        self._calls = ObjectiveCalls(pool, study, options.seed)
        self._repeats = Repeats(
            options.finalists, options.repeats, options.workers, self._ledger, clock, self._calls
        )
        self._progress = Progress(
            run, self._ledger, clock, observer, {"study": lambda: study.seconds}, self._details
        )
        self._runner = ObjectiveRunner(
            study, self._calls, self._ledger, options.name, self._repeats.grace
        )
        self._search = Search(
            self._runner,
            self._ledger,
            Recorder(
                study,
                run,
                observer,
                lambda reported: run.tables.append_steps(
                    (report.number, report.epoch, value) for report, value in reported
                ),
            ),
            StopRules(options.n_trials, all_failed_limit=_HOPELESS),
            clock,
            self._repeats.reserve,
            self._progress.tick,
        )

    def go(self) -> Summary:
        """Search, run the finalists; what came of it is in the summary and the run directory.

        Raises:
            NoUsableTrialError: No trial has a value; the run directory says why.
            UsageError: The objective cannot be loaded.
        """
        with self._progress.ends_by_errors():
            self.run.tables.start_objective()
            if self.is_resumed:
                self._restore()
            self._search.go()
            self._progress.end_search()
            if self.clock.stopped:
                return self._progress.write("interrupted", "stopped by the user")
            if not self._ledger.ranked():
                raise NoUsableTrialError(self._why_none())
            finalists = self._repeats.go(self.run, self.observer, self._progress.tick)
            if finalists is None:
                return self._progress.write("interrupted", "stopped by the user")
            self._finalists = finalists
            return self._progress.write("complete", self._remark())

    def _restore(self) -> None:
        self._repeats.values = self.run.tables.finalists()
        self._search.restore(*self._runner.restore(self.run.tables.trials()))
        self._search.announce()

    def _details(self, state: RunState) -> Mapping[str, Any]:
        """Return further fields of the summary."""
        ranked = self._ledger.ranked()
        by_number = {trial.number: trial for trial in ranked}
        best = by_number[self._finalists[0].number] if self._finalists else None
        best = best or (ranked[0] if ranked else None)
        return {
            "best": best
            and BestTrial(
                number=best.number,
                params=dict(best.params),
                value=best.value,
                search_best=ranked[0].value,
            ),
            "finalists": list(self._finalists),
        }

    def _why_none(self) -> str:
        failed = [trial.reason for trial in self._ledger.finished if trial.state == "failed"]
        if not failed:
            return "no trial came to a value in the time given; give more with --timeout"
        commonest = max(set(failed), key=failed.count)
        return (
            f"all {len(failed)} trials that ended failed, most of them because {commonest}; "
            f"{self.run.output_path.name} in the run directory has the tracebacks"
        )

    def _remark(self) -> str:
        if self._ledger.ranked()[0].state != "complete":
            return "no trial is complete; the best of those that were cut short is shown"
        return "the objective stopped the study" if self.study.stopped else ""
