"""Trials, and importances of columns, as tables of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cotune.exceptions import UsageError
from cotune.runs.directory import RunDirectory
from cotune.study.journal import load_study

if TYPE_CHECKING:
    from pandas import DataFrame


def trials_frame(run: RunDirectory) -> DataFrame:
    """Return the trials that have ended as a DataFrame, in the order of their numbers.

    Columns are ``state``, ``value``, ``epochs``, ``seconds`` and ``reason``, then one for each
    hyperparameter, with its own type; what a trial does not have is missing.

    Raises:
        UsageError: pandas is not installed.
    """
    pandas = _pandas("trials")
    params: dict[int, dict[str, Any]] = {}
    if run.journal_path.exists():
        trials = load_study(run.journal_path).get_trials(deepcopy=False)
        params = {trial.number: dict(trial.params) for trial in trials}
    rows, names = {}, ["state", "value", "epochs", "seconds", "reason"]
    for trial in run.tables.trials() if run.trials_path.exists() else ():
        own = {
            name if name not in names else f"params_{name}": value
            for name, value in params.get(trial.number, {}).items()
        }
        fixed = (trial.state, trial.value, trial.epochs, trial.seconds, trial.reason)
        rows[trial.number] = dict(zip(names, fixed, strict=True)) | own
    frame = pandas.DataFrame.from_dict(rows, orient="index", columns=None)
    frame = frame.sort_index().rename_axis("trial")
    return frame.reindex(columns=list(dict.fromkeys([*names, *frame.columns])))


def columns_frame(run: RunDirectory) -> DataFrame:
    """Return the importances of a table's columns as a DataFrame, the most important first.

    Raises:
        UsageError: pandas is not installed.
    """
    final = run.final()
    columns = final.columns.columns if final is not None and final.columns is not None else []
    frame = _pandas("columns").DataFrame(
        [(one.mean, one.sd) for one in columns],
        index=[one.name for one in columns],
        columns=["mean", "sd"],
        dtype=float,
    )
    return frame.rename_axis("column")


def _pandas(what: str) -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError(f"{what}: pandas is not installed; pip install pandas") from None
    return pandas
