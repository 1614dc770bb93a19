"""Runs whose reports are looked at."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import optuna
import pytest

from cotune.runs.directory import RunDirectory
from tests.support.report_runs import make_run


@pytest.fixture(scope="package", autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn's warnings on overflowing networks are not what is tested here."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("report") / "run")
