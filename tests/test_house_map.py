"""The map of the rooms: `make map` on a small tree that has one of everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent
FILES = {
    "edge/__init__.py": "",
    "edge/errors.py": "class Wrong(Exception):\n    pass\n",
    "edge/text/__init__.py": "",
    "edge/text/url.py": "def shown():\n    def inner():\n        pass\n",
    "edge/config/__init__.py": "import edge.errors\n",
    "edge/config/load.py": "import typing\nif typing.TYPE_CHECKING:\n    import edge.errors\n",
    "edge/system/__init__.py": "",
    "edge/system/clock.py": "def now():\n    from edge.config.load import x\n",
}


def drawn(folder: Path, more: dict[str, str] | None = None) -> tuple[int, str, str, str]:
    """Draw a small tree; give the status, what was printed, the SVG and the Mermaid page."""
    for name, text in {**FILES, **(more or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, HERE / "house_map.py", "--root", folder, "--out", folder / "out"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    svg, page = folder / "out" / "map.svg", folder / "out" / "map.md"
    return done.returncode, done.stdout, svg.read_text("utf-8"), page.read_text("utf-8")


def test_arrows_are_counted_by_when_they_are_carried_out(tmp_path):
    """An import in a function is late, one below TYPE_CHECKING is for types; both are arrows."""
    status, said, _, page = drawn(tmp_path)
    assert status == 0
    assert "system  imports config 1 (1 late)\n" in said
    assert "config  imports errors 2 (1 type)\n" in said
    assert "No arrow points upward, and there is no circle." in said
    assert 'config -- "2 (1 type)" --> errors' in page


def test_what_points_upward_is_marked_everywhere(tmp_path):
    """In words, in both drawings, and by the exit status."""
    status, said, svg, page = drawn(tmp_path, {"edge/text/url.py": "import edge.system.clock\n"})
    assert status == 1
    assert "text    imports system 1 UPWARD\n" in said
    assert "upward: edge.text.url -> edge.system.clock" in said
    classes = [one.get("class") for one in ElementTree.fromstring(svg).iter()]
    assert classes.count("up") == classes.count("wrong") == 1
    assert 'text -. upward "1" .-> system' in page


def test_a_circle_is_named(tmp_path):
    """Files that import each other are listed together, also inside one room."""
    circle = {"edge/text/url.py": "import edge.text.b\n", "edge/text/b.py": "import edge.text.url"}
    status, said, _, _ = drawn(tmp_path, circle)
    assert status == 1
    assert "circle: edge.text.b, edge.text.url" in said
    assert "circles (files in them)                 1 (2)" in said


def test_what_is_measured_is_what_is_there(tmp_path):
    """Files, functions within functions, classes, entries beside each other, the longest chain."""
    _, said, _, _ = drawn(tmp_path)
    table = dict(line.rsplit("  ", 1) for line in said.splitlines() if "  " in line[1:])
    found = {what.strip(): value.strip() for what, value in table.items()}
    assert found["files"] == "8"
    assert found["functions and methods"] == "3"
    assert found["lines of a function: median, longest"] == "2, 3"
    assert found["classes"] == "1"
    assert found["most entries in one folder"] == "5 (edge/)"
    assert found["longest chain of imports"] == "3 files"


def test_an_arrow_that_follows_from_others_is_left_out_of_the_drawing(tmp_path):
    """system -> errors is in the grid alone, for system stands on config and that on errors."""
    clock = FILES["edge/system/clock.py"] + "import edge.errors\n"
    _, said, svg, page = drawn(tmp_path, {"edge/system/clock.py": clock})
    assert "system  imports config 1 (1 late), errors 1\n" in said
    assert "system --" in page
    assert "--> errors" in page
    assert 'system -- "1" --> errors' not in page
    classes = [one.get("class") for one in ElementTree.fromstring(svg).iter()]
    assert (classes.count("down"), classes.count("cell")) == (2, 3)


def test_the_map_is_the_same_each_time(tmp_path):
    """Nothing of it depends on the order of files or on the time."""
    first = drawn(tmp_path / "a")
    back = dict(reversed(FILES.items()))
    for name, text in back.items():
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_text(text)
    second = drawn(tmp_path / "b")
    assert [one.replace("/b/", "/a/") if isinstance(one, str) else one for one in second] == [
        *first
    ]


@pytest.mark.skipif(not (HERE.parent / "docs").is_dir(), reason="only the wheel is here")
def test_the_drawing_in_the_documents_is_that_of_the_tree():
    """docs/map.svg has a box for each room, and each pair of rooms that import each other.

    `make map ARGS=--keep` draws it anew.
    """
    from house_drawing import page
    from house_measures import house
    from rooms import ROOMS

    houses = [house(HERE.parent, name) for name in ROOMS]
    kept = (HERE.parent / "docs" / "map.svg").read_text(encoding="utf-8")
    assert kept == page(houses, counted=False)
    boxes = sum(one.get("class") == "box" for one in ElementTree.fromstring(kept).iter())
    assert boxes == sum(len(one.rooms) for one in houses) > 30


@pytest.mark.skipif(not (HERE.parent / "docs").is_dir(), reason="only the wheel is here")
def test_the_architecture_tells_every_room_of_the_device():
    """Its table of rooms has them in the order of the floors, the top first."""
    from rooms import ROOMS

    text = (HERE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| room | what it is |\n|---|---|\n")[2].partition("\n\n")[0]
    told = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()]
    floors = [(one,) if isinstance(one, str) else one for one in reversed(ROOMS["edge"])]
    assert [set(names) for names in told] == [set(names) for names in floors]
