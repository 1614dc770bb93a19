"""Images that cannot be decoded: named all at once, or left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cotune.exceptions import DataError
from cotune.text import listed

T = TypeVar("T")

_MOST_SHOWN = 20  # paths in an error
_SHOWN = 3  # in a remark


@dataclass
class ImageDamage:
    """Files of a folder that could not be read, and why.

    Attributes:
        root: The folder.
        skip: Leave them out; None where there is no such choice.
        errors: The error of each.
    """

    root: Path
    skip: bool | None = None
    errors: dict[Path, DataError] = field(default_factory=dict)

    def attempt(self, read: Callable[..., T], path: Path, *arguments: Any) -> T | None:
        """Read a file; None where that fails, which is noted."""
        try:
            return read(path, *arguments)
        except DataError as error:
            self.errors[path] = error
            return None

    def check(self) -> None:
        """Raise where there are damaged files that are not to be left out.

        Raises:
            DataError: It names them, the first twenty and how many there are.
        """
        if not self.errors or self.skip:
            return
        them = "it" if len(self.errors) == 1 else "them"
        option = "" if self.skip is None else f", or leave {them} out with --skip-damaged"
        if len(self.errors) == 1:
            (error,) = self.errors.values()
            raise DataError(f"{error}{option}") from error
        shown = listed(
            [f"{path.relative_to(self.root)} {self._reason(path)}" for path in sorted(self.errors)],
            _MOST_SHOWN,
            whole=True,
        )
        raise DataError(
            f"{self.root}: {len(self.errors):,} images cannot be used: {shown}; replace "
            f"them{option}"
        )

    def left_out(
        self,
        paths: Sequence[Path],
        before: Sequence[str],
        after: Sequence[str],
        folders: Mapping[str, Path],
    ) -> list[str]:
        """Return a remark on those of ``paths`` that were left out.

        Args:
            paths: Files of a dataset or part.
            before, after: Their classes, and those of the rest.
            folders: Of the classes.

        Raises:
            DataError: A class has none left.
        """
        lost = [path for path in paths if path in self.errors]
        if not lost or not self.skip:
            return []
        for name in sorted(set(before) - set(after)):
            raise DataError(
                f"{folders[name]}: all its images are damaged, so its class is empty; replace "
                "them or remove the folder"
            )
        shown = listed([str(path.relative_to(self.root)) for path in lost], _SHOWN, whole=True)
        return [f"{len(lost):,} damaged of {len(paths):,} images left out: {shown}"]

    def _reason(self, path: Path) -> str:
        text = str(self.errors[path]).removeprefix(f"{path}: ")
        return f"({text.rsplit(';', 1)[0]})"
