"""The test of a run's final model: the one reading of the sealed test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cotune.data.pictures import draw_mistakes
from cotune.inference.ensemble import Ensemble
from cotune.inference.model_file import Classifier, save_model
from cotune.records import EnsembleResult, Finalist, FinalResult
from cotune.standard_error import mcnemar
from cotune.tuning.context import RunContext
from cotune.tuning.final_model import TestReading, make_classifier, read_test_set
from cotune.tuning.full_training import Training
from cotune.version import VERSION


def score_final_model(
    context: RunContext,
    training: Training,
    default: Training | None,
    default_number: int | None,
    is_default: bool,
    finalists: Sequence[Finalist],
    ensemble: tuple[list[Ensemble], EnsembleResult | None],
    warning: str,
) -> FinalResult:
    """Save the final model, test it, the default and the ensemble, and record the result.

    Args:
        training: The final model's.
        default: The default's; None where it was not trained, or is the final model.
        default_number: The default's trial; None where there is none.
        is_default: The final model is of that trial.
        ensemble: The ensemble that was asked for, and what it is made of.
        warning: What is to be said where there is no test set, or "".
    """
    dataset, run = context.dataset, context.directory
    models = [
        make_classifier(one, dataset, context.preprocessing, context.options.custom)
        for one in (training, default)
        if one is not None and one.weights
    ]
    save_model(run.best_path, models[0], training.spec.params, VERSION)
    ensembles, combined = ensemble
    reading, more = None, list[TestReading]()
    if dataset.n_test:
        scored: list[Classifier | Ensemble] = [*models, *ensembles]
        reading, *more = read_test_set(scored, dataset, context.options.metric)
        run.tables.add_test_rows(reading.digests.tolist())
        run.append_reading(reading.accuracy)
        if combined is not None:
            last = more.pop()
            combined = replace(combined, test_accuracy=last.accuracy, test_ci95=last.ci95)
        if dataset.can_be_drawn and reading.mistakes:
            draw_mistakes(dataset, reading.images, reading.mistakes, run.mistakes_path)
    has_default = is_default or bool(more)
    other = (more[0] if more else reading) if has_default else None
    reports = training.reports
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
    )
    run.write_final(final)
    context.observer.final_ended(final)
    return final
