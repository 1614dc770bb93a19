"""A whole run, from its data to its report."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from dataclasses import dataclass, replace

import numpy as np

from cotune.data import Dataset, prepare
from cotune.data.dataset import TrainingData
from cotune.data.known_rows import known_rows, splits_of_rows
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.data.preprocessing.told import remarks_of
from cotune.engine.families import FAMILIES
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.rows import with_rows
from cotune.engine.precision import faster_precision
from cotune.exceptions import ClusterError
from cotune.inference.baseline import validation_baseline
from cotune.runs.checkpoint_store import Generation
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.options import Options, Resources, describe_run
from cotune.study.publish import Publisher
from cotune.tuning.clock import Clock
from cotune.tuning.context import RunContext
from cotune.tuning.observer import Observer
from cotune.tuning.report_writer import BuildReport, write_report
from cotune.tuning.signals import Stopped, StopRequest, stop_request
from cotune.tuning.tuner import Tuner
from cotune.workers.base import EngineJob, Executor
from cotune.workers.executors import make_executor

_CLOSING_SECONDS = 2.5  # test, report and exit after the final model


def executor_for(resources: Resources, options: Options) -> Executor:
    """Make the executor of a run; its processes import PyTorch while the data is read."""
    return make_executor(resources.place(options))


@dataclass(frozen=True)
class Session:
    """The process that a run is carried out in.

    Attributes:
        report: Writes a report of the directory, unless there is only a search; None for none.
        began: ``time.monotonic()`` when the timeout began to count; None: with the search.
        stop: Set by whoever catches the signals; None: they are caught by the run.
        publish: The URL of a database that gets a copy of the study, or None.
    """

    observer: Observer
    report: BuildReport | None = None
    began: float | None = None
    stop: StopRequest | None = None
    publish: str | None = None


@dataclass(frozen=True)
class Before:
    """The state of a run before it is resumed.

    Attributes:
        seconds: What its phases took, as in its summary.
        exact: All files are as they were at that checkpoint.
        extended: The search continues, even if it was over.
    """

    config: RunConfig
    seconds: dict[str, float]
    generation: Generation | None
    exact: bool
    extended: bool


@dataclass(frozen=True)
class PreparedRun:
    """A run that can begin: its rows are split and scaled.

    Attributes:
        options: What was asked for, fitted to the rows.
        dataset: With remarks on how its rows are treated.
        training: Rows of training and validation.
    """

    options: Options
    dataset: Dataset
    training: TrainingData
    preprocessing: Preprocessing


def prepare_run(options: Options, dataset: Dataset) -> PreparedRun:
    """Split and scale the rows; nothing is written before that is possible.

    Raises:
        DataError: The rows cannot be learned from.
    """
    training, preprocessing = prepare(
        dataset,
        validation=options.validation,
        seed=options.seed,
        treatment=options.treatment,
    )
    if options.custom is not None:
        options = replace(options, custom=with_rows(options.custom, training.inputs))
    told = remarks_of(dataset, options.asked, preprocessing, options.custom is not None)
    dataset = replace(dataset, remarks=(*dataset.remarks, *told))
    return PreparedRun(options, dataset, training, preprocessing)


def carry_out(
    prepared: PreparedRun,
    resources: Resources,
    executor: Executor,
    directory: RunDirectory,
    session: Session,
    earlier: Before | None = None,
) -> None:
    """Run a search, and what follows from it, in a directory: new, or of an earlier run.

    Args:
        executor: From :func:`executor_for`.
        directory: Open for writing; it is closed at the end.
        session: Who is told, and when the time began.
        earlier: Of a run that is resumed.

    Raises:
        As :func:`run`.
    """
    observer, report = session.observer, session.report
    options, dataset, training = prepared.options, prepared.dataset, prepared.training
    with contextlib.ExitStack() as stack:
        stack.callback(directory.close)
        if resources.precision == "auto":
            resources = replace(resources, precision=_precision(options, resources))
        executor.load(
            EngineJob(
                training,
                options.seed,
                resources.lanes,
                resources.precision,
                options.metric,
                options.custom,
            )
        )
        config = describe_run(options, resources, dataset, training, executor.lanes)
        rows, config["dataset"]["test_fingerprint"] = known_rows(dataset, training)
        # What a network has to be better than: always the most frequent class. Its scores are of
        # the validation part, by metric.
        most_frequent = dataset.classes[int(np.bincount(dataset.labels).argmax())]
        config["dataset"]["baseline_class"] = most_frequent
        config["dataset"]["baseline"] = validation_baseline(training)
        if earlier:
            config["command"] = earlier.config.command
        directory.write_config(config)
        directory.tables.write_splits(splits_of_rows(dataset, training))
        directory.tables.write_rows(rows)
        stop = session.stop if session.stop is not None else stack.enter_context(stop_request())
        if options.search_only:
            report = None
        stack.callback(observer.run_ended)
        if report:
            stack.callback(write_report, report, directory)
        if session.publish is not None:
            publisher = Publisher(directory.journal_path, session.publish, directory.path.name)
            publisher.start()
            stack.callback(publisher.close)
        began = time.monotonic() if session.began is None else session.began
        observer.run_started(directory, began, options.timeout)
        closing = _CLOSING_SECONDS if report else 0.0
        deadline = math.inf if options.timeout is None else began + options.timeout - closing
        context = RunContext(
            options=options,
            dataset=dataset,
            training=training,
            preprocessing=prepared.preprocessing,
            directory=directory,
            executor=executor,
            observer=observer,
            clock=Clock(began, deadline, stop.__bool__, earlier.seconds if earlier else {}),
            checkpoint_seconds=None if options.search_only else resources.checkpoint,
            max_disk=resources.max_disk,
            is_lockstep=resources.is_lockstep(options),
        )
        tuner = Tuner(context, is_resumed=earlier is not None)
        try:
            if earlier:
                tuner.go(earlier.generation, earlier.exact, earlier.extended)
            else:
                tuner.go()
        except ClusterError as error:
            raise ClusterError(f"{error}; {_advice(directory, options.custom)}") from error
    if stop.signal is not None:
        raise Stopped(stop.signal, directory.path, _advice(directory, options.custom))


def _precision(options: Options, resources: Resources) -> str:
    """Return the faster precision for convolutions, where nothing has to come again bit for bit.

    On a cluster nodes differ, and none of them is this machine.
    """
    has_convolutions = any(
        family in FAMILIES and FAMILIES[family].needs_images for family in options.space.families
    )
    if not has_convolutions or resources.cluster or resources.is_lockstep(options):
        return "float32"
    return faster_precision(resources.device)


def _advice(directory: RunDirectory, custom: CustomNetwork | None) -> str:
    path = str(directory.path)
    if custom is not None and custom.reference is None:
        return f"to resume, from Python: cotune.resume({path!r}, model={custom.name})"
    model = f" --model {shlex.quote(custom.reference)}" if custom and custom.reference else ""
    return f"to resume: cotune resume {shlex.quote(path)}{model}"
