"""Calls of a user's objective in worker processes, with their questions to the study answered."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cotune.exceptions import StorageError
from cotune.records import CUT_SHORT, EpochReport, State
from cotune.study.objective_study import ObjectiveStudy
from cotune.workers.objective.pool import Call, ObjectiveProcesses


@dataclass(frozen=True)
class EndedCall:
    """A call that has ended: as a trial of Optuna's ends, and why."""

    call: Call
    state: State
    value: float | None
    reason: str


@dataclass(frozen=True)
class CallEvents:
    """Calls that ended, values that trials reported, workers that were lost."""

    ended: Sequence[EndedCall] = ()
    reported: Sequence[EpochReport] = ()
    lost: Sequence[str] = ()


@dataclass
class ObjectiveCalls:
    """Makes calls of an objective, again where their worker was lost.

    Attributes:
        study: Answers what the objective asks of its trial.
        params: Hyperparameters that each trial of the search has drawn so far, by number.
        is_winding_up: Calls are ended where they next ask something.
    """

    pool: ObjectiveProcesses
    study: ObjectiveStudy
    seed: int
    _waiting: deque[Call] = field(default_factory=deque, init=False)
    params: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)
    is_winding_up: bool = field(default=False, init=False)

    def __len__(self) -> int:
        """Count the calls that are made or wait."""
        return self.pool.busy + len(self._waiting)

    def add(self, number: int, repeat: int = 0) -> Call:
        """Have a call wait for a worker; ``repeat`` counts a finalist's from 1."""
        seeds = np.random.SeedSequence([self.seed, number, repeat])
        call = Call(number, repeat, int(seeds.generate_state(1)[0]))
        self._waiting.append(call)
        if not repeat:
            self.params.setdefault(number, {})
        return call

    @property
    def idle(self) -> int:
        """Workers that no waiting call is for."""
        return max(0, self.pool.idle - len(self._waiting))

    def start(self) -> list[Call]:
        """Make the calls that wait, where workers are idle; returns those."""
        started = []
        while self._waiting and self.pool.idle:
            call = self._waiting.popleft()
            self.pool.start(call)
            started.append(call)
        return started

    def drop(self) -> Call:
        """Give up the next call that waits."""
        return self._waiting.popleft()

    @property
    def next(self) -> Call | None:
        """The next call that waits."""
        return self._waiting[0] if self._waiting else None

    def events(self, timeout: float) -> CallEvents:
        """Answer what calls ask; return what has come in within a poll."""
        ended, reported = list[EndedCall](), list[EpochReport]()
        for event in self.pool.events(timeout):
            call = event.call
            if event.kind == "asked":
                report = self._answer(call, *event.content)
                reported += [report] if report else []
                continue
            if event.kind == "ended":
                state, value, reason = event.content
                if self.is_winding_up and state == "pruned":
                    reason = CUT_SHORT["out_of_time"]
                ended.append(EndedCall(call, state, value, reason))
                continue
            self._waiting.append(call)  # its worker was lost
        return CallEvents(ended, reported, self.pool.take_lost())

    def _answer(
        self, call: Call, name: str, arguments: Sequence[Any], named: Mapping[str, Any]
    ) -> EpochReport | None:
        """Answer a call of a trial's method or property; returns what was reported by it."""
        if self.is_winding_up:
            self.pool.answer(call, error=self.study.cut(CUT_SHORT["out_of_time"]))
            return None
        try:
            answer = self.study.call(call.number, call.repeat, name, arguments, named)
        except StorageError:
            raise
        except Exception as error:  # what Optuna says to a call that is wrong is for the objective
            self.pool.answer(call, error=error)
            return None
        self.pool.answer(call, answer)
        if call.repeat:
            return None
        if name.startswith("suggest_"):
            self.params[call.number][arguments[0]] = answer
        elif name == "report" and answer:
            value, step = arguments
            return EpochReport(call.number, step, math.nan, math.nan, {"value": value}, 0.0, 0)
        return None

    def clear(self) -> list[Call]:
        """End all calls at once; returns them, those that waited too."""
        calls = [*self.pool.clear(), *self._waiting]
        self._waiting.clear()
        return calls
