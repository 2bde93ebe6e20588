"""What the tests reach, room by room: the end of ``make coverage``.

Puts together what all processes measured, writes ``build/coverage/index.html`` with every line, and
prints a table of Markdown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import coverage
from rooms import ROOMS

Summary = Mapping[str, Any]
"""What coverage says of a file."""
HOME = Path("build/coverage")
LEAST = 15
"""So many files are named that are reached least."""


def main() -> None:
    """Write the pages, print the table and the files that are reached least."""
    measured = coverage.Coverage()
    measured.combine(strict=True)
    measured.save()
    measured.html_report()
    measured.json_report(outfile=f"{HOME / 'all.json'}")
    found = summaries(HOME / "all.json")
    print("\n".join([*table(found), "", *least(found), "", f"{HOME / 'index.html'}"]))


def summaries(report: Path) -> dict[str, Summary]:
    """What was measured of each file, by its path in the tree."""
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {name: about["summary"] for name, about in files.items()}


def table(found: Mapping[str, Summary]) -> list[str]:
    """A line for each room, from the top of each package down, and one for the package."""
    lines = ["| room | lines | reached | branches | reached |", "|---|---|---|---|---|"]
    for package, rooms in ROOMS.items():
        inside = {name: one for name, one in found.items() if name.startswith(f"{package}/")}
        lines.append(_line(f"**{package}**", inside.values()))
        levels = [[level] if isinstance(level, str) else level for level in reversed(rooms)]
        lines += [
            _line(f"`{room}`", [one for name, one in inside.items() if _room(name) == room])
            for level in levels
            for room in level
        ]
    return lines


def least(found: Mapping[str, Summary]) -> list[str]:
    """The files with the largest share of lines and branches that no test reaches."""
    order = sorted(found, key=lambda name: found[name]["percent_covered"])
    return [f"{found[name]['percent_covered']:5.1f} %  {name}" for name in order[:LEAST]]


def _room(name: str) -> str:
    return name.split("/")[1].removesuffix(".py")


def _line(title: str, found: Iterable[Summary]) -> str:
    total: Counter[str] = Counter()
    for one in found:
        total.update({key: one[key] for key in _COUNTED})
    lines, reached, branches, taken = (total[key] for key in _COUNTED)
    shares = (
        f"{100 * n / of:.1f} %" if of else "–" for n, of in ((reached, lines), (taken, branches))
    )
    lines_share, branches_share = shares
    return f"| {title} | {lines:,} | {lines_share} | {branches:,} | {branches_share} |"


_COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches")

if __name__ == "__main__":
    main()
