"""Datasets: reading and checking them, and the form that engines train on."""

from cotune.data.builtin.catalog import entries, load
from cotune.data.builtin.named import Entry
from cotune.data.checks import check_learnable
from cotune.data.dataset import Dataset, TrainingData
from cotune.data.preprocessing.preprocess import Preprocessing, Standardize, prepare
from cotune.data.preprocessing.table_preprocess import TablePreprocessing
from cotune.data.readers.arrays import from_arrays

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
