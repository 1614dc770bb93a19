"""The test of a run's final model: the one reading of the sealed test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cotune.data.pictures import draw_mistakes
from cotune.diagnostics import Calibration
from cotune.inference.ensemble import Ensemble
from cotune.inference.model_file import Classifier, save_model
from cotune.records import EnsembleResult, Finalist, FinalResult
from cotune.standard_error import mcnemar
from cotune.tuning.context import RunContext
from cotune.tuning.final_model import TestReading, make_classifier, read_test_set
from cotune.tuning.full_training import Training
from cotune.tuning.held_out import HeldOut
from cotune.version import VERSION


def score_final_model(
    context: RunContext,
    trainings: tuple[Training, Training | None],
    numbers: tuple[int, int | None],
    finalists: Sequence[Finalist],
    ensemble: tuple[list[Ensemble], EnsembleResult | None],
    held_out: HeldOut,
    warning: str,
) -> FinalResult:
    """Save the final model, test it, the default and the ensemble, and record the result.

    Args:
        trainings: The final model's, and the default's: None where it was not trained, or is the
            final model.
        numbers: The trials that these are of; None where there is no default.
        ensemble: The ensemble that was asked for, and what it is made of.
        held_out: What temperatures are fitted on.
        warning: What is to be said where there is no test set, or "".
    """
    dataset, run = context.dataset, context.directory
    number, default_number = numbers
    models, calibrations = list[Classifier](), list[Calibration]()
    for one, trial in zip(trainings, numbers, strict=True):
        if one is not None and trial is not None and one.weights:
            model = make_classifier(one, dataset, context.preprocessing, context.options.custom)
            calibrations.append(held_out.calibration({trial: 1}))
            model.temperature = calibrations[-1].temperature
            models.append(model)
    save_model(run.best_path, models[0], trainings[0].spec.params, VERSION)
    calibration, columns = calibrations[0], held_out.columns(number)
    ensembles, combined = ensemble
    reading, more = None, list[TestReading]()
    if dataset.n_test:
        scored: list[Classifier | Ensemble] = [*models, *ensembles]
        reading, *more = read_test_set(scored, dataset, context.options.metric)
        run.tables.add_test_rows(reading.digests.tolist())
        run.append_reading(reading.accuracy)
        if combined is not None:
            last = more.pop()
            of_test = combined.calibration and replace(combined.calibration, test=last.reliability)
            combined = replace(
                combined,
                test_accuracy=last.accuracy,
                test_ci95=last.ci95,
                calibration=of_test,
            )
        calibration = replace(calibration, test=reading.reliability)
        if dataset.can_be_drawn and reading.mistakes:
            draw_mistakes(dataset, reading.images, reading.mistakes, run.mistakes_path)
    has_default = number == default_number or bool(more)
    other = (more[0] if more else reading) if has_default else None
    reports = trainings[0].reports
    final = FinalResult(
        test_accuracy=reading.accuracy if reading else None,
        test_ci95=reading.ci95 if reading else None,
        epochs=reports[-1].epoch,
        parameters=sum(p.numel() for p in models[0].parameters()),
        curve={
            "loss": [report.train_loss for report in reports],
            "accuracy": [report.train_accuracy for report in reports],
        },
        confusion=reading.confusion if reading else [],
        mistakes=reading.mistakes if reading else [],
        finalists=list(finalists),
        default_number=default_number if has_default else None,
        default_test_accuracy=other.accuracy if other else None,
        default_test_ci95=other.ci95 if other else None,
        default_p_value=mcnemar(reading.right, other.right) if reading and other else None,
        ensemble=combined,
        test_scores=reading.scores if reading else {},
        default_test_scores=other.scores if other else {},
        baseline_test_scores=reading.baseline if reading else {},
        warning=reading.warning if reading else warning,
        calibration=calibration,
        columns=columns,
    )
    run.write_final(final)
    context.observer.final_ended(final)
    return final
