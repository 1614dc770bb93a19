"""Checks of plain arguments, made before the seconds that importing PyTorch takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


def check_search(data: str, options: Mapping[str, Any]) -> None:
    """Check the arguments of a search.

    Args:
        options: By name. A command need not have all of them.

    Raises:
        UsageError: A name is unknown, a value is out of range, or the run directory exists.
        DataError: There is no such file.
    """
    from cotune.arguments import EXECUTOR_NAMES, named, read_metrics, read_seed, read_timeout
    from cotune.data.preprocessing.treatment import CHANNELS, INPUTS
    from cotune.data.reading import check_path
    from cotune.engine.device import DEVICES, PRECISIONS
    from cotune.runs.paths import check_free
    from cotune.study.pruners import PRUNERS
    from cotune.study.samplers import SAMPLERS

    known: dict[str, Collection[str]] = {
        "sampler": SAMPLERS,
        "pruner": PRUNERS,
        "device": DEVICES,
        "inputs": INPUTS,
        "channels": CHANNELS,
        "precision": PRECISIONS,
        "executor": EXECUTOR_NAMES,
    }
    for name, values in known.items():
        if name in options:
            named(options[name], values, name)
    read_metrics(options["metric"])
    read_timeout(options["timeout"], options["n_trials"])
    read_seed(options.get("seed", 0))
    if options.get("executor") == "ray":
        from cotune.workers.ray.cluster import read_cluster

        read_cluster(
            options["address"], None, options["cpus_per_worker"], options["gpus_per_worker"]
        )
    for path in (data, options["test"]):
        if path is not None:
            check_path(path)
    if options["out"] is not None:
        check_free(options["out"])


def check_model_use(data: Path, device: str) -> None:
    """Check the arguments of `predict` and `evaluate`.

    Raises:
        UsageError: The device is unknown.
        DataError: There is no such file.
    """
    from cotune.arguments import named
    from cotune.data.reading import check_path
    from cotune.engine.device import DEVICES

    named(device, DEVICES, "device")
    check_path(data)
