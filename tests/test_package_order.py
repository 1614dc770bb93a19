"""Packages import from those further down, never up; no module is too long to read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cotune"
ORDER = (
    ("__main__", "cli"),
    ("__init__", "api", "estimator", "result"),
    ("report",),
    ("tuning",),
    ("inference",),
    ("runs", "workers"),
    ("engine", "study"),
    ("space",),
    ("data",),
    ("arguments", "diagnostics", "metrics", "records", "standard_error", "text", "user_code"),
    ("exceptions", "version"),
)
OPTUNA_IS_FOR = ("space", "study", "report", "workers.objective", "engine.networks.custom.space")
MOST_LINES = 450
MOST_PARAMETERS = 8
MIRRORS_OPTIONS = ("cli", "api", "estimator", "tuning.settings", "tuning.objective_settings")


def modules() -> dict[str, Path]:
    """Return the files of all modules, by name, ``cotune.`` left out."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        is_package = parts[-1] == "__init__" and len(parts) > 1
        found[".".join(parts[:-1] if is_package else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(name: str, *, for_types: bool = True) -> Iterator[str]:
    """Yield the modules that one imports, in functions too; of Cotune without ``cotune.``."""
    skipped = {
        node
        for block in ast.walk(TREES[name])
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
        if not for_types
    }
    for node in ast.walk(TREES[name]):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("cotune.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            base = (node.module or "").removeprefix("cotune").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                yield full if full in MODULES else base or "__init__"


def rank(name: str) -> int:
    """Return how far down a module's package stands."""
    (found,) = (i for i, names in enumerate(ORDER) if name.partition(".")[0] in names)
    return found


def is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    package = name.partition(".")[0]
    for other in imported(name):
        if other in MODULES and other.partition(".")[0] != package:
            beside = rank(other) == rank(name) and rank(name) in (0, 1, len(ORDER) - 2)
            assert beside or rank(other) > rank(name), f"{name} imports {other}"


def test_no_circles():
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in imported(name, for_types=False):
                if other in MODULES:
                    walk(other, (*trail, name))
            done.add(name)

    for name in MODULES:
        walk(name, ())


def test_who_imports_optuna():
    users = [name for name in MODULES if any(is_in(m, ("optuna",)) for m in imported(name))]
    assert [name for name in users if not is_in(name, OPTUNA_IS_FOR)] == []


@pytest.mark.parametrize("name", MODULES)
def test_short_enough_to_read(name):
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{name}: {lines} lines"


@pytest.mark.parametrize("name", [name for name in MODULES if not is_in(name, MIRRORS_OPTIONS)])
def test_few_parameters(name):
    """Records are data and may have more fields; what mirrors the options has as many as these."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([one for one in given if one.arg not in ("self", "cls")])
            assert count <= MOST_PARAMETERS, f"{name}: {node.name} has {count} parameters"
