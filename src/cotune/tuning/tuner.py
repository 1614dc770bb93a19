"""A whole run: search, final model, test, and what is left in the run directory."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cotune.data.dataset import Dataset, TrainingData
from cotune.data.pictures import draw_mistakes, draw_samples
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.engine.secondary_objectives import measure_cost
from cotune.exceptions import CotuneError, NoUsableTrialError, StorageError
from cotune.inference.ensemble import Candidate, Ensemble, make_ensemble, save_ensemble
from cotune.inference.model_file import save_model
from cotune.records import (
    DIRECTIONS,
    FINAL_NUMBER,
    EnsembleResult,
    Finalist,
    FinalResult,
    Report,
    TrialResult,
    TrialSpec,
)
from cotune.runs.checkpoint_store import Generation
from cotune.runs.directory import RunDirectory
from cotune.runs.options import Options
from cotune.runs.summary import Summary
from cotune.runs.training_log import TrainingLog
from cotune.space.portfolio import portfolio
from cotune.standard_error import standard_error
from cotune.study.study import Study, trial_seed
from cotune.tuning.checkpointer import Checkpoints, Weights, kept_weights, lane_files
from cotune.tuning.choice import Choice, held_out_counts
from cotune.tuning.final_model import (
    DEFAULT_NUMBER,
    MEMBER_NUMBER,
    TestReading,
    final_result,
    final_spec,
    make_classifier,
    read_test_set,
)
from cotune.tuning.finalists import FIRST_NUMBER, play_off
from cotune.tuning.full_training import Training, retrain
from cotune.tuning.observer import Observer
from cotune.tuning.progress import Progress
from cotune.tuning.search import Search
from cotune.tuning.signals import StopRequest
from cotune.tuning.time_budget import Budget
from cotune.tuning.time_plan import MOST_ROUNDS
from cotune.version import VERSION
from cotune.workers.base import Executor

_ENOUGH_ROWS = 3_000  # of the validation part: a score's standard error is half a point
_RIVALS = 3  # finalists whose configurations take turns in an ensemble of them
_CANDIDATES = 3  # trials whose weights are kept, for each network of an ensemble


class Tuner:
    """Runs one search and trains its final model.

    Args:
        dataset: Its test set is opened once, at the end.
        options: What was asked for.
        run: The run directory.
        training: The prepared dataset; the executor has it already.
        executor: Trains the trials.
        preprocessing: What was done to that dataset's inputs.
        observer: Told of everything.
        stop: Set when the user wants the run to end.
        began: When the run began, by ``time.monotonic()``.
        closing_seconds: What is left to do after the test, in seconds: the report, the exit.
        every: Seconds from one checkpoint to the next; None for no checkpoints.
        max_bytes: What the run directory may take up.
        lockstep: The executor trains in lockstep with the driver.
        before: Seconds that the phases took before the run was stopped or killed, as in its
            summary; None for a fresh run.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: Options,
        run: RunDirectory,
        training: TrainingData,
        executor: Executor,
        preprocessing: Preprocessing,
        observer: Observer,
        stop: StopRequest,
        began: float,
        closing_seconds: float = 0.0,
        every: float | None = None,
        max_bytes: float = math.inf,
        lockstep: bool = False,
        before: Mapping[str, float] | None = None,
    ) -> None:
        self._dataset = dataset
        self._options = options
        self._run = run
        self._executor = executor
        self._preprocessing = preprocessing
        self._training = training
        self._observer = observer
        self._stop = stop
        self._began = began
        self._deadline = (
            None if options.timeout is None else began + options.timeout - closing_seconds
        )
        # What makes a smaller number the better value.
        self._sign = -1.0 if DIRECTIONS[options.metric] == "maximize" else 1.0
        self._enqueued = [*options.enqueued]
        # The default configuration's trial.
        self._default = len(options.enqueued) if options.portfolio else None
        if options.portfolio:
            self._enqueued += portfolio(options.searched)
        self._budget = Budget(
            options.searched,
            training,
            dataset.n_test,
            len(executor.openings()),
            None
            if self._deadline is None
            else max(0.0, self._deadline - (began if before is not None else time.monotonic())),
            self._default,
            len(self._enqueued),
        )
        # Networks of an ensemble that are trained for it.
        self._further = options.ensemble if options.ensemble_of == "finalists" else 0
        self._study = Study(
            run.journal_path,
            options.searched,
            options.sampler,
            options.pruner,
            options.metric,
            options.costs,
            options.seed,
            {
                "network": options.own.name if options.own else None,
                "space": options.searched.to_dict(),
                "seed": options.seed,
                "data": dataset.fingerprint,
                "metric": options.metric,
                "costs": list(options.costs),
                "validation": round(1.0 - training.n_train / len(training.labels), 6),
            },
        )
        self._is_resumed = before is not None
        self._log = TrainingLog(run.trainings_path)
        self._lanes: list[Path] = []  # of the checkpoint that is gone on from
        self._final_weights: Weights = {}
        self._checkpoints = Checkpoints(
            run,
            executor,
            every,
            max_bytes,
            lockstep,
            lambda: lockstep and not self._study.is_disturbed,
            lambda: {"search": self._search.state()},
            lambda: {**self._search.weights, **self._final_weights},
        )
        self._search = Search(
            self._study,
            executor,
            run,
            options.metric,
            observer,
            lambda: self._progress.tick(),
            len(self._enqueued),
            options.n_trials,
            self._deadline,
            self._unpruned(),
            lambda ranked: (
                0.0 if options.search_only else self._budget.reserve(ranked, self._further)
            ),
            self._budget.most_epochs,
            lambda: bool(stop),
            _CANDIDATES * options.ensemble if options.ensemble_of == "search" else 0,
            self._measure_costs,
            options.patience,
            self._noise,
            self._checkpoints,
        )
        self._choice = Choice(options.metric, training, self._search, self._doubt)
        self._progress = Progress(
            run,
            self._search,
            self._study,
            self._checkpoints,
            observer,
            began,
            before or {},
            self._choice.baseline,
        )

    def go(
        self, generation: Generation | None = None, exact: bool = False, extended: bool = False
    ) -> Summary:
        """Search, train, test; what the run came to is in the summary and the run directory.

        Args:
            generation: The checkpoint to go on from.
            exact: All files are as they were at that checkpoint.
            extended: The search goes on, even if it was over before.

        Raises:
            NoUsableTrialError: No trial has a score; the run directory says why.
        """
        self._run.tables.start([*self._options.searched.searched, *self._options.costs])
        self._draw_samples()
        self._study.enqueue(self._enqueued)
        try:
            if self._is_resumed:
                self._restore(generation, exact, extended)
            self._progress.tick()
            if self._log.finalists is None:
                self._search.go()
            self._progress.end_search()
            if self._stop:
                return self._progress.write("interrupted", "stopped by the user")
            if self._options.search_only:
                return self._progress.write("complete", "search only")
            return self._finish()
        except CotuneError as error:
            with contextlib.suppress(StorageError):  # the first error is the one to tell
                self._progress.write("failed", str(error))
            raise
        except KeyboardInterrupt:
            self._progress.write("interrupted", "stopped by the user at once")
            raise

    def _restore(self, generation: Generation | None, exact: bool, extended: bool) -> None:
        if not exact:
            self._study.mark_disturbed()
        try:
            weights = kept_weights(generation)
            final = {number: weights.pop(number) for number in list(weights) if number < 0}
            if not extended:
                self._final_weights.update(final)
            self._lanes = lane_files(generation)
            self._executor.keep(self._lanes)
            state = generation.state.get("search", {}) if generation else {}
            trials, curves = self._run.tables.trials(), self._run.tables.curves()
            self._search.restore(trials, curves, self._lanes, weights, state)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, CotuneError):
                raise
            raise StorageError(
                f"{self._run.path}: its files do not belong together ({error!r})"
            ) from error
        if extended:
            self._search.be_patient()

    def _finish(self) -> Summary:
        ranked = self._search.ranked()
        if not ranked:
            raise NoUsableTrialError(self._why_none())
        ranked = self._choice.of_trials(ranked)
        finalists = self._judge_finalists(ranked)
        self._progress.end_finalists()
        if finalists is None:
            return self._progress.write("interrupted", "stopped by the user", ranked[0])
        order = [finalist.number for finalist in finalists]
        others = [trial.number for trial in ranked if trial.number not in order]
        by_number = {trial.number: trial for trial in ranked}
        failures: list[str] = []
        default: Training | None = None
        for number in order + others:
            trial = by_number[number]
            specs = [self._final_spec(trial, FINAL_NUMBER)]
            compared = self._default if self._dataset.n_test else None
            if default is None and number != compared and compared in by_number:
                specs.append(self._final_spec(by_number[compared], DEFAULT_NUMBER))
            self._observer.final_started(trial, specs[0])
            deadline = self._deadline
            if deadline is not None:
                deadline -= self._budget.test_seconds(trial) * len(specs)
            trainings = self._retrain(
                specs, self._observer.final_reported, deadline, self._final_weights
            )
            if trainings is None:
                return self._progress.write("interrupted", "stopped by the user", trial)
            chosen, *more = trainings
            default = more[0] if more else default
            if chosen.weights:
                ensemble = self._train_ensemble(trial, chosen, finalists, by_number)
                if ensemble is None:
                    return self._progress.write("interrupted", "stopped by the user", trial)
                return self._test(trial, chosen, default, finalists, failures, ensemble)
            failures.append(f"trial {number} was passed over: {chosen.error} of its final model")
        raise NoUsableTrialError("; ".join(failures))

    def _judge_finalists(self, ranked: Sequence[TrialResult]) -> list[Finalist] | None:
        """The most promising trials by the means of new trainings, best first.

        Returns:
            [] where there is no time for it; None when the user stopped it.
        """
        if self._log.finalists is None:
            spent = sum(float(trial.epochs) for trial in self._search.finished)
            count, rounds, _ = self._budget.finalists(ranked, spent)
            promising = self._budget.promising(ranked)[: count if rounds else 0]
            self._log.choose({one.number: self._budget.epochs(one) for one in promising}, rounds)
        epochs, rounds = self._log.finalists or ({}, 0)
        by_number = {trial.number: trial for trial in ranked}
        trials = [by_number[number] for number in epochs if number in by_number]
        if not trials:
            return []
        if self._deadline is not None:
            rounds = MOST_ROUNDS * self._budget.stage  # as many as there is time for

        def deadline(numbers: Sequence[int]) -> float | None:
            """Leaves what the final models take, whichever of these is chosen."""
            if self._deadline is None:
                return None
            playing = [by_number[number] for number in numbers]
            return self._deadline - max(
                self._budget.final_seconds(trial, ranked)
                + self._budget.ensemble_seconds(trial, self._further)
                + 2 * self._budget.test_seconds(trial)
                for trial in playing
            )

        def has_time(seconds: float, numbers: Sequence[int]) -> bool:
            if self._log.next_part is not None:  # as it was decided before
                return self._log.next_part == "train"
            end = deadline(numbers)
            return end is None or time.monotonic() + seconds < end

        def train(specs: Sequence[TrialSpec]) -> list[Training] | None:
            end = deadline([FIRST_NUMBER - spec.number for spec in specs])
            trainings = self._retrain(specs, self._observer.finalists_reported, end)
            for one in trainings or ():
                self._budget.measure(FIRST_NUMBER - one.spec.number, one.reports)
            return trainings

        self._observer.finalists_started(trials, rounds)
        finalists = play_off(
            {
                trial.number: {**self._budget.params(trial), "epochs": epochs[trial.number]}
                for trial in trials
            },
            rounds,
            self._training.n_folds - 1,
            self._options.seed,
            self._options.metric,
            self._sign < 0.0,
            train,
            has_time,
            self._budget.stage,
        )
        if finalists is None:
            return None
        finalists = self._choice.of_finalists(finalists)
        self._observer.finalists_ended(finalists)
        return finalists

    def _doubt(self, number: int) -> int:
        """How unlikely a trial was to be good before anything was measured: 0, 1 or 2.

        What is enqueued and what the portfolio adds to the default tend to do well; the sampler's
        best is the luckiest of many.
        """
        if number >= len(self._enqueued):
            return 2
        return 1 if number == self._default else 0

    def _retrain(
        self,
        specs: Sequence[TrialSpec],
        reported: Callable[[Report], None],
        deadline: float | None,
        kept: Weights | None = None,
    ) -> list[Training] | None:
        return retrain(
            self._executor,
            specs,
            reported,
            self._progress.tick,
            deadline,
            lambda: bool(self._stop),
            self._log,
            self._checkpoints,
            self._lanes,
            kept,
        )

    def _final_spec(self, trial: TrialResult, number: int) -> TrialSpec:
        return final_spec(self._budget.params(trial), number, self._options.seed)

    def _test(
        self,
        trial: TrialResult,
        training: Training,
        default: Training | None,
        finalists: Sequence[Finalist],
        failures: list[str],
        trained: Mapping[int, Sequence[Training]],
    ) -> Summary:
        models = [
            make_classifier(one, self._dataset, self._preprocessing, self._options.own)
            for one in (training, default)
            if one is not None and one.weights
        ]
        save_model(self._run.best_path, models[0], training.spec.params, VERSION)
        ensemble, combined = self._make_ensemble(trained)
        reading, more = None, list[TestReading]()
        if self._dataset.n_test:
            reading, *more = read_test_set(
                [*models, *ensemble], self._dataset, self._options.metric
            )
            self._run.tables.add_test_rows(reading.digests.tolist())
            self._run.append_reading(reading.accuracy)
            if combined is not None:
                last = more.pop()
                combined = replace(combined, test_accuracy=last.accuracy, test_ci95=last.ci95)
            self._draw_mistakes(reading)
        has_default = trial.number == self._default or bool(more)
        final = final_result(
            models[0],
            training,
            reading,
            (more[0] if more else reading) if has_default else None,
            self._default if has_default else None,
            finalists,
            combined,
            self._choice.warning(trial, finalists, self._dataset.classes),
        )
        self._run.write_final(final)
        self._observer.final_ended(final)
        remarks = "; ".join(failures or self._remarks(trial, final))
        summary = self._progress.write("complete", remarks, trial, final)
        self._checkpoints.drop()
        return summary

    def _train_ensemble(
        self,
        trial: TrialResult,
        chosen: Training,
        finalists: Sequence[Finalist],
        by_number: Mapping[int, TrialResult],
    ) -> dict[int, list[Training]] | None:
        """The members of an ensemble of finalists, by their trial, the final model the first.

        The configurations of the best finalists take turns, each time with another seed.

        Returns:
            {} where none was asked for; None when the user stopped it.
        """
        if not self._further:
            return {}
        rivals = [one.number for one in finalists if one.number != trial.number]
        turns = [trial.number, *rivals[: _RIVALS - 1]]
        numbers = [
            turns[i % len(turns)] for i in range(1, self._budget.members(trial, self._further))
        ]
        specs = [
            self._final_spec(by_number[number], MEMBER_NUMBER - i)
            for i, number in enumerate(numbers)
        ]
        trainings = self._retrain(specs, lambda report: None, self._deadline, self._final_weights)
        if trainings is None:
            return None
        members = {trial.number: [chosen]}
        for number, training in zip(numbers, trainings, strict=True):
            if training.weights:
                members.setdefault(number, []).append(training)
        return members

    def _make_ensemble(
        self, trained: Mapping[int, Sequence[Training]]
    ) -> tuple[list[Ensemble], EnsembleResult | None]:
        """The ensemble that was asked for, saved, and what it is made of; or nothing.

        Args:
            trained: Its members, if it is one of finalists.
        """
        if trained:
            trainings = [one for several in trained.values() for one in several]
            networks = [
                make_classifier(one, self._dataset, self._preprocessing, self._options.own)
                for one in trainings
            ]
            ensemble = Ensemble(networks, [1.0] * len(networks)).eval()
            save_ensemble(
                self._run.ensemble_path, ensemble, [one.spec.params for one in trainings], VERSION
            )
            counts = {number: len(several) for number, several in trained.items()}
            return [ensemble], EnsembleResult(counts, None)
        kept = [trial for trial in self._search.ranked() if trial.number in self._search.weights]
        if not kept or not self._options.ensemble:
            return [], None
        candidates = [
            Candidate(
                trial.number,
                self._budget.params(trial),
                self._search.weights[trial.number],
                trial_seed(self._options.seed, trial.number),
            )
            for trial in kept
        ]
        ensemble, result, members = make_ensemble(
            candidates,
            self._training,
            self._preprocessing,
            self._dataset.classes,
            self._options.ensemble,
            self._options.own,
        )
        params = [member.params for member in members]
        save_ensemble(self._run.ensemble_path, ensemble, params, VERSION)
        return [ensemble], result

    def _why_none(self) -> str:
        failed = [trial for trial in self._search.finished if trial.state == "failed"]
        if not failed:
            return "no trial finished an epoch in the time given; give more with --timeout"
        reasons = [trial.reason.split(": ", 1)[-1] for trial in failed]
        commonest = max(set(reasons), key=reasons.count)
        return f"all {len(failed)} trials that ended failed, most of them because {commonest}"

    def _remarks(self, trial: TrialResult, final: FinalResult) -> list[str]:
        remarks = [self._search.no_patience] if self._search.no_patience else []
        if trial.state != "complete":
            remarks.append(f"trial {trial.number}: {trial.reason}; its score is of that epoch")
        wanted = int(self._budget.params(trial)["epochs"])
        if final.epochs < wanted:
            remarks.append(f"the final model has {final.epochs} of {wanted} epochs: time was up")
        return remarks

    def _unpruned(self) -> Collection[int]:
        """The default's trial, which the search has to be better than.

        A rung is noise where few rows are judged by; then the other configurations of the
        portfolio, which are likely to be good, are not pruned either.
        """
        if self._default is None:
            return ()
        held_out = len(self._training.labels) - self._training.n_train
        count = 1 if held_out >= _ENOUGH_ROWS else len(self._enqueued) - self._default
        return range(self._default, self._default + count)

    def _measure_costs(self, spec: TrialSpec) -> dict[str, float]:
        data, own = self._training, self._options.own
        return {
            name: measure_cost(name, spec.params, data.input_shape, data.n_classes, own)
            for name in self._options.costs
        }

    def _noise(self, value: float) -> float:
        """The standard error of a score of the validation part."""
        return standard_error(self._options.metric, value, held_out_counts(self._training))

    def _draw_samples(self) -> None:
        if self._dataset.can_be_drawn:
            draw_samples(self._dataset, self._run.samples_path)

    def _draw_mistakes(self, reading: TestReading) -> None:
        if self._dataset.can_be_drawn and reading.mistakes:
            draw_mistakes(self._dataset, reading.images, reading.mistakes, self._run.mistakes_path)
