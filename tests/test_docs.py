"""The docs name files and functions that exist, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMED = sorted(
    set(re.findall(r"`([\w/]+\.py)(?:::([\w.]+))?`", (ROOT / "CONTRIBUTING.md").read_text()))
)
FOLDERS = sorted(set(re.findall(r"`([\w/]+/)`", (ROOT / "CONTRIBUTING.md").read_text())))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


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
