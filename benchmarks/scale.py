"""``python -m benchmarks.scale``: what the driver of a search costs as it grows.

The driver, the study and the tables are real; the engines sleep. An engine trains its lanes side by
side, an epoch takes as long as was said, and a lane waits for its verdict before the next. The
clock of the engines jumps ahead where the driver has nothing to do, so the figures do not depend on
how long an epoch takes, and thousands of lanes need no machines.

A row a search: the driver's milliseconds a trial, all in all and among the hundred trials around
the 100th and around the last; what of that Optuna and its storage take; from when all engines were
filled until the last trial began, how busy the engines were, and how many of their lanes were; the
driver's memory.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cotune.data.reading import read_dataset
from cotune.metrics import METRICS
from cotune.records import EpochReport, TrialResult, TrialSpec, Verdict
from cotune.runs.directory import RunDirectory
from cotune.tuning.observer import Observer
from cotune.tuning.run import Session, carry_out, prepare_run
from cotune.tuning.settings import read_settings
from cotune.workers.base import EngineJob, Executor, worth_filling


class Mark(NamedTuple):
    """A moment of the engines' time, and for how long engines and lanes were busy until then."""

    now: float
    busy: float
    lanes_busy: float


class SleepingEngines(Executor):
    """Engines whose lanes sleep, on a clock that skips what nobody waits for.

    Args:
        epoch_seconds: An epoch's, of any number of lanes.

    Attributes:
        own_seconds: Real time spent in here, which is not the driver's.
    """

    def __init__(self, engines: int, lanes: int, epoch_seconds: float) -> None:
        self._n_lanes = lanes
        self._epoch_seconds = epoch_seconds
        self._lanes_of: list[set[int]] = [set() for _ in range(engines)]
        self._engine_of: dict[int, int] = {}
        self._specs: dict[int, TrialSpec] = {}
        self._epochs: dict[int, int] = {}
        self._due: list[tuple[float, int]] = []
        self._at_work = [0] * engines  # lanes in an epoch
        self._since = [0.0] * engines  # when an engine began to train
        self._until = [0.0] * engines  # when the last of its epochs ends
        self._skipped = 0.0
        self.own_seconds = 0.0
        self._busy = self._lanes_busy = 0.0
        self.filled: Mark | None = None  # when all lanes were taken first
        self.last_start = Mark(0.0, 0.0, 0.0)

    def now(self) -> float:
        """Return the engines' time in seconds."""
        return time.perf_counter() + self._skipped

    def load(self, job: EngineJob) -> None:
        pass

    @property
    def lanes(self) -> int:
        return self._n_lanes

    def openings(self) -> list[int]:
        began = time.perf_counter()
        free = worth_filling([(self._n_lanes - len(one), self._n_lanes) for one in self._lanes_of])
        self.own_seconds += time.perf_counter() - began
        return free

    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        began = time.perf_counter()
        engine = min(range(len(self._lanes_of)), key=lambda i: len(self._lanes_of[i]))
        for spec in specs:
            self._specs[spec.number] = spec
            self._epochs[spec.number] = 0
            self._engine_of[spec.number] = engine
            self._lanes_of[engine].add(spec.number)
            self._begin(spec.number)
        self.last_start = self._mark()
        if self.filled is None and not self.openings():
            self.filled = self.last_start
        self.own_seconds += time.perf_counter() - began

    def _begin(self, number: int) -> None:
        engine, now = self._engine_of[number], self.now()
        if not self._at_work[engine]:
            self._since[engine] = now
        self._at_work[engine] += 1
        self._until[engine] = now + self._epoch_seconds
        heapq.heappush(self._due, (now + self._epoch_seconds, number))

    def _end(self, number: int, at: float) -> None:
        """End an epoch; the engine is idle from then on if it was the last of its lanes."""
        engine = self._engine_of[number]
        self._lanes_busy += self._epoch_seconds
        self._at_work[engine] -= 1
        if not self._at_work[engine]:
            self._busy += at - self._since[engine]

    def _mark(self) -> Mark:
        now = self.now()
        going = sum(
            min(now, until) - since
            for since, until, n in zip(self._since, self._until, self._at_work, strict=True)
            if n
        )
        return Mark(now, self._busy + going, self._lanes_busy)

    def reports(self, timeout: float) -> list[EpochReport]:
        began = time.perf_counter()
        if self._due and (ahead := self._due[0][0] - self.now()) > 0:
            self._skipped += min(ahead, timeout)
        reports, now = [], self.now()
        while self._due and self._due[0][0] <= now:
            at, number = heapq.heappop(self._due)
            if number in self._specs:
                self._end(number, at)
                reports.append(self._report(number))
        self.own_seconds += time.perf_counter() - began
        return reports

    def _report(self, number: int) -> EpochReport:
        self._epochs[number] += 1
        epoch, params = self._epochs[number], self._specs[number].params
        distance = abs(math.log10(float(params["lr"]) / 3e-3))
        accuracy = 0.95 - 0.2 * distance - 0.3 / epoch
        scores = dict.fromkeys(METRICS, accuracy) | {"loss": 1.0 - accuracy}
        return EpochReport(number, epoch, 1.0, accuracy, scores, self._epoch_seconds, 10)

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        began = time.perf_counter()
        for verdict in verdicts:
            number = verdict.number
            if verdict.stop:
                self._lanes_of[self._engine_of.pop(number)].discard(number)
                del self._specs[number]
            else:
                self._begin(number)
        self.own_seconds += time.perf_counter() - began

    def clear(self) -> None:
        self._specs.clear()

    def settle(self, timeout: float) -> bool:
        return True

    def pending(self) -> list[EpochReport]:
        return []

    def save(self, folder: Path) -> None:
        pass

    def saved(self, timeout: float) -> list[Path] | None:
        return []

    def keep(self, saved: Sequence[Path]) -> None:
        pass

    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        return {}

    def close(self) -> None:
        pass


class _Times(Observer):
    """Notes the driver's own seconds at the end of each trial."""

    def __init__(self, engines: SleepingEngines) -> None:
        self._engines = engines
        self._began = time.perf_counter()
        self.seconds: list[float] = []

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        self.seconds.append(time.perf_counter() - self._began - self._engines.own_seconds)


def measure(
    engines: int, lanes: int, trials: int, epoch_seconds: float, sampler: str, pruner: str
) -> dict[str, float | int | str]:
    """Run one search; return its row."""
    settings = read_settings(
        sampler=sampler, pruner=pruner, n_trials=trials, model="mlp", fixed={"epochs": 10}
    )
    dataset = read_dataset("digits")
    options = replace(settings.fit(dataset), search_only=True, portfolio=False)
    sleeping = SleepingEngines(engines, lanes, epoch_seconds)
    times = _Times(sleeping)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder) / "run")
        prepared = prepare_run(options, dataset)
        carry_out(prepared, settings.resources, sleeping, run, Session(times))
        summary = RunDirectory.open(run.path).summary()
    took = np.array(times.seconds)
    ended = sleeping.last_start
    began = sleeping.filled or ended
    seconds = engines * max(ended.now - began.now, 1e-9)
    return {
        "sampler": sampler,
        "engines": engines,
        "lanes": lanes,
        "trials": trials,
        "ms_a_trial": round(1e3 * float(took[-1]) / trials, 2),
        "ms_at_100": round(1e3 * float(took[149] - took[49]) / 100, 2),
        "ms_at_end": round(1e3 * float(took[-1] - took[-101]) / 100, 2),
        "study_share": round(summary.seconds.study / float(took[-1]), 2),
        "busy": round((ended.busy - began.busy) / seconds, 3),
        "lanes_busy": round((ended.lanes_busy - began.lanes_busy) / seconds / lanes, 3),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a JSON object a row")
    parser.add_argument("--engines", nargs="+", type=int, default=[1, 8, 64, 512])
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    parser.add_argument("--pruner", default="asha")
    asked = parser.parse_args()
    header = ""
    for sampler in asked.samplers:
        for engines in asked.engines:
            row = measure(
                engines, asked.lanes, asked.trials, asked.epoch_seconds, sampler, asked.pruner
            )
            if asked.json:
                print(json.dumps(row), flush=True)
                continue
            if not header:
                header = "  ".join(f"{name:>10}" for name in row)
                print(header)
            print("  ".join(f"{value:>10}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
