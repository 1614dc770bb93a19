"""A user's own network, given again to resume a run: a run directory holds no code."""

from __future__ import annotations

from cotune.arguments import named
from cotune.data import Dataset
from cotune.data.preprocessing.treatment import CHANNELS, INPUTS, Treatment
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.given import ModelLike, read_custom_network
from cotune.engine.networks.custom.rows import fit_custom_space
from cotune.engine.networks.custom.space import CustomSpace
from cotune.exceptions import UsageError
from cotune.runs.config import RecordedOptions
from cotune.runs.directory import RunDirectory


def recorded_custom_network(run: RunDirectory, model: ModelLike) -> CustomNetwork | None:
    """Return the user's own network of a run; None where the family is built in.

    Raises:
        UsageError: It is not given, or is given where none is wanted.
    """
    name = run.data_config().network
    if name is None:
        if model is not None:
            raise UsageError(f"model: {run.path} is no run on a network of your own; leave it out")
        return None
    custom = read_custom_network(model)
    if custom is None:
        raise UsageError(
            f"model: {run.path} is a run on a network of your own, {name}; give what makes it: "
            "--model FILE.py:NAME, or model= from Python"
        )
    return custom


def custom_space(run: RunDirectory, custom: CustomNetwork, dataset: Dataset) -> CustomSpace:
    """Return the run's space: the function's own hyperparameters now, the others as recorded."""
    options = run.options()
    recorded = {name: entry for name, entry in options.space.items() if name != "model"}
    split = options.validation, options.seed
    return fit_custom_space(custom, {}, recorded, dataset, split, recorded_treatment(options))


def recorded_treatment(options: RecordedOptions) -> Treatment:
    """Return how the user of a run wanted its rows treated."""
    return Treatment(
        str(named(options.inputs, INPUTS, "inputs")),
        str(named(options.channels, CHANNELS, "channels")),
    )
