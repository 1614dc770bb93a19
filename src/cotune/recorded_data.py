"""The data that a run was on, read again."""

from __future__ import annotations

from cotune.data import Dataset, entries, load
from cotune.exceptions import UsageError
from cotune.rundir import RunDirectory


def recorded_dataset(run: RunDirectory) -> Dataset:
    """The run's data, the same as it was.

    Raises:
        UsageError: It is no named dataset, or it has changed since.
    """
    recorded = run.config()["dataset"]
    name = recorded["name"]
    if name not in [entry.name for entry in entries()]:
        raise UsageError(f"{name}: is no named dataset, so the run's data cannot be read again")
    if "fingerprint" not in recorded:
        raise UsageError(f"{run.config_path}: has no fingerprint; an older Cotune wrote it")
    dataset, fingerprint = load(name), str(recorded["fingerprint"])
    if dataset.fingerprint != fingerprint:
        raise UsageError(
            f"{name}: is not what the run was on; its fingerprint is {dataset.fingerprint[:12]}, "
            f"{fingerprint[:12]} was recorded"
        )
    return dataset
