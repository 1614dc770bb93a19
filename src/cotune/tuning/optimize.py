"""A run of a user's own Optuna objective on worker processes: starting and resuming it."""

from __future__ import annotations

import contextlib
import math
import platform
import shlex
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cotune.exceptions import CotuneError, NoUsableTrialError, StorageError, UsageError
from cotune.records import Direction
from cotune.runs.config import OBJECTIVE, ObjectiveConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.paths import default_path
from cotune.runs.provenance import command_line, shown_name
from cotune.study.objective_study import ObjectiveStudy
from cotune.study.pruners import PRUNERS, PrunerLike
from cotune.study.samplers import SAMPLERS, SamplerLike
from cotune.study.study import OPTUNA_VERSION
from cotune.tuning.clock import Clock
from cotune.tuning.objective import ObjectiveTuner
from cotune.tuning.objective_settings import ObjectiveOptions, read_arguments, read_options
from cotune.tuning.observer import Observer
from cotune.tuning.report_writer import BuildReport, write_report
from cotune.tuning.resumption import Limits, Resumption, recorded_part
from cotune.tuning.signals import Stopped, stop_request
from cotune.version import VERSION
from cotune.workers.objective.given import GivenObjective, ObjectiveLike, read_objective
from cotune.workers.objective.pool import ObjectiveProcesses
from cotune.workers.objective.source import SEVERAL_VALUES, Facts

_CLOSING_SECONDS = 2.5  # report and exit


def run_objective(
    objective: ObjectiveLike,
    options: ObjectiveOptions,
    out: str | Path | None,
    observer: Observer,
    began: float,
    report: BuildReport,
) -> RunDirectory:
    """Run an objective; see :func:`cotune.optimize`."""
    found = read_objective(objective, options.arguments)
    stem = found.name.rpartition(":")[0] or found.name
    return _run(
        found,
        replace(options, name=found.name),
        RunDirectory.create(out or default_path(Path(stem).stem)),
        observer,
        began,
        report,
    )


def _run(
    objective: GivenObjective,
    options: ObjectiveOptions,
    directory: RunDirectory,
    observer: Observer,
    began: float,
    report: BuildReport,
    before: tuple[ObjectiveConfig, Mapping[str, float]] | None = None,
) -> RunDirectory:
    """Run it, in a directory of its own or in one that has a configuration and seconds already."""
    with contextlib.ExitStack() as stack:
        stack.callback(directory.close)
        stop = stack.enter_context(stop_request())
        deadline = math.inf if options.timeout is None else began + options.timeout
        used = replace(options, workers=min(options.workers, options.n_trials or options.workers))
        output = stack.enter_context(open(directory.output_path, "a"))
        pool = stack.enter_context(ObjectiveProcesses(used.workers, objective.source, output))
        try:
            pool.wait(lambda: bool(stop) or time.monotonic() >= deadline)
            if before is None and not pool.is_loaded and not stop:
                raise NoUsableTrialError("the time was up before; give more with --timeout")
            facts = replace(pool.facts, enqueued=()) if before else pool.facts
            direction, remarks = settle_direction(options.direction, facts)
        except CotuneError as error:
            if before is None:
                _discard(directory)
            if isinstance(error, StorageError):
                raise
            raise type(error)(f"{objective.name}: cannot be loaded: {error}") from None
        if before is None and not pool.is_loaded:
            _discard(directory)
            raise Stopped(stop.signal or 0, directory.path, "nothing had begun")
        used = replace(used, direction=direction)
        config = _describe(objective, replace(options, direction=direction))
        if options.arguments:
            remarks.append(f"its arguments: {shlex.join(options.arguments)}")
        config["remarks"] = [f"{objective.name}: {line}" for line in remarks]
        # A script that makes them is to use them again when it is resumed.
        config["directories"] = sorted({*objective.source.made, *facts.made})
        if before:
            config["command"] = before[0].command
        directory.write_config(config)
        study = ObjectiveStudy(
            directory.journal_path,
            direction,
            options.sampler,
            options.pruner,
            options.seed,
        )
        if not before:
            study.begin(facts.enqueued, facts.user_attrs)
        stack.callback(write_report, report, directory)
        stack.callback(observer.run_ended)
        observer.run_started(directory, began, options.timeout)
        end = deadline - _CLOSING_SECONDS
        clock = Clock(began, end, stop.__bool__, before[1] if before else {})
        ObjectiveTuner(directory, pool, study, used, observer, clock, before is not None).go()
    if stop.signal is not None:
        raise Stopped(stop.signal, directory.path, _advice(directory, objective))
    return directory


def settle_direction(asked: Direction | None, facts: Facts) -> tuple[Direction, list[str]]:
    """Return a run's direction, and what there is to say of the objective, a line each.

    Args:
        asked: What the user said; None for nothing.

    Raises:
        UsageError: The script's own study has several objectives, or nobody says its direction.
    """
    if facts.n_objectives > 1:
        raise UsageError(f"its study has {facts.n_objectives} objectives; {SEVERAL_VALUES}")
    if facts.is_on_server and asked is None:
        raise UsageError("its study is on a server, which is not asked; give the direction")
    remarks, own = list(facts.remarks), facts.direction
    if asked is None and own == "maximize":
        remarks.append("maximized, as the script's own study says")
    elif asked is not None and own is not None and asked != own:
        remarks.append(f"{asked}d as asked for, while the script's own study is {own}d")
    if facts.enqueued:
        remarks.append(f"trials that the script enqueues are run first: {len(facts.enqueued)}")
    if facts.no_forks:
        remarks.append(f"each worker loads the objective for itself: {facts.no_forks}")
    return asked or ("maximize" if own == "maximize" else "minimize"), remarks


def _discard(directory: RunDirectory) -> None:
    """Leave nothing of a run that had not begun."""
    with contextlib.suppress(OSError):
        directory.output_path.unlink()
        (directory.path / "lock").unlink()
        directory.path.rmdir()


def _advice(directory: RunDirectory, objective: GivenObjective) -> str:
    path = str(directory.path)
    if objective.source.path:
        name = shlex.quote(objective.name)
        return f"to resume: cotune resume {shlex.quote(path)} --objective {name}"
    return f"to resume, from Python: cotune.resume({path!r}, objective={objective.name})"


def _describe(objective: GivenObjective, options: ObjectiveOptions) -> dict[str, Any]:
    """Return the content of ``config.yaml``."""
    return {
        "kind": OBJECTIVE,
        "command": command_line(),
        "objective": objective.name,
        "objective_sha256": objective.sha256,
        "direction": options.direction,
        "metric": "value",
        "sampler": shown_name(options.sampler),
        "pruner": shown_name(options.pruner),
        "n_trials": options.n_trials,
        "timeout_seconds": options.timeout,
        "seed": options.seed,
        "workers": options.workers,
        "finalists": options.finalists,
        "repeats": options.repeats,
        "arguments": list(options.arguments),
        "versions": {
            "cotune": VERSION,
            "python": platform.python_version(),
            "optuna": OPTUNA_VERSION,
        },
    }


def resume_objective(
    path: str | Path,
    asked: Resumption,
    limits: Limits,
    observer: Observer,
    began: float,
    report: BuildReport,
) -> None:
    """Resume a run of an objective; see :func:`cotune.resume`.

    Trials that had not ended begin anew, with the hyperparameters that they had drawn.

    Args:
        limits: Of ``asked``, parsed.

    Raises:
        UsageError: The objective is not given: what a run directory names is not run.
    """
    run = RunDirectory.reopen(path)
    try:
        config = run.objective_config()
        if asked.objective is None:
            recorded = " ".join(config.objective.split())[:300]
            raise UsageError(
                f"{run.path}: is a run of an objective, which Cotune runs only where you name it; "
                f"give --objective {recorded}"
            )
        summary = run.summary() if (run.path / "summary.json").exists() else None
        options = _recorded_options(run, config, asked.sampler, asked.pruner)
        used = summary.seconds.total if summary else 0.0
        so_far = len(run.tables.trials()) if run.trials_path.exists() else 0
        n_trials, timeout, extended = limits.apply(options.n_trials, options.timeout, used, so_far)
        options = replace(options, n_trials=n_trials, timeout=timeout)
        if summary is not None and summary.state == "complete" and not extended:
            if not run.report_path.exists():
                report(run)
            return
        if asked.arguments is not None:
            options = replace(options, arguments=read_arguments(asked.arguments))
        is_script = isinstance(asked.objective, str | Path)
        found = read_objective(asked.objective, options.arguments if is_script else ())
        made = tuple(config.directories)
        found = replace(found, source=replace(found.source, made=made))
        if found.sha256 != config.objective_sha256:
            warnings.warn(
                f"{found.name}: is not what it was when the run began; the trials that have ended "
                "are of what it was",
                stacklevel=4,
            )
        seconds = asdict(summary.seconds) if summary else {}
        _run(
            found,
            replace(options, name=found.name),
            run,
            observer,
            began - used,
            report,
            (config, seconds),
        )
    finally:
        run.close()


def _recorded_options(
    run: RunDirectory,
    config: ObjectiveConfig,
    sampler: SamplerLike | None,
    pruner: PrunerLike | None,
) -> ObjectiveOptions:
    try:
        return read_options(
            config.direction,
            config.n_trials,
            config.timeout_seconds,
            recorded_part("sampler", config.sampler, sampler, SAMPLERS),
            recorded_part("pruner", config.pruner, pruner, PRUNERS),
            config.seed,
            config.workers,
            config.finalists,
            config.repeats,
            config.arguments,
        )
    except CotuneError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{run.config_path}: cannot be used: {error}") from None
