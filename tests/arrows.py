"""Who imports whom, by any kind of import: those in functions and for the type checker count."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

Arrow = tuple[str, str]
ORDER = ("load", "late", "type")
"""When an import is carried out: with the module, when a function is called, never."""


def modules(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """The files of some packages below `root` by their dotted names."""
    found = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(files: dict[str, Path]) -> set[Arrow]:
    """(importer, imported) for all imports of `files` among themselves."""
    return set(kinds(files))


def named(files: dict[str, Path]) -> set[Arrow]:
    """(who names, named) for modules in strings, as "edge.model" and "edge.model.a:Class"."""
    found = set()
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                target = node.value.partition(":")[0].rstrip(".")
                if "." in target and target in files and target != name:
                    found.add((name, target))
    return found


def kinds(files: dict[str, Path]) -> dict[Arrow, str]:
    """When each arrow's import is carried out: ``load``, ``late`` (in a function), ``type``.

    Where a file imports another in several ways, the earliest in this order counts.
    """
    found: dict[Arrow, str] = {}
    for name, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for kind, node in _imports(tree, "load"):
            for target in _named(node, files):
                if target != name:
                    known = found.get((name, target), kind)
                    found[name, target] = min(known, kind, key=ORDER.index)
    return found


def _imports(tree: ast.AST, kind: str) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield kind, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node, max(kind, "late", key=ORDER.index))
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for one in node.body:
                yield from _imports(ast.Module([one], []), "type")
            for one in node.orelse:
                yield from _imports(ast.Module([one], []), kind)
        else:
            yield from _imports(node, kind)


def _named(node: ast.Import | ast.ImportFrom, known: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names if one.name in known)
        return
    assert not node.level, "imports are absolute here"
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        yield from [one for one in (inner, node.module) if one in known][:1]


def upward(found: Iterable[Arrow], rooms: Iterable[str | tuple[str, ...]]) -> set[Arrow]:
    """The arrows between rooms of one package that do not point to a room further down.

    `rooms` stand from the ground up; those in one tuple may not import each other. The package's
    own `__init__` lies below all, for whatever it took in would be had from everywhere by its
    name; `__main__` lies above.
    """
    floor = {
        name: height
        for height, one in enumerate(["", *rooms, "__main__"])
        for name in ([one] if isinstance(one, str) else one)
    }
    return {
        (source, target)
        for source, target in found
        if room(source) != room(target)
        and room(target) in floor
        and floor.get(room(source), -1) <= floor[room(target)]
        and room(source) in floor
    }


def room(module: str) -> str:
    """The room of a module: what stands behind the package's name."""
    return module.partition(".")[2].partition(".")[0]


def circles(found: Iterable[Arrow]) -> list[set[str]]:
    """The groups of modules that import each other in a circle (Tarjan 1972)."""
    after: dict[str, list[str]] = {}
    for source, target in found:
        after.setdefault(source, []).append(target)
    number, low, numbers = dict[str, int](), dict[str, int](), count()
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
