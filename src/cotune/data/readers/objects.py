"""Arrays, tensors and datasets of a Python program, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.checks import check_same_length
from cotune.data.memory import new_array
from cotune.data.readers.arrays import as_labels, parse_labels, whole_numbers
from cotune.data.readers.image_file import as_shown
from cotune.data.readers.missing import numbers_of_objects
from cotune.data.readers.sparse import is_sparse, to_dense, to_dense_frame
from cotune.data.tables.mixed_objects import as_array, kind_of, to_table
from cotune.exceptions import DataError


def to_array(values: Any, what: str) -> NDArray[Any]:
    """Make an array of an array, dense or sparse, a tensor, an image or nested lists.

    Raises:
        DataError: It is none of these, or sparse and too large for the memory.
    """
    if is_sparse(values):
        return to_dense(values, what)
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            # NumPy has no bfloat16
            return np.asarray(values.float() if str(values.dtype) == "torch.bfloat16" else values)
        return as_array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{what} are no array: {reason}") from error


def tidy_inputs(values: Any, what: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return inputs with channels last, of a type that is trained on, and what was changed.

    Args:
        values: As for :func:`to_array`: ``[rows, ...]``.
        what: What messages begin with.

    Returns:
        The array. Images of one channel are ``[rows, height, width]``, and those whose channels
        come first, as PyTorch has them, are ``[rows, height, width, channels]``, of which the
        remark tells.

    Raises:
        DataError: It is no array.
    """
    array = numbers_of_objects(to_array(values, what))
    remarks: tuple[str, ...] = ()
    has_channels_last = array.ndim != 4 or array.shape[3] in (1, 3)
    # of three channels, and not of three windows of a few channels
    if (
        not has_channels_last
        and array.shape[1] in (1, 3)
        and array.shape[1] <= min(array.shape[2:])
    ):
        if array.shape[1] == 3:
            remarks = ("images [3, height, width] read as [height, width, 3]",)
        array = np.moveaxis(array, 1, 3)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.dtype.kind == "b":
        array = array.view(np.uint8) if array.flags.c_contiguous else array.astype(np.uint8)
    elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array, remarks


def tidy_labels(values: Any, what: str) -> NDArray[Any]:
    """Return labels ``[rows]``; whole floats and texts become ``int64``, booleans texts.

    The same labels are the same classes then, in whatever format they come.

    Raises:
        DataError: It is no array, a label is missing, or bytes are no UTF-8.
    """
    array = to_array(values, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "O" and array.size:
        kinds = {kind_of(label) for label in array.flat}
        if kinds in ({"a boolean"}, {"a number"}):
            array = to_array(array.tolist(), what)
    if array.dtype.kind in "iu":
        return whole_numbers(array, what)
    if array.dtype.kind == "b":
        return np.where(array, "true", "false")
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{what} are no UTF-8: {error.reason}") from error
    if array.dtype.kind == "f":
        missing = np.flatnonzero(np.isnan(array))
        if len(missing):
            raise DataError(f"{what}[{missing[0]}] is missing; label the row or drop it")
        whole = np.abs(array) < 2**53
        whole &= array == np.rint(np.where(whole, array, 0))
        return array.astype(np.int64) if whole.all() else array
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind != "U":
        return array
    texts, codes = np.unique(np.char.strip(array), return_inverse=True)
    labels: NDArray[Any] = parse_labels(texts.tolist())[codes.reshape(array.shape)]
    return labels


def join_labels(frame: Any, labels: Any, what: str, name: str | None = None) -> tuple[Any, str]:
    """Join a DataFrame and its labels; return the table and the name of the labels' column.

    Args:
        name: What to call it; by default as the labels are called.

    Raises:
        DataError: It cannot be read, there is not one label a row, or one is missing.
    """
    import pyarrow as pa

    table = to_table(to_dense_frame(frame, what), what)
    if name is None:
        name = str(getattr(labels, "name", None) or "target")
        while name in table.column_names:
            name += "_"
    column = as_labels(tidy_labels(labels, f"{what}: labels"), f"{what}: labels")
    check_same_length(table, column, what)
    return table.append_column(name, pa.array(column)), name


def read_items(items: Any, what: str) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...] | None]:
    """Read inputs, labels and class names of a map-style PyTorch dataset or a list of pairs.

    Args:
        items: ``len(items)`` pairs ``items[i]``: an array, tensor or image, and its label.
        what: What messages begin with.

    Returns:
        ``[rows, ...]``, ``[rows]``, and its ``classes`` where it has these, as torchvision's have;
        the labels may be indices into them, see :func:`name_labels`.

    Raises:
        DataError: There are none, one is no pair, or their shapes or types differ.
    """
    if len(items) == 0:
        raise DataError(f"{what}: no rows; give data with at least two rows of each class")
    inputs: NDArray[Any] | None = None
    labels = []
    for i in range(len(items)):
        item = items[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"{what}[{i}] is no pair; give items (input, label)")
        row = to_array(as_shown(item[0]), f"{what}[{i}]: inputs")
        if inputs is None:
            inputs = new_array((len(items), *row.shape), row.dtype)
        if (row.shape, row.dtype) != (inputs.shape[1:], inputs.dtype):
            raise DataError(
                f"{what}[{i}] has shape {row.shape} and type {row.dtype}, the first "
                f"{inputs.shape[1:]} and {inputs.dtype}; give items of one shape and type"
            )
        inputs[i] = row
        label = item[1]
        labels.append(label.item() if hasattr(label, "item") else label)
    assert inputs is not None
    names: Any = getattr(items, "classes", None)
    is_named = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    return inputs, to_array(labels, f"{what}: labels"), tuple(names) if is_named else None


def name_labels(labels: Any, classes: Sequence[str], what: str) -> NDArray[Any]:
    """Return labels as class names, ``[rows]``: whole numbers are places among ``classes``.

    Raises:
        DataError: One is no such place, is missing or is something else.
    """
    array = to_array(labels, what)
    given = as_labels(array.astype(np.int64) if array.dtype.kind == "b" else array, what)
    if given.dtype.kind == "U":
        return given
    wrong = np.flatnonzero((given < 0) | (given >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{what}[{wrong[0]}] is {given[wrong[0]]}, but there are {len(classes)} classes, "
            "counted from 0; fix the labels or the list of classes"
        )
    names: NDArray[np.str_] = np.array(classes, np.str_)[given]
    return names
