"""The rooms of a package drawn as SVG: who stands on whom, and all imports as a grid."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from arrows import Arrow, room
from house_measures import House, in_words, lines

_BOX, _TALL, _FLOOR, _DUMMY, _GAP = 112, 34, 68, 10, 14
_CELL = 30
_STYLE = """<style>
text { font: 12px sans-serif; fill: #1d2b24 } .small { font-size: 9px; fill: #5a6b62 }
.title { font-size: 16px; font-weight: bold } .box { fill: #e7f0ea; stroke: #3d6b52 }
.down { fill: none; stroke: #6f8b7c; stroke-width: 1.2; marker-end: url(#head) }
.up { fill: none; stroke: #c62828; stroke-width: 2; stroke-dasharray: 5 3 }
.cell { fill: #cfe3d6 } .wrong { fill: #ef9a9a } .itself { fill: #f1f1f1 } .line { stroke: #ddd }
</style><defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"
markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#6f8b7c"/></marker></defs>
"""


def page(houses: list[House], counted: bool = True) -> str:
    """Draw packages below each other, ready to be written as a file.

    Without `counted` it shows only which room imports which, and changes only when that does.
    """
    parts, top, width = [], 20, 0
    for one in houses:
        drawing, wide, tall = _standing(one, counted)
        grid, across, down = _grid(one, counted)
        parts.append(f'<text x="20" y="{top + 14}" class="title">{one.package}</text>')
        parts.append(f'<g transform="translate(20 {top + 30})">{drawing}</g>')
        parts.append(f'<g transform="translate({wide + 60} {top + 30})">{grid}</g>')
        width = max(width, wide + across + 80)
        top += max(tall, down) + 70
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}" role="img">\n<title>Rooms, and which imports which</title>\n{_STYLE}'
        f'<rect width="{width}" height="{top}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def follows(pairs: set[Arrow]) -> set[Arrow]:
    """The arrows that follow from others: A on C, where A stands on B and B on C."""
    after: dict[str, set[str]] = {}
    for source, target in pairs:
        after.setdefault(source, set()).add(target)

    def reach(one: str) -> set[str]:
        return set().union(*({other} | reach(other) for other in after.get(one, ())))

    return {
        (source, target)
        for source, target in pairs
        if any(target in reach(other) for other in after[source] - {target})
    }


def wrong(one: House) -> set[Arrow]:
    """The pairs of rooms between which an arrow points where it may not."""
    return {(room(source), room(target)) for source, target in one.upward}


def _standing(one: House, counted: bool) -> tuple[str, int, int]:
    """Draw the boxes; arrows that follow from others are left out. Give it, its width, height."""
    bad = wrong(one)
    down = set(one.between) - bad
    down -= follows(down)
    level = {name: height for height, floor in enumerate(one.floors) for name in floor}
    floors, paths = _with_passages(one, down, level)
    _sort(floors, paths)
    width = max(sum(map(_width, floor)) + _GAP * (len(floor) - 1) for floor in floors)
    spot = _places(floors, width)
    drawn = [_arrow([spot[name] for name in path]) for path in paths]
    drawn += [
        f'<path class="up" d="M{spot[a][0]} {spot[a][1]}L{spot[b][0]} {spot[b][1]}"/>'
        for a, b in sorted(bad)
    ]
    for name in one.rooms:
        x, y = spot[name]
        drawn.append(
            f'<rect class="box" x="{x - _BOX / 2:g}" y="{y - _TALL / 2:g}" width="{_BOX}" '
            f'height="{_TALL}" rx="4"/><text x="{x:g}" y="{y + (0 if counted else 4):g}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
        if counted:
            files = one.inside(name).values()
            many = f"{len(files)} file{'s' * (len(files) != 1)}"
            said = f"{many}, {sum(map(lines, files)):,} lines"
            drawn.append(
                f'<text class="small" x="{x:g}" y="{y + 12:g}" text-anchor="middle">{said}</text>'
            )
    return "".join(drawn), round(width), _FLOOR * len(floors)


def _with_passages(
    one: House, down: set[Arrow], level: dict[str, int]
) -> tuple[list[list[str]], list[list[str]]]:
    """The floors with a passage for each arrow that goes through, and each arrow's way."""
    floors, paths = [list(floor) for floor in one.floors], []
    for source, target in sorted(down):
        path = [source]
        for height in range(level[source] - 1, level[target], -1):
            path.append(f"|{source} {target} {height}")
            floors[height].append(path[-1])
        paths.append([*path, target])
    return floors, paths


def _sort(floors: list[list[str]], paths: list[list[str]]) -> None:
    """Put what belongs together above each other, so that few arrows cross."""
    near: dict[str, set[str]] = {}
    for path in paths:
        for a, b in pairwise(path):
            near.setdefault(a, set()).add(b)
            near.setdefault(b, set()).add(a)
    for _ in range(12):
        for order in (range(1, len(floors)), range(len(floors) - 2, -1, -1)):
            place = {
                name: (index + 0.5) / len(floor)
                for floor in floors
                for index, name in enumerate(floor)
            }
            for height in order:
                floor = floors[height]
                mean = {
                    name: sum(place[n] for n in near.get(name, {name})) / len(near.get(name, "1"))
                    for name in floor
                }
                floor.sort(key=lambda name: (round(mean[name], 6), place[name], name))
                place |= {name: (index + 0.5) / len(floor) for index, name in enumerate(floor)}


def _width(name: str) -> int:
    return _DUMMY if name.startswith("|") else _BOX


def _places(floors: list[list[str]], width: float) -> dict[str, tuple[float, float]]:
    """The middle of each room and passage, the top floor first."""
    spot = {}
    for height, floor in enumerate(reversed(floors)):
        x = (width - sum(map(_width, floor)) - _GAP * (len(floor) - 1)) / 2
        for name in floor:
            spot[name] = (round(x + _width(name) / 2, 1), height * _FLOOR + _TALL / 2)
            x += _width(name) + _GAP
    return spot


def _arrow(points: list[tuple[float, float]]) -> str:
    """Draw a way from the bottom of the first point, through passages, to the top of the last."""
    half = _TALL / 2
    x, y = points[0][0], points[0][1] + half
    way = f"M{x:g} {y:g}"
    for place, (x, y) in enumerate(points[1:], 2):
        before = points[place - 2]
        low, middle = before[1] + half, (before[1] + y) / 2
        way += f"C{before[0]:g} {middle:g} {x:g} {middle:g} {x:g} {y - half - 1:g}"
        if place < len(points):
            way += f"L{x:g} {y + half:g}"
        assert low < y
    return f'<path class="down" d="{way}"/>'


def _grid(one: House, counted: bool) -> tuple[str, int, int]:
    """Draw who (row) imports whom (column); what stands left of the middle points upward."""
    names = one.rooms[::-1]
    bad, between = wrong(one), one.between
    left, head = 84, 74
    drawn = []
    for index, name in enumerate(names):
        along = index * _CELL + _CELL / 2
        drawn.append(_label(f"translate({left - 8} {head + along + 4:g})", name, "end"))
        drawn.append(_label(f"translate({left + along + 4:g} {head - 8}) rotate(-60)", name))
    for down, source in enumerate(names):
        for right, target in enumerate(names):
            x, y = left + right * _CELL, head + down * _CELL
            counts = between.get((source, target))
            kind = "itself" if source == target else "cell" if counts else ""
            kind = "wrong" if (source, target) in bad else kind
            if kind:
                drawn.append(
                    f'<rect class="{kind}" x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" '
                    f'height="{_CELL - 2}"/>'
                )
            if counts and counted:
                drawn.append(
                    f'<text x="{x + _CELL / 2:g}" y="{y + _CELL / 2 + 4:g}" text-anchor="middle">'
                    f"<title>{source} imports {target}: {in_words(counts)}</title>"
                    f"{counts.total()}</text>"
                )
    size = _CELL * len(names)
    said = "row imports column" + ("; a number counts files' imports" if counted else "")
    drawn.append(f'<text class="small" x="{left}" y="{head + size + 16}">{said}</text>')
    return "".join(drawn), left + size, head + size + 20


def _label(place: str, said: str, anchor: str = "start") -> str:
    return f'<text transform="{place}" text-anchor="{anchor}">{escape(said)}</text>'
