"""Which Ray cluster a run trains on, and what it takes of it."""

from __future__ import annotations

import importlib.util
import os
import socket
from typing import Any, Final

from cotune.exceptions import UsageError
from cotune.records import Cluster
from cotune.text import shown

LOCAL: Final = "local"
_PREFLIGHT_SECONDS: Final = 5.0


def read_cluster(
    address: str | None,
    workers: int | None,
    cpus_per_worker: float | None,
    gpus_per_worker: float | None,
) -> Cluster:
    """Check which cluster is meant.

    Args:
        address: Without one, the environment variable ``RAY_ADDRESS``, then ``local``.

    Raises:
        UsageError: Ray is not installed, or an argument cannot be used.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("executor: ray is not installed; pip install 'cotune[ray]'")
    cpus = _amount(cpus_per_worker, 1.0, "cpus_per_worker")
    gpus = _amount(gpus_per_worker, 0.0, "gpus_per_worker")
    if cpus == gpus == 0:
        raise UsageError("cpus_per_worker: is 0, and so is gpus_per_worker; a worker needs one")
    return Cluster(_address(address or os.environ.get("RAY_ADDRESS") or LOCAL), workers, cpus, gpus)


def refuse_cluster(**given: Any) -> None:
    """Refuse what is for a cluster where there is none.

    Raises:
        UsageError: One was given.
    """
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name}: is for executor=ray only")


def _amount(value: float | None, default: float, what: str) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10_000:
        raise UsageError(f"{what}: {shown(value)} is not a number from 0 on")
    if value > 1 and value != int(value):
        raise UsageError(f"{what}: {shown(value)} is neither whole nor below 1")
    return float(value)


def _address(address: str) -> str:
    if not isinstance(address, str):
        raise UsageError(f"address: {shown(address)} is not HOST:PORT or local")
    if address == LOCAL:
        return address
    if address == "auto":
        # It would join whatever cluster it finds on this machine, another user's too.
        raise UsageError("address: auto is not supported; give HOST:PORT, or set RAY_ADDRESS")
    if "://" in address:
        raise UsageError(
            f"address: {shown(address)} is a client's; run Cotune on the cluster, as with "
            "`ray job submit`, and give HOST:PORT"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"address: {shown(address)} is not HOST:PORT or local")
    return address


def why_unreachable(cluster: Cluster) -> str:
    """Return why nothing can be reached at a cluster's address, or ""."""
    if cluster.address == LOCAL:
        return ""
    host, _, port = cluster.address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _PREFLIGHT_SECONDS):
            return ""
    except OSError as error:
        return error.strerror or str(error) or "no answer"
