"""Cotune tunes PyTorch classifiers: from labelled data to a tuned network and an honest score.

result = cotune.run("fashion-mnist", timeout="5m")
result.best_params, result.test_accuracy
model = cotune.load(result.path)
"""

from __future__ import annotations

import warnings
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

# Optuna imports tqdm, which warns of this in a notebook; Cotune draws its own progress.
warnings.filterwarnings("ignore", "IProgress not found", module="tqdm.auto")

if TYPE_CHECKING:
    from cotune.api import compare, optimize, read, resume, run
    from cotune.estimator import CotuneClassifier
    from cotune.inference.evaluate import evaluate
    from cotune.inference.export import export
    from cotune.inference.predict import predict
    from cotune.result import RunResult, load, load_ensemble, open_run

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
    "read",
    "resume",
    "run",
]

# Imported on first use: PyTorch and Optuna take seconds, which `cotune --help` need not wait for.
_LAZY = {
    **dict.fromkeys(("compare", "optimize", "read", "resume", "run"), "cotune.api"),
    **dict.fromkeys(("RunResult", "load", "load_ensemble", "open_run"), "cotune.result"),
    "CotuneClassifier": "cotune.estimator",
    "evaluate": "cotune.inference.evaluate",
    "export": "cotune.inference.export",
    "predict": "cotune.inference.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'cotune' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
