"""The data that a run was on, read again."""

from __future__ import annotations

from cotune.data import Dataset, entries, load
from cotune.exceptions import UsageError
from cotune.rundir import RunDirectory


def recorded_dataset(run: RunDirectory) -> Dataset:
    """The run's data, the same as it was.

    Raises:
        UsageError: It is no named dataset, it has changed since, or there was none.
    """
    run.check_on_data()
    recorded = run.config()["dataset"]
    name = recorded["name"]
    if name not in [entry.name for entry in entries()]:
        raise UsageError(f"{name}: is no named dataset, so the run's data cannot be read again")
    dataset = load(name)
    check_fingerprint(run, dataset)
    return dataset


def check_fingerprint(run: RunDirectory, dataset: Dataset) -> None:
    """Make sure that a dataset is the one that a run was on.

    Raises:
        UsageError: It is another one.
    """
    recorded = run.config()["dataset"]
    if "fingerprint" not in recorded:
        raise UsageError(f"{run.config_path}: has no fingerprint; an older Cotune wrote it")
    fingerprint = str(recorded["fingerprint"])
    if dataset.fingerprint != fingerprint:
        raise UsageError(
            f"{dataset.name}: is not what the run was on; its fingerprint is "
            f"{dataset.fingerprint[:12]}, {fingerprint[:12]} was recorded"
        )
