"""``python -m tests.fuzz READER [atheris options]``: hostile bytes for whatever reads a file.

Each reader may give a result or one of Cotune's errors; anything else is a finding. Needs atheris
(``pip install atheris``); ``make fuzz`` runs all readers for half a minute each.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["cotune", "yaml"]):
    from cotune.exceptions import CotuneError
    from tests.support.readers import READERS


def main() -> None:
    if sys.argv[1:] == ["--list"]:
        print(*READERS)
        return
    reader = READERS[sys.argv.pop(1)]
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:

        def one(content: bytes) -> None:
            path = Path(folder) / "input"
            path.write_bytes(content)
            with contextlib.suppress(CotuneError):
                reader(path)

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
