"""Datasets: reading and checking them, and the form that engines train on."""

from cotune.data.arrays import from_arrays
from cotune.data.catalog import Entry, entries, load
from cotune.data.checks import check_learnable
from cotune.data.dataset import Dataset, TrainingData
from cotune.data.preprocess import Preprocessing, Standardize, prepare
from cotune.data.table_preprocess import TablePreprocessing

__all__ = [
    "Dataset",
    "Entry",
    "Preprocessing",
    "Standardize",
    "TablePreprocessing",
    "TrainingData",
    "check_learnable",
    "entries",
    "from_arrays",
    "load",
    "prepare",
]
