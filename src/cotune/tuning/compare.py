"""The same search by several samplers, side by side: ``cotune compare``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cotune.data import Dataset
from cotune.exceptions import NoUsableTrialError
from cotune.metrics import METRICS
from cotune.runs.config import read_plain_config
from cotune.runs.directory import RunDirectory
from cotune.runs.files import write_file
from cotune.runs.options import Options, Resources
from cotune.runs.paths import default_path
from cotune.study.journal import load_study
from cotune.tuning.comparison import Comparison, Ended, SearchRecord
from cotune.tuning.observer import Observer
from cotune.tuning.run import Session, carry_out, executor_for, prepare_run
from cotune.tuning.settings import Settings
from cotune.tuning.signals import Stopped, StopRequest, stop_request

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
        """Note that a search begins, the ``number``-th from 1 ``of`` so many."""

    def search_ended(self, search: SearchRecord, best: float | None) -> None:
        """Note that it ended; ``best`` is its best score."""

    def ended(self, comparison: Comparison) -> None:
        """Note that all searches ended or were stopped; the files are written."""


def search_all(
    settings: Settings,
    chosen: Sequence[str],
    seeds: int,
    dataset: Dataset,
    out: str | Path | None,
    observer: ComparisonObserver,
    report: Callable[[Comparison], object],
) -> Comparison:
    """Search with several samplers; see :func:`cotune.compare`.

    Args:
        settings: Of each search, but for its sampler and its seed.
    """
    options = replace(settings.fit(dataset), search_only=True)
    resources = settings.resources
    for sampler in chosen:
        _ = replace(options, sampler=sampler).searched  # a grid of a function raises here
    path = Path(out or default_path(f"compare-{dataset.name}")).absolute()
    maximize = METRICS[options.metric].direction == "maximize"
    comparison = Comparison(path, {}, tuple(chosen), seeds, maximize)
    with stop_request() as stop:
        turns = [(seed, sampler) for seed in range(seeds) for sampler in chosen]
        for number, (seed, sampler) in enumerate(turns, start=1):
            observer.search_started(sampler, seed, number, len(turns))
            asked = replace(options, sampler=sampler, seed=seed)
            run = _search(asked, resources, dataset, path, stop)
            if run is None:
                break
            config = read_plain_config(run.config_path)
            resources = replace(resources, lanes=int(config["lanes"]))
            comparison.settings = {name: config[name] for name in _COMMON}
            comparison.searches.append(_record(run, sampler, seed))
            write_file(path / "compare.json", json.dumps(comparison.to_json(), indent=1))
            observer.search_ended(comparison.searches[-1], comparison.searches[-1].best(maximize))
    if comparison.searches:
        report(comparison)
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
) -> RunDirectory | None:
    """Run one search; None when the user stopped it, or had before."""
    if stop:
        return None
    try:
        with executor_for(resources, options) as executor:
            prepared = prepare_run(options, dataset)
            run = RunDirectory.create(path / f"{options.sampler}-{options.seed}")
            carry_out(prepared, resources, executor, run, Session(Observer(), stop=stop))
            return run
    except Stopped:
        return None


def _record(run: RunDirectory, sampler: str, seed: int) -> SearchRecord:
    trials = load_study(run.journal_path).get_trials(deepcopy=False)
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
    return SearchRecord(sampler, seed, run.path.name, run.summary().seconds.search, ended)
