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
    from cotune.api import RunResult, load, load_ensemble, open_run, run
    from cotune.compare_samplers import compare
    from cotune.estimator import CotuneClassifier
    from cotune.evaluation import evaluate
    from cotune.exports import export
    from cotune.predictions import predict
    from cotune.resume_run import resume
    from cotune.run_objective import optimize

__all__ = [
    "CotuneClassifier",
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
    "evaluate",
    "export",
    "load",
    "load_ensemble",
    "open_run",
    "optimize",
    "predict",
    "resume",
    "run",
]

# Imported on first use: PyTorch and Optuna take seconds, which `cotune --help` need not wait for.
_LAZY = {
    "CotuneClassifier": ("cotune.estimator", "CotuneClassifier"),
    "RunResult": ("cotune.api", "RunResult"),
    "compare": ("cotune.compare_samplers", "compare"),
    "load": ("cotune.api", "load"),
    "load_ensemble": ("cotune.api", "load_ensemble"),
    "evaluate": ("cotune.evaluation", "evaluate"),
    "export": ("cotune.exports", "export"),
    "open_run": ("cotune.api", "open_run"),
    "optimize": ("cotune.run_objective", "optimize"),
    "predict": ("cotune.predictions", "predict"),
    "resume": ("cotune.resume_run", "resume"),
    "run": ("cotune.api", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cotune' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
