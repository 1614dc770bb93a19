"""What can be seen in a script before it is run: its names, and what its main guard hides."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from types import CodeType


class ScriptNames:
    """Names that a script binds at its top level, with and without its main guard.

    Args:
        file: Its path, for errors.

    Raises:
        SyntaxError: It is not Python.
    """

    def __init__(self, text: str, file: str) -> None:
        self._tree = ast.parse(text, file)
        compile(text, file, "exec", dont_inherit=True)  # errors that parsing does not see
        open_statements: list[ast.stmt] = []
        guarded: list[ast.stmt] = []
        for statement in self._tree.body:
            if isinstance(statement, ast.If) and _is_guard(statement.test):
                guarded += statement.body
                open_statements += statement.orelse
            else:
                open_statements.append(statement)
        self._uses = [(_bound(statement), _read(statement)) for statement in open_statements]
        self._open = {name for bound, _ in self._uses for name in bound}
        self._guarded = {name for statement in guarded for name in _bound(statement)} - self._open
        self._has_guard = bool(guarded)

    def is_run_as_main(self, name: str) -> bool:
        """Return whether the function of that name is only there if the script runs as main.

        So it is where its main guard, or a function that is called there, makes it or a global that
        it reads, or binds arguments that it has beside the trial.
        """
        if name not in self._open:
            return name in self._guarded or (self._has_guard and self.is_local(name))
        needs_more = self._has_guard and self._arguments(name) > 1
        return needs_more or bool(self._reads(name) & self._guarded)

    def _arguments(self, name: str) -> int:
        """Return how many arguments a function needs; of a class, its ``__init__``."""
        for node in self._tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                inner = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                node = next((part for part in inner if part.name == "__init__"), node)
            elif getattr(node, "name", "") != name:
                continue
            if isinstance(node, ast.FunctionDef):
                of = node.args
                return len(of.posonlyargs) + len(of.args) - len(of.defaults)
        return 0

    def is_local(self, name: str) -> bool:
        """Return whether some function makes a function or variable of that name."""
        return any(name in code.co_varnames + code.co_cellvars for code in self._functions())

    def direction(self) -> str | None:
        """Return the one direction of all studies that the script makes; None where it is open."""
        found = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and _called(node) == "create_study":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                value = given.get("direction", ast.Constant("minimize"))
                is_open = given.keys() & {"directions", None} or not isinstance(value, ast.Constant)
                found.add(None if is_open else str(value.value))  # type: ignore[attr-defined]
        return found.pop() if len(found) == 1 else None

    def _functions(self) -> Iterator[CodeType]:
        return (code for code in _codes(_compiled(self._tree.body)) if code.co_name != "<module>")

    def _reads(self, name: str) -> set[str]:
        """Return the globals that a name's statement reads, and that theirs read in turn."""
        reads: set[str] = set()
        left = [name]
        while left:
            one = left.pop()
            found = {read for bound, names in self._uses if one in bound for read in names}
            left += found - reads
            reads |= found
        return reads


def _is_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _called(call: ast.Call) -> str:
    function = call.func
    return getattr(function, "attr", getattr(function, "id", ""))


def _compiled(statements: list[ast.stmt]) -> CodeType:
    module = ast.Module(statements, [])
    return compile(module, "script", "exec", dont_inherit=True)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _bound(statement: ast.stmt) -> set[str]:
    code = _compiled([statement])
    return {
        str(step.argval)
        for part in _codes(code)
        for step in dis.get_instructions(part)
        if step.opname == "STORE_GLOBAL" or (part is code and step.opname == "STORE_NAME")
    }


def _read(statement: ast.stmt) -> set[str]:
    return {
        str(step.argval)
        for part in _codes(_compiled([statement]))
        for step in dis.get_instructions(part)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
