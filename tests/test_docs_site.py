"""The documentation site builds without a warning, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """The ids and the links of a page.

    Attributes:
        ids: What a link can point at.
        links: Addresses of pages, pictures, scripts and styles.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids |= {value for name, value in attrs if name == "id" and value}
        self.links |= {value for name, value in attrs if name in ("href", "src") and value}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without executing the notebooks."""
    out = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run(
        [*sphinx, "-D", "nb_execution_mode=off", "-d", out / "doctrees", DOCS, out / "html"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_every_source_is_a_page(site: Path) -> None:
    sources = [*DOCS.rglob("*.md"), *DOCS.glob("tutorials/*.py")]
    names = [one.relative_to(DOCS) for one in sources if DOCS / "_build" not in one.parents]
    assert len(names) > 25
    assert [name for name in names if not (site / name.with_suffix(".html")).is_file()] == []


def test_links_lead_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            known = target.is_file() and (
                target not in pages or not address.fragment or address.fragment in pages[target].ids
            )
            if not known:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert '<script src="http' not in text, path
        assert '<link rel="stylesheet" href="http' not in text, path


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("reference/cli.html", 'id="cmdoption-cotune-run-gpus-per-worker"'),
        ("reference/python.html", "Wall clock of everything"),
        ("reference/python.html", "cotune.CotuneClassifier"),
        ("reference/space.html", "1e-05 to 0.1 (log)"),
        ("reference/changelog.html", "Keep a Changelog"),
    ],
)
def test_generated_pages_have_their_contents(site: Path, page: str, text: str) -> None:
    assert text in (site / page).read_text()
