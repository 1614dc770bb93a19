"""Reading and writing of ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cotune.exceptions import StorageError
from cotune.runs.checks import check, check_optional, check_scores
from cotune.runs.files import describe_error, write_file

OBJECTIVE = "objective"
"""The ``kind`` in the configuration of a run of a user's own objective function."""

_CONFIG = {
    "dataset": {
        "name": str,
        "rows": {"train": int, "validation": int, "test": int},
        "classes": list,
    },
    "metric": str,
    "device": str,
}
_OBJECTIVE_CONFIG = {"kind": str, "objective": str, "direction": str, "metric": str, "workers": int}


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.yaml``."""
    write_file(path, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def read_config(path: Path) -> dict[str, Any]:
    """Read ``config.yaml``.

    Raises:
        StorageError: It is damaged.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # PyYAML lets a ValueError or KeyError through
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error
    is_objective = isinstance(config, dict) and config.get("kind") == OBJECTIVE
    check(config, _OBJECTIVE_CONFIG if is_objective else _CONFIG, path)
    check_optional(config, {"notes": list}, path, "")
    if not is_objective:
        dataset = config["dataset"]
        check_scores(dataset, ("baseline",), path, "dataset.")
        check_optional(dataset, {"baseline_class": str}, path, "dataset.")
    return config  # type: ignore[no-any-return]
