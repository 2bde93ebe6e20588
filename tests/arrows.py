"""Who imports whom, by any kind of import: those in functions and for the type checker count."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

Arrow = tuple[str, str]


def modules(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """Give the files of some packages below `root` by their dotted names."""
    found = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(files: dict[str, Path]) -> set[Arrow]:
    """Give (importer, imported) for all imports of `files` among themselves."""
    return {
        (name, target)
        for name, path in files.items()
        for target in _imported(ast.parse(path.read_text(encoding="utf-8")), files)
        if target != name
    }


def _imported(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from [one for one in (inner, node.module) if one in known][:1]


def upward(found: Iterable[Arrow], rooms: Iterable[str | tuple[str, ...]]) -> set[Arrow]:
    """Give the arrows between rooms of one package that do not point to a room further down.

    `rooms` stand from the ground up; those in one tuple may not import each other.
    """
    floor = {
        room: height
        for height, one in enumerate(rooms)
        for room in ([one] if isinstance(one, str) else one)
    }
    return {
        (source, target)
        for source, target in found
        if _room(source) != _room(target)
        and _room(target) in floor
        and floor.get(_room(source), -1) <= floor[_room(target)]
        and _room(source) in floor
    }


def _room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def circles(found: Iterable[Arrow]) -> list[set[str]]:
    """Give the groups of modules that import each other in a circle (Tarjan 1972)."""
    after: dict[str, list[str]] = {}
    for source, target in found:
        after.setdefault(source, []).append(target)
    number, low, numbers = {}, {}, count()  # type: ignore[var-annotated]
    stack: list[str] = []
    groups = []

    def visit(one: str) -> None:
        number[one] = low[one] = next(numbers)
        stack.append(one)
        for other in after.get(one, ()):
            if other not in number:
                visit(other)
            if other in stack:
                low[one] = min(low[one], low[other])
        if low[one] == number[one]:
            group = set(stack[stack.index(one) :])
            del stack[stack.index(one) :]
            if len(group) > 1:
                groups.append(group)

    for one in sorted(after):
        if one not in number:
            visit(one)
    return groups
