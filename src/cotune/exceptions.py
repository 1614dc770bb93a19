"""The error tree. The command line prints one line of it and exits with the class's code.

CotuneError              1
+-- UsageError           2   a wrong argument or option
|   +-- SpaceError       2   a search space that cannot be searched, with the key's path
+-- DataError            3   data or a model file that cannot be used, with file, row and column
|   +-- ModelFileError   3   a saved model that is damaged, altered or of another version
+-- StorageError         4   the disk, the run directory or the machine
|   +-- ClusterError     4   a cluster that cannot be reached, or is gone
+-- NoUsableTrialError   5   every trial failed
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class CotuneError(Exception):
    """Base of every error that Cotune raises on purpose.

    Its message is one line that a person can act on. ``exit_code`` is what the command line
    exits with.
    """

    exit_code = 1


class UsageError(CotuneError, ValueError):
    """An argument or option has a value that cannot be used."""

    exit_code = 2


class SpaceError(UsageError):
    """A search space, or a configuration in it, is invalid; the message has the key's path."""


class DataError(CotuneError, ValueError):
    """Data cannot be read or cannot be learned from."""

    exit_code = 3


class ModelFileError(DataError):
    """A saved model is damaged, has been altered, or is of an unknown version."""


class StorageError(CotuneError, OSError):
    """The disk, the run directory or the machine does not allow what was asked."""

    exit_code = 4


class ClusterError(StorageError):
    """A cluster cannot be reached, or is gone; what a run has recorded is safe."""


class NoUsableTrialError(CotuneError, RuntimeError):
    """Every trial failed, so there is nothing to choose from."""

    exit_code = 5


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the file or folder."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
