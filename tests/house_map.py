"""Draw the rooms of `edge`, `quantize` and `training` with their arrows, and measure them.

`make map`, or `python tests/house_map.py`. Prints who imports whom and what the packages are made
of, and writes `map-out/map.svg` (the drawing, to be opened with a browser) and `map-out/map.md`
(the same as Mermaid). Imports in functions and for types only count as well. Ends with an error
where an arrow points upward or files import each other in a circle.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from house_drawing import follows, page, wrong
from house_measures import House, house, in_words, table
from rooms import ROOMS

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "map.svg"


def main() -> int:
    """Run; 1: an arrow points where it may not."""
    parser = argparse.ArgumentParser(prog="house_map", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    parser.add_argument("--out", type=Path, default=Path("map-out"), help="where the map goes")
    parser.add_argument("--keep", action="store_true", help="renew docs/map.svg too")
    parser.add_argument("--table", action="store_true", help="print the measures as Markdown alone")
    asked = parser.parse_args()
    houses = [house(asked.root, name) for name in ROOMS if (asked.root / name).is_dir()]
    if asked.table:
        print(table(houses, "markdown"), end="")
        return 0
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "map.svg").write_text(page(houses), encoding="utf-8")
    (asked.out / "map.md").write_text(markdown(houses), encoding="utf-8")
    if asked.keep:
        KEPT.write_text(page(houses, counted=False), encoding="utf-8")
    print(text(houses), end="")
    print(f"\ndrawn: {asked.out / 'map.svg'}, {asked.out / 'map.md'}")
    return 1 if any(one.upward or one.circles for one in houses) else 0


def text(houses: list[House]) -> str:
    """Who imports whom, from the top of each package down, and what it is made of."""
    return "\n".join([*map(_paragraph, houses), table(houses)])


def _paragraph(one: House) -> str:
    said = [one.package]
    wide = max(map(len, one.rooms))
    for name in reversed(one.rooms):
        below = [
            f"{target} {in_words(one.between[name, target])}"
            + (" UPWARD" if (name, target) in wrong(one) else "")
            for target in reversed(one.rooms)
            if (name, target) in one.between
        ]
        said.append(f"  {name.ljust(wide)}  {'imports ' + ', '.join(below) if below else '-'}")
    said += [f"  upward: {source} -> {target}" for source, target in one.upward]
    said += [f"  circle: {', '.join(circle)}" for circle in one.circles]
    if not one.upward and not one.circles:
        said.append("  No arrow points upward, and there is no circle.")
    return "\n".join(said) + "\n"


def markdown(houses: list[House]) -> str:
    """Draw the same as Mermaid, with the table; arrows that follow from others are left out."""
    said = ["# Map", ""]
    for one in houses:
        bad = wrong(one)
        down = set(one.between) - bad
        said += [f"## {one.package}", "", "```mermaid", "flowchart TD"]
        shown = sorted(down - follows(down)) + sorted(bad)
        for number, (source, target) in enumerate(shown):
            up = (source, target) in bad
            arrow = "-. upward" if up else "--"
            count = in_words(one.between[source, target])
            said.append(f'    {source} {arrow} "{count}" {".->" if up else "-->"} {target}')
            said += [f"    linkStyle {number} stroke:red"] if up else []
        said += ["```", "", *(f"- circle: {', '.join(circle)}" for circle in one.circles), ""]
    return "\n".join([*said, table(houses, "markdown")])


if __name__ == "__main__":
    sys.exit(main())
