"""Cotune from Python: :func:`run`, :func:`open_run` and what they return."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cotune.arguments import read_dataset, read_own
from cotune.data import Dataset, prepare
from cotune.data.reading import Data
from cotune.data.splits import parts_of_rows
from cotune.data.told import remarks_of
from cotune.ensemble import Ensemble
from cotune.ensemble import load_ensemble as read_ensemble
from cotune.exceptions import StorageError
from cotune.executors.base import Executor
from cotune.executors.in_process import InProcessExecutor, one_thread
from cotune.executors.processes import ProcessExecutor
from cotune.generations import Generation
from cotune.known_rows import known_rows
from cotune.modelfile import Classifier, load_model
from cotune.models import OwnNetwork
from cotune.observer import Observer
from cotune.options import Options, Resources, describe_run
from cotune.own_rows import with_rows
from cotune.report import build_report
from cotune.results import FinalResult, Summary, Value
from cotune.rundir import RunDirectory, default_path
from cotune.settings import read_settings
from cotune.signals import Stopped, StopRequest, stop_request
from cotune.space import Space
from cotune.storage import OptunaStudy, load_study
from cotune.study import PrunerLike, SamplerLike
from cotune.tune import Tuner

_CLOSING_SECONDS = 2.5  # test, report and exit after the final model


class RunResult:
    """A run that has ended, or one that is read while it goes on.

    Attributes:
        path: The run directory.
        summary: State, seconds, counts, best trial and final model.
    """

    def __init__(self, run: RunDirectory, own: OwnNetwork | None = None) -> None:
        self._run = run
        self._own = own
        self.path = run.path
        self.summary: Summary = run.summary()

    @property
    def best_params(self) -> dict[str, Value]:
        """The hyperparameters of the trial that was chosen; empty when there is none."""
        return dict(self.summary.best["params"]) if self.summary.best else {}

    @property
    def validation_accuracy(self) -> float | None:
        """That trial's accuracy on the validation part, 0-1: optimistic, it was chosen by it."""
        return (self.summary.best or {}).get("validation_accuracy")

    @property
    def best_value(self) -> float | None:
        """That trial's value in the search, of the run's metric or as an objective returned it."""
        return (self.summary.best or {}).get("value")

    @property
    def test_accuracy(self) -> float | None:
        """The final model's accuracy on the sealed test set, 0-1; None when there is none."""
        return self.summary.final.get("test_accuracy") if self.summary.final else None

    @property
    def baseline_scores(self) -> dict[str, float]:
        """Scores of always predicting the most frequent class of the training rows, by metric.

        On the test set; on the validation part where there is no test set, or no final model.
        Empty in runs of an older Cotune and of objectives.
        """
        on_test = (self.summary.final or {}).get("baseline_test_scores")
        return dict(on_test or (self.summary.best or {}).get("baseline") or {})

    @property
    def baseline_accuracy(self) -> float | None:
        """The accuracy, 0-1, of :attr:`baseline_scores`; None where there are none."""
        return self.baseline_scores.get("accuracy")

    @property
    def warning(self) -> str:
        """A line where the final model is not better than the baseline beyond noise, or ""."""
        return str((self.summary.final or {}).get("warning") or "")

    @property
    def final(self) -> FinalResult | None:
        """The final model's curve, confusion matrix and mistakes."""
        return self._run.final()

    @cached_property
    def study(self) -> OptunaStudy:
        """The Optuna study."""
        return load_study(self._run.journal_path)

    @cached_property
    def model(self) -> Classifier:
        """The final model, an ``nn.Module`` that takes rows as they are in the data."""
        return load_model(self._run.best_path, self._own)

    def show(self) -> None:
        """Print what ``cotune show`` prints."""
        from cotune.terminal import print_run

        print_run(self._run)

    def __repr__(self) -> str:
        score = "" if self.test_accuracy is None else f", test_accuracy={self.test_accuracy:.4f}"
        return f"RunResult({str(self.path)!r}, state={self.summary.state!r}{score})"


def open_run(path: str | Path) -> RunResult:
    """Read a run directory.

    Raises:
        UsageError: There is no run.
    """
    return RunResult(RunDirectory.open(path))


def load(path: str | Path, model: str | Callable[..., Any] | None = None) -> Classifier:
    """A run's final model, ready to predict (``eval`` mode), on the CPU.

    Args:
        path: The run directory, or a folder that holds ``model.json``.
        model: What makes the network, as for :func:`run`, where it is one of your own.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
        UsageError: It is a network of your own, and ``model`` is not given.
    """
    return load_model(path, read_own(model))


def load_ensemble(path: str | Path, model: str | Callable[..., Any] | None = None) -> Ensemble:
    """The ensemble of a run that was asked for one; as :func:`load`."""
    return read_ensemble(path, read_own(model))


def run(
    data: Data,
    *,
    target: str | int | None = None,
    test: Data = None,
    columns: Mapping[str, str] | None = None,
    skip_damaged: bool = False,
    inputs: str = "auto",
    channels: str = "auto",
    space: str | Path | Space | Mapping[str, Any] | None = None,
    model: str | Callable[..., Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    sampler: SamplerLike = "tpe",
    pruner: PrunerLike = "asha",
    metric: str = "accuracy",
    n_trials: int | None = None,
    timeout: str | float | None = None,
    seed: int = 0,
    workers: int | Literal["in-process"] | None = None,
    lanes: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    enqueue: Sequence[Mapping[str, Any]] = (),
    portfolio: bool = True,
    patience: int | None = None,
    ensemble: int = 0,
    ensemble_of: str = "search",
    validation: float = 0.2,
    checkpoint: str | float = 30.0,
    max_disk: str | float = "2GB",
    out: str | Path | None = None,
    report: bool = True,
    observer: Observer | None = None,
    began: float | None = None,
) -> RunResult:
    """Tune a network: search, train the best configuration on all rows, test it once.

    Args:
        data: The name of a dataset (``cotune datasets``); the path of a CSV, TSV, Parquet, NPZ,
            NPY or IDX file, or of a folder of images with a folder per class; a pair of arrays,
            tensors or lists ``(inputs [rows, ...], labels [rows])``; a DataFrame, alone or in a
            pair with its labels; a map-style PyTorch dataset of pairs; or a :class:`Dataset`.
        target: What holds the labels: the column of a table, the name of an array in an NPZ file,
            or the number of an array's column.
        test: The test set, of any of these kinds. Without one, a stratified fifth of the rows is
            sealed for it, unless the data have their own.
        columns: Kinds of a table's columns, where they are to be other than what is inferred:
            ``{"Id": "number", "zip": "category", "when": "day-first", "name": "skip"}``.
        skip_damaged: Leave out images that cannot be decoded, instead of raising an error.
        inputs: ``standardize`` the rows by the training part, pass them ``raw`` to the network, or
            ``auto``: raw where they are whole numbers and the network is your own.
        channels: The axis of an array's rows whose entries are scaled each by itself: the
            ``first``, the ``last``, ``none``, or ``auto``.
        space: A preset, a YAML file, or a mapping as in YAML, or to Optuna's distributions, instead
            of a model's own space.
        model: ``mlp`` (the default), ``cnn``, or ``auto``: both where the rows are images. Or a
            network of your own: a function ``build(trial) -> nn.Module`` that asks the trial for
            its hyperparameters as in Optuna, or a class of modules, for whose arguments ``space``
            has entries, or ``"FILE.py:NAME"`` of one. Hyperparameters of the training are added
            unless they are asked for there.
        fixed: Hyperparameters that are held at a value, whatever the space: ``{"lr": 0.001}``.
        sampler: ``tpe``, ``random``, ``grid``, ``qmc``, ``gp``, or an Optuna sampler.
        pruner: ``asha``, ``top-k``, ``median``, ``hyperband``, ``none``, or an Optuna pruner.
        metric: ``accuracy``, ``balanced-accuracy`` (the mean of the classes' recalls), ``f1`` or
            ``auc`` (means over the classes), or ``loss``, on the validation part. With costs after
            it, as ``"accuracy,parameters"`` or ``"accuracy,latency"``, the search looks for
            networks that are good and small, or fast; pruning is by the first.
        n_trials: Trials to run.
        timeout: Wall clock of everything: seconds, or ``"90s"``, ``"5m"``, ``"2h"``. Without it
            5 minutes; no limit when ``n_trials`` is given.
        seed: Decides the split, the sampler, the weights and the order of the rows.
        workers: Processes on the CPU; one per core by default. With one, and ``n_trials`` but no
            ``timeout``, the same seed and data give the same trials bit for bit; likewise with
            ``"in-process"``, which trains in this process, on one core, and saves the seconds
            that a worker takes to start.
        lanes: Trials in training at a time in each process, or on the GPU; measured by default.
        device: ``auto`` (a GPU when there is one), ``cpu`` or ``cuda``.
        precision: ``float32``, or ``bfloat16``: the large products of the training in 16 bits, up
            to 1.7 times as fast on CPUs and GPUs that have them.
        enqueue: Configurations, or parts of them, that are tried first.
        portfolio: Then try the default configuration and other good ones; without it, there are
            only the sampler's, and nothing is said of the default.
        patience: End the search after so many trials in a row that were no better than the best
            before them by more than the noise of the validation part.
        ensemble: Average this many networks, beside the single final model; see
            :func:`load_ensemble`.
        ensemble_of: ``search``: networks of the search, chosen greedily on the validation part;
            ``finalists``: the final model and others of the best finalists' configurations,
            trained on all rows, as many as a seventh of the time suffices for.
        validation: Share of the training rows that trials are judged on, 0-1.
        checkpoint: How often the trials in training are saved, for :func:`resume`: seconds, or
            ``"30s"``, ``"5m"``.
        max_disk: What the run directory may take up: bytes, or ``"500MB"``, ``"2GB"``. Where
            checkpoints would take more, there are none.
        out: The run directory; by default ``runs/NAME-TIME``.
        report: Write its ``report.html``.
        observer: Told how the run goes.
        began: ``time.monotonic()`` when the timeout began to count; now by default.

    Raises:
        UsageError: An argument cannot be used, or the run directory exists.
        DataError: The data cannot be learned from.
        StorageError: The run directory cannot be written.
        NoUsableTrialError: Every trial failed.
        KeyboardInterrupt: A signal stopped the run; what was finished is kept.
    """
    began = time.monotonic() if began is None else began
    settings = read_settings(
        space=space,
        model=model,
        fixed=fixed,
        sampler=sampler,
        pruner=pruner,
        metric=metric,
        n_trials=n_trials,
        timeout=timeout,
        seed=seed,
        workers=workers,
        lanes=lanes,
        device=device,
        precision=precision,
        portfolio=portfolio,
        patience=patience,
        ensemble=ensemble,
        ensemble_of=ensemble_of,
        validation=validation,
        inputs=inputs,
        channels=channels,
        checkpoint=checkpoint,
        max_disk=max_disk,
        enqueue=enqueue,
    )
    with workers_for(settings.options, settings.resources) as pool:
        # They import PyTorch while the data is read.
        dataset = read_dataset(data, target, test, columns, skip_damaged)
        return carry_out(
            settings.fit(dataset),
            settings.resources,
            dataset,
            pool,
            lambda: RunDirectory.create(out or default_path(dataset.name)),
            observer or Observer(),
            began,
            report=bool(report),
        )


def workers_for(
    options: Options, resources: Resources
) -> contextlib.AbstractContextManager[ProcessExecutor | None]:
    """Worker processes that start at once; None where a GPU, or this process, does the work."""
    if resources.device != "cpu" or resources.workers == 0:
        return contextlib.nullcontext()
    return ProcessExecutor(resources.workers, resources.is_lockstep(options))


@dataclass(frozen=True)
class Before:
    """What a run was before it is gone on with.

    Attributes:
        config: Its ``config.yaml``.
        seconds: What its phases took, as in its summary.
        generation: The checkpoint to go on from.
        exact: All files are as they were at that checkpoint.
        extended: The search goes on, even if it was over.
    """

    config: dict[str, Any]
    seconds: dict[str, float]
    generation: Generation | None
    exact: bool
    extended: bool


def carry_out(
    options: Options,
    resources: Resources,
    dataset: Dataset,
    pool: ProcessExecutor | None,
    open_directory: Callable[[], RunDirectory],
    observer: Observer,
    began: float | None = None,
    stop: StopRequest | None = None,
    before: Callable[[], Before] | None = None,
    report: bool = True,
) -> RunResult:
    """What :func:`run`, :func:`resume` and :func:`compare` have in common.

    Args:
        pool: From :func:`workers_for`.
        open_directory: Opens the run directory for writing, once the data can be learned from.
        began: ``time.monotonic()`` when the timeout began to count; None: with the search.
        stop: Set by whoever catches the signals; without it they are caught here.
        before: Of a run that is gone on with; asked once the directory is open.
        report: Write a report, unless there was only a search.

    Raises:
        As :func:`run`.
    """
    training, preprocessing = prepare(
        dataset,
        validation=options.validation,
        seed=options.seed,
        treatment=options.treatment,
    )
    if options.own is not None:
        training = replace(training, own=with_rows(options.own, training.inputs))
    told = remarks_of(dataset, options.asked, preprocessing, options.own is not None)
    dataset = replace(dataset, remarks=(*dataset.remarks, *told))
    with contextlib.ExitStack() as stack:
        directory = open_directory()
        stack.callback(directory.close)
        earlier = before() if before else None
        executor: Executor
        lanes, precision = resources.lanes, resources.precision
        if pool is None:
            if resources.device == "cpu":
                stack.enter_context(one_thread())
            executor = stack.enter_context(
                InProcessExecutor(
                    training, options.seed, resources.device, lanes, precision, options.metric
                )
            )
        else:
            pool.load(training, options.seed, lanes, precision, options.metric)
            executor = pool
        config = describe_run(options, resources, dataset, training, executor.lanes)
        rows, config["dataset"]["test_fingerprint"] = known_rows(dataset, training)
        if earlier:
            config["command"] = earlier.config.get("command")
        directory.write_config(config)
        directory.write_splits(parts_of_rows(dataset, training))
        directory.write_rows(rows)
        stop = stack.enter_context(stop_request()) if stop is None else stop
        report = report and not options.search_only
        if report:
            stack.callback(_report, directory)
        stack.callback(observer.run_ended)
        began = time.monotonic() if began is None else began
        observer.run_started(directory, began, options.timeout)
        tuner = Tuner(
            dataset,
            options,
            directory,
            training,
            executor,
            preprocessing,
            observer,
            stop,
            began,
            _CLOSING_SECONDS if report else 0.0,
            None if options.search_only else resources.checkpoint,
            resources.max_disk,
            resources.is_lockstep(options),
            earlier.seconds if earlier else None,
        )
        if earlier:
            tuner.go(earlier.generation, earlier.exact, earlier.extended)
        else:
            tuner.go()
    if stop.signal is not None:
        raise Stopped(stop.signal, directory.path, _advice(directory, options.own))
    return RunResult(directory, options.own)


def _advice(directory: RunDirectory, own: OwnNetwork | None) -> str:
    path = str(directory.path)
    if own is not None and own.reference is None:
        return f"to go on, from Python: cotune.resume({path!r}, model={own.name})"
    model = f" --model {shlex.quote(own.reference)}" if own and own.reference else ""
    return f"to go on: cotune resume {shlex.quote(path)}{model}"


def _report(directory: RunDirectory) -> None:
    """Write the report of a run, whichever way it ends; what ended it is the error to tell."""
    with contextlib.suppress(StorageError):
        build_report(directory)
