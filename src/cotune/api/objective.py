"""``cotune.optimize``: an Optuna objective, unchanged, on worker processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from cotune.report import build_report
from cotune.report.terminal.live import make_observer
from cotune.result import RunResult
from cotune.study.pruners import PrunerLike
from cotune.study.samplers import SamplerLike
from cotune.tuning.objective_settings import read_options
from cotune.tuning.observer import Observer
from cotune.tuning.optimize import run_objective
from cotune.tuning.repeats import REPEATS
from cotune.workers.objective.given import ObjectiveLike


def optimize(
    objective: ObjectiveLike,
    *,
    direction: str | None = None,
    n_trials: int | None = None,
    timeout: str | float | None = None,
    sampler: SamplerLike = "tpe",
    pruner: PrunerLike = "asha",
    seed: int = 0,
    workers: int | None = None,
    finalists: int | None = None,
    repeats: int = REPEATS,
    arguments: str | Sequence[object] = (),
    out: str | Path | None = None,
    verbose: bool = True,
    observer: Observer | None = None,
    began: float | None = None,
) -> RunResult:
    """Run an Optuna objective, unchanged, on worker processes.

    It is called with a trial that has Optuna's interface, a trial at a time in each worker. The
    best trials are run again with fresh seeds, and the best mean is chosen: a search's best value
    is the luckiest of many.

    Before each call the worker seeds Python, NumPy and, where it is imported by then, PyTorch.

    Args:
        objective: ``"FILE.py:NAME"``, which workers import, or the function itself, which is sent
            to them; it may be of a notebook, or of a script without an
            ``if __name__ == "__main__"``. It returns a number, and may report and be pruned.
        direction: ``minimize`` or ``maximize``; by default that of the script's own study, or
            ``minimize``, as in Optuna.
        n_trials: Trials to run.
        timeout: Wall clock of everything: seconds, or ``"90s"``, ``"5m"``, ``"2h"``. Without it
            5 minutes; no limit when ``n_trials`` is given.
        sampler: ``tpe``, ``random``, ``grid`` (for an objective whose choices are finite),
            ``qmc``, ``gp``, or an Optuna sampler.
        pruner: ``asha`` and ``top-k``, by a trial's first, third, ninth... report; ``median``,
            ``hyperband``, ``none``, or an Optuna pruner.
        seed: Decides the sampler's draws and the seeds of all calls.
        workers: Processes; one per core by default.
        finalists: How many of the best trials are run again; 0 for none. By default 3, from ten
            trials on, in two fifths of the timeout at most.
        repeats: How often each of them is.
        arguments: What the script of ``FILE.py:NAME`` finds in ``sys.argv[1:]``: a list, or one
            string as for a shell.
        out: The run directory; by default ``runs/NAME-TIME``.
        verbose: Show progress: in a notebook in one display, else on stderr, as the command does.
        observer: Told how the run goes, instead.
        began: ``time.monotonic()`` when the timeout began to count; now by default.

    Raises:
        UsageError: An argument cannot be used, the objective cannot be loaded, or the run
            directory exists.
        StorageError: The run directory cannot be written.
        NoUsableTrialError: Every trial failed.
        KeyboardInterrupt: A signal stopped the run; :func:`resume` continues it.
    """
    began = time.monotonic() if began is None else began
    options = read_options(
        direction, n_trials, timeout, sampler, pruner, seed, workers, finalists, repeats, arguments
    )
    directory = run_objective(
        objective,
        options,
        out,
        observer or make_observer(quiet=not verbose),
        began,
        build_report,
    )
    return RunResult(directory)
