"""Docstrings say what a thing is or does in their first word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cotune"
WRONG = {"What", "Whether", "Likewise", "Where", "How", "Which", "When", "Within"}
PARAPHRASES = ("goes on with", "go on with", "gone on with", "told apart", "for good.")


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_docstrings(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = ast.get_docstring(node) or ""
            first = text.split(maxsplit=1)[0] if text else ""
            is_property = any("property" in ast.unparse(one) for one in node.decorator_list)
            if not is_property:
                assert first.rstrip(",.:") not in WRONG, f"{node.name}: {text.splitlines()[0]}"
            for phrase in PARAPHRASES:
                assert phrase not in text, f"{node.name}: {phrase}"
