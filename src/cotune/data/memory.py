"""Arrays that may be larger than the memory: those are in a file that is mapped into it."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cotune.exceptions import StorageError

_CHUNK = 2**24  # bytes copied at a time


def free_memory() -> int:
    """Return the bytes that this process may still take, of the machine or its container."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass  # no Linux
    try:
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())
        free = min(free, most - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return max(free, 0)


def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array to be filled: in memory, or in a file that is mapped into it.

    A file it is where the array would take more than half of the free memory. The file is
    temporary and has no name any more: it is gone with the array, however that ends.

    Raises:
        StorageError: The temporary folder has no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= free_memory() / 2:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(prefix="cotune-") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # or a full disk ends the process later
            mapped: Any = np.memmap(file, dtype, "w+", shape=shape)
            return np.asarray(mapped)
    except OSError as error:
        raise StorageError(
            f"{folder}: has no room for {size / 1e9:.1f} GB of data, for which memory is too small "
            f"({error.strerror or error}); set TMPDIR to a folder with more room"
        ) from error


def take(rows: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Copy the rows at these places into a :func:`new_array`."""
    taken = new_array((len(places), *rows.shape[1:]), rows.dtype)
    step = max(1, _CHUNK // max(1, math.prod(rows.shape[1:]) * rows.itemsize))
    for start in range(0, len(places), step):
        taken[start : start + step] = rows[places[start : start + step]]
    return taken
