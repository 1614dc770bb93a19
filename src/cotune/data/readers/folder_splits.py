"""The layout of a folder of images: its splits and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cotune.data.readers.file_names import label_advice, label_words
from cotune.data.readers.image_tree import ImageTree, is_image
from cotune.data.readers.split_names import (
    TEST,
    TRAIN,
    are_numbered,
    is_beside,
    is_container,
    is_no_class,
    split_ranks,
)
from cotune.exceptions import DataError

Classes = list[tuple[str, Path]]
"""Names of classes and folders of their images; a class may have several."""

_SHOWN = 4  # names in a message
_PLAIN = ("test", "testing")  # a test set of this name needs no remark


@dataclass
class Layout:
    """The folders of the images of each class.

    Attributes:
        train: The classes' folders.
        test: Those of the test set; empty where there is none.
        remarks: Return remarks on what was assumed, one line each.
        test_remarks: The same of the test set.
        beside: Folders whose own files are not read.
    """

    train: Classes
    test: Classes = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    test_remarks: list[str] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)


def find_layout(tree: ImageTree, known: Collection[str] = ()) -> Layout:
    """Tell splits from classes by the names of the folders and by what is in them.

    Args:
        tree: The folder.
        known: Names of classes, where these are known: folders of these names are classes.

    Raises:
        DataError: There are no folders of classes, or it cannot be known which folders are.
    """
    remarks: list[str] = []
    folder = _enter(tree, tree.root, known, remarks)
    folders = _without_copies(tree, folder, remarks)
    if not folders:
        raise _unlabelled(tree, folder, "has no folders")
    names = {one.name for one in folders}
    if names & set(known):
        layout = _splits_in_classes(tree, folders) or Layout([(one.name, one) for one in folders])
    else:
        layout = (
            _by_split(tree, folders)
            or _splits_in_classes(tree, folders)
            or _by_group(tree, folders)
            or _by_class(tree, folders)
        )
    if all(is_no_class(name) for name, _ in layout.train):
        folder = next((one for _, one in layout.train if tree.images(one)), folder)
        raise _unlabelled(tree, folder, "has no folders of classes")
    _pass_over_masks(tree, layout)
    layout.remarks[:0] = remarks
    layout.beside += dict.fromkeys((tree.root, folder))
    return layout


def _enter(tree: ImageTree, folder: Path, known: Collection[str], remarks: list[str]) -> Path:
    """Return where the splits or classes are: the innermost folder that is alone in the one above.

    Beside one that has splits, or whose name says no more than ``images``, folders without images
    and those of masks and the like do not count.
    """
    while not tree.images(folder):
        inner = [one for one in tree.folders(folder) if _has_classes(tree, one)]
        if len(inner) != 1 or inner[0].name in known:
            break
        others = [one for one in tree.folders(folder) if one != inner[0]]
        is_wrapper = is_container(inner[0].name) or _has_splits(
            [one.name for one in tree.class_folders(inner[0])]
        )
        if others and not (is_wrapper and all(_is_no_data(tree, one) for one in others)):
            break
        passed = f"; {_listed([one.name for one in others], '/')} skipped" if others else ""
        remarks.append(f"the data are in {inner[0].name}/, the only folder of folders{passed}")
        folder = inner[0]
    return folder


def _is_no_data(tree: ImageTree, folder: Path) -> bool:
    """Tell whether a folder has no images, or masks and the like."""
    return is_no_class(folder.name) or not tree.holds_images(folder)


def _without_copies(tree: ImageTree, folder: Path, remarks: list[str]) -> list[Path]:
    """Return the folders in a folder, less one that holds the others again."""
    folders = tree.folders(folder)
    names = {one.name for one in folders}
    for one in folders:
        again = sorted((names - {one.name}) & {inner.name for inner in tree.class_folders(one)})
        if len(again) > 1:
            folders.remove(one)
            remarks.append(f"{one.name}/ skipped: it holds {_listed(again)} again")
            break
    return folders


def _by_split(tree: ImageTree, folders: Sequence[Path]) -> Layout | None:
    """Return the layout ``SPLIT/CLASS``; None where the folders are no splits.

    Raises:
        DataError: They are splits, and the classes or the test set are not known.
    """
    ranks = split_ranks([one.name for one in folders])
    splits = sorted((one for one in folders if one.name in ranks), key=lambda one: ranks[one.name])
    others = [one for one in folders if one.name not in ranks]
    train = [one for one in splits if ranks[one.name] == TRAIN]
    flat = [one for one in train if not _has_classes(tree, one)]
    of_train = {name for one in train if one not in flat for name, _ in _classes_of(tree, one)}
    are_several = len({ranks[one.name] for one in splits}) > 1
    if any(not _is_harmless(tree, one, of_train) for one in others):
        is_told = of_train or (flat and label_words(tree.images(flat[0])))
        if not (are_several and is_told):
            return None
    if not splits:
        return None
    if flat or not any(_has_classes(tree, one) for one in splits):
        where = flat[0] if flat else splits[0]
        raise _unlabelled(tree, where, "is a part of the data without folders of classes")
    layout = _divide(tree, splits, ranks)
    for one in others:
        advice = ""
        if {name for name, _ in _classes_of(tree, one)} & of_train:
            advice = f"; if it is the test set, give {one} with --test"
        if count := sum(map(is_image, tree.walk(one))):
            what = f"{one.name}/ ({count:,} image{'s' if count > 1 else ''})"
            layout.remarks.append(f"{what} skipped: not a part by its name{advice}")
    return layout


def _divide(tree: ImageTree, splits: Sequence[Path], ranks: Mapping[str, int]) -> Layout:
    """Choose the test set among splits, and join the others.

    Args:
        splits: In the order of their ranks; one has folders of classes.
        ranks: Of the splits, by name.

    Raises:
        DataError: Two may be the test set.
    """
    layout = Layout([])
    lowest = next(ranks[one.name] for one in splits if _has_classes(tree, one))
    classes: dict[Path, Classes] = {}
    known: set[str] = set()
    for one in splits:
        is_first = ranks[one.name] == lowest
        found = _classes_of(tree, one, () if is_first else known) if _has_classes(tree, one) else []
        names = {name for name, _ in found}
        if names and (is_first or len(names) > 1 or names & known):
            classes[one] = found
            known |= names
            continue
        what, advice = "no images", ""
        if tree.holds_images(one):
            what = "images without folders of classes"
            advice = f"; to predict them: cotune predict RUN {one}"
        layout.remarks.append(f"{one.name}/ holds {what}, so it is not the test set{advice}")
    top = max(ranks[one.name] for one in classes)
    sealed = [one for one in classes if ranks[one.name] == top > lowest]
    if len(sealed) > 1:
        raise DataError(
            f"{sealed[0].parent}: which of {_listed([one.name for one in sealed])} is the test "
            "set? Give one with --test, and the folder to train on as the data"
        )
    for one, found in classes.items():
        layout.beside.append(one)
        if one in sealed:
            layout.test = found
            if one.name.lower() not in _PLAIN:
                layout.test_remarks.append(f"{one.name}/ is read as the test set")
            continue
        if layout.train or ranks[one.name] != TRAIN:
            layout.remarks.append(f"{one.name}/ is added to the training set")
        layout.train += found
    return layout


def _splits_in_classes(tree: ImageTree, folders: Sequence[Path]) -> Layout | None:
    """Return the layout ``CLASS/SPLIT``; None where the folders are laid out otherwise.

    Raises:
        DataError: Each folder is a dataset with splits of its own, or a class has none to train on.
    """
    inner = _inner(tree, folders)
    ranks = split_ranks(list({path.name: None for _, path in inner}))
    if (
        not inner
        or any(path.name not in ranks for _, path in inner)
        or not _has_splits(list(ranks))
    ):
        return None
    outer = list(dict.fromkeys(one for one, _ in inner))
    if any(tree.class_folders(path) for _, path in inner):
        shown = _listed([one.name for one in outer], "/")
        raise DataError(
            f"{outer[0].parent}: {shown} are datasets with parts of their own; give one of them"
        )
    top = max(ranks.values())
    train = [(one.name, path) for one, path in inner if ranks[path.name] < top]
    for one in outer:
        if one.name not in dict(train):
            raise DataError(f"{one}: has no folder to train on, as the others have; add one")
    names = sorted(ranks, key=lambda name: ranks[name])
    remark = f"{_listed(names, '/')} in the folder of each class are read as parts"
    test = [(one.name, path) for one, path in inner if ranks[path.name] == top]
    return Layout(train, test, [remark])


def _inner(tree: ImageTree, folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair each folder with each of those in it; none where a folder has images itself."""
    outer = [one for one in folders if tree.holds_images(one)]
    if len(outer) < 2 or any(tree.images(one) for one in outer):
        return []
    return [(one, path) for one in outer for path in tree.class_folders(_enter(tree, one, (), []))]


def _by_group(tree: ImageTree, folders: Sequence[Path]) -> Layout | None:
    """Return the layout ``GROUP/CLASS``, or its contrary; None where the folders differ."""
    inner = _inner(tree, folders)
    tops = list(dict.fromkeys(one for one, _ in inner))
    counts = Counter(path.name for _, path in inner)
    if all(map(is_no_class, counts)):
        return None
    shown = _listed([one.name for one in tops], "/")
    if len(counts) < 2 or any(2 * count <= len(tops) for count in counts.values()):
        return None
    names, outer = sorted(counts), [one.name for one in tops]
    if are_numbered(names) and not are_numbered(outer):
        layout = Layout([(one.name, one) for one in folders])
        layout.remarks.append(
            f"{shown} hold the same folders, {_listed(names, '/')}; {_listed(outer)} are read as "
            "the classes"
        )
        return layout
    remark = (
        f"{shown} hold the same folders, so {_listed(names)} are read as the classes; "
        f"if {tops[0].name} is a class, put its images into {tops[0].name}/ itself"
    )
    return Layout([(path.name, path) for _, path in inner], remarks=[remark])


def _by_class(tree: ImageTree, folders: Sequence[Path]) -> Layout:
    """Return the layout ``CLASS``.

    Raises:
        DataError: A folder has splits of its own, or the files in all begin with the same words.
    """
    names = [one.name for one in folders]
    ranks = split_ranks(names)
    remarks = []
    deeper: dict[str, None] = {}
    for one in folders:
        inner = tree.class_folders(one)
        deeper.update(dict.fromkeys(path.name for path in inner if not is_no_class(path.name)))
        if any(map(tree.class_folders, inner)) and _has_splits([path.name for path in inner]):
            raise DataError(f"{one}: has parts of its own; give it as the data")
        if ranks.get(one.name) in (TRAIN, TEST):
            advice = f"; if it is a part, give {one}" if inner else ""
            remarks.append(f"{one.name}/ is read as a class{advice}")
    if deeper:
        remarks.append(f"images in {_listed(list(deeper), '/')} are of the class that these are in")
    words = [label_words(tree.images(one)) for one in folders]
    if words[0] and all(found == words[0] for found in words):
        if len(names) == 1 or all(map(is_container, names)):
            raise _unlabelled(tree, folders[0], "has no folders of classes")
        shown = f"{_listed(names, '/')} begin with the same words, {_listed(words[0])}"
        remarks.append(f"the files in {shown}; {_listed(names)} are read as the classes")
    return Layout([(one.name, one) for one in folders], remarks=remarks)


def _has_splits(names: Sequence[str]) -> bool:
    return len(set(split_ranks(names).values())) > 1


def _pass_over_masks(tree: ImageTree, layout: Layout) -> None:
    """Leave out ``masks/`` where a class has ``images/`` beside it."""
    passed: Counter[str] = Counter()
    for classes in (layout.train, layout.test):
        for i, (name, folder) in enumerate(classes):
            inner = tree.class_folders(folder)
            images = [path for path in inner if not is_beside(path.name)]
            if 1 == len(images) < len(inner) and is_container(images[0].name):
                classes[i] = (name, images[0])
                passed.update(path.name for path in inner if path not in images)
    for name, count in passed.items():
        layout.remarks.append(f"{name}/ skipped in {count:,} folders of classes")


def _has_classes(tree: ImageTree, split: Path) -> bool:
    """Tell whether a split has folders of classes; a single one beside images is none."""
    inner = tree.class_folders(split)
    return len(inner) > 1 or (len(inner) == 1 and not tree.images(split))


def _classes_of(tree: ImageTree, split: Path, known: Collection[str] = ()) -> Classes:
    """Return the folders of classes in a split, or in a folder that is alone in it."""
    folder = _enter(tree, split, known, [])
    return [(one.name, one) for one in tree.folders(folder)]


def _is_harmless(tree: ImageTree, folder: Path, of_train: Collection[str]) -> bool:
    """Tell whether a folder beside splits is easily no class."""
    if is_beside(folder.name) or is_container(folder.name) or not tree.holds_images(folder):
        return True
    return any(name in of_train for name, _ in _classes_of(tree, folder))


def check_classes(layout: Layout) -> None:
    """Raise where the test set has a class that the others lack; note one that it lacks itself.

    Raises:
        DataError: It has; the folder is named.
    """
    known = sorted({name for name, _ in layout.train})
    for name, folder in layout.test:
        if name not in known:
            raise DataError(
                f"{folder}: its class is not in the training data, which have {_listed(known)}; "
                "remove the folder, or add such a class to the training data"
            )
    missing = sorted(set(known) - {name for name, _ in layout.test})
    if layout.test and missing:
        layout.test_remarks.append(f"there is no folder of {_listed(missing)}")


def _unlabelled(tree: ImageTree, folder: Path, what: str) -> DataError:
    tables = [
        path.name for path in tree.files(tree.root) if path.suffix in (".csv", ".tsv", ".json")
    ]
    hint = f" (perhaps as {_listed(tables)} says)" if tables else ""
    return DataError(
        f"{folder}: {what}; put the images of each class into a folder of its own{hint}"
        f"{label_advice(folder, tree.images(folder))}"
    )


def _listed(names: Sequence[str], end: str = "") -> str:
    """Join some names, as in "a, b and c"; ``end`` follows each."""
    shown = [name + end for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        return f"{', '.join(shown)} and {len(names) - _SHOWN:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
