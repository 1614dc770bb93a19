"""The phases of a run: search, finalists, final model, test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cotune.data.pictures import draw_samples
from cotune.engine.secondary_objectives import measure_cost
from cotune.exceptions import CotuneError, NoUsableTrialError, StorageError
from cotune.records import CUT_SHORT, Finalist, FinalResult, TrialResult, TrialSpec
from cotune.runs.checkpoint_store import Generation
from cotune.runs.summary import BestTrial, Lanes, ParetoTrial, RunState, Summary
from cotune.runs.training_log import TrainingLog
from cotune.space.hyperparameters import is_annealed
from cotune.standard_error import standard_error
from cotune.study.study import Study, trial_seed
from cotune.tuning.checkpointer import Checkpoints, Weights, kept_weights, lane_files
from cotune.tuning.choice import Choice, held_out_counts
from cotune.tuning.context import RunContext
from cotune.tuning.engine_runner import EngineRunner, LaneCounts
from cotune.tuning.ensembles import save_candidates, save_members, train_members
from cotune.tuning.final_model import final_spec, summarize_final
from cotune.tuning.final_test import score_final_model
from cotune.tuning.finalists import judge_finalists
from cotune.tuning.full_training import FullTraining, Training
from cotune.tuning.held_out import MOST_ROWS, HeldOut, is_alike
from cotune.tuning.ledger import Ledger
from cotune.tuning.lineup import make_lineup
from cotune.tuning.pace import Pace
from cotune.tuning.progress import Progress
from cotune.tuning.recorder import Recorder
from cotune.tuning.search import Search
from cotune.tuning.stop_rules import StopRules
from cotune.tuning.time_budget import Budget
from cotune.tuning.training_key import Role, TrainingKey

_PLANNING_SHARE = 0.01  # of the search's time, at most
_CANDIDATES = 3  # trials whose weights are kept, for each network of an ensemble


class Tuner:
    """Runs one search and trains its final model.

    Args:
        is_resumed: It had been stopped or killed.
    """

    def __init__(self, context: RunContext, is_resumed: bool = False) -> None:
        self._context = context
        self._is_resumed = is_resumed
        options, clock, run = context.options, context.clock, context.directory
        self._pace = Pace(context.training)
        self._reserved = self._reserve_due = 0.0
        self._n_paced = 0  # trials that have ended and that it has learned from
        self._lineup = make_lineup(options, context.training)
        self._ledger = Ledger(context.direction)
        self._lane_counts = LaneCounts()
        self._final_weights: Weights = {}
        self._held_out = HeldOut(context)
        self._log = TrainingLog(run.trainings_path)
        of_finalists = options.ensemble_of == "finalists"
        total = clock.deadline - (clock.began if is_resumed else clock.now())
        self._budget = Budget(
            options.searched,
            context.training,
            context.dataset.n_test,
            len(context.executor.openings()),
            max(0.0, total) if clock.has_limit else None,
            self._lineup,
            options.ensemble if of_finalists else 0,
        )
        self._study = Study(
            run.journal_path,
            options.searched,
            options.sampler,
            options.pruner,
            options.metric,
            options.costs,
            options.seed,
            self._identity(),
        )
        self._checkpoints = Checkpoints(
            context,
            is_deterministic=lambda: context.is_lockstep and self._study.is_deterministic,
            state=lambda: {"search": self._lane_counts.state()},
            kept=lambda: {
                **self._ledger.weights,
                **self._held_out.weights,
                **self._final_weights,
            },
        )
        self._choice = Choice(
            options.metric, context.training, self._ledger, self._lineup.prior_rank
        )
        self._progress = Progress(
            run,
            self._ledger,
            clock,
            context.observer,
            {
                "study": lambda: self._study.seconds,
                "checkpoints": lambda: self._checkpoints.seconds,
            },
            self._details,
        )
        self._runner = EngineRunner(
            self._study,
            context.executor,
            self._ledger,
            self._lineup,
            options.metric,
            self._budget.most_epochs,
            self._budget.trial_spec,
            self._too_slow,
            1 if of_finalists else max(1, _CANDIDATES * options.ensemble),
            self._measure_costs,
            self._checkpoints,
            self._lane_counts,
        )
        self._rules = StopRules(options.n_trials, options.patience, noise=self._noise)
        self._search = Search(
            self._runner,
            self._ledger,
            Recorder(
                self._study,
                run,
                context.observer,
                lambda reported: run.tables.append_reports(report for report, _ in reported),
            ),
            self._rules,
            clock,
            self._reserve,
            self._progress.tick,
        )
        self._trainer = FullTraining(
            context.executor, clock, self._log, self._progress.tick, self._checkpoints
        )

    def _identity(self) -> dict[str, Any]:
        """Return what must not change when the run is resumed."""
        options, training = self._context.options, self._context.training
        return {
            "network": options.custom.name if options.custom else None,
            "space": options.searched.to_dict(),
            "seed": options.seed,
            "data": self._context.dataset.fingerprint,
            "metric": options.metric,
            "costs": list(options.costs),
            "validation": round(1.0 - training.n_train / len(training.labels), 6),
        }

    def go(
        self, generation: Generation | None = None, exact: bool = False, extended: bool = False
    ) -> Summary:
        """Search, train, test; what the run came to is in the summary and the run directory.

        Args:
            generation: The checkpoint to resume from.
            exact: All files are as they were at that checkpoint.
            extended: The search continues, even if it was over before.

        Raises:
            NoUsableTrialError: No trial has a score; the run directory says why.
        """
        options, run = self._context.options, self._context.directory
        run.tables.start([*options.searched.searched, *options.costs])
        if self._context.dataset.can_be_drawn:
            draw_samples(self._context.dataset, run.samples_path)
        self._study.enqueue(self._lineup.configurations)
        with self._progress.ends_by_errors():
            if self._is_resumed:
                self._restore(generation, exact, extended)
            self._progress.tick()
            if self._log.finalists is None:
                self._search.go()
            self._progress.end_search()
            if self._context.clock.stopped:
                return self._interrupted()
            if options.search_only:
                return self._progress.write("complete", "search only")
            return self._finish()

    def _restore(self, generation: Generation | None, exact: bool, extended: bool) -> None:
        if not exact:
            self._study.mark_not_deterministic()
        run = self._context.directory
        try:
            weights = kept_weights(generation)
            final = {number: weights.pop(number) for number in list(weights) if number < 0}
            if not extended:
                for number, named in final.items():
                    is_finalist = TrainingKey.of(number).role == "finalist"
                    store = self._held_out.weights if is_finalist else self._final_weights
                    store[number] = named
            lanes = lane_files(generation)
            self._trainer.lanes = lanes
            self._context.executor.keep(lanes)
            state = generation.state.get("search", {}) if generation else {}
            tables = run.tables
            self._search.restore(
                *self._runner.restore(tables.trials(), tables.curves(), lanes, weights, state)
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, CotuneError):
                raise
            raise StorageError(
                f"{run.path}: its files do not belong together ({error!r})"
            ) from error
        self._search.announce()
        if extended:
            self._rules.be_patient()

    def _finish(self) -> Summary:
        """Judge finalists, train the final model and test it."""
        ranked = self._ledger.ranked()
        if not ranked:
            raise NoUsableTrialError(self._why_none())
        ranked = self._choice.of_trials(self._by_forecast(ranked))
        finalists = judge_finalists(
            self._context,
            ranked,
            self._ledger,
            self._budget,
            self._choice,
            self._trainer,
            self._held_out,
        )
        self._progress.end_finalists()
        if finalists is None:
            return self._interrupted(ranked[0])
        order = [finalist.number for finalist in finalists]
        order += [trial.number for trial in ranked if trial.number not in order]
        by_number = {trial.number: trial for trial in ranked}
        failures: list[str] = []
        default: Training | None = None
        for number in order:
            trial = by_number[number]
            trainings = self._train_final(trial, by_number, with_default=default is None)
            if trainings is None:
                return self._interrupted(trial)
            chosen, *more = trainings
            default = more[0] if more else default
            if chosen.weights:
                return self._test(trial, (chosen, default), finalists, by_number, failures)
            failures.append(f"trial {number} was skipped: {chosen.error} of its final model")
        raise NoUsableTrialError("; ".join(failures))

    def _train_final(
        self, trial: TrialResult, trials: Mapping[int, TrialResult], with_default: bool
    ) -> list[Training] | None:
        """Train a trial's configuration on all rows, and the default's to compare it with."""
        context = self._context
        trained = [trial]
        compared = self._lineup.default if context.dataset.n_test else None
        if with_default and compared is not None and trial.number != compared in trials:
            trained.append(trials[compared])
        roles: tuple[Role, ...] = ("final", "default")
        specs = [self._final_spec(*pair) for pair in zip(trained, roles, strict=False)]
        context.observer.final_started(trial, specs[0])
        seconds = self._budget.test_seconds(trial)
        seconds += self._budget.classifying_seconds(trial, MOST_ROWS)
        deadline = context.clock.deadline - seconds * len(specs) - self._held_out.column_seconds
        wanted = {
            spec.number: int(self._budget.params(one)["epochs"])
            for spec, one in zip(specs, trained, strict=True)
            if is_annealed(self._budget.params(one)) and one.stop_cause != "early_stopped"
        }
        return self._trainer.run(
            specs, context.observer.final_reported, deadline, self._final_weights, wanted
        )

    def _final_spec(self, trial: TrialResult, role: Role) -> TrialSpec:
        key = TrainingKey(role)
        return final_spec(self._budget.final_params(trial), key, self._context.options.seed)

    def _test(
        self,
        trial: TrialResult,
        trainings: tuple[Training, Training | None],
        finalists: Sequence[Finalist],
        trials: Mapping[int, TrialResult],
        failures: Sequence[str],
    ) -> Summary:
        """Train the ensemble, if one was asked for, and test everything."""
        context = self._context
        members = train_members(
            context,
            (trial, trainings[0]),
            finalists,
            trials,
            self._budget,
            self._trainer,
            self._final_weights,
        )
        if members is None:
            return self._interrupted(trial)
        if weights := self._ledger.weights.get(trial.number):
            seed = trial_seed(context.options.seed, trial.number)
            spec = TrialSpec(trial.number, self._budget.params(trial), seed)
            alike = is_alike(trial.epochs, trainings[0].reports[-1].epoch)
            self._held_out.add_trial(spec, weights, alike)
        final = score_final_model(
            context,
            trainings,
            (trial.number, self._lineup.default),
            finalists,
            save_members(context, members, self._held_out)
            if members
            else save_candidates(context, self._ledger, self._budget, self._held_out),
            self._held_out,
            self._choice.warning(trial, finalists, context.dataset.classes),
        )
        remarks = "; ".join(failures or self._remarks(trial, final))
        summary = self._progress.write(
            "complete", remarks, best=self._best(trial), final=summarize_final(final, trial.number)
        )
        self._checkpoints.drop()
        return summary

    def _interrupted(self, trial: TrialResult | None = None) -> Summary:
        """Write that the user stopped the run; ``trial`` is the one that was chosen by then."""
        further = {"best": self._best(trial)} if trial else {}
        return self._progress.write("interrupted", "stopped by the user", **further)

    def _details(self, state: RunState) -> dict[str, Any]:
        """Return further fields of the summary."""
        ranked, lane_counts = self._ledger.ranked(1), self._lane_counts
        return {
            "best": self._best(ranked[0]) if ranked else None,
            "lanes": Lanes(
                mean=round(lane_counts.mean_lanes, 2),
                together=len(lane_counts.together),
                alone=len(lane_counts.alone),
            ),
            "why_alone": sorted(lane_counts.why_alone),
            "pareto": self._pareto() if state != "running" else [],
        }

    def _best(self, trial: TrialResult) -> BestTrial:
        accuracies = self._ledger.accuracies
        return BestTrial(
            number=trial.number,
            params=dict(trial.params),
            validation_accuracy=accuracies[trial.number],
            value=trial.value,
            search_best=accuracies[self._ledger.ranked(1)[0].number],
            baseline=dict(self._choice.baseline) or None,
            epochs=trial.epochs,
        )

    def _pareto(self) -> list[ParetoTrial]:
        """Return the trials that no other one beats in every objective, the best value first."""
        front = set(self._study.pareto_front())
        trials = [trial for trial in self._ledger.ranked() if trial.number in front]
        return [
            ParetoTrial(number=trial.number, value=trial.value or 0.0, **trial.costs)
            for trial in trials
        ]

    def _why_none(self) -> str:
        failed = [trial for trial in self._ledger.finished if trial.state == "failed"]
        if not failed:
            return "no trial finished an epoch in the time given; give more with --timeout"
        reasons = [trial.reason.split(": ", 1)[-1] for trial in failed]
        commonest = max(set(reasons), key=reasons.count)
        return f"all {len(failed)} trials that ended failed, most of them because {commonest}"

    def _remarks(self, trial: TrialResult, final: FinalResult) -> list[str]:
        remarks = [self._rules.no_gain] if self._rules.no_gain else []
        if trial.state != "complete":
            remarks.append(f"trial {trial.number}: {trial.reason}; its score is of that epoch")
        params = self._budget.params(trial)
        wanted = int(params["epochs"])
        # A rate that falls to zero does so in the epochs that there is time for.
        if final.epochs < wanted and not is_annealed(params):
            remarks.append(f"the final model has {final.epochs} of {wanted} epochs: time was up")
        return remarks

    def _too_slow(self, spec: TrialSpec) -> str:
        """Return why a trial that is trained alone has no time, or ""."""
        ledger, space = self._ledger, self._context.options.searched
        if spec.horizon is None or spec.number == self._lineup.default:
            return ""
        new, self._n_paced = ledger.finished[self._n_paced :], len(ledger.finished)
        for trial in (*new, *self._runner.so_far()):
            params = space.complete(trial.params)
            if trial.epochs and is_annealed(params):
                self._pace.learn(params, trial.seconds / trial.epochs)
        seconds = self._pace.seconds(spec.params)
        if seconds is None or not self._budget.is_too_slow(seconds):
            return ""
        return f"{CUT_SHORT['out_of_time']} before it began: an epoch would take {seconds:.0f} s"

    def _reserve(self) -> float:
        """Return the seconds to leave for the phases after the search."""
        if self._context.options.search_only:
            return 0.0
        began = self._context.clock.now()
        if began >= self._reserve_due:
            ledger = self._ledger
            ranked = ledger.rank([*ledger.finished, *self._runner.so_far()])
            self._reserved = self._budget.reserve(self._by_forecast(ranked))
            now = self._context.clock.now()
            # With thousands of trials, planning at each poll would take most of the time.
            self._reserve_due = now + (now - began) / _PLANNING_SHARE
        return self._reserved

    def _by_forecast(self, ranked: Sequence[TrialResult]) -> list[TrialResult]:
        return self._budget.by_forecast(ranked, self._context.options.metric)

    def _measure_costs(self, spec: TrialSpec) -> dict[str, float]:
        data, options = self._context.training, self._context.options
        return {
            name: measure_cost(name, spec.params, data.input_shape, data.n_classes, options.custom)
            for name in options.costs
        }

    def _noise(self, value: float) -> float:
        """Return the standard error of a score of the validation part."""
        counts = held_out_counts(self._context.training)
        return standard_error(self._context.options.metric, value, counts)
