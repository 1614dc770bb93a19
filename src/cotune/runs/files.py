"""Files that are replaced at once, or stay whole."""

from __future__ import annotations

import os
from pathlib import Path

from cotune.exceptions import writing


def write_file(path: Path, text: str) -> None:
    """Write the file; an earlier one is replaced at once, or stays whole where that fails.

    Raises:
        StorageError: It cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        try:
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
