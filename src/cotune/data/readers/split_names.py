"""Names of folders that say which split of a dataset they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRAIN, VALIDATION, EVALUATION, TEST = range(4)
"""Splits, the later the likelier to be the test set."""

_WORDS = {
    **dict.fromkeys(("train", "training", "trains", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validate", "validation", "validating"), VALIDATION),
    **dict.fromkeys(("dev", "devel", "development"), VALIDATION),
    **dict.fromkeys(("eval", "evaluate", "evaluation"), EVALUATION),
    **dict.fromkeys(("test", "testing", "tests", "tst", "holdout", "heldout"), TEST),
}
_CONTAINERS = {
    *("set", "sets", "data", "dataset", "datasets", "images", "image", "imgs", "img", "pictures"),
    *("pics", "photos", "jpg", "jpeg", "jpegs", "png", "pngs", "split", "splits", "folder", "dir"),
    *("fold", "batch", "chunk", "shard", "subset"),
    *("part", "all", "files", "samples", "full", "raw", "original", "labelled", "labeled"),
}
_BESIDES = {
    *("sample", "samples", "pred", "predict", "prediction", "predictions", "unlabelled", "extra"),
    *("unlabeled", "unsup", "unsupervised", "submission", "submissions", "mask", "masks"),
    *("annotation", "annotations", "annots", "labels", "label", "bbox", "bboxes", "groundtruth"),
    *("models", "notebooks", "output", "outputs", "results", "docs", "src", "xmls"),
}
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # what is between digits, marks and capitals


def split_ranks(names: Sequence[str]) -> dict[str, int]:
    """Return the split that each name stands for; names of no split are left out.

    ``train``, ``Training``, ``test1``, ``training_set``, ``trainset`` and ``train_images`` are
    splits by themselves. With other words, as in ``seg_train``, a name is one where another split
    has the same words, as ``seg_test``: ``train_station`` beside ``bus`` is a class.
    """
    spelled = {name: _spelled(name) for name in names}
    ranks = {}
    for name, (rank, companions) in spelled.items():
        twins = (r is not None and r != rank and c == companions for r, c in spelled.values())
        if rank is not None and not companions & _BESIDES and (not companions or any(twins)):
            ranks[name] = rank
    return ranks


def is_container(name: str) -> bool:
    """Tell whether a name says no more than that files are in it, numbers and letters aside."""
    words = {token for token in _tokens(name) if len(token) > 1}
    return bool(words) and words <= _CONTAINERS


def is_beside(name: str) -> bool:
    """Tell whether a name has a word of what lies beside the splits: samples, masks."""
    return bool(set(_tokens(name)) & _BESIDES)


def is_no_class(name: str) -> bool:
    """Tell whether a name is made of nothing but such words: ``images``, ``masks``."""
    return set(_tokens(name)) <= _BESIDES | _CONTAINERS


def are_numbered(names: Sequence[str]) -> bool:
    """Tell whether names differ in numbers and single letters alone, as ``fold1``, ``fold2``."""
    words = [
        frozenset(token for token in _tokens(name) if len(token) > 1 and token.isalpha())
        for name in names
    ]
    return len(set(words)) == 1


def _spelled(name: str) -> tuple[int | None, frozenset[str]]:
    """Return the split that a name has the word of, and its other words that say something."""
    tokens = _tokens(name)
    rank, others = None, []
    for token in tokens:
        word = _WORDS.get(token)
        if word is None:
            word = next(
                (_WORDS[token.removesuffix(end)] for end in _CONTAINERS if _is_glued(token, end)),
                None,
            )
        if word is not None and rank is None:
            rank = word
        elif token not in _CONTAINERS:
            others.append(token)
    return rank, frozenset(others)


def _is_glued(token: str, end: str) -> bool:
    return token.endswith(end) and token.removesuffix(end) in _WORDS


def _tokens(name: str) -> list[str]:
    tokens = [token.lower() for token in _TOKEN.findall(name)] or [name.lower()]
    joined = "_".join(tokens)
    for apart in ("hold_out", "held_out"):
        joined = joined.replace(apart, apart.replace("_", ""))
    return joined.split("_")
