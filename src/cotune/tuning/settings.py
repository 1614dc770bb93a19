"""A run's settings: its arguments, checked once, and then fitted to its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cotune.arguments import (
    EXECUTOR_NAMES,
    count,
    named,
    positive,
    read_metrics,
    read_seed,
    read_size,
    read_timeout,
)
from cotune.data import Dataset
from cotune.data.preprocessing.treatment import CHANNELS, INPUTS
from cotune.engine.device import n_cores, read_device, read_precision
from cotune.engine.lane_count import FIRST_GUESS
from cotune.engine.networks.custom.given import ModelLike, read_custom_network
from cotune.exceptions import UsageError
from cotune.runs.options import Options, Resources
from cotune.space.enqueue import check_configurations
from cotune.space.given import SpaceLike, read_space
from cotune.space.space import Space
from cotune.study.pruners import PRUNERS, PrunerLike
from cotune.study.samplers import SAMPLERS, SamplerLike
from cotune.text import parse_duration
from cotune.tuning.fit_space import fit_space
from cotune.workers.ray.cluster import read_cluster, refuse_cluster


@dataclass(frozen=True)
class Settings:
    """A run's arguments, checked as far as they can be without its data.

    Attributes:
        options: What was asked for; its space is that of many images.
        resources: What the run may use.
        space, model, fixed, enqueue, validation: As for :func:`cotune.run`, to be fitted to the
            data.
    """

    options: Options
    resources: Resources
    space: SpaceLike
    model: ModelLike
    fixed: Mapping[str, Any] | None
    enqueue: Sequence[Mapping[str, Any]]
    validation: float | None = None

    def fit(self, dataset: Dataset) -> Options:
        """Return the options for a dataset: its space, and the configurations to try first.

        Raises:
            UsageError: The space, the network or a configuration is not for such rows.
        """
        share = self.validation
        if share is None:
            share = min(_VALIDATION_SHARE, _VALIDATION_ROWS / len(dataset))
        asked = replace(self.options, validation=share)
        space = fit_space(
            self.space,
            self.model,
            dataset,
            self.fixed,
            asked.custom,
            asked.validation,
            asked.seed,
            asked.asked,
        )
        options = replace(asked, space=space)
        return replace(options, enqueued=check_configurations(self.enqueue, options.searched))


def read_settings(
    *,
    space: SpaceLike = None,
    model: ModelLike = None,
    fixed: Mapping[str, Any] | None = None,
    sampler: SamplerLike = "tpe",
    pruner: PrunerLike = "asha",
    metric: str = "accuracy",
    n_trials: int | None = None,
    timeout: str | float | None = None,
    seed: int = 0,
    executor: str = "auto",
    workers: int | Literal["in-process", "max"] | None = None,
    address: str | None = None,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float | None = None,
    lanes: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    portfolio: bool = True,
    patience: int | None = None,
    ensemble: int = 0,
    validation: float | None = None,
    inputs: str = "auto",
    channels: str = "auto",
    checkpoint: str | float = "30s",
    max_disk: str | float = "2GB",
    ensemble_of: str = "search",
    enqueue: Sequence[Mapping[str, Any]] = (),
) -> Settings:
    """Check the arguments of :func:`cotune.run`.

    Raises:
        UsageError: One cannot be used.
    """
    metrics = read_metrics(metric)
    custom = read_custom_network(model)
    options = Options(
        space=read_space(space, model, fixed=fixed) if custom is None else Space({}),
        custom=custom,
        sampler=named(sampler, SAMPLERS, "sampler"),
        pruner=named(pruner, PRUNERS, "pruner"),
        metric=metrics[0],
        costs=metrics[1],
        n_trials=positive(n_trials, "n_trials"),
        timeout=read_timeout(timeout, n_trials),
        seed=read_seed(seed),
        ensemble=count(ensemble, "ensemble"),
        ensemble_of=named(ensemble_of, ENSEMBLES, "ensemble_of"),
        portfolio=bool(portfolio),
        patience=positive(patience, "patience"),
        inputs=str(named(inputs, INPUTS, "inputs")),
        channels=str(named(channels, CHANNELS, "channels")),
    )
    if options.costs and options.pruner not in ("asha", "top-k", "none"):
        raise UsageError("pruner: with several objectives it can be asha, top-k or none")
    if validation is not None:
        options = replace(options, validation=validation)
    if custom is None:
        options = replace(options, enqueued=check_configurations(enqueue, options.searched))
    device = read_device(device)
    named(executor, EXECUTOR_NAMES, "executor")
    cluster = None
    if executor == "ray":
        asked = None if isinstance(workers, str) else positive(workers, "workers")
        cluster = read_cluster(address, asked, cpus_per_worker, gpus_per_worker)
    else:
        refuse_cluster(
            address=address, cpus_per_worker=cpus_per_worker, gpus_per_worker=gpus_per_worker
        )
    is_here = executor == "in-process" or workers == "in-process"
    resources = Resources(
        device,
        0 if is_here else _processes(workers),
        positive(lanes, "lanes"),
        read_precision(precision, device),
        parse_duration(checkpoint, "checkpoint"),
        read_size(max_disk, "max_disk"),
        cluster,
    )
    if resources.is_lockstep(options) and resources.lanes is None:
        resources = replace(resources, lanes=FIRST_GUESS[device])  # what is measured differs
    return Settings(options, resources, space, model, fixed, enqueue, validation)


def _processes(workers: int | str | None) -> int:
    given = None if isinstance(workers, str) else workers  # "max" is all cores
    return positive(given, "workers") or n_cores()


_VALIDATION_SHARE: Final = 0.2
_VALIDATION_ROWS: Final = 6_000  # of which the standard error of 90 % is 0.4 points
ENSEMBLES: Final = ("search", "finalists")
