"""The user's own network that a run was on, given again: a run directory holds no code."""

from __future__ import annotations

from cotune.arguments import ModelLike, read_own
from cotune.data import Dataset
from cotune.data.preprocess import features_of
from cotune.exceptions import UsageError
from cotune.models import OwnNetwork
from cotune.own_space import OwnSpace
from cotune.rundir import RunDirectory


def recorded_own(run: RunDirectory, model: ModelLike) -> OwnNetwork | None:
    """What makes the run's networks, or None where they are of a built-in family.

    Raises:
        UsageError: It is not given, or is given where none is wanted.
    """
    name = run.config().get("network")
    if name is None:
        if model is not None:
            raise UsageError(f"model: {run.path} is no run on a network of your own; leave it out")
        return None
    own = read_own(model)
    if own is None:
        raise UsageError(
            f"model: {run.path} is a run on a network of your own, {name}; give what makes it: "
            "--model FILE.py:NAME, or model= from Python"
        )
    return own


def own_space(run: RunDirectory, own: OwnNetwork, dataset: Dataset) -> OwnSpace:
    """The run's space: what the function asks for now, and the training's as it was recorded."""
    config = run.config()
    recorded = {n: e for n, e in config["space"].items() if n != "model"}
    shape = features_of(dataset, config["validation"], config["seed"])
    return OwnSpace(own, {}, recorded, shape, len(dataset.classes))
