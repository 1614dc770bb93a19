"""What scripts ask of Cotune in a line of Python is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
LINES = [
    (path.name, line)
    for path in sorted(SCRIPTS.iterdir())
    for line in re.findall(r"python -c '([^']+)'", path.read_text())
    if "cotune" in line
]


def test_there_are_some():
    assert LINES


@pytest.mark.parametrize(("name", "line"), LINES)
def test_its_names_are_there(name, line):
    tree = ast.parse(line)
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = importlib.import_module(str(node.module))
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                imported[alias.asname or alias.name] = getattr(module, alias.name)
    assert imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = imported.get(node.value.id)
            assert known is None or hasattr(known, node.attr), f"{name}: {ast.unparse(node)}"
