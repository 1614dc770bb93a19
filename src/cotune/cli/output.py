"""Files that commands write for people."""

from __future__ import annotations

from pathlib import Path

from cotune.exceptions import writing


def write_output(output: Path, content: bytes) -> None:
    """Write the file that ``-o`` names; an earlier one is replaced at once, or stays whole."""
    from cotune.runs.files import write_files

    with writing(output):
        if output.is_symlink() or (output.exists() and not output.is_file()):
            output.write_bytes(content)  # a link, device or pipe stays what it is
        else:
            write_files(output.parent, {output.name: content})
