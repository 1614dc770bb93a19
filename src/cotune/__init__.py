"""Cotune tunes PyTorch classifiers: from labelled data to a tuned network and an honest score.

result = cotune.run("fashion-mnist", timeout="5m")
result.best_params, result.test_accuracy
model = cotune.load(result.path)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cotune.exceptions import (
    CotuneError,
    DataError,
    ModelFileError,
    NoUsableTrialError,
    SpaceError,
    StorageError,
    UsageError,
)
from cotune.version import VERSION as __version__

if TYPE_CHECKING:
    from cotune.api import RunResult, open_run, run
    from cotune.compare_samplers import compare
    from cotune.ensemble import load_ensemble
    from cotune.modelfile import load_model as load
    from cotune.resume import resume
    from cotune.run_objective import optimize

__all__ = [
    "CotuneError",
    "DataError",
    "ModelFileError",
    "NoUsableTrialError",
    "RunResult",
    "SpaceError",
    "StorageError",
    "UsageError",
    "__version__",
    "compare",
    "load",
    "load_ensemble",
    "open_run",
    "optimize",
    "resume",
    "run",
]

# Imported on first use: PyTorch and Optuna take seconds, which `cotune --help` need not wait for.
_LAZY = {
    "RunResult": ("cotune.api", "RunResult"),
    "compare": ("cotune.compare_samplers", "compare"),
    "load": ("cotune.modelfile", "load_model"),
    "load_ensemble": ("cotune.ensemble", "load_ensemble"),
    "open_run": ("cotune.api", "open_run"),
    "optimize": ("cotune.run_objective", "optimize"),
    "resume": ("cotune.resume", "resume"),
    "run": ("cotune.api", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cotune' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
