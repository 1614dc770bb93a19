"""Datasets: reading and checking them, and the form that engines train on."""

from cotune.data.arrays import from_arrays
from cotune.data.catalog import Entry, entries, load
from cotune.data.checks import check_learnable
from cotune.data.dataset import Dataset, TrainingData
from cotune.data.preprocess import Standardize, prepare

__all__ = [
    "Dataset",
    "Entry",
    "Standardize",
    "TrainingData",
    "check_learnable",
    "entries",
    "from_arrays",
    "load",
    "prepare",
]
