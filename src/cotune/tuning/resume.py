"""Resume a run that was stopped or killed, or that is to have more trials or time."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cotune.arguments import positive
from cotune.data import Dataset
from cotune.data.reading import Data, read_dataset
from cotune.engine.networks import CustomNetwork
from cotune.exceptions import CotuneError, StorageError, UsageError
from cotune.records import Cluster
from cotune.runs.checkpoint_store import Generation, Generations
from cotune.runs.config import RecordedOptions
from cotune.runs.directory import RunDirectory
from cotune.runs.network import custom_space, recorded_custom_network, recorded_treatment
from cotune.runs.options import Options, Resources
from cotune.runs.source import check_fingerprint, recorded_dataset, recorded_source
from cotune.runs.summary import Summary
from cotune.space.space import Space
from cotune.space.yaml import space_from_dict
from cotune.study.journal import OptunaStudy, load_study
from cotune.study.pruners import PRUNERS
from cotune.study.samplers import SAMPLERS
from cotune.study.study import NOT_DETERMINISTIC
from cotune.text import parse_duration
from cotune.tuning.observer import Observer
from cotune.tuning.optimize import resume_objective
from cotune.tuning.report_writer import BuildReport
from cotune.tuning.resumption import Limits, Resumption, recorded_part
from cotune.tuning.run import Before, Session, carry_out, executor_for, prepare_run
from cotune.tuning.settings import read_settings


def resume_run(
    path: str | Path, asked: Resumption, observer: Observer, began: float, report: BuildReport
) -> tuple[RunDirectory, CustomNetwork | None]:
    """Resume a run; see :func:`cotune.resume`.

    Returns:
        Its directory; and what makes its networks, where they are the user's own.
    """
    if asked.n_trials is not None and asked.more is not None:
        raise UsageError("n_trials: give the total, or how many more, not both")
    limits = Limits(
        None if asked.timeout is None else parse_duration(asked.timeout),
        positive(asked.n_trials, "n_trials"),
        positive(asked.more, "more"),
    )
    if RunDirectory.open(path).is_of_objective:
        resume_objective(path, asked, limits, observer, began, report)
        return RunDirectory.open(path), None
    if asked.objective is not None or asked.arguments is not None:
        raise UsageError(f"{path}: is no run of an objective; resume it without one")
    run = RunDirectory.reopen(path)
    try:
        config, summary = run.data_config(), _summary(run)
        is_complete = summary is not None and summary.state == "complete"
        custom = recorded_custom_network(run, asked.model)
        options, resources = _recorded(run, custom, asked)
        study = _study(run)
        is_lockstep = resources.is_lockstep(options)
        used = summary.seconds.total if summary else 0.0
        so_far = len(study.get_trials(deepcopy=False)) if study else 0
        n_trials, timeout, extended = limits.apply(options.n_trials, options.timeout, used, so_far)
        options = replace(options, n_trials=n_trials, timeout=timeout)
        generations = Generations(run.checkpoint_path)
        if is_complete and not extended:
            generations.remove()  # where the run was killed just before
            if not run.report_path.exists():
                report(run)
            return RunDirectory.open(run.path), None
        dataset = _dataset(run, asked.data, asked.target, asked.test)
        if custom is not None:
            options = replace(options, space=custom_space(run, custom, dataset))
        generation = generations.latest()
        # What was in lockstep then, and is now, comes again bit for bit.
        is_lockstep = is_lockstep and not (study and study.user_attrs.get(NOT_DETERMINISTIC))
        may_be_exact = is_lockstep and not extended and not is_complete

        with executor_for(resources, options) as executor:
            prepared = prepare_run(options, dataset)
            # Go back to an exact checkpoint; otherwise leave the files as they are.
            exact = may_be_exact and _cut_back(run, generation)
            if extended:
                run.trainings_path.unlink(missing_ok=True)  # other finalists will be chosen
            seconds = asdict(summary.seconds) if summary else {}
            before = Before(config, seconds, generation, exact, extended)
            session = Session(observer, report, began - used, publish=asked.publish)
            carry_out(prepared, resources, executor, run, session, before)
        return run, custom
    finally:
        run.close()


def _cut_back(run: RunDirectory, generation: Generation | None) -> bool:
    """Return whether the tables are as they were at the checkpoint, or before any trial."""
    if generation is None:
        nothing_has_finished = not run.trials_path.exists() or not run.tables.trials()
        return nothing_has_finished and run.roll_back(dict.fromkeys(run.sizes(), 0))
    try:
        return bool(generation.state["exact"]) and run.roll_back(generation.state["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{run.checkpoint_path}: is damaged: {error}") from None


def _summary(run: RunDirectory) -> Summary | None:
    """Read the summary; None where the run was killed before it wrote one."""
    return run.summary() if (run.path / "summary.json").exists() else None


def _study(run: RunDirectory) -> OptunaStudy | None:
    """Load the study; None where the run was killed before it had one."""
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


def _where(recorded: RecordedOptions, asked: Resumption) -> dict[str, Any]:
    """Return where a run goes on: where it was, unless something else is asked for."""
    executor = asked.executor or recorded.executor
    if executor != "ray":
        before = None if recorded.executor == "ray" else recorded.workers
        workers = asked.workers or ("in-process" if before == 0 else before)
        return {"executor": executor, "workers": workers, "address": asked.address}
    cluster = recorded.cluster or Cluster()
    return {
        "executor": executor,
        "address": asked.address or (recorded.cluster.address if recorded.cluster else None),
        "workers": asked.workers or cluster.workers,
        "cpus_per_worker": cluster.cpus,
        "gpus_per_worker": cluster.gpus,
    }


def _recorded(
    run: RunDirectory, custom: CustomNetwork | None, asked: Resumption
) -> tuple[Options, Resources]:
    recorded = run.options()
    if recorded.search_only:
        raise UsageError(f"{run.path}: is a search of a comparison, which is not resumed")
    treatment, timeout = recorded_treatment(recorded), recorded.timeout_seconds
    try:
        settings = read_settings(
            sampler=recorded_part("sampler", recorded.sampler, asked.sampler, SAMPLERS),
            pruner=recorded_part("pruner", recorded.pruner, asked.pruner, PRUNERS),
            metric=",".join([recorded.metric, *recorded.costs]),
            n_trials=recorded.n_trials,
            seed=recorded.seed,
            **_where(recorded, asked),
            lanes=recorded.lanes,
            device=recorded.device,
            precision=recorded.precision,
            portfolio=recorded.portfolio,
            patience=recorded.patience,
            ensemble=recorded.ensemble,
            ensemble_of=recorded.ensemble_of,
            validation=recorded.validation,
            inputs=treatment.inputs,
            channels=treatment.channels,
            checkpoint=recorded.checkpoint_seconds,
            max_disk=recorded.max_disk_bytes,
        )
        options = replace(
            settings.options,
            # The sampler's own: a grid was made of the space already.
            space=space_from_dict(recorded.space) if custom is None else Space({}),
            custom=custom,
            timeout=None if timeout is None else parse_duration(timeout),
            enqueued=recorded.enqueued,
        )
    except CotuneError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{run.config_path}: cannot be used: {error}") from None
    return options, settings.resources
