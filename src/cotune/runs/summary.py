"""Reading and writing of ``summary.json`` and ``final.json``."""

from __future__ import annotations

import json
from pathlib import Path

from cotune.exceptions import StorageError
from cotune.records import FinalResult, Summary
from cotune.runs.checks import check, check_optional, check_scores, read_json
from cotune.runs.files import write_file
from cotune.runs.lock import RunLock
from cotune.runs.paths import RunPaths

# What Cotune itself needs of the files it reads back: keys and the types of their values.
_SUMMARY = {
    "state": str,
    "seconds": {"total": float, "search": float, "final": float, "study": float},
    "trials": {"complete": int, "pruned": int, "failed": int, "running": int},
    "message": str,
}
_SUMMARY_BEST = {"number": int, "params": dict, "validation_accuracy": float}
_FINAL = {"epochs": int, "parameters": int}
_TESTED = {"test_accuracy": float, "test_ci95": [float, float]}
_OBJECTIVE_BEST = {"number": int, "params": dict, "value": float, "search_best": float}
_OBJECTIVE_FINALIST = {"number": int, "runs": int, "failed": int, "mean": float}
# What may be missing or null; where it is there, it is of this kind.
_FINAL_OPTIONAL = {
    "test_accuracy": float,
    "validation_accuracy_mean": float,
    "validation_accuracy_sd": float,
    "default_test_accuracy": float,
    "default_p_value": float,
    "ensemble_test_accuracy": float,
    "ensemble_test_ci95": [float, float],
    "ensemble_members": int,
    "warning": str,
}
_FINAL_SCORES = ("test_scores", "default_test_scores", "baseline_test_scores")
_PARETO = {"number": int, "value": float}
_FINAL_FILE = {**_FINAL, "curve": dict, "confusion": list, "mistakes": list}


def write_summary(path: Path, summary: Summary) -> None:
    """Write ``summary.json``."""
    write_file(path, json.dumps(summary.to_json(), indent=1))


def write_final(path: Path, final: FinalResult) -> None:
    """Write ``final.json``."""
    write_file(path, json.dumps(final.to_json()))


def read_summary(paths: RunPaths, is_of_objective: bool) -> Summary:
    """Read where a run stands; one whose writer was killed reads as interrupted.

    Raises:
        StorageError: The file is damaged.
    """
    path = paths.summary_path
    # Before the summary is read: a run that ends in between has written its last one by then.
    is_locked = RunLock(paths.path).is_held
    data = read_json(path)
    check(data, _SUMMARY, path)
    if data.get("best") is not None:
        best = _OBJECTIVE_BEST if is_of_objective else _SUMMARY_BEST
        check(data["best"], best, path, "best.")
        check_scores(data["best"], ("baseline",), path, "best.")
    check(data.get("finalists", []), list, path, "finalists.")
    for one in data.get("finalists", []):
        check(one, _OBJECTIVE_FINALIST, path, "finalists.")
        check_optional(one, {"sd": float}, path, "finalists.")
    if data.get("final") is not None:
        check(data["final"], _FINAL, path, "final.")
        check_optional(data["final"], _FINAL_OPTIONAL, path, "final.")
        check_scores(data["final"], _FINAL_SCORES, path, "final.")
        if data["final"].get("test_accuracy") is not None:
            check(data["final"], _TESTED, path, "final.")
        if data["final"].get("default_test_accuracy") is not None:
            check(
                data["final"],
                {"default_p_value": float, "default_chosen": bool},
                path,
                "final.",
            )
    check(data.get("pareto", []), list, path, "pareto.")
    for one in data.get("pareto", []):
        check(one, _PARETO, path, "pareto.")
    if data["state"] == "running" and not is_locked:
        data["state"] = "interrupted"
        data["message"] = "the process that ran it was killed"
        data["trials"]["running"] = 0
    try:
        return Summary.from_json(data)
    except TypeError as error:
        raise StorageError(f"{path}: is not a run's summary: {error}") from error


def read_final(path: Path) -> FinalResult | None:
    """Read the final model's result, or None when the run did not get that far.

    Raises:
        StorageError: The file is damaged.
    """
    if not path.exists():
        return None
    data = read_json(path)
    check(data, _FINAL_FILE, path)
    check_scores(data, _FINAL_SCORES, path)
    check_optional(data, {"warning": str}, path, "")
    if data.get("test_accuracy") is not None:
        check(data, _TESTED, path)
    try:
        return FinalResult.from_json(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path}: is not a final result: {error}") from error
