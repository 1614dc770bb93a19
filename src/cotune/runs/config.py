"""``config.yaml``: what a run was asked for, resolved, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cotune.exceptions import StorageError
from cotune.records import Cluster, Direction, Scores, check_scores
from cotune.runs.files import describe_error

OBJECTIVE: Final = "objective"
"""The ``kind`` in the configuration of a run of a user's own objective function."""


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """Rows of the dataset by part."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The dataset of a run; what an older Cotune did not write is None or empty.

    Attributes:
        columns: How many there are of each kind.
        source: Where it was read from, as :class:`cotune.data.dataset.Source`; None for a named
            dataset or objects in memory.
        baseline: Scores on the validation part of always predicting ``baseline_class``, the most
            frequent one.
    """

    name: str
    rows: RowCounts
    classes: list[str]
    fingerprint: str | None = None
    test_fingerprint: str | None = None
    input_shape: list[int] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    source: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list)
    baseline: Scores | None = None
    baseline_class: str | None = None

    def __post_init__(self) -> None:
        check_scores(self.baseline)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run as it is shown; what an older Cotune did not write is None or empty."""

    dataset: DataConfig
    metric: str
    device: str
    command: str | None = None
    notes: list[str] = field(default_factory=list)
    network: str | None = None
    costs: list[str] = field(default_factory=list)
    sampler: str | None = None
    pruner: str | None = None
    n_trials: int | None = None
    timeout_seconds: float | None = None
    seed: int | None = None
    executor: str | None = None
    workers: int | None = None
    cluster: Cluster | None = None
    lanes: int | None = None
    versions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """A run of a user's own objective function."""

    objective: str
    direction: Direction
    workers: int
    metric: str
    objective_sha256: str | None = None
    command: str | None = None
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    sampler: str = "tpe"
    pruner: str = "asha"
    n_trials: int | None = None
    timeout_seconds: float | None = None
    seed: int = 0
    finalists: int | None = None
    repeats: int = 3
    arguments: list[str] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecordedOptions:
    """All options of a run, as resuming and reproducing need them."""

    space: dict[str, Any]
    sampler: str
    pruner: str
    metric: str
    costs: list[str]
    portfolio: bool
    patience: int | None
    n_trials: int | None
    timeout_seconds: float | None
    seed: int
    enqueued: list[dict[str, Any]]
    ensemble: int
    ensemble_of: str
    search_only: bool
    validation: float
    # A run of an older Cotune standardized all entries with one scale.
    inputs: str = "standardize"
    channels: str = "none"
    device: str
    executor: str = "auto"
    workers: int | None
    cluster: Cluster | None = None
    lanes: int
    precision: str
    checkpoint_seconds: float
    max_disk_bytes: float


def read_plain_config(path: Path) -> Any:
    """Read ``config.yaml`` as plain data, unchecked.

    Raises:
        StorageError: It is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # PyYAML lets a ValueError or KeyError through
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error
