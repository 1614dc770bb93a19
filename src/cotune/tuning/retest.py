"""A second look at the sealed test set, which has to be asked for and is recorded."""

from __future__ import annotations

from pathlib import Path

from cotune.engine.networks.custom.given import ModelLike, read_custom_network
from cotune.exceptions import UsageError
from cotune.inference.model_file import load_model
from cotune.runs.directory import RunDirectory
from cotune.runs.source import recorded_dataset
from cotune.tuning.final_model import TestReading, read_test_set


def retest(path: str | Path, again: bool = False, model: ModelLike = None) -> TestReading:
    """Score a run's final model on the sealed test set.

    Args:
        path: The run directory.
        model: Of a run on networks of your own: what makes them.
        again: Read it although it was read before. Whoever chooses by a second reading no longer
            has an honest score.

    Raises:
        UsageError: It was read before and ``again`` was not given; there is no such run; it has no
            test set; or its data cannot be read again, or has changed.
        ModelFileError: The run has no final model.
    """
    run = RunDirectory.open(path)
    config = run.data_config()
    if config.dataset.rows.test == 0:
        raise UsageError(f"{run.path}: the run was given no test set, so there is none to read")
    readings = run.readings()
    if readings and not again:
        last = readings[-1]
        raise UsageError(
            f"{run.path}: the test set was read on {last.when}, with {last.accuracy:.2%} "
            "right; --again reads it once more, which is recorded"
        )
    classifier = load_model(run.best_path, read_custom_network(model))
    (reading,) = read_test_set([classifier], recorded_dataset(run), config.metric)
    run.tables.add_test_rows(reading.digests.tolist())
    run.append_reading(reading.accuracy)
    return reading
