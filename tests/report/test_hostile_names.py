"""The report: alone in one file, inert against hostile names."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cotune.diagnostics import ColumnImportance, ColumnImportances
from cotune.report import build_report
from cotune.runs.directory import RunDirectory
from tests.support.report_runs import figures, make_run, text_without_plotly

HOSTILE = (
    "</script><script>marker('closed')</script>",
    "<img src=x onerror=marker('img')>",
    "\"><svg onload=marker('svg')>",
    "'; marker('quote'); '",
    "{{ marker('template') }}",
    "<!--<script>",
    "<a href=\"javascript:marker('link')\">link</a>",
    "%{customdata} <b>bold</b> &lt;i&gt;",
    "\u2028`${marker('literal')}`",
    "=cmd|' /C calc'!A0",
)
MARKER = "<script>marker"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = make_run(
        tmp_path_factory.mktemp("report") / "<b onclick=marker('path')>",
        trials=13,
        classes=HOSTILE,
        dataset=HOSTILE[0] + HOSTILE[1],
        prefix="</script><script>marker('name')</script>",
    )
    final = run.final()
    assert final is not None
    columns = [ColumnImportance(name, 0.1, 0.01) for name in HOSTILE]
    run.write_final(replace(final, columns=ColumnImportances(columns)))
    return run


def test_the_page_needs_no_network(run: RunDirectory) -> None:
    page = build_report(run).read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe|object)\b[^>]*\s(src|href)=(?!\"data:)", page)
    assert not re.search(r"@import|url\(", text_without_plotly(page))
    assert "default-src 'none'" in html.unescape(page[:2000])
    assert 4_000_000 < len(page) < 6_000_000  # plotly.js once: 4.8 MB


def test_hostile_names_are_escaped_everywhere(hostile: RunDirectory) -> None:
    page = text_without_plotly(build_report(hostile).read_text(encoding="utf-8"))
    assert MARKER not in page
    assert len(re.findall(r"<script\b", page)) == len(re.findall(r"</script>", page)) == 3
    assert "<img src=x" not in page
    assert "<svg" not in page
    charts = figures(page)
    assert charts["confusion"]["data"]
    assert len(charts["columns"]["data"][0]["customdata"]) == len(HOSTILE)
    for string in strings(charts):
        without_breaks = string.replace("<br>", "").replace("<extra></extra>", "")
        assert "<" not in without_breaks


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("which", ["run", "hostile"])
def test_a_browser_draws_all_and_runs_no_foreign_script(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: RunDirectory = request.getfixturevalue(which)
    report = build_report(run).read_text(encoding="utf-8")
    drawn = len(figures(report))
    # Without the policy, so that the escaping has to hold alone; a marker that runs shows in the
    # document's title.
    probe = "<script>window.marker = (what) => { document.title = 'RAN ' + what; };</script>"
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', probe, report)
    assert probe in bare
    for name, page in (("with", report), ("without", bare)):
        path = tmp_path / f"{name}.html"
        path.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [
                str(CHROMIUM),
                *FLAGS,
                "--window-size=1200,2000",
                f"--user-data-dir={tmp_path / name}",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert f'data-drawn="{drawn}"' in done.stdout
        assert "<title>RAN" not in done.stdout
        assert "CONSOLE" not in done.stderr
