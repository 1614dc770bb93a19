"""Engines on hosts of a cluster that a network joins; Linux, as root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cotune
from cotune.version import VERSION
from tests.support.hosts import Hosts, can_make_hosts
from tests.torture_cluster import ClusterTorture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_make_hosts(), reason="needs network namespaces"),
]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts([0, 2, 2]) as made:
        yield made


def run(hosts: Hosts, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the head."""
    return subprocess.run(
        hosts.command(0, sys.executable, "-m", *command),
        env={**hosts.environment, "RAY_ADDRESS": hosts.address},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_the_contract_between_hosts(hosts: Hosts) -> None:
    case = "tests/workers/test_ray.py::TestContract"
    done = run(hosts, "pytest", "-q", "-m", "slow", "-p", "no:cacheprovider", case)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_host_with_another_version_is_told(hosts: Hosts, tmp_path: Path) -> None:
    shutil.copytree(Path(cotune.__file__).parent, tmp_path / "cotune")
    (tmp_path / "cotune" / "version.py").write_text('VERSION = "0.0.1"\n')
    hosts.kill(2)
    hosts.start(2, {"PYTHONPATH": str(tmp_path)})
    out = str(tmp_path / "run")
    options = ["--executor", "ray", "--n-trials", "4", "--model", "mlp", "--quiet", "--out", out]
    done = run(hosts, "cotune", "run", "digits", *options)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"has Cotune 0.0.1, not {VERSION}" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert last


@pytest.mark.long
def test_a_sample_of_what_befalls_a_cluster() -> None:
    torture = ClusterTorture(faults=10, seed=5, say=False)
    torture.go_on_cluster()
    assert torture.faults.total() == 10
    assert not torture.count.problems
