"""Looking at the processes of this machine; Linux."""

from __future__ import annotations

from pathlib import Path

WORKERS = (
    b"cotune.workers.training",
    b"cotune.workers.objective.worker",
    b"cotune.workers.ray.gateway",
)
ACTOR = b"ray::Engine"
_NODE = b"/raylet/raylet"


def workers_of(pid: int) -> list[int]:
    """Worker processes that were started by a process and live, each before those it started.

    Of a run on a Ray cluster on this machine, the gateway and the actors.
    """
    workers = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = stat(int(folder.name))
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent != pid or state == "Z":
            continue
        if any(name in command for name in (*WORKERS, ACTOR)):
            workers.append(int(folder.name))
        elif _NODE in command.split(b"\0")[0]:  # of a Ray cluster on this machine
            workers += workers_of(int(folder.name))
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
