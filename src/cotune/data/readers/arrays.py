"""Datasets from arrays in memory."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cotune.data.checks import check_class_counts, check_no_regression, check_same_length
from cotune.data.dataset import Column, Dataset
from cotune.data.memory import take
from cotune.data.splits import stratified_split
from cotune.data.tables.mixed_objects import as_array, kind_of
from cotune.exceptions import DataError
from cotune.text import listed, shorten

SEALED_SHARE = 0.2
"""Share of the rows that is sealed as the test set where the data come without one."""

SEAL_SEED = 20170825
"""Always the same, whatever the run's seed: the sealed rows must not change between runs."""

_WHOLE = re.compile(r"(0|-?[1-9]\d{0,18})(\.0*)?", re.A)
_MOST = 2**63 - 1
_BOOLEANS = {"false", "true"}
_CHUNK = 2**20  # values looked at at a time
_MAX_NAME = 40  # characters of a label shown in a message
_SHOWN = 5  # classes shown in a message


def from_arrays(
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | Literal[False] | None = None,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    columns: tuple[Column, ...] = (),
    by_content: bool = False,
) -> Dataset:
    """Make a dataset of arrays.

    Args:
        inputs: ``[rows, features]`` or images ``[rows, height, width(, 3)]`` of numbers.
        labels: ``[rows]``, whole numbers or strings. With ``classes`` numbers are indices into
            it and strings are its members; without, the classes are the distinct labels, sorted.
        test: Inputs and labels of the test set; False for none. Without it a stratified fifth of
            the rows, at least one of each class, is sealed: always the same rows for the same
            labels.
        classes: Class names.
        name: What messages begin with.
        columns: Of a table, where NaN is a missing cell; see ``Dataset.columns``.
        by_content: The rows are those of a file: they are first brought into
            :func:`canonical_order`, so that the same rows give the same splits in whatever order
            and format they come, and the dataset tells their places in the file, and in a
            remark how many rows of the test set are among the others too.

    Raises:
        DataError: Objects or other things that are not numbers, NaN or infinity (with the row),
            rows and labels that differ in number, a missing or unknown label, a class with too
            few rows to seal one, or a test set of another shape.
    """
    rows = _numbers(inputs, f"{name}: inputs", missing=bool(columns))
    if len(rows) == 0:
        raise DataError(f"{name}: no rows; give data with at least two rows of each class")
    raw = _labels_or_indices(labels, f"{name}: labels", classes)
    check_same_length(rows, raw, name)
    if classes is None:
        known = np.unique(raw)
        names = tuple(str(label) for label in known)
    else:
        names = tuple(classes)
        if not names:
            raise DataError(f"{name}: the list of classes is empty; name at least two")
        if len(set(names)) < len(names):
            twice = next(label for label in names if names.count(label) > 1)
            raise DataError(f"{name}: class {twice!r} is listed twice; give distinct class names")
        known = np.array(names) if raw.dtype.kind == "U" else np.arange(len(names))
    remarks: tuple[str, ...] = ()
    if classes is None and raw.dtype.kind == "i":
        remarks = check_no_regression(raw, f"{name}: labels", 3 if test is None else 2)
    indices = _indices(raw, known, names, f"{name}: labels")
    places = np.arange(len(rows))
    digests = None
    if by_content:
        digests = _digests(rows, np.array(names)[indices])
        places = _order(digests)
        indices = indices[places]

    test_origin = "the data's own"
    if test is False:
        kept_places = places if by_content else None
        return Dataset(name, rows, indices, names, None, 0, columns, kept_places, remarks=remarks)
    if test is not None:
        test_rows = _numbers(test[0], f"{name}: test inputs", missing=bool(columns))
        if len(test_rows) == 0:
            raise DataError(f"{name}: the test set has no rows; give some, or no test set at all")
        test_raw = _labels_or_indices(test[1], f"{name}: test labels", classes)
        if classes is None or raw.dtype.kind == "U":
            test_raw, changed = match_labels(test_raw, known)
            remarks += changed
        check_same_length(test_rows, test_raw, f"{name}: test set")
        if test_rows.shape[1:] != rows.shape[1:]:
            raise DataError(
                f"{name}: test rows have shape {test_rows.shape[1:]}, the others "
                f"{rows.shape[1:]}; give rows of one shape"
            )
        test_indices = _indices(test_raw, known, names, f"{name}: test labels")
        test_places = np.arange(len(test_rows))
        if digests is not None:
            sealed_digests = _digests(test_rows, np.array(names)[test_indices])
            remarks += _shared_rows(digests, sealed_digests)
        rows = take(rows, places) if by_content else rows
    else:
        check_class_counts(
            indices, names, at_least=3, parts="the training, validation and test part", name=name
        )
        test_origin = "a stratified fifth"
        kept, sealed = stratified_split(indices, SEALED_SHARE, SEAL_SEED, classes=names, name=name)
        places, test_places = places[kept], places[sealed]
        if digests is not None:
            remarks += _shared_rows(digests[places], digests[test_places])
        test_rows, test_indices = take(rows, test_places), indices[sealed]
        rows, indices = take(rows, places), indices[kept]
    return Dataset(
        name=name,
        inputs=rows,
        labels=indices,
        classes=names,
        open_test=lambda: (test_rows, test_indices),
        n_test=len(test_rows),
        columns=columns,
        rows=places if by_content else None,
        test_rows=test_places if by_content else None,
        remarks=remarks,
        test_origin=test_origin,
    )


def canonical_order(inputs: NDArray[np.generic], labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the order of rows by content, whatever order they come in.

    Sorts by the BLAKE2b digest of a row's class name and values: of ``uint8`` as they are, of
    other numbers as ``float64``, where 0 and -0 are the same and so is every NaN. Equal rows of a
    class stay in their order.

    Args:
        inputs: ``[rows, ...]`` of numbers.
        labels: ``[rows]``: class names, or whole numbers for their decimals.

    Returns:
        ``[rows]``: a permutation of the rows' places.
    """
    return _order(_digests(inputs, labels))


def _order(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.lexsort((digests[:, 1], digests[:, 0]))


def _shared_rows(digests: NDArray[np.uint64], sealed: NDArray[np.uint64]) -> tuple[str, ...]:
    """Return a remark on test rows that are in the training data too; none where there are none."""
    count = int(np.isin(sealed[:, 0], digests[:, 0]).sum())
    rows = f"{len(sealed):,} test rows {'is' if count == 1 else 'are'}"
    return (f"{count:,} of {rows} also in the training data",) if count else ()


def _digests(inputs: NDArray[np.generic], labels: NDArray[Any]) -> NDArray[np.uint64]:
    """Return ``[rows, 2]``: the first and the second 8 bytes of each row's digest."""
    names, classes = np.unique(labels, return_inverse=True)
    begun = [hashlib.blake2b(f"{name}\0".encode(), digest_size=16) for name in names]
    digests = bytearray()
    step = max(1, _CHUNK // max(1, math.prod(inputs.shape[1:])))
    for start in range(0, len(inputs), step):
        some = np.ascontiguousarray(inputs[start : start + step])
        if some.dtype != np.uint8:
            some = some.astype(np.float64) + 0.0
            some[np.isnan(some)] = np.nan
        for row, label in zip(some, classes[start : start + step], strict=True):
            digest = begun[label].copy()
            digest.update(row)
            digests += digest.digest()
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)


def check_numbers(inputs: NDArray[Any], what: str, missing: bool = False) -> None:
    """Raise unless the array is ``[rows, ...]`` of finite numbers.

    Args:
        inputs: The array.
        what: What the messages begin with; cells are counted from 0.
        missing: A NaN is a missing cell, and so in order.

    Raises:
        DataError: Another type, no features, or a NaN or infinite cell (the first is named).
    """
    if inputs.dtype.kind not in "buif":
        raise _no_numbers(inputs, what)
    if inputs.ndim < 2 or 0 in inputs.shape[1:]:
        raise DataError(f"{what} have shape {inputs.shape}; give an array [rows, features]")
    if inputs.dtype.kind != "f":
        return
    step = max(1, _CHUNK // int(np.prod(inputs.shape[1:])))
    for start in range(0, len(inputs), step):
        some = inputs[start : start + step]
        finite = ~np.isinf(some) if missing else np.isfinite(some)
        if not finite.all():
            cell = np.argwhere(~finite)[0]
            cell[0] += start
            position = ", ".join(str(index) for index in cell)
            raise DataError(
                f"{what}[{position}] is {inputs[tuple(cell)]}; fill the cell or drop row {cell[0]} "
                "(counted from 0)"
            )


def _numbers(inputs: ArrayLike, what: str, missing: bool) -> NDArray[np.generic]:
    array = _as_array(inputs, what)
    check_numbers(array, what, missing)
    return array


def _no_numbers(inputs: NDArray[Any], what: str) -> DataError:
    """Return the error of an array of something else: the first cell that is no number.

    A missing cell is shown where nothing else is wrong, as it may stand among numbers.
    """
    if inputs.dtype.kind in "OUS":
        cells = list(np.ndenumerate(inputs.astype(object)))
        for fine in (("a number", "a boolean", ""), ("a number", "a boolean")):
            for cell, value in cells:
                if (kind := kind_of(value)) not in fine:
                    position = ", ".join(map(str, cell))
                    return DataError(
                        f"{what}[{position}] is {shorten(repr(value))}, {kind or 'missing'}; give "
                        "an array of numbers, or a DataFrame, whose columns may be categories"
                    )
    return DataError(f"{what} are of type {inputs.dtype}; give an array of numbers")


def _labels_or_indices(labels: ArrayLike, what: str, classes: Sequence[str] | None) -> NDArray[Any]:
    """Return the labels; booleans are indices where there is a list of classes, as numbers are."""
    array = _as_array(labels, what)
    is_index = classes is not None and array.dtype.kind == "b"
    return as_labels(array.astype(np.int64) if is_index else labels, what)


def as_labels(labels: ArrayLike, what: str) -> NDArray[Any]:
    """Return labels as ``int64`` or strings, ``[rows]``; booleans are ``false`` and ``true``.

    Raises:
        DataError: One is missing, or they are something else; the message begins with ``what``.
    """
    array = _as_array(labels, what)
    if array.ndim != 1:
        raise DataError(f"{what} have shape {array.shape}; give one label a row")
    if array.dtype.kind in "iu":
        return whole_numbers(array, what)
    if array.dtype.kind == "b":
        return np.where(array, "true", "false")
    if array.dtype.kind == "O":  # strings, as pandas has them
        kinds = [kind_of(label) for label in array]
        if "" in kinds:
            raise DataError(f"{what}[{kinds.index('')}] is missing; label the row or drop it")
        for row, kind in enumerate(kinds):
            if kind != "a text" or kind != kinds[0]:
                but = f", where row 0 has {kinds[0]}" if kind != kinds[0] else ""
                raise DataError(
                    f"{what}[{row}] is {shorten(repr(array[row]))}, {kind}{but}; give whole "
                    "numbers or strings"
                )
        array = array.astype(np.str_)
    if array.dtype.kind != "U":
        hint = " (regression is not what Cotune does)" if array.dtype.kind == "f" else ""
        raise DataError(f"{what} are of type {array.dtype}; give whole numbers or strings{hint}")
    empty = np.flatnonzero(array == "")
    if len(empty):
        raise DataError(f"{what}[{empty[0]}] is missing; label the row or drop it")
    return array


def whole_numbers(array: NDArray[np.integer[Any]], what: str) -> NDArray[np.int64]:
    """Return whole numbers as ``int64``.

    Raises:
        DataError: One is too large for that; the message begins with ``what``.
    """
    if array.dtype == np.uint64 and len(large := np.argwhere(array > _MOST)):
        row = int(large[0, 0])
        raise DataError(
            f"{what}[{row}] is {array[tuple(large[0])]}, more than {_MOST:,}; give smaller numbers "
            "or strings"
        )
    return array.astype(np.int64)


def parse_labels(texts: Sequence[str]) -> NDArray[Any]:
    """Return labels that are texts as whole numbers or booleans where all are such, else as texts.

    The one rule of that, whatever the labels come in. A number with zeros before it is a text, so
    that 1 and 01 remain two classes; one with nothing but zeros after the point is whole.

    Args:
        texts: ``[rows]`` or the distinct ones.

    Returns:
        ``int64`` or texts, as many.
    """
    matches = [_WHOLE.fullmatch(text) for text in texts]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) == len(texts) and all(-_MOST - 1 <= number <= _MOST for number in numbers):
        return np.array(numbers, np.int64)
    if all(text.lower() in _BOOLEANS for text in texts):
        return np.array([text.lower() for text in texts])
    return np.array(texts, np.str_)


def match_labels(labels: NDArray[Any], known: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Write labels as the known ones are, which are of another type or booleans and 0 and 1.

    Args:
        labels: ``[rows]`` whole numbers or texts.
        known: The classes, whole numbers or texts.

    Returns:
        The labels as members of ``known``, or as they were where some are not among these; and a
        remark where booleans were read as 0 and 1 or the other way round.
    """
    distinct, codes = np.unique(labels, return_inverse=True)
    names = {str(one): one for one in known}
    by_lower = {name.lower(): name for name in names}
    aliases: dict[str, str] = {}
    if names.keys() == {"0", "1"}:
        aliases = {"false": "0", "true": "1"}
    elif by_lower.keys() == _BOOLEANS:
        aliases = dict(zip(("0", "1"), (by_lower["false"], by_lower["true"]), strict=True))
    aliases |= by_lower if aliases else {}
    aliases |= {f"{text}.0": name for text, name in aliases.items() if text in ("0", "1")}
    written = [str(one) for one in distinct]
    meant = [aliases.get(one.lower(), one) for one in written]
    if len(labels) == 0 or not set(meant) <= names.keys():
        return labels, ()
    remarks: tuple[str, ...] = ()
    if meant != written:
        pairs = " and ".join(f"{a} as {b}" for a, b in zip(written, meant, strict=True))
        remarks = (f"test labels: {pairs}",)
    return np.array([names[one] for one in meant], known.dtype)[codes], remarks


def are_texts(labels: Collection[str]) -> bool:
    """Return True for labels, of which there are some, that are neither numbers nor booleans."""
    parsed = parse_labels(list(labels)) if labels else None
    return parsed is not None and parsed.dtype.kind == "U" and not set(parsed) <= _BOOLEANS


def _as_array(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        return as_array(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{what} are no array: {error}") from error


def _indices(
    raw: NDArray[Any], known: NDArray[Any], names: tuple[str, ...], what: str
) -> NDArray[np.int64]:
    """Return the position of every label among the ``known`` ones, whose names are ``names``."""
    if raw.dtype.kind != known.dtype.kind:
        raise DataError(f"{what} are not of the type of the training labels; give one type")
    order = np.argsort(known)
    places = np.searchsorted(known, raw, sorter=order).clip(max=len(known) - 1)
    indices: NDArray[np.int64] = order[places].astype(np.int64)
    wrong = np.flatnonzero(known[indices] != raw)
    if len(wrong):
        row, label = wrong[0], str(raw[wrong[0]])
        close = difflib.get_close_matches(label, names, 1) if raw.dtype.kind == "U" else []
        among = listed([str(one) for one in known], _SHOWN)
        advice = f"did you mean {close[0]!r}?" if close else f"give one of {among}"
        raise DataError(f"{what}[{row}] is {label[:_MAX_NAME]!r}, which is no class; {advice}")
    return indices
