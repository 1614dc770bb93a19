"""Folders of images, read as arrays."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cotune.data.dataset import Reading
from cotune.data.memory import new_array
from cotune.data.readers.folder_splits import Classes, Layout, check_classes, find_layout
from cotune.data.readers.image_damage import ImageDamage
from cotune.data.readers.image_file import FORMATS, OTHER_PICTURES, SUFFIXES, Look, decode, look
from cotune.data.readers.image_tree import ImageTree, is_image
from cotune.data.readers.reader import Rows, RowsReader, refuse_target
from cotune.exceptions import DataError
from cotune.text import listed

_MANY = 2_000  # files for which a bar is shown
_SHOWN = 5  # endings in a remark


class ImageFile(RowsReader):
    """A single image, which can be predicted."""

    suffixes = SUFFIXES

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        """Refuse it: it has no label."""
        refuse_target(path, target)
        raise DataError(f"{path}: is a single image; give a folder with a folder per class")

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
            raise DataError(
                f"{path}: are images, and the model was trained on rows of shape {shape}"
            )
        return read_images(path, shape, classes)


class ImageFolder(ImageFile):
    """A folder of images, with a folder for each class."""

    def matches(self, path: Path) -> bool:
        return path.is_dir()

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        refuse_target(path, target)
        return read_image_folder(path, skip_damaged=reading.skip_damaged)

    def read_test(self, path: Path, target: str | None, train: Rows, reading: Reading) -> Rows:
        """Read a test set, with the shape and classes of the training images."""
        classes = np.unique(train.labels).tolist()
        return read_test_folder(path, train.inputs.shape[1:], classes, reading.skip_damaged)


def read_image_folder(folder: Path, skip_damaged: bool = False) -> Rows:
    """Read ``FOLDER/CLASS/*.png``, or ``FOLDER/train/CLASS`` and ``FOLDER/test/CLASS``.

    Images of several sizes are resized to the one that most of them have, or else to the median
    height and width; where some are grey and some are not, all become colour. They are read as a
    viewer shows them, see :func:`cotune.data.readers.image_file.decode`; sixteen bits become eight.
    Hidden files are skipped.

    Args:
        folder: Splits are known by the usual names, see :mod:`cotune.data.readers.split_names`.
            Without a test split the validation split is the test set; beside one, it belongs to the
            training set.
        skip_damaged: Leave out images that cannot be decoded.

    Raises:
        DataError: There are no folders of classes, it cannot be known which are, one has no
            image, images cannot be decoded (all are named), or a link leads out of the folder.
    """
    tree = ImageTree(folder)
    layout = find_layout(tree)
    check_classes(layout)
    damage = ImageDamage(folder, skip_damaged)
    rows = _read(_list(tree, layout), None, damage)
    if layout.test:
        sealed = _list(tree, Layout(layout.test, remarks=layout.test_remarks))
        rows.test = _read(sealed, rows.inputs.shape[1:], damage)
    damage.check()
    return rows


def read_test_folder(
    folder: Path, shape: tuple[int, ...], classes: Collection[str], skip_damaged: bool = False
) -> Rows:
    """Read the images of a test set that has a folder of its own.

    Args:
        folder: Of a folder for each class; where it has splits, its test split is read.
        shape: What they are resized to.
        classes: Those of the training images.
        skip_damaged: Leave out images that cannot be decoded.

    Raises:
        DataError: As :func:`read_image_folder`, or a class is not among ``classes``.
    """
    tree = ImageTree(folder)
    layout = find_layout(tree, classes)
    if layout.test:
        layout.remarks.append(f"the test part of {folder.name}/ is read alone")
    layout.test = layout.test or layout.train
    layout.train = [(name, folder) for name in classes]
    check_classes(layout)
    sealed = Layout(layout.test, [], layout.remarks + layout.test_remarks, beside=layout.beside)
    damage = ImageDamage(folder, skip_damaged)
    rows = _read(_list(tree, sealed), shape, damage)
    damage.check()
    return rows


def read_images(path: Path, shape: tuple[int, ...], classes: Collection[str] = ()) -> Rows:
    """Read an image, or all in a folder and the folders in it.

    Their classes are those of the folders in the folder, empty ones left out; where the folder has
    splits, its test split is read, or else its training split. Where images are in the folder
    itself, or its folders are no classes, these are not known.

    Args:
        path: A file or a folder.
        shape: What they are resized to: ``(height, width)`` or ``(height, width, 3)``.
        classes: Those of the model.

    Raises:
        DataError: There is no image, some cannot be decoded (all are named), or a link leads out
            of the folder.
    """
    damage = ImageDamage(path)
    if not path.is_dir():
        listing = _Listing([path])
    else:
        tree = ImageTree(path)
        listing = _list_new(tree, classes)
        if not listing.paths:
            raise DataError(f"{_no_images(tree, path)}; give {FORMATS} files")
    rows = _read(listing, shape, damage)
    damage.check()
    return rows


@dataclass
class _Listing:
    """Images that are to be read.

    Attributes:
        paths: Of all.
        labels: Their classes; empty where these are not known.
        folders: Of each class the first folder.
        others: The endings of files that are no images.
        remarks: What is known already.
    """

    paths: list[Path] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def add(self, files: Iterator[Path], label: str | None = None) -> None:
        for path in files:
            if is_image(path):
                self.paths.append(path)
                if label is not None:
                    self.labels.append(label)
            else:
                self.others[path.suffix.lower()] += 1


def _list(tree: ImageTree, layout: Layout) -> _Listing:
    """List the images in the folders of classes.

    Raises:
        DataError: A class has none.
    """
    listing = _list_classes(tree, layout.train)
    for name, folder in listing.folders.items():
        if name not in listing.labels:
            raise DataError(
                f"{_no_images(tree, folder)}, so its class is empty; add some or remove the folder"
            )
    listing.remarks += layout.remarks
    if tree.of_systems:
        listing.remarks.append(f"{', '.join(sorted(set(tree.of_systems)))} skipped")
    strays = 0
    for folder in dict.fromkeys(layout.beside):
        strays += len(tree.images(folder))
        listing.others.update(
            path.suffix.lower() for path in tree.files(folder) if not is_image(path)
        )
    if strays:
        what = "images" if strays > 1 else "image"
        listing.remarks.append(f"{strays:,} {what} beside the folders of classes skipped")
    return listing


def _no_images(tree: ImageTree, folder: Path) -> str:
    others = Counter(path.suffix.lower() for path in tree.walk(folder))
    pictures = Counter({end: others[end] for end in others if end in OTHER_PICTURES})
    why = f" of a format that is read ({_ends(pictures)} is not: convert them)" if pictures else ""
    return f"{folder}: has no images{why}"


def _list_classes(tree: ImageTree, classes: Classes) -> _Listing:
    listing = _Listing()
    for name, folder in classes:
        listing.folders.setdefault(name, folder)
        listing.add(tree.walk(folder), name)
    return listing


def _list_new(tree: ImageTree, known: Collection[str]) -> _Listing:
    """List new images, with their classes where the folders tell these."""
    if not tree.images(tree.root):
        try:
            layout = find_layout(tree, known)
        except DataError:  # images without classes can be predicted
            pass
        else:
            return _list_classes(tree, layout.test or layout.train)
    listing = _Listing()
    listing.add(tree.walk(tree.root))
    return listing


def _read(listing: _Listing, shape: tuple[int, ...] | None, damage: ImageDamage) -> Rows:
    """Decode the images that were listed, all to one size and number of channels.

    Those that cannot be decoded are noted and left out.
    """
    paths = listing.paths
    remarks = [*listing.remarks, *_passed_over(listing.others)]
    notes: Counter[str] = Counter()
    with warnings.catch_warnings():
        from PIL.Image import DecompressionBombWarning

        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", DecompressionBombWarning)
        looks = {i: seen for i, path in enumerate(paths) if (seen := damage.attempt(look, path))}
        given = shape
        while True:
            shape = given or _shape(list(looks.values()))
            inputs = new_array((len(looks), *shape), np.uint8)
            notes.clear()
            decoded: list[int] = []
            for i in _shown(looks.keys()):
                asked = (looks[i].orientation, *shape[:2], len(shape) == 3)
                if pixels := damage.attempt(decode, paths[i], *asked):
                    inputs[len(decoded)] = pixels.array
                    notes["transparent"] += pixels.has_transparency
                    notes["dim"] += pixels.is_dim
                    decoded.append(i)
            looks = {i: looks[i] for i in decoded}
            inputs = inputs[: len(decoded)]
            if given or shape == _shape(list(looks.values())):
                break  # else damaged images had a say in the shape
    remarks += _changes(list(looks.values()), shape, notes)
    labels = [listing.labels[i] for i in decoded] if listing.labels else []
    remarks += damage.left_out(paths, listing.labels, labels, listing.folders)
    kept = [paths[i] for i in decoded]
    return Rows(inputs, np.array(labels) if labels else None, remarks=tuple(remarks), paths=kept)


def _passed_over(others: Counter[str]) -> Iterator[str]:
    """Describe the files that are not read, in remarks."""
    pictures = Counter({end: others[end] for end in others if end in OTHER_PICTURES})
    rest = others - pictures
    if count := pictures.total():
        what = "pictures of other formats" if count > 1 else "picture of another format"
        yield f"{count:,} {what} skipped ({_ends(pictures)}); convert to PNG or JPEG"
    if count := rest.total():
        what = "files that are no images" if count > 1 else "file that is no image"
        yield f"{count:,} {what} skipped ({_ends(rest)})"


def _ends(counts: Counter[str]) -> str:
    return listed([end or "no ending" for end, _ in counts.most_common()], _SHOWN)


def _changes(looks: Sequence[Look], shape: tuple[int, ...], notes: Counter[str]) -> Iterator[str]:
    """Describe what was done to images that are decoded, in remarks."""
    height, width = shape[:2]
    sizes = [one.size for one in looks]
    count = len(looks)
    resized = sum(size != (height, width) for size in sizes)
    if resized:
        low, high = min(sizes), max(sizes)
        yield (
            f"{resized:,} of {count:,} images resized to {height} x {width} pixels "
            f"(heights and widths of {low[0]} x {low[1]} to {high[0]} x {high[1]})"
        )
    is_colour = len(shape) == 3
    changed = [one.is_colour for one in looks].count(not is_colour)
    if changed:
        was, now = ("grey", "colour") if is_colour else ("colour", "grey")
        yield f"{changed:,} {was} images of {count:,} read as {now}"
    for number, what in (
        (notes["transparent"], "have transparent parts, read as white"),
        (notes["dim"], "have 16 bits and use the lower 12 at most: nearly black; scale them first"),
        (sum(one.is_series for one in looks), "are animated or have pages: the first is taken"),
        (sum(one.is_cmyk for one in looks), "turned from CMYK to RGB without a colour profile"),
    ):
        if number:
            yield f"{number:,} of {count:,} images {what}"


def _shape(looks: Sequence[Look]) -> tuple[int, ...]:
    """Return the size of most images, or else the median one; with colours where one has some."""
    if not looks:
        return (1, 1)  # all are damaged
    size, count = Counter(one.size for one in looks).most_common(1)[0]
    if 2 * count <= len(looks):
        height, width = np.median(np.array([one.size for one in looks]), axis=0).astype(int)
        size = (int(height), int(width))
    return (*size, 3) if any(one.is_colour for one in looks) else size


def _shown(places: Collection[int]) -> Iterable[int]:
    """Return the places; where they are many, a bar on a terminal shows how far they are read."""
    if len(places) < _MANY or not sys.stderr.isatty():
        return places
    from rich.console import Console
    from rich.progress import track

    return track(places, "reading images", console=Console(stderr=True), transient=True)
