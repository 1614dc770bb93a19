"""Options and resources of a run, and the ``config.yaml`` that records them."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from cotune.data.dataset import Dataset, TrainingData
from cotune.data.preprocessing.treatment import Treatment
from cotune.data.uneven import uneven_remark
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.space import CustomSpace
from cotune.records import Cluster, Place, Value
from cotune.runs.provenance import command_line, shown_name
from cotune.space.space import Space
from cotune.study.pruners import PrunerLike
from cotune.study.samplers import SamplerLike
from cotune.study.study import OPTUNA_VERSION
from cotune.version import VERSION


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        space: What is searched.
        sampler, pruner: A name, or an Optuna object.
        metric: One of ``cotune.metrics.METRICS`` on the validation part.
        n_trials: Trials to run; None for as many as the time allows.
        timeout: Seconds for everything; None for no limit.
        seed: Decides the split, the sampler, the weights and the order of the rows.
        enqueued: Configurations, or parts of them, that are tried first.
        costs: Further objectives: ``parameters``, ``latency``.
        portfolio: Try the default configuration and other good ones after those.
        patience: End the search after so many trials without a gain beyond noise; None: do not.
        ensemble: Networks to average, counted with repeats; 0 for no ensemble.
        ensemble_of: ``search``: networks of the search, chosen greedily on the validation part;
            ``finalists``: the configurations of the best finalists, trained on all rows.
        validation: Share of the training rows that trials are judged on, 0-1.
        custom: What makes the networks, where they are the user's own.
        inputs: ``raw``, ``standardize`` or ``auto``, as for :func:`cotune.run`.
        channels: ``first``, ``last``, ``none`` or ``auto``, likewise.
        search_only: Leave it at the search, without finalists and a final model. The test set is
            not read, and all of the time is the search's.
    """

    space: Space
    sampler: SamplerLike = "tpe"
    pruner: PrunerLike = "asha"
    metric: str = "accuracy"
    n_trials: int | None = None
    timeout: float | None = 300.0
    seed: int = 0
    enqueued: Sequence[dict[str, Value]] = ()
    costs: tuple[str, ...] = ()
    portfolio: bool = True
    patience: int | None = None
    ensemble: int = 0
    ensemble_of: str = "search"
    validation: float = 0.2
    custom: CustomNetwork | None = None
    inputs: str = "auto"
    channels: str = "auto"
    search_only: bool = False

    @property
    def treatment(self) -> Treatment:
        """Return how rows are treated: as asked, or as the user's own network takes them."""
        if isinstance(self.space, CustomSpace):
            return self.space.treatment
        return self.asked

    @property
    def asked(self) -> Treatment:
        """Return how the user wants rows treated."""
        return Treatment(self.inputs, self.channels)

    @property
    def searched(self) -> Space:
        """Return the space that the sampler sees: a grid has a few values of each range."""
        return self.space.discretized() if self.sampler == "grid" else self.space


@dataclass(frozen=True)
class Resources:
    """Resources that a run may use.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``, on this machine.
        workers: Processes, on the CPU; 0: none, this process trains.
        cluster: A Ray cluster that trains, instead of this machine.
        lanes: Trials in training at a time in each process; None: measured.
        precision: ``float32``, ``bfloat16``, or ``auto``, which is either of them.
        checkpoint: Seconds from one checkpoint to the next.
        max_disk: Bytes that the run directory may take up.
    """

    device: str
    workers: int
    lanes: int | None = None
    precision: str = "auto"
    checkpoint: float = 30.0
    max_disk: float = 2 * 2**30
    cluster: Cluster | None = None

    def place(self, options: Options) -> Place:
        """Return where the trials are trained."""
        return Place(self.device, self.workers, self.cluster, self.is_lockstep(options))

    def is_lockstep(self, options: Options) -> bool:
        """Tell whether the same seed gives the same trials bit for bit, whatever the clock says."""
        named = isinstance(options.sampler, str) and isinstance(options.pruner, str)
        clockless = options.timeout is None and "latency" not in options.costs
        is_one = self.cluster is None and self.device == "cpu" and self.workers < 2
        return is_one and named and clockless


def describe_run(
    options: Options, resources: Resources, dataset: Dataset, training: TrainingData, lanes: int
) -> dict[str, Any]:
    """Return the content of ``config.yaml``: options as resolved, dataset, resources, versions."""
    n_rows = len(training.labels)
    return {
        "command": command_line(),
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "rows": {
                "train": training.n_train,
                "validation": n_rows - training.n_train,
                "test": dataset.n_test,
            },
            "input_shape": list(dataset.input_shape),
            "columns": dict(Counter(column.kind for column in dataset.columns)),
            "classes": list(dataset.classes),
            "source": None if dataset.source is None else asdict(dataset.source),
            "remarks": list(dataset.remarks),
        },
        "notes": _notes(options, dataset),
        "network": options.custom.name if options.custom else None,
        "space": options.searched.to_dict(),
        "sampler": shown_name(options.sampler),
        "pruner": shown_name(options.pruner),
        "metric": options.metric,
        "costs": list(options.costs),
        "portfolio": options.portfolio,
        "patience": options.patience,
        "n_trials": options.n_trials,
        "timeout_seconds": options.timeout,
        "seed": options.seed,
        "enqueued": list(options.enqueued),
        "ensemble": options.ensemble,
        "ensemble_of": options.ensemble_of,
        "search_only": options.search_only,
        "validation": options.validation,
        "inputs": options.inputs,
        "channels": options.channels,
        "device": resources.device,
        "executor": resources.place(options).executor,
        "workers": _workers(resources),
        "cluster": None if resources.cluster is None else asdict(resources.cluster),
        "lanes": lanes,
        "precision": resources.precision,
        "checkpoint_seconds": resources.checkpoint,
        "max_disk_bytes": resources.max_disk,
        "versions": {
            "cotune": VERSION,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "optuna": OPTUNA_VERSION,
        },
    }


def _workers(resources: Resources) -> int | None:
    if resources.cluster is not None:
        return resources.cluster.workers
    return resources.workers if resources.device == "cpu" else None


def _notes(options: Options, dataset: Dataset) -> list[str]:
    """Return proposals to the user who starts the run."""
    remark = uneven_remark_of(dataset, options.metric, options.searched)
    return [remark] if remark else []


def uneven_remark_of(dataset: Dataset, metric: str, space: Space) -> str:
    """Propose another metric and class weights where a dataset's classes are uneven; else "".

    Args:
        metric: The run's.
        space: What it searches.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    return uneven_remark(counts, dataset.classes, metric, space.searched, space.constants)
