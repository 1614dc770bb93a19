"""A page that follows a run: real requests, a run that goes on, a browser where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from cotune.cli.main import main
from cotune.exceptions import StorageError
from cotune.report.watch import make_server
from cotune.runs.directory import RunDirectory
from tests.report.test_hostile_names import CHROMIUM, FLAGS

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    shutil.copytree(GOLDEN / "complete", tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


@pytest.fixture
def served(run: RunDirectory) -> Iterator[str]:
    server, address = make_server(run, "127.0.0.1", 0)
    yield from serving(server, address)


def serving(server: ThreadingHTTPServer, address: str) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


def test_page_state_and_report(served, run):
    page = requests.get(served, timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in page.text
    assert "@NONCE@" not in page.text
    assert "http://" not in page.text.replace(served, "")
    state = requests.get(f"{served}state", timeout=10).json()
    assert state["state"] == "complete"
    assert state["name"] == run.path.name
    report = requests.get(f"{served}report", timeout=30).text
    assert "Test accuracy" in report
    assert requests.get(f"{served}config.yaml", timeout=10).status_code == 404
    assert requests.get(f"{served}../../etc/passwd", timeout=10).status_code == 404


def test_another_name_for_this_machine_is_refused(served):
    answer = requests.get(f"{served}state", headers={"Host": "evil.example"}, timeout=10)
    assert answer.status_code == 403


def test_elsewhere_the_address_has_a_token(run):
    server, address = make_server(run, "0.0.0.0", 0)
    for where in serving(server, address.replace("0.0.0.0", "127.0.0.1")):
        assert "?token=" in where
        assert requests.get(where, timeout=10).ok
        bare, _, query = where.partition("?")
        assert requests.get(f"{bare}state?{query}", timeout=10).ok
        for wrong in ("", "?token=", "?token=x", f"?token={query[6:-1]}"):
            assert requests.get(f"{bare}state{wrong}", timeout=10).status_code == 403


def test_a_port_that_is_taken(run, served):
    with pytest.raises(StorageError, match="cannot be used"):
        make_server(run, "127.0.0.1", int(served.rsplit(":", 1)[1].strip("/")))


def test_the_report_is_drawn_again_when_there_is_something_new(served, run):
    before = requests.get(f"{served}report", timeout=30).text
    version = requests.get(f"{served}state", timeout=10).json()["version"]
    assert requests.get(f"{served}report", timeout=30).text == before
    with open(run.trials_path) as file:
        last = file.readlines()[-1]
    with open(run.trials_path, "a") as file:
        file.write(last.replace(last.split(",")[0], "999", 1))
    time.sleep(2.1)
    assert requests.get(f"{served}state", timeout=10).json()["version"] != version
    assert "999" in requests.get(f"{served}report", timeout=30).text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_follows_a_run_that_goes_on(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "cotune", "run", "digits", "--model", "mlp", "--quiet"]
    process = subprocess.Popen([*command, "--timeout", "60s", "--out", str(out)])
    try:
        while not (out / "trials.csv").exists() or not (out / "summary.json").exists():
            assert process.poll() is None
            time.sleep(0.2)
        server, address = make_server(RunDirectory.open(out), "127.0.0.1", 0)
        for where in serving(server, address):
            flags = [flag for flag in FLAGS if "virtual-time" not in flag]
            page = subprocess.run(
                [
                    str(CHROMIUM),
                    *flags,
                    "--virtual-time-budget=9000",
                    f"--user-data-dir={tmp_path / 'profile'}",
                    "--dump-dom",
                    where,
                ],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            assert "run: running" in page.stdout
            assert page.stdout.count("<iframe") == 1
            assert "Refused" not in page.stderr
    finally:
        process.terminate()
        process.wait()


def test_the_dashboard_leaves_a_run_alone_that_goes_on(run, capsys):
    summary = json.loads(run.summary_path.read_text())
    run.summary_path.write_text(json.dumps({**summary, "state": "running"}))
    lock = RunDirectory.reopen(run.path)
    try:
        with pytest.raises(SystemExit) as end:
            main(["dashboard", str(run.path)])
    finally:
        lock.close()
    assert end.value.code == 2
    assert "`cotune watch` follows it" in capsys.readouterr().err


@pytest.mark.slow
def test_the_dashboard_opens_the_study(run):
    command = [sys.executable, "-m", "cotune", "dashboard", str(run.path), "--port", "18080"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                studies = requests.get("http://127.0.0.1:18080/api/studies", timeout=5).json()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert [one["study_name"] for one in studies["study_summaries"]] == ["cotune"]
    finally:
        process.terminate()
        process.wait()
