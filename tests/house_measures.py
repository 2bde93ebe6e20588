"""What is counted of a package: files, functions, classes, imports, circles, entries of folders."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from arrows import ORDER, Arrow, circles, kinds, modules, room
from rooms import ROOMS, upward_arrows


@dataclass(frozen=True)
class House:
    """A package as it stands: its files, its arrows with their kinds, its rooms by floor."""

    package: str
    files: dict[str, Path]
    arrows: dict[Arrow, str]
    floors: tuple[tuple[str, ...], ...]

    @property
    def rooms(self) -> list[str]:
        """The rooms, from the ground up."""
        return [one for floor in self.floors for one in floor]

    @property
    def between(self) -> dict[Arrow, Counter[str]]:
        """How many arrows lead from one room to another, by kind."""
        found: dict[Arrow, Counter[str]] = {}
        for (source, target), kind in sorted(self.arrows.items()):
            pair = room(source), room(target)
            if pair[0] != pair[1] and set(pair) <= set(self.rooms):
                found.setdefault(pair, Counter())[kind] += 1
        return found

    @property
    def upward(self) -> list[Arrow]:
        """The arrows that no room may have."""
        return sorted(upward_arrows(set(self.arrows)))

    @property
    def circles(self) -> list[list[str]]:
        """The groups of files that import each other in a circle."""
        return sorted(sorted(one) for one in circles(set(self.arrows)))

    def inside(self, name: str) -> dict[str, Path]:
        """The files of one room."""
        return {one: path for one, path in self.files.items() if room(one) == name}


def house(root: Path, package: str) -> House:
    """Read one package below `root`."""
    files = modules(root, [package])
    floors = [(one,) if isinstance(one, str) else one for one in ROOMS[package]]
    there = {room(name) for name in files}
    kept = tuple(tuple(one for one in floor if one in there) for floor in floors)
    return House(package, files, kinds(files), tuple(floor for floor in kept if floor))


def lines(path: Path) -> int:
    """Count the lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def measured(one: House) -> dict[str, str]:
    """Count what a package is made of, in words for a table."""
    sizes = sorted(lines(path) for path in one.files.values())
    functions, classes = _definitions(one.files)
    entries = _entries(one.files)
    fullest = max(sorted(entries), key=lambda folder: entries[folder])
    by_kind = Counter(one.arrows.values())
    return {
        "files": str(len(sizes)),
        "lines": f"{sum(sizes):,}",
        "lines of a file: median, longest": f"{median(sizes):.0f}, {sizes[-1]}",
        "functions and methods": f"{len(functions):,}",
        "lines of a function: median, longest": f"{median(functions):.0f}, {functions[-1]}",
        "classes": str(classes),
        "folders": str(len(entries)),
        "most entries in one folder": f"{entries[fullest]} ({fullest})",
        "imports of its own files": str(len(one.arrows)),
        "of these in a function, for types only": f"{by_kind['late']}, {by_kind['type']}",
        "circles (files in them)": f"{len(one.circles)} ({sum(map(len, one.circles))})",
        "longest chain of imports": f"{_chain(one)} files",
    }


def _definitions(files: dict[str, Path]) -> tuple[list[int], int]:
    """The lengths of all functions in lines, sorted, and the number of classes."""
    functions, classes = [], 0
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
            classes += isinstance(node, ast.ClassDef)
    return sorted(functions), classes


def _entries(files: dict[str, Path]) -> dict[str, int]:
    """Count what lies in each folder: Python files, and folders with some."""
    found: dict[Path, set[Path]] = {}
    top = min((path.parent for path in files.values()), key=lambda folder: len(folder.parts))
    for path in files.values():
        while path != top:
            found.setdefault(path.parent, set()).add(path)
            path = path.parent
    return {
        f"{folder.relative_to(top.parent).as_posix()}/": len(inside)
        for folder, inside in found.items()
    }


def _chain(one: House) -> int:
    """Count the files of the longest chain in which each imports the next; a circle counts once."""
    group = {name: name for name in one.files}
    for circle in one.circles:
        group |= dict.fromkeys(circle, circle[0])
    after: dict[str, set[str]] = {}
    for source, target in one.arrows:
        if group[source] != group[target]:
            after.setdefault(group[source], set()).add(group[target])
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max(map(depth, after.get(name, ())), default=0)
        return depths[name]

    return max(depth(name) for name in group.values())


def in_words(counts: Counter[str]) -> str:
    """How many arrows there are, and how many of them are late or for types only."""
    besides = [f"{counts[kind]} {kind}" for kind in ORDER[1:] if counts[kind]]
    return str(counts.total()) + (f" ({', '.join(besides)})" if besides else "")


def table(houses: list[House], form: str = "text") -> str:
    """Lay the measures of packages side by side; `form` is ``text`` or ``markdown``."""
    columns = [measured(one) for one in houses]
    rows = [["", *(one.package for one in houses)]]
    rows += [[what, *(column[what] for column in columns)] for what in columns[0]]
    if form == "markdown":
        rows.insert(1, ["---"] * len(rows[0]))
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )
