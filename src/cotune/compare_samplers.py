"""``cotune compare`` and :func:`compare`: the same search by several samplers, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cotune.api import RunResult, carry_out, workers_for
from cotune.arguments import (
    CHANNELS,
    INPUTS,
    ModelLike,
    fit_space,
    n_cores,
    named,
    positive,
    read_dataset,
    read_device,
    read_own,
    read_samplers,
    read_space,
    read_timeout,
)
from cotune.comparison import Comparison, Ended, SearchRecord
from cotune.data import Dataset
from cotune.data.reading import Data
from cotune.exceptions import NoUsableTrialError
from cotune.observer import Observer
from cotune.options import Options, Resources
from cotune.report import build_comparison
from cotune.report.html_file import write_file
from cotune.results import DIRECTIONS
from cotune.rundir import RunDirectory, check_free, default_path
from cotune.signals import Stopped, StopRequest, stop_request
from cotune.space import Space
from cotune.study import PRUNERS, SAMPLERS

SAMPLERS_COMPARED: Final = ("grid", "random", "tpe")
DEFAULT_TIMEOUT: Final = "60s"

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
_COMMON = (
    "command",
    "dataset",
    "metric",
    "pruner",
    "n_trials",
    "timeout_seconds",
    "device",
    "workers",
    "lanes",
    "versions",
)
"""What the searches' configurations have in common."""


class ComparisonObserver:
    """Is told how a comparison goes; override what you want to see."""

    def search_started(self, sampler: str, seed: int, number: int, of: int) -> None:
        """A search begins, the ``number``-th from 1 ``of`` so many."""

    def search_ended(self, search: SearchRecord, best: float | None) -> None:
        """It ended; ``best`` is its best score."""

    def ended(self, comparison: Comparison) -> None:
        """All searches ended, or the user stopped them; the files are written."""


def compare(
    data: Data,
    *,
    target: str | int | None = None,
    test: Data = None,
    columns: Mapping[str, str] | None = None,
    skip_damaged: bool = False,
    inputs: str = "auto",
    channels: str = "auto",
    samplers: str | Sequence[str] = SAMPLERS_COMPARED,
    seeds: int = 3,
    space: str | Path | Space | Mapping[str, Any] | None = None,
    model: ModelLike = None,
    pruner: str = "asha",
    metric: str = "accuracy",
    n_trials: int | None = None,
    timeout: str | float | None = None,
    workers: int | None = None,
    lanes: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    observer: ComparisonObserver | None = None,
) -> Comparison:
    """Search with several samplers and equal budgets, from several seeds, one after the other.

    Each search is a run of its own in ``OUT/SAMPLER-SEED``, of trials that the sampler draws: no
    portfolio comes first, and no finalists and no final model follow, so the test set is not
    read. A seed decides the split, so all samplers have the same one. The samplers take turns
    within a seed, so that a machine that gets slower is so for all. How many lanes pay is measured
    in the first search.

    ``OUT`` also gets ``compare.html`` and ``compare.json``, after every search the latter.

    Args:
        data, target, test, columns, skip_damaged, inputs, channels: As for :func:`run`.
        samplers: Names: ``tpe``, ``random``, ``grid``, ``qmc``, ``gp``.
        seeds: Searches of each sampler, from the seeds 0, 1, ...
        space, model, pruner, metric, workers, lanes, device: As for :func:`run`.
        n_trials: Trials of each search.
        timeout: Wall clock of each search, from its first trial on: seconds, or ``"90s"``,
            ``"5m"``, ``"2h"``. Without it 60 seconds; no limit when ``n_trials`` is given.
        out: The folder; by default ``runs/compare-NAME-TIME``.
        observer: Told how it goes.

    Returns:
        The searches' trials and their table.

    Raises:
        UsageError: An argument cannot be used, or the folder is not empty.
        DataError: The data cannot be learned from.
        StorageError: The folder cannot be written.
        NoUsableTrialError: No trial of any search has a score.
        KeyboardInterrupt: A signal stopped it; the searches that had ended are in the files.
    """
    chosen = read_samplers(samplers, SAMPLERS)
    seeds = positive(seeds, "seeds") or 1
    if timeout is None and n_trials is None:
        timeout = DEFAULT_TIMEOUT
    own = read_own(model)
    options = Options(
        space=read_space(space, model) if own is None else Space({}),
        own=own,
        pruner=named(pruner, PRUNERS, "pruner"),
        metric=str(named(metric, tuple(DIRECTIONS), "metric")),
        n_trials=positive(n_trials, "n_trials"),
        timeout=read_timeout(timeout, n_trials),
        inputs=str(named(inputs, INPUTS, "inputs")),
        channels=str(named(channels, CHANNELS, "channels")),
        portfolio=False,
        search_only=True,
    )
    resources = Resources(
        read_device(device), positive(workers, "workers") or n_cores(), positive(lanes, "lanes")
    )
    if out is not None:
        check_free(Path(out))
    dataset = read_dataset(data, target, test, columns, skip_damaged)
    options = replace(
        options, space=fit_space(space, model, dataset, own=own, treatment=options.asked)
    )
    for sampler in chosen:
        _ = replace(options, sampler=sampler).searched  # a grid of a function raises here
    path = Path(out or default_path(f"compare-{dataset.name}")).absolute()
    maximize = DIRECTIONS[options.metric] == "maximize"
    comparison = Comparison(path, {}, chosen, seeds, maximize)
    observer = observer or ComparisonObserver()
    with stop_request() as stop:
        turns = [(seed, sampler) for seed in range(seeds) for sampler in chosen]
        for number, (seed, sampler) in enumerate(turns, start=1):
            observer.search_started(sampler, seed, number, len(turns))
            asked = replace(options, sampler=sampler, seed=seed)
            run = _search(asked, resources, dataset, path, stop)
            if run is None:
                break
            config = RunDirectory.open(run.path).config()
            resources = replace(resources, lanes=int(config["lanes"]))
            comparison.settings = {name: config[name] for name in _COMMON}
            comparison.searches.append(_record(run, sampler, seed))
            write_file(path / "compare.json", json.dumps(comparison.to_json(), indent=1))
            observer.search_ended(comparison.searches[-1], comparison.searches[-1].best(maximize))
    if comparison.searches:
        build_comparison(comparison)
    observer.ended(comparison)
    if stop.signal is not None:
        raise Stopped(stop.signal, path, f"what was finished is in {path}")
    if comparison.target is None:
        raise NoUsableTrialError(
            f"no trial of any search has a score: {path}/*/trials.csv say why; where none ended "
            "an epoch, give more with --timeout"
        )
    return comparison


def _search(
    options: Options, resources: Resources, dataset: Dataset, path: Path, stop: StopRequest
) -> RunResult | None:
    """One search; None when the user stopped it, or had before."""
    if stop:
        return None
    try:
        with workers_for(options, resources) as pool:
            return carry_out(
                options,
                resources,
                dataset,
                pool,
                lambda: RunDirectory.create(path / f"{options.sampler}-{options.seed}"),
                Observer(),
                stop=stop,
            )
    except Stopped:
        return None


def _record(run: RunResult, sampler: str, seed: int) -> SearchRecord:
    trials = run.study.get_trials(deepcopy=False)
    began = min((t.datetime_start for t in trials if t.datetime_start), default=None)
    ended = []
    for trial in trials:
        if trial.datetime_complete is None or began is None:
            continue
        value = trial.value
        ended.append(
            Ended(
                number=trial.number,
                state=_STATES[trial.state.name],
                seconds=round((trial.datetime_complete - began).total_seconds(), 3),
                value=value if value is not None and math.isfinite(value) else None,
            )
        )
    ended.sort(key=lambda trial: (trial.seconds, trial.number))
    return SearchRecord(sampler, seed, run.path.name, run.summary.seconds["search"], ended)
