"""Reading a run's data again."""

from __future__ import annotations

import os
import shlex

from cotune.data import Dataset, entries, load
from cotune.data.dataset import Source
from cotune.data.known_rows import test_set_digests
from cotune.data.reading import read_data
from cotune.exceptions import UsageError
from cotune.runs.decode import decode
from cotune.runs.directory import RunDirectory


def recorded_dataset(run: RunDirectory) -> Dataset:
    """Read the run's data again, and make sure that it is the same.

    Raises:
        UsageError: It was of objects in memory, is no longer where it was, has changed since, or
            there was none.
    """
    name = run.data_config().dataset.name
    source = recorded_source(run)
    if source is not None:
        for path in (source.path, source.test):
            if path is not None and not os.path.exists(path):
                option = "--data" if path == source.path else "--test"
                raise UsageError(
                    f"{path}: the run's data is no longer there; put it back, or resume with "
                    f"cotune resume {shlex.quote(str(run.path))} {option} NEW_PATH"
                )
        dataset = read_data(
            source.path, target=source.target, test=source.test, reading=source.reading
        )
    elif name in [entry.name for entry in entries()]:
        dataset = load(name)
    else:
        raise UsageError(
            f"{name}: is no named dataset, so the run's data cannot be read again; cotune.resume "
            "takes them once more with data=..."
        )
    check_fingerprint(run, dataset)
    return dataset


def recorded_source(run: RunDirectory) -> Source | None:
    """Return where the data was read from; None for a named dataset or objects in memory.

    Raises:
        StorageError: ``config.yaml`` does not say it as a run writes it.
    """
    recorded = run.data_config().dataset.source
    if recorded is None:
        return None
    return decode(recorded, Source, run.config_path, "dataset.source")


def check_fingerprint(run: RunDirectory, dataset: Dataset) -> None:
    """Make sure that a dataset is the one that a run was on.

    Raises:
        UsageError: It is another one.
    """
    recorded = run.data_config().dataset
    fingerprint, sealed = recorded.fingerprint, recorded.test_fingerprint
    if fingerprint is None:
        raise UsageError(f"{run.config_path}: has no fingerprint; an older Cotune wrote it")
    if dataset.fingerprint != fingerprint:
        where = dataset.source.path if dataset.source else dataset.name
        raise UsageError(
            f"{where}: is not what the run was on; its fingerprint is "
            f"{dataset.fingerprint[:12]}, {fingerprint[:12]} was recorded"
        )
    if sealed is None or dataset.test_rows is None:
        return  # a named dataset's files have checksums
    _, found = test_set_digests(dataset)
    if found != sealed:
        where = dataset.name
        if dataset.source is not None:
            where = dataset.source.test or dataset.source.path
        raise UsageError(
            f"{where}: the test set is not the run's; its fingerprint is {found[:12]}, "
            f"{sealed[:12]} was recorded"
        )
