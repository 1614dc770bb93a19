"""The ensemble of a run: of networks of the search, or of finalists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from cotune.inference.calibration import calibrate
from cotune.inference.ensemble import Candidate, Ensemble, make_ensemble, save_ensemble
from cotune.inference.scores import compute_logits
from cotune.records import EnsembleResult, Finalist, TrialResult
from cotune.study.study import trial_seed
from cotune.tuning.checkpointer import Weights
from cotune.tuning.context import RunContext
from cotune.tuning.final_model import final_spec, make_classifier
from cotune.tuning.full_training import FullTraining, Training
from cotune.tuning.held_out import MOST_ROWS, HeldOut
from cotune.tuning.ledger import Ledger
from cotune.tuning.time_budget import Budget
from cotune.tuning.training_key import TrainingKey
from cotune.version import VERSION

_RIVALS = 3  # finalists whose configurations take turns

Members = Mapping[int, Sequence[Training]]
"""Trainings of an ensemble, by the trial that they are of."""


def train_members(
    context: RunContext,
    chosen: tuple[TrialResult, Training],
    finalists: Sequence[Finalist],
    trials: Mapping[int, TrialResult],
    budget: Budget,
    trainer: FullTraining,
    kept: Weights,
) -> Members | None:
    """Train the members of an ensemble of finalists; the final model is the first.

    The configurations of the best finalists take turns, each time with another seed.

    Args:
        chosen: The trial of the final model, and that model's training.
        trials: By number.

    Returns:
        {} where none was asked for; None when the user stopped it.
    """
    options = context.options
    if not options.ensemble or options.ensemble_of != "finalists":
        return {}
    trial, final = chosen
    rivals = [one.number for one in finalists if one.number != trial.number]
    turns = [trial.number, *rivals[: _RIVALS - 1]]
    count = budget.members(trial, options.ensemble)
    numbers = [turns[i % len(turns)] for i in range(1, count)]
    specs = [
        final_spec(budget.final_params(trials[number]), TrainingKey("member", i), options.seed)
        for i, number in enumerate(numbers)
    ]
    trainings = trainer.run(specs, lambda report: None, context.clock.deadline, kept)
    if trainings is None:
        return None
    members = {trial.number: [final]}
    for number, training in zip(numbers, trainings, strict=True):
        if training.weights:
            members.setdefault(number, []).append(training)
    return members


def save_members(
    context: RunContext, members: Members, held_out: HeldOut
) -> tuple[list[Ensemble], EnsembleResult]:
    """Save an ensemble of these trainings; returns it, and what it is made of.

    Its members have seen all rows but the test set's, so its temperature is fitted on the average
    of one finalist of each configuration, with the same shares.
    """
    trainings = [one for several in members.values() for one in several]
    networks = [
        make_classifier(one, context.dataset, context.preprocessing, context.options.custom)
        for one in trainings
    ]
    ensemble = Ensemble(networks, [1.0] * len(networks)).eval()
    counts = {number: len(several) for number, several in members.items()}
    calibration = held_out.calibration(counts)
    ensemble.temperature = calibration.temperature
    params = [one.spec.params for one in trainings]
    save_ensemble(context.directory.ensemble_path, ensemble, params, VERSION)
    return [ensemble], EnsembleResult(counts, None, calibration=calibration)


def save_candidates(
    context: RunContext, ledger: Ledger, budget: Budget, held_out: HeldOut
) -> tuple[list[Ensemble], EnsembleResult | None]:
    """Choose an ensemble among networks of the search, and save it; or return nothing.

    Its temperature is fitted on the validation part, which chose its members too.
    """
    options = context.options
    kept = [trial for trial in ledger.ranked() if trial.number in ledger.weights]
    if not kept or not options.ensemble:
        return [], None
    candidates = [
        Candidate(
            trial.number,
            budget.params(trial),
            ledger.weights[trial.number],
            trial_seed(options.seed, trial.number),
        )
        for trial in kept
    ]
    ensemble, result, members = make_ensemble(
        candidates,
        context.training,
        context.preprocessing,
        context.dataset.classes,
        options.ensemble,
        options.custom,
    )
    dataset, rows = context.dataset, held_out.rows(0, MOST_ROWS)
    calibration = calibrate(
        compute_logits(ensemble, dataset.inputs[rows]), torch.from_numpy(dataset.labels[rows])
    )
    ensemble.temperature = calibration.temperature
    params = [member.params for member in members]
    save_ensemble(context.directory.ensemble_path, ensemble, params, VERSION)
    return [ensemble], replace(result, calibration=replace(calibration, chose=True))
