"""A dataset as the output of a cell: what was understood, and its first rows or images."""

from __future__ import annotations

import base64
import math
import sys
from typing import Final

import numpy as np

from cotune.data.dataset import Dataset
from cotune.data.pictures import draw_samples
from cotune.report.notebook.markup import block, heading, line, picture, table, tiles
from cotune.text import counted

_ROWS: Final = 6
_COLUMNS: Final = 12
_CLASSES: Final = 12


def dataset_html(dataset: Dataset) -> str:
    """Return the rows, the classes, what reading did, and a look at the first rows."""
    shape = " x ".join(map(str, dataset.input_shape))
    images = "pixels of an image" if dataset.has_images else "numbers in a row"
    facts = [
        ("Rows", f"{len(dataset):,}", "to train and validate on"),
        ("Test rows", f"{dataset.n_test:,}", f"sealed; {dataset.test_origin}"),
        ("Classes", f"{len(dataset.classes):,}", _shares(dataset)),
        ("Columns" if dataset.columns else "Shape", shape, "" if dataset.columns else images),
    ]
    parts = [heading(dataset.name), tiles(facts)]
    parts += [line(remark, dim=True) for remark in dataset.remarks]
    if dataset.can_be_drawn:
        png = base64.b64encode(draw_samples(dataset)).decode()
        parts.append(picture(f"data:image/png;base64,{png}", "the first images of the dataset"))
    elif dataset.columns:
        notes = [(note.name, note.kind, note.why) for note in dataset.column_notes]
        parts += [table(["column", "kind", "why"], notes), _first_rows(dataset)]
    return block(*parts)


def _shares(dataset: Dataset) -> str:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    shown = [
        f"{name} {100 * count / max(1, len(dataset)):.0f} %"
        for name, count in zip(dataset.classes[:_CLASSES], counts, strict=False)
    ]
    more = len(dataset.classes) - len(shown)
    return ", ".join(shown) + (f" and {counted(more, 'other')}" if more > 0 else "")


def _first_rows(dataset: Dataset) -> str:
    columns = dataset.columns[:_COLUMNS]
    rows = []
    for row, label in zip(dataset.inputs[:_ROWS], dataset.labels, strict=False):
        cells = [_cell(dataset, i, float(row[i])) for i in range(len(columns))]
        rows.append([*cells, dataset.classes[label]])
    more = len(dataset.columns) - len(columns)
    note = line(f"and {counted(more, 'other column')}", dim=True) if more > 0 else ""
    return table([*(column.name for column in columns), "label"], rows) + note


def _cell(dataset: Dataset, i: int, value: float) -> str:
    if math.isnan(value):
        return "-"
    categories = getattr(dataset.columns[i], "categories", ())
    if categories:
        return str(categories[int(value)]) if value >= 0 else "-"
    return f"{value:g}"


def register() -> None:
    """Have notebooks show datasets so; the dataset itself knows nothing of HTML."""
    shell = sys.modules["IPython"].get_ipython()
    shell.display_formatter.formatters["text/html"].for_type(Dataset, dataset_html)
