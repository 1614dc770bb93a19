"""Looking at the processes of this machine; Linux."""

from __future__ import annotations

from pathlib import Path

WORKERS = (b"cotune.workers.training", b"cotune.workers.objective.worker")


def workers_of(pid: int) -> list[int]:
    """Worker processes that were started by a process and live, each before those it started."""
    workers = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = stat(int(folder.name))
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        is_worker = any(name in command for name in WORKERS)
        if parent == pid and state != "Z" and is_worker:
            workers.append(int(folder.name))
    return [one for worker in workers for one in (worker, *workers_of(worker))]


def stat(pid: int) -> tuple[str, int]:
    """State and parent."""
    # After the name in brackets, which may hold anything.
    state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return state, int(parent)


def lives(pid: int) -> bool:
    try:
        return stat(pid)[0] != "Z"  # an orphan's new parent may be slow to bury it
    except (FileNotFoundError, ProcessLookupError):
        return False
