"""Settings of a run of an objective: the arguments of :func:`cotune.optimize`, checked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from cotune.arguments import count, named, positive, read_seed, read_timeout
from cotune.engine.device import n_cores
from cotune.exceptions import UsageError
from cotune.records import Direction
from cotune.study.pruners import PRUNERS, PrunerLike
from cotune.study.samplers import SAMPLERS, SamplerLike
from cotune.text import shown
from cotune.tuning.repeats import REPEATS


@dataclass(frozen=True)
class ObjectiveOptions:
    """The settings of a run of an objective.

    Attributes:
        name: What the objective is called: ``train.py:objective``.
        direction: ``maximize`` or ``minimize``; None until the script is imported, for that of its
            own study, or ``minimize``.
        sampler, pruner: A name, or an Optuna object.
        n_trials: Trials to run; None for as many as the time allows.
        timeout: Seconds for everything; None for no limit.
        seed: Decides the sampler's draws and the seeds of the calls.
        workers: Processes.
        finalists: Trials to run again; None: 3, where there are trials enough; 0: none.
        repeats: How often each of them is.
        arguments: Of the script, its ``sys.argv[1:]``.
    """

    name: str
    direction: Direction | None
    sampler: SamplerLike = "tpe"
    pruner: PrunerLike = "asha"
    n_trials: int | None = None
    timeout: float | None = 300.0
    seed: int = 0
    workers: int = 1
    finalists: int | None = None
    repeats: int = REPEATS
    arguments: tuple[str, ...] = ()


def read_options(
    direction: str | None,
    n_trials: int | None,
    timeout: str | float | None,
    sampler: SamplerLike,
    pruner: PrunerLike,
    seed: int,
    workers: int | None,
    finalists: int | None,
    repeats: int,
    arguments: str | Sequence[object] = (),
) -> ObjectiveOptions:
    """Check the arguments of :func:`cotune.optimize`; the objective's name comes later."""
    return ObjectiveOptions(
        name="",
        direction=None if direction is None else _read_direction(direction),
        sampler=named(sampler, SAMPLERS, "sampler"),
        pruner=named(pruner, PRUNERS, "pruner"),
        n_trials=positive(n_trials, "n_trials"),
        timeout=read_timeout(timeout, n_trials),
        seed=read_seed(seed),
        workers=positive(workers, "workers") or n_cores(),
        finalists=None if finalists is None else count(finalists, "finalists"),
        repeats=positive(repeats, "repeats") or REPEATS,
        arguments=read_arguments(arguments),
    )


def read_arguments(arguments: str | Sequence[object]) -> tuple[str, ...]:
    """Return a script's arguments; those of one string are split as a shell would."""
    return tuple(shlex.split(arguments) if isinstance(arguments, str) else map(str, arguments))


def _read_direction(direction: object) -> Direction:
    if direction == "minimize":
        return "minimize"
    if direction == "maximize":
        return "maximize"
    raise UsageError(f"direction: {shown(direction)} is unknown; choose minimize or maximize")
