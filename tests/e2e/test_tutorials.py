"""The tutorials, executed in a real kernel from top to bottom."""

from __future__ import annotations

import time
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.py"))
pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path, tmp_path, fashion_mnist_dir):
    notebook = jupytext.read(path)
    began = time.monotonic()
    client = NotebookClient(
        notebook,
        timeout=170,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert time.monotonic() - began < 180
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = [output.output_type for output in outputs]
    assert "error" not in kinds
    assert "stream" not in kinds, [one for one in outputs if one.output_type == "stream"]
    pages = [output.data.get("text/html", "") for output in outputs if "data" in output]
    assert any("ended after" in page for page in pages) or "3-samplers" in path.name
    if path.stem != "3-samplers":
        assert any("Test accuracy" in page for page in pages) or path.stem.startswith("4")
    assert "\x1b[" not in str(pages)


def test_there_are_five():
    assert len(TUTORIALS) == 5
