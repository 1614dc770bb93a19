"""A module of Cotune imports from its own floor or from lower ones, and never in a circle.

The imports are read from the source, so nothing is run and an import inside a function counts.
One under ``if TYPE_CHECKING`` counts for the floors, and not for the circles.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A name stands for the module and all below it; the longest one that fits decides.
FLOORS = {
    "cotune": 8,
    "cotune.__main__": 8,
    "cotune.api": 7,
    "cotune.arguments": 2,
    "cotune.augment": 1,
    "cotune.baseline": 1,
    "cotune.best_so_far": 1,
    "cotune.budget": 6,
    "cotune.capacity": 3,
    "cotune.captured": 3,
    "cotune.checkpoint": 3,
    "cotune.checkpoints": 6,
    "cotune.choice": 6,
    "cotune.cli": 7,
    "cotune.cohort": 3,
    "cotune.cohort_cnn": 3,
    "cotune.cohort_mlp": 3,
    "cotune.own_rows": 2,
    "cotune.own_space": 2,
    "cotune.recorded_network": 5,
    "cotune.cohort_module": 3,
    "cotune.compare_samplers": 7,
    "cotune.comparison": 2,
    "cotune.costs": 3,
    "cotune.data": 1,
    "cotune.dry_run": 7,
    "cotune.duration": 1,
    "cotune.engine": 4,
    "cotune.enqueue": 2,
    "cotune.ensemble": 6,
    "cotune.estimator": 7,
    "cotune.exceptions": 0,
    "cotune.executors": 5,
    "cotune.exports": 7,
    "cotune.evaluation": 7,
    "cotune.features": 2,
    "cotune.final": 6,
    "cotune.finalists": 6,
    "cotune.generations": 1,
    "cotune.halving": 3,
    "cotune.hyperparameters": 1,
    "cotune.known_rows": 2,
    "cotune.lanes": 2,
    "cotune.losses": 1,
    "cotune.metrics": 1,
    "cotune.modelfile": 2,
    "cotune.models": 1,
    "cotune.noise": 1,
    "cotune.objective": 6,
    "cotune.objective_callable": 4,
    "cotune.objective_choices": 1,
    "cotune.objective_errors": 4,
    "cotune.objective_fork": 1,
    "cotune.objective_given": 2,
    "cotune.objective_names": 1,
    "cotune.objective_own_study": 4,
    "cotune.objective_pipe": 4,
    "cotune.objective_script": 5,
    "cotune.objective_source": 1,
    "cotune.objective_storage": 5,
    "cotune.objective_study": 5,
    "cotune.objective_trial": 5,
    "cotune.objective_worker": 5,
    "cotune.observer": 2,
    "cotune.optim": 1,
    "cotune.options": 5,
    "cotune.plan": 3,
    "cotune.portfolio": 2,
    "cotune.predictions": 7,
    "cotune.progress": 6,
    "cotune.preference": 1,
    "cotune.presets": 1,
    "cotune.provenance": 0,
    "cotune.quiet_optuna": 1,
    "cotune.replay": 6,
    "cotune.report": 7,
    "cotune.results": 0,
    "cotune.recorded_data": 5,
    "cotune.resume_run": 7,
    "cotune.retest": 7,
    "cotune.retrain": 6,
    "cotune.run_objective": 7,
    "cotune.script_arguments": 0,
    "cotune.rundir": 2,
    "cotune.runner": 3,
    "cotune.scheduler": 3,
    "cotune.schedules": 1,
    "cotune.score_text": 0,
    "cotune.scoring": 2,
    "cotune.search": 6,
    "cotune.settings": 7,
    "cotune.signals": 1,
    "cotune.space": 1,
    "cotune.space_yaml": 1,
    "cotune.storage": 4,
    "cotune.study": 4,
    "cotune.terminal": 7,
    "cotune.terminal_comparison": 7,
    "cotune.terminal_evaluation": 7,
    "cotune.terminal_objective": 7,
    "cotune.testing": 9,
    "cotune.training_log": 2,
    "cotune.tune": 6,
    "cotune.uneven": 1,
    "cotune.version": 0,
}
OPTUNA_IS_FOR = (
    "cotune.quiet_optuna",
    "cotune.own_space",
    "cotune.objective_own_study",  # a script's own study is kept from its database
    "cotune.objective_script",
    "cotune.objective_storage",
    "cotune.objective_study",
    "cotune.objective_trial",  # the user's function is given a trial of Optuna's interface
    "cotune.objective_worker",
    "cotune.report",
    "cotune.space",
    "cotune.space_yaml",
    "cotune.storage",
    "cotune.study",
)
NO_TORCH = ("cotune.exceptions", "cotune.results", "cotune.scheduler")
NO_OPTUNA = ("cotune.engine", "cotune.executors", "cotune.lanes", "cotune.runner")


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    typing_only: bool


Imports = dict[str, list[Import]]


def read_imports(root: Path) -> Imports:
    """What every module of the package in ``root`` imports, by full name."""
    modules: dict[str, Path] = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {
        name: list(_imports_of(name, path, modules.keys() | {root.name}))
        for name, path in modules.items()
    }


def _imports_of(name: str, path: Path, modules: set[str]) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for_typing = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            # "from package import name": the submodule of that name, where there is one.
            targets = [
                full if (full := f"{base}.{alias.name}") in modules else base
                for alias in node.names
            ]
        for target in dict.fromkeys(targets):
            yield Import(target, getattr(node, "lineno", 0), node in for_typing)


def floor_of(module: str) -> int | None:
    """The module's floor; None when it is not in the table."""
    if module in FLOORS:
        return FLOORS[module]
    parent = module.rpartition(".")[0]
    return None if parent in ("", "cotune") else floor_of(parent)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def wrong_floors(imports: Imports) -> list[str]:
    """One line for every import from a higher floor."""
    wrong = []
    for name, imported in imports.items():
        own = floor_of(name)
        for item in imported:
            if own is None or not is_in(item.module, "cotune"):
                continue
            other = floor_of(item.module)
            if other is not None and other > own:
                wrong.append(
                    f"{name}, line {item.line}: floor {own} imports {item.module}, floor {other}"
                )
    return wrong


def circles(imports: Imports) -> list[str]:
    """Every circle that a walk along the imports runs into."""
    graph = {
        name: [i.module for i in imported if not i.typing_only and i.module in imports]
        for name, imported in imports.items()
    }
    found: list[str] = []
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in graph[name]:
                walk(other, [*trail, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return found


def reaches(imports: Imports, start: str, library: str) -> list[str] | None:
    """The way from a module to a library it imports, itself or through others of the package."""
    trails = [[start]]
    seen = {start}
    while trails:
        trail = trails.pop(0)
        for item in imports.get(trail[-1], []):
            if is_in(item.module, library):
                return [*trail, item.module]
            if item.module in imports and item.module not in seen and not item.typing_only:
                seen.add(item.module)
                trails.append([*trail, item.module])
    return None


IMPORTS = read_imports(Path(__file__).parents[1] / "src" / "cotune")


def test_every_module_has_a_floor():
    lost = [name for name in IMPORTS if floor_of(name) is None]
    assert not lost, f"place {', '.join(lost)} on a floor: FLOORS in {Path(__file__).name}"


def test_imports_go_down():
    assert wrong_floors(IMPORTS) == []


def test_no_circles():
    assert circles(IMPORTS) == []


def test_nothing_imports_testing():
    users = [
        name
        for name, imported in IMPORTS.items()
        if not is_in(name, "cotune.testing")
        and any(is_in(item.module, "cotune.testing") for item in imported)
    ]
    assert users == []


def test_who_imports_optuna():
    users = [
        name
        for name, imported in IMPORTS.items()
        if any(is_in(item.module, "optuna") for item in imported)
        and not any(is_in(name, allowed) for allowed in OPTUNA_IS_FOR)
    ]
    assert users == []


def test_engines_never_reach_optuna():
    engines = [name for name in IMPORTS if any(is_in(name, engine) for engine in NO_OPTUNA)]
    trails = [reaches(IMPORTS, name, "optuna") for name in engines]
    assert [" -> ".join(trail) for trail in trails if trail] == []


def test_deciding_needs_no_torch():
    trails = [reaches(IMPORTS, name, "torch") for name in NO_TORCH]
    assert [" -> ".join(trail) for trail in trails if trail] == []


class TestTheChecks:
    """They see what they are for, in a small package of the same name."""

    @staticmethod
    def package(folder: Path, sources: dict[str, str]) -> Imports:
        root = folder / "cotune"
        for name, source in {"__init__": "", **sources}.items():
            path = root / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return read_imports(root)

    def test_a_higher_floor(self, tmp_path):
        imports = self.package(
            tmp_path,
            {
                "lanes": "def f():\n    from .engine import step",
                "space": "import typing\nif typing.TYPE_CHECKING:\n    from cotune import tune",
                "tune": "import cotune.lanes, cotune.space",
                "engine": "",
            },
        )
        assert wrong_floors(imports) == [
            "cotune.lanes, line 2: floor 2 imports cotune.engine, floor 4",
            "cotune.space, line 3: floor 1 imports cotune.tune, floor 6",
        ]

    def test_a_circle(self, tmp_path):
        imports = self.package(
            tmp_path,
            {
                "data/__init__": "from .readers import read",
                "data/readers": "from cotune.data.dataset import Dataset",
                "data/dataset": "from . import readers",
            },
        )
        assert circles(imports) == [
            "cotune.data.readers -> cotune.data.dataset -> cotune.data.readers"
        ]

    def test_a_circle_for_types_alone_is_none(self, tmp_path):
        imports = self.package(
            tmp_path,
            {
                "lanes": "import typing\nif typing.TYPE_CHECKING:\n    import cotune.rundir",
                "rundir": "from cotune.lanes import Lanes",
            },
        )
        assert circles(imports) == []

    def test_a_module_without_a_floor(self, tmp_path):
        imports = self.package(tmp_path, {"helpers": "", "data/readers": ""})
        assert [name for name in imports if floor_of(name) is None] == ["cotune.helpers"]

    def test_a_way_to_a_library(self, tmp_path):
        imports = self.package(
            tmp_path,
            {"scheduler": "from cotune import lanes", "lanes": "from torch.func import vmap"},
        )
        assert reaches(imports, "cotune.scheduler", "torch") == [
            "cotune.scheduler",
            "cotune.lanes",
            "torch.func",
        ]
        assert reaches(imports, "cotune.scheduler", "optuna") is None
