"""Forks of a process that has imported a script, where they are safe."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import os
import stat
import sys
from pathlib import Path

_HARMLESS = "jemalloc_bg_thd"  # pyarrow's allocator; it starts another thread after a fork


def why_no_forks() -> str:
    """Return what this process has that a fork would break; "" if nothing.

    A fork has one thread, whatever this process has: pools of others would wait for ever, and CUDA
    cannot be used again.
    """
    if sys.platform != "linux":
        return "forks are safe on Linux only"
    tasks = Path("/proc/self/task").iterdir()
    threads = [task for task in tasks if (task / "comm").read_text().strip() != _HARMLESS]
    if len(threads) > 1:
        return "the script has started threads"
    if not _cuda_survives():
        return "the script has used CUDA"
    return ""


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
    for entry in os.listdir("/proc/self/fd"):
        file = int(entry)
        try:
            is_file = stat.S_ISREG(os.fstat(file).st_mode)
            flags = fcntl.fcntl(file, fcntl.F_GETFL)
            if not is_file or flags & os.O_ACCMODE != os.O_RDONLY:
                continue
            again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
            os.lseek(again, os.lseek(file, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(again, file, os.get_inheritable(file))
            os.close(again)
        except OSError:  # the folder itself, which is closed by now; or one that may not be read
            continue
