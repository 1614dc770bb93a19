"""Arrays with names, which tell the inputs from the labels.

``X`` and ``y``, ``images`` and ``labels``, ``data`` and ``target``; with ``_train`` and ``_test``
after them, as in Keras's ``mnist.npz``, the latter are the test set.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from cotune.data.dataset import Reading
from cotune.data.readers.reader import Array, Rows, RowsReader
from cotune.exceptions import DataError
from cotune.text import close_name, listed, shown_key

Arrays = Mapping[str, Callable[[], Array]]
"""A function that reads each array, by name."""

_INPUTS = ("x", "inputs", "images", "data", "features")
_LABELS = ("y", "labels", "label", "target", "targets")


class NamedArrays(RowsReader):
    """A kind of data that holds arrays with names."""

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[Arrays]:
        """Open the arrays; they can be read within it."""

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        with self.open(path) as arrays:
            return read_labelled(arrays, path, target)

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        with self.open(path) as arrays:
            if target is None:
                return read_inputs(arrays, path)
            return read_labelled(arrays, path, target)


def read_labelled(arrays: Arrays, path: Path, target: str | None = None) -> Rows:
    """Read inputs and labels, and those of the test set where there is one, and no other array.

    Args:
        arrays: All there are.
        path: What messages begin with.
        target: The name of the labels, where it is none of the usual ones.

    Raises:
        DataError: The names do not say what is what.
    """
    if target is not None:
        if target not in arrays:
            hint = close_name(target, arrays, [listed([*map(shown_key, arrays)])])
            raise DataError(f"{path}: has no array {shown_key(target)}{hint}")
        others = {name: read for name, read in arrays.items() if name != target}
        return Rows(read_inputs(others, path).inputs, arrays[target]())
    pairs = (_pair(arrays, split) for split in ("train", "", "test"))
    inputs, labels = next((pair for pair in pairs if all(pair)), (None, None))
    if inputs is None or labels is None:
        raise DataError(
            f"{path}: which arrays hold the inputs and the labels? Name them X and y, or x_train, "
            f"y_train, x_test and y_test; {_has(arrays)}"
        )
    test_inputs, test_labels = _pair(arrays, "test")
    if (test_inputs is None) != (test_labels is None):
        raise DataError(
            f"{path}: has {test_inputs or test_labels} alone; a test set is x_test and y_test"
        )
    rows = Rows(arrays[inputs](), arrays[labels]())
    if test_inputs is not None and test_labels is not None and test_inputs != inputs:
        rows.test = Rows(arrays[test_inputs](), arrays[test_labels]())
    return rows


def read_inputs(arrays: Arrays, path: Path) -> Rows:
    """Read the inputs, and the labels where there are some, and no other array.

    Args:
        arrays: All there are; a single one need not have a usual name.
        path: What messages begin with.

    Raises:
        DataError: The names do not say which array holds the inputs.
    """
    pairs = (_pair(arrays, split) for split in ("", "test", "train"))
    inputs, labels = next((pair for pair in pairs if pair[0]), (None, None))
    if inputs is None and len(arrays) == 1:
        inputs = next(iter(arrays))
    if inputs is None:
        raise DataError(f"{path}: which array holds the inputs? Name it X; {_has(arrays)}")
    return Rows(arrays[inputs](), None if labels is None else arrays[labels]())


def _pair(arrays: Arrays, split: str = "") -> tuple[str | None, str | None]:
    return _find(arrays, _INPUTS, split), _find(arrays, _LABELS, split)


def _find(names: Iterable[str], known: tuple[str, ...], split: str = "") -> str | None:
    """Return the name that is one of the known ones, whatever its case."""
    lower = {name.lower(): name for name in names}
    for one in known:
        for full in (f"{one}_{split}", f"{split}_{one}") if split else (one,):
            if full in lower:
                return lower[full]
    return None


def partner_of(stem: str, stems: Iterable[str]) -> str | None:
    """Return the name of the labels of inputs that have a known name; None where there is none."""
    for split in ("", "train", "test"):
        if _find([stem], _INPUTS, split):
            return _find(stems, _LABELS, split)
    return None


def _has(arrays: Mapping[str, object]) -> str:
    return f"it has {listed([*map(shown_key, arrays)])}" if arrays else "it has no arrays"
