"""``cotune.read``, ``cotune.run`` and ``cotune.resume``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cotune.data.dataset import Dataset
from cotune.data.reading import Data, read_dataset
from cotune.engine.networks.custom.given import ModelLike
from cotune.report import build_report
from cotune.report.notebook.dataset import register
from cotune.report.notebook.front_end import has_front_end
from cotune.report.terminal.live import make_observer
from cotune.report.trackers import with_trackers
from cotune.result import RunResult
from cotune.runs.directory import RunDirectory
from cotune.runs.paths import default_path
from cotune.space.space import Space
from cotune.study.pruners import PrunerLike
from cotune.study.publish import check_database
from cotune.study.samplers import SamplerLike
from cotune.tuning.observer import Observer
from cotune.tuning.resume import resume_run
from cotune.tuning.resumption import Resumption
from cotune.tuning.run import Session, carry_out, executor_for, prepare_run
from cotune.tuning.settings import read_settings
from cotune.workers.objective.given import ObjectiveLike


def read(
    data: Data,
    *,
    target: str | int | None = None,
    test: Data = None,
    columns: Mapping[str, str] | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """Read data as :func:`run` does, to look at before a run, or to run on.

    A notebook shows what was understood, and the first rows or images.

    Args:
        data, target, test, columns, skip_damaged: As for :func:`run`.

    Raises:
        DataError: The data cannot be read.
    """
    if has_front_end():
        register()
    return read_dataset(data, target, test, columns, skip_damaged)


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
    executor: str = "auto",
    workers: int | Literal["in-process", "max"] | None = None,
    address: str | None = None,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float | None = None,
    lanes: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    enqueue: Sequence[Mapping[str, Any]] = (),
    portfolio: bool = True,
    patience: int | None = None,
    ensemble: int = 0,
    ensemble_of: str = "search",
    validation: float | None = None,
    checkpoint: str | float = 30.0,
    max_disk: str | float = "2GB",
    publish: str | None = None,
    log: str | Sequence[str] = (),
    out: str | Path | None = None,
    report: bool = True,
    verbose: bool = True,
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
        model: ``mlp``, ``cnn``, or ``auto`` (the default): both where the rows are images. Or a
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
        executor: ``processes``, ``in-process``, ``ray``: a Ray cluster, or ``auto``: this process
            for a GPU, else processes.
        workers: Processes on the CPU; one per core by default. With one, and ``n_trials`` but no
            ``timeout``, the same seed and data give the same trials bit for bit; likewise with
            ``"in-process"``, which trains in this process, on one core, and saves the seconds
            that a worker takes to start. On a cluster, so many actors, or ``"max"`` (the default):
            as many as there is room for, while nodes join and leave.
        address: Of the Ray cluster: ``HOST:PORT`` of its head; or ``local``, which starts one on
            this machine. By default what ``RAY_ADDRESS`` says, else ``local``.
        cpus_per_worker, gpus_per_worker: What each actor takes; 1 and 0 by default.
        lanes: Trials in training at a time in each process, or on the GPU; measured by default.
        device: ``auto`` (a CUDA GPU when there is one), ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32``; ``bfloat16``: the large products of the training in 16 bits, up to
            1.7 times as fast on CPUs and GPUs that have them; or ``auto``: ``bfloat16`` where
            convolutions are searched and measured to be faster in it, and the same seed need not
            give the same trials bit for bit.
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
        validation: Share of the training rows that trials are judged on, 0-1; by default 0.2, but
            at most 6,000 rows.
        checkpoint: How often the trials in training are saved, for :func:`resume`: seconds, or
            ``"30s"``, ``"5m"``.
        max_disk: What the run directory may take up: bytes, or ``"500MB"``, ``"2GB"``. Where
            checkpoints would take more, there are none.
        publish: The URL of a database, as in ``postgresql://user@host/name``, that gets a copy of
            the study under the name of the run directory, trial by trial as they end.
        log: Tools that are told of the run: ``tensorboard``, which writes below the run directory;
            ``mlflow``, to ``MLFLOW_TRACKING_URI`` or ``mlflow.db``; or ``mlflow=URI``.
        out: The run directory; by default ``runs/NAME-TIME``.
        report: Write its ``report.html``.
        verbose: Show progress: in a notebook in one display, else on stderr, as the command does.
        observer: Told how the run goes, instead.
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
        executor=executor,
        workers=workers,
        address=address,
        cpus_per_worker=cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
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
    database = None if publish is None else check_database(publish)
    observer = with_trackers(observer or make_observer(quiet=not verbose), log)
    with executor_for(settings.resources, settings.options) as engines:
        # They import PyTorch while the data is read.
        dataset = read_dataset(data, target, test, columns, skip_damaged)
        prepared = prepare_run(settings.fit(dataset), dataset)
        directory = RunDirectory.create(out or default_path(dataset.name))
        carry_out(
            prepared,
            settings.resources,
            engines,
            directory,
            Session(
                observer,
                build_report if report else None,
                began,
                publish=database,
            ),
        )
    return RunResult(directory, settings.options.custom)


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
    executor: str | None = None,
    address: str | None = None,
    workers: int | Literal["max"] | None = None,
    publish: str | None = None,
    log: str | Sequence[str] = (),
    verbose: bool = True,
    observer: Observer | None = None,
    began: float | None = None,
) -> RunResult:
    """Resume a run from what is in its directory.

    Trials that ended stay as they are. Those in training go on from the last checkpoint, or begin
    anew where there was none yet. The sampler draws what it would have drawn. Without ``timeout``,
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
        log: As for :func:`run`.
        publish: As for :func:`run`; the URL is not in the run directory.
        executor, address, workers: Where to go on, as for :func:`run`; by default where it was.
        verbose: Show progress: in a notebook in one display, else on stderr, as the command does.
        observer: Told how the run goes, instead.
        began: ``time.monotonic()`` when the timeout began to count; now by default.

    Raises:
        UsageError: There is no run, it was on other data, or an argument cannot be used.
        StorageError: Another process writes there, or the run's files are damaged.
        KeyboardInterrupt: A signal stopped it; it can be resumed again.
    """
    began = time.monotonic() if began is None else began
    asked = Resumption(
        timeout=timeout,
        n_trials=n_trials,
        more=more,
        data=data,
        target=target,
        test=test,
        model=model,
        objective=objective,
        arguments=arguments,
        sampler=sampler,
        pruner=pruner,
        executor=executor,
        address=address,
        workers=workers,
        publish=None if publish is None else check_database(publish),
    )
    observer = with_trackers(observer or make_observer(quiet=not verbose), log)
    run, custom = resume_run(path, asked, observer, began, build_report)
    return RunResult(run, custom)
