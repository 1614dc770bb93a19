"""Comparison of modules: those that differ only in their tensors can be computed as one."""

from __future__ import annotations

import functools
import hashlib
import types
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

_OF_EVERY_MODULE: Final = frozenset(vars(nn.Module()))
_HOOKS: Final = tuple(name for name in _OF_EVERY_MODULE if name.endswith("_hooks"))
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_OF_EVERY_CLASS: Final = frozenset(dir(object)) | {"__module__", "__dict__", "__weakref__"}
_DEPTH: Final = 6  # of containers and objects in one another


@dataclass(frozen=True)
class Structure:
    """A module without its tensors' values and its dropout rates.

    Attributes:
        key: Equal for modules that compute the same with the same tensors.
        opaque: Name of an attribute that cannot be compared, or "".
        alive: Classes and functions that the key names by their identity.
    """

    key: str
    opaque: str = ""
    alive: tuple[object, ...] = field(default=(), compare=False, repr=False)


def structure_of(module: nn.Module) -> Structure:
    """Return the structure of a module: classes, attributes and shapes of its tensors.

    Rates of ``nn.Dropout`` are left out, as each lane can have its own.
    """
    parts_of_it = {id(part): name for name, part in module.named_modules()}
    alive: list[object] = []
    opaque: list[str] = []
    described: set[type] = set()

    def identity(value: object) -> str:
        alive.append(value)
        return f"@{id(value)}"

    def kind(value: type, where: str, depth: int) -> str:
        """Describe a class; one that is defined inside a function is compared by its members."""
        if "<locals>" not in value.__qualname__:
            return identity(value)
        if value in described:
            return value.__qualname__
        described.add(value)
        parts = [kind(base, where, depth) for base in value.__bases__]
        for name, member in vars(value).items():
            if isinstance(member, (staticmethod, classmethod)):
                member = member.__func__
            for one in (member.fget, member.fset) if isinstance(member, property) else (member,):
                if name not in _OF_EVERY_CLASS or isinstance(one, types.FunctionType):
                    parts.append(name + describe(one, f"{value.__name__}.{name}", depth + 1))
        return f"{value.__qualname__}({','.join(parts)})"

    def describe(value: Any, where: str, depth: int = 0) -> str:
        if isinstance(value, _PLAIN):
            return repr(value)
        if depth < _DEPTH:
            if isinstance(value, (list, tuple, set, frozenset)):
                items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
                parts = [describe(item, where, depth + 1) for item in items]
                return f"{type(value).__name__}({','.join(parts)})"
            if isinstance(value, dict):
                parts = [f"{k!r}:{describe(v, where, depth + 1)}" for k, v in value.items()]
                return f"dict({','.join(parts)})"
            if isinstance(value, functools.partial):
                bound = (value.func, value.args, value.keywords)
                return f"partial{describe(bound, where, depth + 1)}"
            if isinstance(value, types.FunctionType):
                cells = [cell.cell_contents for cell in value.__closure__ or ()]
                inner = (cells, value.__defaults__, value.__kwdefaults__)
                return f"function{identity(value.__code__)}{describe(inner, where, depth + 1)}"
            if isinstance(value, type):
                return kind(value, where, depth)
            if isinstance(value, types.MethodType):
                return f"method{describe((value.__func__, value.__self__), where, depth + 1)}"
            if isinstance(value, nn.Module) and id(value) in parts_of_it:
                return f"module {parts_of_it[id(value)]!r}"
            if isinstance(value, types.BuiltinFunctionType):
                return identity(value)
            if hasattr(value, "__dict__") and not isinstance(value, (Tensor, nn.Module)):
                said = describe(vars(value), where, depth + 1)
                return kind(type(value), where, depth) + said
        opaque.append(where)
        return "?"

    parts = []
    for name, part in module.named_modules():
        attributes = {key: value for key, value in vars(part).items() if _matters(key, part)}
        where = f"{type(part).__name__}."
        said = [f"{key}={describe(value, where + key)}" for key, value in attributes.items()]
        if any(getattr(part, hooks, None) for hooks in _HOOKS):
            opaque.append(f"{type(part).__name__}'s hooks")
        if getattr(part, "track_running_stats", False) and getattr(part, "momentum", 0) is None:
            opaque.append(f"{type(part).__name__}.momentum")  # it counts batches, all lanes as one
        parts.append(f"{name}:{kind(type(part), where, 0)}({';'.join(said)})")
    for tensors in (module.named_parameters(), module.named_buffers()):
        parts += [f"{name}:{tuple(value.shape)}{value.dtype}" for name, value in tensors]
    for name, value in module.named_buffers():
        if is_constant(value):
            content = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            parts.append(f"{name}={hashlib.sha256(content).hexdigest()}")
    return Structure("|".join(parts), opaque[0] if opaque else "", tuple(alive))


def is_constant(buffer: Tensor) -> bool:
    """Return whether a buffer is not of a lane: whole numbers, as counters, and masks of -inf.

    Lanes that are trained together share it.
    """
    return not buffer.is_floating_point() or not bool(buffer.isfinite().all())


def _matters(key: str, part: nn.Module) -> bool:
    return key not in _OF_EVERY_MODULE and not (type(part) is nn.Dropout and key == "p")
