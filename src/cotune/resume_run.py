"""Going on with a run that was stopped, killed or that is to have more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cotune.api import Before, RunResult, carry_out, open_run, workers_for
from cotune.arguments import (
    ENSEMBLES,
    ModelLike,
    count,
    named,
    positive,
    read_dataset,
    read_device,
    read_metrics,
    read_precision,
    read_seed,
    read_size,
)
from cotune.data import Dataset
from cotune.data.reading import Data
from cotune.duration import parse_duration
from cotune.exceptions import CotuneError, StorageError, UsageError
from cotune.generations import Generation, Generations
from cotune.models import OwnNetwork
from cotune.objective_given import ObjectiveLike
from cotune.observer import Observer
from cotune.options import Options, Resources
from cotune.recorded_data import check_fingerprint, recorded_dataset, recorded_source
from cotune.recorded_network import own_space, recorded_own, recorded_treatment
from cotune.report import build_report
from cotune.run_objective import recorded_part, resume_objective
from cotune.rundir import RunDirectory
from cotune.space import Space
from cotune.space_yaml import space_from_dict
from cotune.storage import OptunaStudy, load_study
from cotune.study import DISTURBED, PRUNERS, SAMPLERS, PrunerLike, SamplerLike


def resume(
    path: str | Path,
    *,
    timeout: str | float | None = None,
    n_trials: int | None = None,
    more: int | None = None,
    data: Data = None,
    target: str | int | None = None,
    test: Data = None,
    model: ModelLike = None,
    objective: ObjectiveLike | None = None,
    arguments: str | Sequence[object] | None = None,
    sampler: SamplerLike | None = None,
    pruner: PrunerLike | None = None,
    observer: Observer | None = None,
    began: float | None = None,
) -> RunResult:
    """Go on with a run from what is in its directory.

    Trials that ended stay as they are. Those in training go on from the last checkpoint, or begin
    anew where there was none yet. The sampler goes on as it would have. Without ``timeout``,
    ``n_trials`` or ``more`` the run does what is left of what it was asked for, which for a
    complete one is nothing; it has the rest of its timeout for it, a third at least.

    With one worker and no timeout, what comes after the checkpoint comes again bit for bit.
    Otherwise which trials are trained side by side depends on the clock, and with it the last bits
    of trials that had not ended.

    Args:
        path: The run directory.
        timeout: Search for so much longer, finalists and final model included: seconds, or
            ``"90s"``, ``"5m"``.
        n_trials: Trials altogether.
        more: Trials beside those that the run has.
        data: The path of the run's file or folder, where it was moved; of a run on objects in
            memory, the same again.
        target, test: As the run was given them; known where the run was on a file.
        model: Of a run on networks of your own: what makes them, again.
        objective: Of a run of an objective: the same again, as for :func:`optimize`. Its trials
            that had not ended begin anew.
        arguments: What its script finds in ``sys.argv[1:]``; by default what the run was given.
        sampler, pruner: Of a run that was given an Optuna object: one like it.
        observer: Told how the run goes.
        began: ``time.monotonic()`` when the timeout began to count; now by default.

    Raises:
        UsageError: There is no run, it was on other data, or an argument cannot be used.
        StorageError: Another process writes there, or the run's files are damaged.
        KeyboardInterrupt: A signal stopped it; it can be resumed again.
    """
    began = time.monotonic() if began is None else began
    observer = observer or Observer()
    if n_trials is not None and more is not None:
        raise UsageError("n_trials: give the total, or how many more, not both")
    n_trials, more = positive(n_trials, "n_trials"), positive(more, "more")
    seconds = None if timeout is None else parse_duration(timeout)
    if RunDirectory.open(path).is_of_objective:
        resume_objective(
            path,
            objective,
            timeout,
            n_trials,
            more,
            sampler,
            pruner,
            observer,
            began,
            arguments,
        )
        return open_run(path)
    if objective is not None or arguments is not None:
        raise UsageError(f"{path}: is no run of an objective; resume it without one")
    run = RunDirectory.reopen(path)
    try:
        config, summary = run.config(), _summary(run)
        is_complete = summary is not None and summary.state == "complete"
        own = recorded_own(run, model)
        options = _options(run, config, own, sampler, pruner)
        resources = _resources(run, config)
        study = _study(run)
        is_lockstep = resources.is_lockstep(options)
        extended = timeout is not None or more is not None
        if more is not None or n_trials is not None:
            asked = len(study.get_trials(deepcopy=False)) if study else 0
            total = n_trials or asked + (more or 0)
            extended = extended or options.n_trials is None or total > options.n_trials
            options = replace(options, n_trials=total)
        generations = Generations(run.checkpoint_path)
        if is_complete and not extended:
            generations.remove()  # where the run was killed just before
            if not run.report_path.exists():
                build_report(run)
            return open_run(run.path)
        used = summary.seconds["total"] if summary else 0.0
        if seconds is not None:
            limit = options.n_trials if n_trials or more else None
            options = replace(options, timeout=used + seconds, n_trials=limit)
        elif options.timeout is not None and not extended:
            # What is left to do takes its time, though none of what was asked for may be left.
            options = replace(options, timeout=max(options.timeout, used + options.timeout / 3))
        elif extended:  # so many trials, however long they take
            options = replace(options, timeout=None)
        dataset = _dataset(run, data, target, test)
        if own is not None:
            options = replace(options, space=own_space(run, own, dataset))
        generation = generations.latest()
        # What was in lockstep then, and is now, comes again bit for bit.
        is_lockstep = is_lockstep and not (study and study.user_attrs.get(DISTURBED))
        may_be_exact = is_lockstep and not extended and not is_complete

        def go_back() -> Before:
            """What came after an exact checkpoint comes again; otherwise it stays as it is."""
            exact = may_be_exact and _cut_back(run, generation)
            if extended:
                run.trainings_path.unlink(missing_ok=True)  # other finalists will be chosen
            return Before(config, summary.seconds if summary else {}, generation, exact, extended)

        with workers_for(options, resources) as pool:
            return carry_out(
                options,
                resources,
                dataset,
                pool,
                lambda: run,
                observer,
                began - used,
                before=go_back,
            )
    finally:
        run.close()


def _cut_back(run: RunDirectory, generation: Generation | None) -> bool:
    """Whether the tables are now as they were at the checkpoint, or before the first trial."""
    if generation is None:
        nothing_has_finished = not run.trials_path.exists() or not run.trials()
        return nothing_has_finished and run.roll_back(dict.fromkeys(run.sizes(), 0))
    try:
        return bool(generation.state["exact"]) and run.roll_back(generation.state["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{run.checkpoint_path}: is damaged: {error}") from None


def _summary(run: RunDirectory) -> Any:
    """None where the run was killed before it wrote one."""
    return run.summary() if (run.path / "summary.json").exists() else None


def _study(run: RunDirectory) -> OptunaStudy | None:
    """None where the run was killed before it had one."""
    if not run.journal_path.exists() or run.journal_path.stat().st_size == 0:
        return None
    return load_study(run.journal_path)


def _dataset(run: RunDirectory, data: Data, target: str | int | None, test: Data) -> Dataset:
    if data is None and test is None:
        return recorded_dataset(run)
    source = recorded_source(run)
    columns, skip_damaged = None, False
    if source is not None:
        columns, skip_damaged = source.columns, source.skip_damaged
        data = source.path if data is None else data
        target = source.target if target is None else target
        test = source.test if test is None else test
    dataset = read_dataset(data, target, test, columns, skip_damaged)
    check_fingerprint(run, dataset)
    return dataset


def _options(
    run: RunDirectory,
    config: Mapping[str, Any],
    own: OwnNetwork | None,
    sampler: SamplerLike | None,
    pruner: PrunerLike | None,
) -> Options:
    try:
        if config["search_only"]:
            raise UsageError(f"{run.path}: is a search of a comparison, which is not resumed")
        if not isinstance(config["enqueued"], list):
            raise TypeError("enqueued is no list")
        metric, costs = read_metrics(",".join([config["metric"], *config["costs"]]))
        timeout = config["timeout_seconds"]
        return Options(
            # The sampler's own: a grid was made of the space already.
            space=space_from_dict(config["space"]) if own is None else Space({}),
            own=own,
            sampler=recorded_part("sampler", str(config["sampler"]), sampler, SAMPLERS),
            pruner=recorded_part("pruner", str(config["pruner"]), pruner, PRUNERS),
            metric=metric,
            costs=costs,
            n_trials=positive(config["n_trials"], "n_trials"),
            timeout=None if timeout is None else parse_duration(timeout),
            seed=read_seed(config["seed"]),
            enqueued=config["enqueued"],
            portfolio=bool(config["portfolio"]),
            patience=positive(config["patience"], "patience"),
            ensemble=count(config["ensemble"], "ensemble"),
            ensemble_of=named(config["ensemble_of"], ENSEMBLES, "ensemble_of"),
            validation=float(config["validation"]),
            inputs=recorded_treatment(config).inputs,
            channels=recorded_treatment(config).channels,
        )
    except CotuneError:
        raise
    except KeyError as error:
        raise _old(run, error) from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"{run.config_path}: cannot be used: {error}") from None


def _old(run: RunDirectory, error: KeyError) -> UsageError:
    return UsageError(f"{run.config_path}: has no {error.args[0]}; an older Cotune wrote it")


def _resources(run: RunDirectory, config: Mapping[str, Any]) -> Resources:
    device = read_device(config["device"])
    try:
        return Resources(
            device=device,
            workers=1 if config["workers"] is None else count(config["workers"], "workers"),
            lanes=positive(config["lanes"], "lanes"),
            precision=read_precision(config["precision"], device),
            checkpoint=parse_duration(config["checkpoint_seconds"], "checkpoint"),
            max_disk=read_size(config["max_disk_bytes"], "max_disk"),
        )
    except KeyError as error:
        raise _old(run, error) from None
