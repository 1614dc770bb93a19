"""A whole run: search, final model, test, and what is left in the run directory."""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cotune.data.dataset import Dataset, TrainingData
from cotune.data.pictures import draw_grid, draw_samples, to_png
from cotune.data.preprocess import Standardize
from cotune.exceptions import CotuneError, NoUsableTrialError, StorageError
from cotune.executors.base import Executor
from cotune.final import (
    FINAL_NUMBER,
    DivergedError,
    TestReading,
    final_result,
    read_test_set,
    train_final,
)
from cotune.modelfile import Classifier, save_model
from cotune.observer import Observer
from cotune.results import FinalResult, Report, RunState, Summary, TrialResult, TrialSpec, Value
from cotune.rundir import RunDirectory
from cotune.search import Search
from cotune.signals import StopRequest
from cotune.space import Space
from cotune.study import OPTUNA_VERSION, PrunerLike, SamplerLike, Study
from cotune.version import VERSION

_FINAL_SLACK = 1.15  # alone, a lane's step takes a little longer than among others
_GRACE_SECONDS = 0.5  # the search ends when the best trial just fits, and a little later
_SUMMARY_SECONDS = 2.0  # between two writings of summary.json


@dataclass(frozen=True)
class Options:
    """What a run was asked for.

    Attributes:
        space: What is searched.
        sampler, pruner: A name, or an Optuna object.
        metric: ``accuracy``, ``loss`` or ``f1`` on the validation part.
        n_trials: Trials to run; None for as many as the time allows.
        timeout: Seconds for everything; None for no limit.
        seed: Decides the split, the sampler, the weights and the order of the rows.
        enqueued: Configurations, or parts of them, that are tried first.
    """

    space: Space
    sampler: SamplerLike = "tpe"
    pruner: PrunerLike = "asha"
    metric: str = "accuracy"
    n_trials: int | None = None
    timeout: float | None = 300.0
    seed: int = 0
    enqueued: Sequence[dict[str, Value]] = ()

    @property
    def searched(self) -> Space:
        """The space that the sampler sees: a grid has a few values of each range."""
        return self.space.discretized() if self.sampler == "grid" else self.space


def describe_run(
    options: Options,
    dataset: Dataset,
    training: TrainingData,
    device: str,
    workers: int,
    lanes: int,
    precision: str,
    validation: float,
) -> dict[str, Any]:
    """What ``config.yaml`` says of a run: what was asked for, resolved, and with what."""
    n_rows = len(training.labels)
    return {
        "command": _command(),
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "rows": {
                "train": training.n_train,
                "validation": n_rows - training.n_train,
                "test": dataset.n_test,
            },
            "input_shape": list(dataset.input_shape),
            "classes": list(dataset.classes),
        },
        "space": options.searched.to_dict(),
        "sampler": _name(options.sampler),
        "pruner": _name(options.pruner),
        "metric": options.metric,
        "n_trials": options.n_trials,
        "timeout_seconds": options.timeout,
        "seed": options.seed,
        "enqueued": list(options.enqueued),
        "validation": validation,
        "device": device,
        "workers": workers if device == "cpu" else None,
        "lanes": lanes,
        "precision": precision,
        "versions": {
            "cotune": VERSION,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "optuna": OPTUNA_VERSION,
        },
    }


def _command() -> str | None:
    """The command line, when that is what started the run."""
    is_command = Path(sys.argv[0]).name == "cotune"
    return shlex.join(["cotune", *sys.argv[1:]]) if is_command else None


def _name(part: object) -> str:
    return part if isinstance(part, str) else type(part).__name__


class Tuner:
    """Runs one search and trains its final model.

    Args:
        dataset: Its test set is opened once, at the end.
        options: What was asked for.
        run: A fresh run directory.
        training: The prepared dataset; the executor has it already.
        executor: Trains the trials.
        preprocessing: What was done to that dataset's inputs.
        observer: Told of everything.
        stop: Set when the user wants the run to end.
        began: When the run began, by ``time.monotonic()``.
        closing_seconds: What is left to do after the test, in seconds: the report, the exit.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: Options,
        run: RunDirectory,
        training: TrainingData,
        executor: Executor,
        preprocessing: Standardize,
        observer: Observer,
        stop: StopRequest,
        began: float,
        closing_seconds: float = 0.0,
    ) -> None:
        self._dataset = dataset
        self._options = options
        self._run = run
        self._executor = executor
        self._preprocessing = preprocessing
        # Rows of the training and validation parts, divided by those of the training part.
        self._growth = len(training.labels) / training.n_train
        self._observer = observer
        self._stop = stop
        self._began = began
        self._deadline = (
            None if options.timeout is None else began + options.timeout - closing_seconds
        )
        self._study = Study(
            run.journal_path,
            options.searched,
            options.sampler,
            options.pruner,
            options.metric,
            options.seed,
        )
        self._search = Search(
            self._study,
            executor,
            run,
            options.metric,
            observer,
            self._tick,
            options.n_trials,
            self._deadline,
            # The default configuration: what the search has to be better than.
            {len(options.enqueued)},
            self._final_seconds,
            lambda: bool(stop),
        )
        self._search_began = self._search_ended = self._written = 0.0

    def go(self) -> Summary:
        """Search, train, test; what the run came to is in the summary and the run directory.

        Raises:
            NoUsableTrialError: No trial has a score; the run directory says why.
        """
        self._run.start_tables(self._options.searched.searched)
        self._draw_samples()
        for params in self._options.enqueued:
            self._study.enqueue(params)
        self._study.enqueue(self._options.searched.default())
        self._search_began = time.monotonic()
        self._tick()
        try:
            self._search.go()
            self._search_ended = time.monotonic()
            if self._stop:
                return self._end("interrupted", "stopped by the user")
            return self._finish()
        except CotuneError as error:
            with contextlib.suppress(StorageError):  # the first error is the one to tell
                self._end("failed", str(error))
            raise
        except KeyboardInterrupt:
            self._end("interrupted", "stopped by the user at once")
            raise

    def _finish(self) -> Summary:
        candidates = self._candidates()
        if not candidates:
            raise NoUsableTrialError(self._why_none())
        diverged: list[str] = []
        for trial in candidates:
            spec = TrialSpec(
                number=FINAL_NUMBER,
                params={**self._options.searched.complete(trial.params), "epochs": trial.epochs},
                seed=self._options.seed,
                part="all",
            )
            self._observer.final_started(trial, spec)
            try:
                trained = train_final(
                    spec,
                    self._executor,
                    self._dataset,
                    self._preprocessing,
                    self._observer,
                    self._deadline,
                    lambda: bool(self._stop),
                )
            except DivergedError as error:
                diverged.append(f"trial {trial.number} was passed over: {error}")
                continue
            if trained is None:
                return self._end("interrupted", "stopped by the user", trial)
            return self._test(trial, spec, *trained, diverged)
        raise NoUsableTrialError("; ".join(diverged))

    def _test(
        self,
        trial: TrialResult,
        spec: TrialSpec,
        model: Classifier,
        reports: list[Report],
        diverged: list[str],
    ) -> Summary:
        save_model(self._run.best_path, model, spec.params, VERSION)
        reading = read_test_set(model, self._dataset)
        final = final_result(model, reports, reading)
        self._run.write_final(final)
        self._draw_mistakes(reading)
        self._observer.final_ended(final)
        remarks = "; ".join(diverged or self._remarks(trial, final))
        return self._end("complete", remarks, trial, final)

    def _candidates(self) -> list[TrialResult]:
        """Trials to make the final model of: the best whose training fits the time, then others."""
        ranked = self._search.ranked()
        if self._deadline is None:
            return ranked
        left = self._deadline - time.monotonic() + _GRACE_SECONDS
        return sorted(ranked, key=lambda trial: self._final_seconds(trial) > left)

    def _why_none(self) -> str:
        failed = [trial for trial in self._search.finished if trial.state == "failed"]
        if not failed:
            return "no trial finished an epoch in the time given; give more with --timeout"
        reasons = [trial.reason.split(": ", 1)[-1] for trial in failed]
        commonest = max(set(reasons), key=reasons.count)
        return f"all {len(failed)} trials that ended failed, most of them because {commonest}"

    def _remarks(self, trial: TrialResult, final: FinalResult) -> list[str]:
        best = self._search.ranked()[0]
        remarks = []
        if best.number != trial.number:
            remarks.append(
                f"trial {best.number} scored higher, but its final model would not have been "
                "trained in time"
            )
        if trial.state != "complete":
            remarks.append(f"trial {trial.number}: {trial.reason}; its score is of that epoch")
        if final.epochs < trial.epochs:
            remarks.append(
                f"the final model has {final.epochs} of {trial.epochs} epochs: time was up"
            )
        return remarks

    def _final_seconds(self, trial: TrialResult) -> float:
        """What training a trial's configuration on all rows will take, about."""
        return trial.seconds * self._growth * _FINAL_SLACK

    def _tick(self) -> None:
        self._observer.tick()
        if time.monotonic() - self._written > _SUMMARY_SECONDS:
            self._run.write_summary(self._summary("running"))
            self._written = time.monotonic()

    def _end(
        self,
        state: RunState,
        message: str,
        trial: TrialResult | None = None,
        final: FinalResult | None = None,
    ) -> Summary:
        summary = self._summary(state, message, trial, final)
        self._run.write_summary(summary)
        return summary

    def _summary(
        self,
        state: RunState,
        message: str = "",
        trial: TrialResult | None = None,
        final: FinalResult | None = None,
    ) -> Summary:
        now = time.monotonic()
        finished = self._search.finished
        ranked = self._search.ranked()
        best = trial or (ranked[0] if ranked else None)
        ended = self._search_ended or now
        return Summary(
            state=state,
            seconds={
                "total": round(now - self._began, 2),
                "search": round(ended - self._search_began, 2),
                "final": round(now - ended, 2),
                "study": round(self._study.seconds, 2),
            },
            trials={
                "complete": sum(t.state == "complete" for t in finished),
                "pruned": sum(t.state == "pruned" for t in finished),
                "failed": sum(t.state == "failed" for t in finished),
                "running": self._search.running,
            },
            best=None if best is None else self._best(best),
            final=None
            if final is None
            else {
                "test_accuracy": final.test_accuracy,
                "test_ci95": list(final.test_ci95),
                "epochs": final.epochs,
                "parameters": final.parameters,
            },
            lanes={
                "mean": round(self._search.mean_lanes, 2),
                "together": len(self._search.together),
                "alone": len(self._search.alone),
            },
            message=message,
        )

    def _best(self, trial: TrialResult) -> dict[str, object]:
        return {
            "number": trial.number,
            "params": trial.params,
            "validation_accuracy": self._search.accuracies[trial.number],
            "value": trial.value,
        }

    def _draw_samples(self) -> None:
        if len(self._dataset.input_shape) >= 2:
            draw_samples(self._dataset, self._run.samples_path)

    def _draw_mistakes(self, reading: TestReading) -> None:
        if len(self._dataset.input_shape) < 2 or not reading.mistakes:
            return
        classes = self._dataset.classes
        titles = [
            f"{classes[int(m['true'])]}\ntaken for {classes[int(m['predicted'])]} "
            f"{m['probability']:.0%}"
            for m in reading.mistakes
        ]
        png = to_png(draw_grid(reading.images, titles))
        try:
            self._run.mistakes_path.write_bytes(png)
        except OSError as error:
            raise StorageError(
                f"{self._run.mistakes_path}: cannot be written: {error.strerror}"
            ) from error
