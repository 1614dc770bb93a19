"""The search over a user's own Optuna objective, and its finalists."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from cotune.exceptions import CotuneError, NoUsableTrialError, StorageError, UsageError
from cotune.records import Direction, ObjectiveFinalist, Report, State, TrialResult, TrialSpec
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, RunState, Seconds, Summary, TrialCounts
from cotune.study.objective_study import ObjectiveStudy
from cotune.study.study import PrunerLike, SamplerLike
from cotune.tuning.observer import Observer
from cotune.tuning.signals import StopRequest
from cotune.workers.objective.pool import Call, Event, ObjectiveProcesses
from cotune.workers.objective.source import SEVERAL_VALUES

_POLL_SECONDS = 0.1
_SUMMARY_SECONDS = 2.0  # between two writings of summary.json
_TIME_WAS_UP = "time was up"
_CHANCES = 2  # workers that a trial may end
_HOPELESS = 20  # trials that all failed, after which a search ends
_ENOUGH_TRIALS = 10  # below that there are finalists only where they are asked for
_FINALISTS = 3
_MARGIN = 1.2  # a call of the objective takes longer than the one before, or less
_GRACE_SECONDS = 1.0
_FINALISTS_SHARE = 0.4  # of the time, at most

REPEATS: Final = 3
"""How often each finalist is run again."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """What a run of an objective was asked for.

    Attributes:
        name: What the objective is called: ``train.py:objective``.
        direction: ``maximize`` or ``minimize``; None until the script is imported, for that of its
            own study, or ``minimize``.
        sampler, pruner: A name, or an Optuna object.
        n_trials: Trials to run; None for as many as the time allows.
        timeout: Seconds for everything; None for no limit.
        seed: Decides the sampler's draws and the seeds of the calls.
        workers: Processes.
        finalists: Trials to run again; None: 3, where there are trials enough; 0: none.
        repeats: How often each of them is.
        arguments: Of the script, its ``sys.argv[1:]``.
    """

    name: str
    direction: Direction | None
    sampler: SamplerLike = "tpe"
    pruner: PrunerLike = "asha"
    n_trials: int | None = None
    timeout: float | None = 300.0
    seed: int = 0
    workers: int = 1
    finalists: int | None = None
    repeats: int = REPEATS
    arguments: tuple[str, ...] = ()


@dataclass
class _Running:
    call: Call
    began: float
    params: dict[str, Any] = field(default_factory=dict)  # those that were drawn so far


class ObjectiveSearch:
    """Calls an objective trial by trial in worker processes, until trials or time end.

    A worker that has ended a trial gets the next one at once, whatever the others are at.

    Args:
        run: The run directory.
        pool: Calls the objective.
        study: The study.
        options: What was asked for.
        observer: Told of everything.
        stop: Set when the user wants the run to end.
        began: When the run began, by ``time.monotonic()``.
        closing_seconds: What is left to do after the finalists: the report, the exit.
        before: Seconds that the phases took before the run was stopped or killed, as in its
            summary; None for a fresh run.
    """

    def __init__(
        self,
        run: RunDirectory,
        pool: ObjectiveProcesses,
        study: ObjectiveStudy,
        options: ObjectiveOptions,
        observer: Observer,
        stop: StopRequest,
        began: float,
        closing_seconds: float,
        before: Mapping[str, float] | None = None,
    ) -> None:
        self._run = run
        self._pool = pool
        self._study = study
        self._options = options
        self._observer = observer
        self._stop = stop
        self._began = began
        self._before = before
        timeout = options.timeout
        self._deadline = math.inf if timeout is None else began + timeout - closing_seconds
        self._finalists_seconds = _FINALISTS_SHARE * (self._deadline - time.monotonic())
        self._sign = -1.0 if options.direction == "maximize" else 1.0
        self._asked = 0
        self._running: dict[Call, _Running] = {}
        self._again: deque[Call] = deque()  # to be made once more, before new ones
        self._deaths: Counter[Call] = Counter()
        self._losses = 0
        self._is_winding_up = False
        self._finished: list[TrialResult] = []
        self._values: dict[tuple[int, int], float | None] = {}  # of finalists, by repeat
        self._finalists: list[ObjectiveFinalist] = []
        self._search_began = time.monotonic()
        self._search_ended = self._written = 0.0

    def go(self) -> Summary:
        """Search, run the finalists; what came of it is in the summary and the run directory.

        Raises:
            NoUsableTrialError: No trial has a value; the run directory says why.
            UsageError: The objective cannot be loaded.
        """
        try:
            self._run.tables.start_objective()
            if self._before is not None:
                self._restore()
            self._search()
            self._search_ended = time.monotonic()
            if self._stop:
                return self._write("interrupted", "stopped by the user")
            if not self._ranked():
                raise NoUsableTrialError(self._why_none())
            if not self._repeat_finalists():
                return self._write("interrupted", "stopped by the user")
            return self._write("complete", self._remark())
        except CotuneError as error:
            with contextlib.suppress(StorageError):  # the first error is the one to tell
                self._write("failed", str(error))
            raise
        except KeyboardInterrupt:
            self._write("interrupted", "stopped by the user at once")
            raise

    def _restore(self) -> None:
        """Know again what ended; trials that had not begin anew, with what they had drawn."""
        params = self._study.params_of_all()
        unfinished = set(self._study.reopen())
        for trial in self._run.tables.trials():
            ended = replace(trial, params=params.get(trial.number, {}))
            if trial.number in unfinished:  # killed before the study was told
                self._study.tell(trial.number, trial.state, trial.value, trial.reason)
                unfinished.remove(trial.number)
            self._finished.append(ended)
        self._asked = len(params)
        self._again.extend(self._call(number) for number in sorted(unfinished))
        self._values = self._run.tables.finalists()
        specs = [TrialSpec(n, params[n], 0) for n in sorted(unfinished)]
        self._observer.resumed(self._finished, specs, self._best())

    def _call(self, number: int, repeat: int = 0) -> Call:
        seeds = np.random.SeedSequence([self._options.seed, number, repeat])
        return Call(number, repeat, int(seeds.generate_state(1)[0]))

    # -- the search ------------------------------------------------------------------------------

    def _search(self) -> None:
        while not self._is_over():
            self._fill_workers()
            if not self._running and not self._again and not self._wants_more():
                break
            self._step()
        if self._running and not self._stop and self._candidates():
            self._wind_up()
        calls = self._pool.clear()
        if not self._stop:
            for call in [*calls, *self._again]:  # the latter wait for a worker
                self._running.setdefault(call, _Running(call, time.monotonic()))
                self._end(call, "pruned", None, _TIME_WAS_UP)
            self._again.clear()
        self._running.clear()

    def _wind_up(self) -> None:
        """End trials where they next ask something.

        A worker that is killed has to be started again, and takes so long for it.
        """
        self._is_winding_up = True
        end = time.monotonic() + self._grace
        while self._running and not self._stop and time.monotonic() < end:
            self._step()
        self._is_winding_up = False

    def _is_over(self) -> bool:
        if self._stop:
            return True
        failed = sum(trial.state == "failed" for trial in self._finished)
        if failed == len(self._finished) >= _HOPELESS:
            return True
        return time.monotonic() + self._reserve() >= self._deadline

    def _wants_more(self) -> bool:
        if self._study.exhausted:
            return False
        return self._options.n_trials is None or self._asked < self._options.n_trials

    def _fill_workers(self) -> None:
        for _ in range(self._pool.idle):
            if self._again:
                self._start(self._again.popleft())
            elif self._wants_more():
                self._asked += 1
                self._start(self._call(self._study.ask()))

    def _start(self, call: Call) -> None:
        running = self._running[call] = _Running(call, time.monotonic())
        self._pool.start(call)
        if not call.repeat:
            # The display sees what the objective draws as it draws it.
            self._observer.trial_started(TrialSpec(call.number, running.params, call.seed))

    def _step(self) -> None:
        for event in self._pool.events(_POLL_SECONDS):
            self._handle(event)
        for reason in self._pool.lost[self._losses :]:
            self._observer.engine_lost(reason)
        self._losses = len(self._pool.lost)
        self._observer.tick()
        if time.monotonic() - self._written > _SUMMARY_SECONDS:
            self._write("running", "")
            self._written = time.monotonic()

    def _handle(self, event: Event) -> None:
        call = event.call
        if event.kind == "asked":
            self._answer(call, *event.content)
        elif event.kind == "ended":
            self._end(call, *event.content)
        else:
            del self._running[call]
            self._deaths[call] += 1
            if self._deaths[call] < _CHANCES:
                self._again.append(call)
                return
            reason = f"it ended its worker process {_CHANCES} times ({event.content})"
            self._running[call] = _Running(call, time.monotonic())
            self._end(call, "failed", None, reason)

    def _answer(
        self, call: Call, name: str, arguments: Sequence[Any], named: Mapping[str, Any]
    ) -> None:
        if self._is_winding_up:
            self._pool.answer(call, error=self._study.cut(_TIME_WAS_UP))
            return
        try:
            answer = self._study.call(call.number, call.repeat, name, arguments, named)
        except StorageError:
            raise
        except Exception as error:  # what Optuna says to a call that is wrong is for the objective
            self._pool.answer(call, error=error)
            return
        self._pool.answer(call, answer)
        if call.repeat:
            return
        running = self._running[call]
        if name.startswith("suggest_"):
            running.params[arguments[0]] = answer
        elif name == "report" and answer:
            value, step = arguments
            self._run.tables.append_step(call.number, step, value)
            report = Report(call.number, step, math.nan, math.nan, {}, 0.0, 0)
            self._observer.trial_reported(report, value)

    def _end(self, call: Call, state: State, value: float | None, reason: str) -> None:
        seconds = time.monotonic() - self._running.pop(call).began
        if call.repeat:
            self._end_repeat(call, value, seconds, reason)
            return
        if self._is_winding_up and state == "pruned":
            reason = _TIME_WAS_UP
        if SEVERAL_VALUES in reason and not self._best():
            raise UsageError(f"{self._options.name}: {reason}")
        steps = self._study.steps(call.number)
        if state == "pruned" and steps:
            last = steps[max(steps)]  # as in the study
            value = None if math.isnan(last) else last
        params = self._study.params(call.number)
        result = TrialResult(call.number, state, value, len(steps), params, seconds, reason)
        # What is in the table has ended, whether or not the study was told; it is in the study.
        self._study.sync()
        self._run.tables.add_trial_columns(params)
        self._run.tables.append_trial(result)
        self._study.tell(call.number, state, value, reason)
        self._finished.append(result)
        self._observer.trial_ended(result, self._best())

    def _ranked(self) -> list[TrialResult]:
        """Trials, best first: complete ones; where there are none, pruned ones by their last value.

        An infinite value is no score.
        """
        scored = [t for t in self._finished if t.value is not None and math.isfinite(t.value)]
        complete = [trial for trial in scored if trial.state == "complete"]
        pruned = [trial for trial in scored if trial.state == "pruned"]
        return sorted(complete or pruned, key=lambda t: (self._sign * (t.value or 0.0), t.number))

    def _best(self) -> TrialResult | None:
        """The complete trial that ranks first."""
        ranked = self._ranked()
        return ranked[0] if ranked and ranked[0].state == "complete" else None

    # -- the finalists ---------------------------------------------------------------------------

    def _candidates(self) -> list[TrialResult]:
        """The trials that are to be finalists, as they rank now."""
        wanted, complete = self._options.finalists, self._ranked()
        if not complete or complete[0].state != "complete":
            return []
        if wanted is None and (len(complete) < 2 or len(self._finished) < _ENOUGH_TRIALS):
            return []
        return complete[: _FINALISTS if wanted is None else wanted]

    def _plan(self, candidates: Sequence[TrialResult], seconds: float) -> tuple[int, int, float]:
        """How many finalists and repeats there is time for, and what they take."""
        each = max(trial.seconds for trial in candidates) + 0.01
        slots = self._options.workers * int(min(1_000.0, max(0.0, seconds) / each))
        count, repeats = plan_repeats(len(candidates), self._options.repeats, slots)
        return count, repeats, math.ceil(count * repeats / self._options.workers) * each

    def _reserve(self) -> float:
        """Seconds to leave for the finalists."""
        candidates = [] if math.isinf(self._deadline) else self._candidates()
        if not candidates:
            return 0.0
        count, _, seconds = self._plan(candidates, self._finalists_seconds)
        # Workers in mid-trial are replaced by others, which have to load the objective.
        return _MARGIN * (seconds + self._grace) if count else 0.0

    @property
    def _grace(self) -> float:
        """Seconds for trials to come to a call: a new worker has nothing imported or cached."""
        return max(_GRACE_SECONDS, self._pool.load_seconds)

    def _repeat_finalists(self) -> bool:
        """Call the objective again with the best trials' hyperparameters; False after a stop."""
        candidates = self._candidates()
        if not candidates:
            return True
        left = self._deadline - time.monotonic() - self._pool.load_seconds
        count, repeats, _ = self._plan(candidates, left)
        if not count:
            return True
        finalists = candidates[:count]
        self._pool.refill()
        self._observer.repeats_started(finalists, repeats)
        self._again = deque(
            self._call(trial.number, repeat)
            for repeat in range(1, repeats + 1)
            for trial in finalists
            if (trial.number, repeat) not in self._values
        )
        for call in self._again:
            self._study.fix(call.number, call.repeat)
        seconds = {trial.number: trial.seconds for trial in finalists}
        while self._running or self._again:
            if self._stop or time.monotonic() >= self._deadline:
                break
            while self._again and self._pool.idle:
                call = self._again.popleft()
                if time.monotonic() + seconds[call.number] < self._deadline:
                    self._start(call)
            self._step()
        self._pool.clear()
        if self._stop:
            return False
        ended = [self._finalist(trial.number, repeats) for trial in finalists]
        self._finalists = sorted(
            (finalist for finalist in ended if finalist is not None),
            key=lambda one: (one.failed, self._sign * one.mean, one.number),
        )
        self._observer.repeats_ended(self._finalists)
        return True

    def _end_repeat(self, call: Call, value: float | None, seconds: float, reason: str) -> None:
        self._values[call.number, call.repeat] = value
        self._run.tables.append_finalist(call.number, call.repeat, value, seconds, reason)
        self._observer.repeat_ended(call.number, value)

    def _finalist(self, number: int, repeats: int) -> ObjectiveFinalist | None:
        """None where no call returned a number."""
        keys = [(number, r) for r in range(1, repeats + 1) if (number, r) in self._values]
        values = [v for key in keys if (v := self._values[key]) is not None and math.isfinite(v)]
        if not values:
            return None
        sd = statistics.stdev(values) if len(values) > 1 else None
        failed = len(keys) - len(values)
        return ObjectiveFinalist(number, len(values), failed, statistics.fmean(values), sd)

    # -- what is told ----------------------------------------------------------------------------

    def _why_none(self) -> str:
        failed = [trial.reason for trial in self._finished if trial.state == "failed"]
        if not failed:
            return "no trial came to a value in the time given; give more with --timeout"
        commonest = max(set(failed), key=failed.count)
        return (
            f"all {len(failed)} trials that ended failed, most of them because {commonest}; "
            f"{self._run.output_path.name} in the run directory has the tracebacks"
        )

    def _remark(self) -> str:
        ranked = self._ranked()
        if ranked[0].state != "complete":
            return "no trial is complete; the best of those that were cut short is shown"
        return "the objective stopped the study" if self._study.stopped else ""

    def _write(self, state: RunState, message: str) -> Summary:
        """Write ``summary.json``."""
        ranked = self._ranked()
        by_number = {trial.number: trial for trial in ranked}
        best = by_number[self._finalists[0].number] if self._finalists else None
        best = best or (ranked[0] if ranked else None)
        counts = Counter(trial.state for trial in self._finished)
        running = sum(not call.repeat for call in self._running) if state == "running" else 0
        summary = Summary(
            state=state,
            seconds=self._seconds(),
            trials=TrialCounts(
                complete=counts["complete"],
                pruned=counts["pruned"],
                failed=counts["failed"],
                running=running,
            ),
            best=BestTrial(
                number=best.number,
                params=dict(best.params),
                value=best.value,
                search_best=ranked[0].value,
            )
            if best
            else None,
            message=message,
            finalists=list(self._finalists),
        )
        self._run.write_summary(summary)
        return summary

    def _seconds(self) -> Seconds:
        now = time.monotonic()
        ended = self._search_ended or now
        phases = {
            "search": ended - self._search_began,
            "finalists": now - ended,
            "final": 0.0,
            "study": self._study.seconds,
        }
        before = self._before or {}
        seconds = {name: before.get(name, 0.0) + phases[name] for name in phases}
        seconds = {"total": now - self._began, **seconds}
        return Seconds(**{name: round(value, 2) for name, value in seconds.items()})


def plan_repeats(count: int, repeats: int, slots: int) -> tuple[int, int]:
    """How many finalists, and how often each, for so many calls: as many calls as fit.

    Returns:
        ``(0, 0)`` where not even two finalists, or the only one, can be called once.
    """
    fitting = [
        (n * r, n, r)
        for n in range(min(2, count), count + 1)
        for r in range(1, repeats + 1)
        if 0 < n * r <= slots
    ]
    _, n, r = max(fitting, default=(0, 0, 0))
    return n, r
