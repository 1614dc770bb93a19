"""``cotune.compare``: samplers beside one another, with equal budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cotune.arguments import named, positive, read_samplers
from cotune.data.reading import Data, read_dataset
from cotune.engine.networks.custom.given import ModelLike
from cotune.metrics import METRICS
from cotune.report import build_comparison
from cotune.report.terminal.comparison import make_comparison_observer
from cotune.runs.paths import check_free
from cotune.space.space import Space
from cotune.study.samplers import SAMPLERS
from cotune.tuning.compare import (
    DEFAULT_TIMEOUT as COMPARE_TIMEOUT,
)
from cotune.tuning.compare import (
    SAMPLERS_COMPARED,
    ComparisonObserver,
    search_all,
)
from cotune.tuning.comparison import Comparison
from cotune.tuning.settings import read_settings


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
    verbose: bool = True,
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
        verbose: Show progress, and the table at the end.
        observer: Told how it goes, instead.

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
    settings = read_settings(
        space=space,
        model=model,
        pruner=pruner,
        metric=str(named(metric, METRICS, "metric")),
        n_trials=n_trials,
        timeout=COMPARE_TIMEOUT if timeout is None and n_trials is None else timeout,
        workers=workers,
        lanes=lanes,
        device=device,
        portfolio=False,
        inputs=inputs,
        channels=channels,
    )
    if out is not None:
        check_free(Path(out))
    dataset = read_dataset(data, target, test, columns, skip_damaged)
    observer = observer or make_comparison_observer(quiet=not verbose)
    return search_all(settings, chosen, seeds, dataset, out, observer, build_comparison)
