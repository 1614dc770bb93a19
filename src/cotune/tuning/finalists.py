"""The phase of finalists: the most promising trials are trained again on other folds."""

from __future__ import annotations

from collections.abc import Sequence

from cotune.records import Finalist, TrialResult, TrialSpec
from cotune.tuning.choice import Choice
from cotune.tuning.context import RunContext
from cotune.tuning.full_training import FullTraining, Training
from cotune.tuning.held_out import HeldOut
from cotune.tuning.ledger import Ledger
from cotune.tuning.play_off import PlayOff
from cotune.tuning.time_budget import Budget
from cotune.tuning.time_plan import MOST_ROUNDS
from cotune.tuning.training_key import TrainingKey


def judge_finalists(
    context: RunContext,
    ranked: Sequence[TrialResult],
    ledger: Ledger,
    budget: Budget,
    choice: Choice,
    trainer: FullTraining,
    held_out: HeldOut,
) -> list[Finalist] | None:
    """Train the most promising trials again and order them by the means, best first.

    Args:
        ranked: Trials that may become finalists, the best first.
        trainer: Its log remembers which were chosen, and their reports.
        held_out: Keeps their networks.

    Returns:
        [] where there is no time for it; None when the user stopped it.
    """
    clock, observer, log = context.clock, context.observer, trainer.log
    if log.finalists is None:
        spent = sum(float(trial.epochs) for trial in ledger.finished)
        count, rounds, _ = budget.finalists(ranked, spent)
        promising = budget.promising(ranked)[: count if rounds else 0]
        log.choose({one.number: budget.epochs(one) for one in promising}, rounds)
    epochs, rounds = log.finalists or ({}, 0)
    by_number = {trial.number: trial for trial in ranked}
    trials = [by_number[number] for number in epochs if number in by_number]
    if not trials:
        return []
    if clock.has_limit:
        rounds = MOST_ROUNDS * budget.stage  # as many as there is time for

    def deadline(numbers: Sequence[int]) -> float:
        """Return the deadline that leaves time for the final models of any of these."""
        return clock.deadline - max(
            budget.seconds_after_finalists(by_number[number], ranked) for number in numbers
        )

    def has_time(seconds: float, numbers: Sequence[int]) -> bool:
        if log.next_part is not None:  # as it was decided before
            return log.next_part == "train"
        return clock.now() + seconds < deadline(numbers)

    def train(specs: Sequence[TrialSpec]) -> list[Training] | None:
        end = deadline([TrainingKey.of(spec.number).index for spec in specs])
        held_out.plan(specs)
        trainings = trainer.run(specs, observer.finalists_reported, end, ended=held_out.keep)
        for one in trainings or ():
            budget.measure(TrainingKey.of(one.spec.number).index, one.reports)
        return trainings

    observer.finalists_started(trials, rounds)
    params = {
        one.number: {**budget.final_params(one), "epochs": epochs[one.number]} for one in trials
    }
    play_off = PlayOff(
        rounds,
        context.training.n_folds - 1,
        context.options.seed,
        context.options.metric,
        context.direction,
        budget.stage,
    )
    finalists = play_off.run(params, train, has_time)
    if finalists is None:
        return None
    finalists = choice.of_finalists(finalists)
    observer.finalists_ended(finalists)
    return finalists
