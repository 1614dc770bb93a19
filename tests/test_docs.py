"""The docs name files and functions that exist, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cotune
from cotune.runs.paths import RunPaths

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = DOCS / "_build"
PAGES = sorted(
    page for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")) if BUILT not in page.parents
)
NAMED = sorted(
    set(re.findall(r"`([\w/]+\.py)(?:::([\w.]+))?`", (ROOT / "CONTRIBUTING.md").read_text()))
)
FOLDERS = sorted(set(re.findall(r"`([\w/]+/)`", (ROOT / "CONTRIBUTING.md").read_text())))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("name", [name for name in cotune.__all__ if name != "__version__"])
def test_public_names_are_in_the_reference(name: str) -> None:
    assert f":: {name}" in (DOCS / "reference/python.md").read_text()


@pytest.mark.parametrize("file", sorted(vars(RunPaths(Path("run"))).values()), ids=lambda p: p.name)
def test_files_of_a_run_are_in_the_reference(file: Path) -> None:
    shown = (DOCS / "reference/run-directory.md").read_text()
    assert file == Path("run") or f"`{file.name}" in shown


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_named_in_contributing(file: str, name: str) -> None:
    (path,) = [one for one in (ROOT / file, ROOT / "src/cotune" / file) if one.is_file()]
    text = path.read_text()
    for part in filter(None, name.split(".")):
        assert re.search(rf"(class|def) {part}\b", text), f"{file} has no {part}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_named_in_contributing(folder: str) -> None:
    assert (ROOT / "src/cotune" / folder).is_dir()


def test_the_walk_is_short() -> None:
    walk = (ROOT / "CONTRIBUTING.md").read_text().partition("## A walk")[2].partition("\n## ")[0]
    assert 1 <= len(re.findall(r"^\d+\. ", walk, re.MULTILINE)) <= 12
