"""A trial of a run, trained again alone from what the run recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from cotune.data import prepare
from cotune.engine.device import read_device, read_precision
from cotune.engine.networks.custom.given import ModelLike
from cotune.engine.networks.custom.space import CustomSpace
from cotune.exceptions import CotuneError, UsageError
from cotune.records import EpochReport, TrialSpec, Value, Verdict
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.network import custom_space, recorded_custom_network, recorded_treatment
from cotune.runs.source import recorded_dataset
from cotune.space.space import Space
from cotune.space.yaml import space_from_dict
from cotune.study.journal import load_study
from cotune.study.study import trial_spec
from cotune.tuning.time_budget import short
from cotune.workers.base import EngineJob, Executor
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor

TOLERANCE: Final = 0.01
"""Difference of a score that is taken for rounding: a point of a hundred in a share of 0-1."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Replay:
    """The recorded scores of a trial, and those of its repetition.

    Attributes:
        number: The trial's.
        metric: The run's, one of ``cotune.metrics.METRICS``, on the validation part.
        recorded, replayed: ``[epochs]``: that score after each epoch.
        remark: What may have made a difference, or "".
    """

    number: int
    metric: str
    recorded: list[float]
    replayed: list[float]
    remark: str = ""

    @property
    def largest(self) -> float:
        """The largest difference of the two after an epoch, without its sign."""
        pairs = zip(self.recorded, self.replayed, strict=True)
        return max(abs(recorded - replayed) for recorded, replayed in pairs)

    def check(self) -> None:
        """Make sure that every score is what was recorded.

        Raises:
            CotuneError: One differs by more than :data:`TOLERANCE`.
        """
        if self.largest > TOLERANCE:
            raise CotuneError(
                f"trial {self.number}: its {self.metric} differs by up to {self.largest:.4f} from "
                f"what was recorded, more than {TOLERANCE:g}{self.remark and '; ' + self.remark}"
            )


def replay(
    path: str | Path,
    number: int,
    replayed: Callable[[int, float, float], None] = lambda epoch, recorded, again: None,
    model: ModelLike = None,
) -> Replay:
    """Train a trial of a run again, alone, for the epochs that were recorded.

    Hyperparameters come from the run's Optuna study; space, seed, split, precision and device from
    its ``config.yaml``. As in the search, a worker process trains with one thread and subnormal
    numbers flushed to 0. A trial that was trained alone all the time scores exactly what it did.
    In company, sums of the same numbers may be rounded otherwise, which an unstable training
    amplifies: of 120 trials on digits by 2 workers, 117 scored exactly the same after every epoch,
    and 2 differed by more than :data:`TOLERANCE` after some, by 0.028 at most.

    Args:
        replayed: Told of every epoch: its number, the recorded score and the one of now.
        model: Of a run on networks of your own: what makes them.

    Raises:
        UsageError: There is no such run or trial, it recorded no epoch, the run was on data that
            cannot be read again or that has changed since, or on a GPU where there is none now.
        StorageError: The run's files are damaged.
        CotuneError: It failed, where it had not failed before.
    """
    run = RunDirectory.open(path)
    config, options = run.data_config(), run.options()
    metric = options.metric
    params, reports = _params(run, number), _recorded(run, number, metric)
    recorded = [report.scores[metric] for report in reports]
    seed, device = options.seed, _device(options.device)
    precision = read_precision(options.precision, device)
    own = recorded_custom_network(run, model)
    dataset = recorded_dataset(run)
    space: Space
    if own is None:
        space = space_from_dict(options.space)
    else:
        space = custom_space(run, own, dataset)
    spec = trial_spec(space, params, number, seed)
    if reports[0].horizon is not None:
        spec = short(spec, reports[0].horizon)
    treatment = space.treatment if isinstance(space, CustomSpace) else recorded_treatment(options)
    training, _ = prepare(dataset, validation=options.validation, seed=seed, treatment=treatment)
    job = EngineJob(training, seed, 1, precision, metric, own)
    again = []
    with _executor(device) as executor:
        for report in _train(executor, job, spec, [one.horizon for one in reports]):
            if report.error:
                raise CotuneError(f"trial {number}: {report.failure}")
            again.append(report.scores[metric])
            replayed(report.epoch, recorded[report.epoch - 1], again[-1])
    return Replay(number, metric, recorded, again, _remark(config))


def _remark(config: RunConfig) -> str:
    then = config.versions.get("torch")
    now = str(torch.__version__)
    if then != now:
        return f"it was recorded with torch {then}, and this is {now}"
    if config.lanes != 1:
        return "sums are rounded by the lanes beside it, and an unstable training amplifies that"
    return ""


def _params(run: RunDirectory, number: int) -> dict[str, Value]:
    trials = load_study(run.journal_path).get_trials(deepcopy=False)
    if number not in range(len(trials)):
        there = f"there are 0 to {len(trials) - 1}" if trials else "there are none"
        raise UsageError(f"trial {number}: is not in {run.path}; {there}")
    return dict(trials[number].params)


def _recorded(run: RunDirectory, number: int, metric: str) -> list[EpochReport]:
    reports = run.tables.curves().get(number, [])
    scored = [report for report in reports if metric in report.scores]
    if not scored:
        raise UsageError(f"trial {number}: no epoch of it was recorded")
    return scored


def _device(recorded: str) -> str:
    try:
        return read_device(recorded)
    except UsageError:
        raise UsageError(
            f"device: the run was on {recorded}, which PyTorch does not find here"
        ) from None


def _executor(device: str) -> Executor:
    """Make the executor that a search would use for one lane."""
    return ProcessExecutor(1) if device == "cpu" else InProcessExecutor(device)


def _train(
    executor: Executor, job: EngineJob, spec: TrialSpec, horizons: Sequence[int | None]
) -> Iterator[EpochReport]:
    """Train a trial for as many epochs as there are horizons, each with its own."""
    executor.load(job)
    executor.submit([spec])
    epoch = 0
    while epoch < len(horizons):
        for report in executor.reports(_POLL_SECONDS):
            epoch = report.epoch
            yield report
            is_over = epoch >= len(horizons)
            horizon = None if is_over else horizons[epoch]
            executor.apply([Verdict(spec.number, is_over, horizon=horizon)])
