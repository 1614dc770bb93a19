"""A run's final model on new data: what each row is predicted to be."""

from __future__ import annotations

from pathlib import Path

from cotune.ensemble import Ensemble, load_ensemble
from cotune.modelfile import Classifier, load_model
from cotune.rundir import RunDirectory

Predictor = Classifier | Ensemble


def load_predictor(path: str | Path, ensemble: bool = False) -> Predictor:
    """A run's final model, or its ensemble."""
    return load_ensemble(path) if ensemble else load_model(path)


def recorded_target(path: str | Path) -> str | None:
    """The column of a table that held the labels in training, where the run tells it."""
    for folder in (Path(path), Path(path).parent):
        if (folder / "config.yaml").is_file():
            source = RunDirectory.open(folder).config()["dataset"].get("source")
            return source.get("target") if isinstance(source, dict) else None
    return None
