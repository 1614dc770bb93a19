"""Forks of a process that has imported a script, where they are safe."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import os
import stat
import sys
import time
from pathlib import Path

_STANDARD_ERROR = 2
_THREAD_SECONDS = 0.5  # a thread that was joined is there for a moment more
_HARMLESS = "jemalloc_bg_thd"  # pyarrow's allocator; it starts another thread after a fork


def why_no_forks() -> str:
    """Return what this process has that a fork would break; "" if nothing.

    A fork has one thread, whatever this process has: pools of others would wait for ever, and CUDA
    cannot be used again.
    """
    if sys.platform != "linux":
        return "forks are safe on Linux only"
    end = time.monotonic() + _THREAD_SECONDS
    while (threads := _threads()) > 1 and time.monotonic() < end:
        time.sleep(0.005)
    if threads > 1:
        return "the script has started threads"
    if any(mode == os.O_RDWR for _, mode in _files()):
        return "the script holds files open that it reads and writes"  # as a database
    if not _cuda_survives():
        return "the script has used CUDA"
    return ""


def _threads() -> int:
    """Return how many threads there are, of whatever library."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            names.append((task / "comm").read_text().strip())
    return sum(name != _HARMLESS for name in names)


def _cuda_survives() -> bool:
    """Return whether a fork could use CUDA as far as PyTorch tells, which it only does in one."""
    cuda = sys.modules.get("torch.cuda")
    if cuda is None:
        return True
    if cuda.is_initialized():
        return False
    is_bad = getattr(cuda, "_is_in_bad_fork", None)
    child = os.fork()
    if not child:
        os._exit(1 if is_bad is not None and is_bad() else 0)
    return os.waitpid(child, 0)[1] == 0


def flush_files() -> None:
    """Write what open files still hold in memory, or each fork would write it again."""
    for thing in gc.get_objects():
        if issubclass(type(thing), io.IOBase):
            with contextlib.suppress(OSError, ValueError):  # it is closed, or cannot be written
                thing.flush()


def own_positions() -> None:
    """Open the files that this fork has inherited for reading once more.

    Else it would share its place in them with other forks, and read from where they stopped.
    """
    for file, mode in _files():
        if mode == os.O_RDONLY:
            with contextlib.suppress(OSError):  # it may not be read any more
                again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
                os.lseek(again, os.lseek(file, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(again, file, os.get_inheritable(file))
                os.close(again)


def _files() -> list[tuple[int, int]]:
    """Return the script's open files on disk, with whether they are read, written or both."""
    files = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder itself, which is closed by now
            if int(entry) > _STANDARD_ERROR and stat.S_ISREG(os.fstat(int(entry)).st_mode):
                mode = fcntl.fcntl(int(entry), fcntl.F_GETFL) & os.O_ACCMODE
                files.append((int(entry), mode))
    return files
