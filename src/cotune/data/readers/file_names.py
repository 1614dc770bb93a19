"""Classes that are written in the names of files, as in ``cat.0.jpg``."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_NUMBERED = re.compile(r"(?P<word>.*?[^\W\d_].*?)(?P<mark>[ ._-]*\(?)\d+\)?")
_CAMERA = {"img", "dsc", "dscn", "dscf", "pic", "image", "photo", "p", "frame", "file", "scan"}
_MOST_CLASSES = 200
_SHOWN = 3


def label_words(images: Sequence[Path]) -> list[str]:
    """Return the words that numbered files begin with, where these may be classes; or none.

    There are two words or more, each with two files or more, and hardly any file without one.
    """
    return [] if (found := _words(images)) is None else found[0]


def label_advice(folder: Path, images: Sequence[Path]) -> str:
    """Return how to move such files into folders of their classes, in one line; or nothing.

    Args:
        folder: Where they are.
        images: The files in it.
    """
    found = _words(images)
    if found is None:
        return ""
    words, mark = found
    shown = ", ".join(words[:_SHOWN]) + (", ..." if len(words) > _SHOWN else "")
    pattern = (mark if mark.strip("._-") == "" else f'"{mark}"') + "[0-9]*"
    cut = "%" if mark else "%%"
    return (
        f". Their names begin with {shown}; if these are the classes, in a shell: cd "
        f"{shlex.quote(str(folder))} && for f in *{pattern}; do d=${{f{cut}{pattern}}}; "
        'mkdir -p "$d" && mv "$f" "$d/"; done'
    )


def _words(images: Sequence[Path]) -> tuple[list[str], str] | None:
    """Return the words, and the commonest mark between word and number."""
    matches = [match for path in images if (match := _NUMBERED.fullmatch(path.stem))]
    counts = Counter(match["word"] for match in matches)
    words = sorted(word for word, count in counts.items() if count > 1)
    covered = sum(counts[word] for word in words)
    if not 2 <= len(words) <= _MOST_CLASSES or 10 * covered < 9 * len(images):
        return None
    if {word.lower() for word in words} <= _CAMERA:
        return None
    return words, Counter(match["mark"] for match in matches).most_common(1)[0][0]
