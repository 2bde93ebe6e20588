"""`make mutants` itself: what no test notices is found, and known; the tree stays as it is."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

MUTANTS = Path(__file__).with_name("mutants")
MODULE = '''\
"""Something to change."""

MOST = 3


def grows(count: int, most: int = MOST) -> int:
    """Count up to most."""
    return min(count, most)


class Door:
    """Open or not."""

    def __init__(self) -> None:
        self.open = False

    def push(self, weight: float) -> None:
        """Open it."""
        if weight > 5:
            self.open = True
'''
TESTS = """\
from shop.door import Door, grows


def test_it_grows():
    assert [grows(2), grows(9), grows(0)] == [2, 3, 0]


def test_a_door_opens(tmp_path):
    (tmp_path / "door").touch()
    door = Door()
    door.push(1)
    assert door.open is False
    door.push(6)
    assert door.open
"""
UNNOTICED = [
    "Door.push: if weight > 5: => weight > 5 -> weight >= 5",
    "Door.push: if weight > 5: => 5 -> 4",
]


def run(
    root: Path,
    accepted: list[str],
    *more: str,
    tests: str = TESTS,
    asked: Sequence[str] = ("tests/test_door.py",),
) -> tuple[int, list[str]]:
    """Run it on a project: how it ended, and what it said."""
    (root / "tests/mutants").mkdir(parents=True, exist_ok=True)
    (root / "shop").mkdir(exist_ok=True)
    (root / "shop/door.py").write_text(MODULE)
    (root / "tests/test_door.py").write_text(tests)
    (root / "tests/mutants/shop.toml").write_text(
        f'modules = ["shop/door.py"]\ntests = {list(asked)}\nseconds = 10\n'
        f'[[accepted]]\nmodule = "shop/door.py"\nwhy = "so"\nchanges = {accepted}\n'
    )
    done = subprocess.run(
        [sys.executable, "-B", str(MUTANTS), "--root", str(root), "shop", *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not (done.stdout and done.stderr)
    return done.returncode, (done.stdout or done.stderr).splitlines()


def test_what_no_test_notices_is_named_unless_it_is_accepted(tmp_path):
    """And what is accepted without need too."""
    gone, needless = "Door.pull: pass => nothing", "module: MOST = 3 => 3 -> 4"
    code, said = run(tmp_path, [UNNOTICED[0], gone, needless])
    assert code == 1
    assert said[0] == "shop/door.py: 9 of 10 (90%), 1 more accepted"
    assert said[2:] == [
        "== shop: no test notices:",
        f"shop/door.py {UNNOTICED[1]}",
        "== shop: accepted, but there is no such change any more:",
        f"shop/door.py {gone}",
        "== shop: accepted, but a test notices it:",
        f"shop/door.py {needless}",
        "to be mended: shop",
    ]
    assert (tmp_path / "shop/door.py").read_text() == MODULE
    code, said = run(tmp_path, UNNOTICED, "--match", "weight")
    assert code == 0
    assert len(said) == 2


def test_a_module_that_is_imported_by_a_test_alone_is_changed_too(tmp_path):
    """Its changes are noticed as those of one that is imported at once."""
    late = "    from shop.door import Door, grows\n\n"
    tests = TESTS.replace(late.strip(), "").replace("):\n", f"):\n{late}").lstrip()
    code, said = run(tmp_path, UNNOTICED, tests=tests)
    assert code == 0
    assert said[0] == "shop/door.py: 9 of 9 (100%), 2 more accepted"


NAMED = """\
import pytest

from shop.door import MOST, Door, grows

SIZES = {3: "small", 4: "large"}[MOST]


@pytest.mark.parametrize("most", [MOST])
def test_it_grows(most):
    assert [grows(2), grows(9), grows(0)] == [2, most, 0]
"""


def test_a_test_whose_name_a_change_alters_has_not_noticed_it(tmp_path):
    """It is run all the same; a file that cannot be imported any more has."""
    code, said = run(tmp_path, [], "--match", "MOST = 3", tests=NAMED)
    assert code == 1
    assert said[0] == "shop/door.py: 1 of 2 (50%), 0 more accepted"
    assert said[2:4] == ["== shop: no test notices:", "shop/door.py module: MOST = 3 => 3 -> 4"]


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        (["tests/test_door.py::test_gone"], "not found: {root}/tests/test_door.py::test_gone"),
        (["tests/test_gone.py"], "file or directory not found: tests/test_gone.py"),
        (
            ["tests/test_door.py", "--deselect=tests/test_door.py::test_gone"],
            "not found: --deselect=tests/test_door.py::test_gone",
        ),
    ],
)
def test_tests_that_do_not_exist_are_an_error_that_names_them(tmp_path, asked, missing):
    """Whether they are to notice changes, or to be left out."""
    code, said = run(tmp_path, [], asked=asked)
    assert code == 1
    assert said == ["the tests named do not exist:", missing.format(root=tmp_path)]


GROWN = "if MOST == 3:\n\n    def test_most():\n        assert MOST == 3\n"


def test_a_test_that_is_gone_with_a_change_is_an_error_that_names_both(tmp_path):
    """It has not noticed the change, and nobody knows whether it would."""
    tests = f"from shop.door import MOST\n\n{GROWN}"
    code, said = run(tmp_path, [], "--match", "MOST = 3", tests=tests)
    assert code == 1
    assert said == [
        "the tests named do not exist with: module: MOST = 3 => 3 -> 4",
        "tests/test_door.py::test_most",
    ]


WAITS = """\
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shop.door import Door


@pytest.fixture
def mounted(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    if not os.geteuid():
        subprocess.run(["mount", "-t", "tmpfs", "MARK", place], check=True)
    yield
    if not os.geteuid():
        subprocess.run(["umount", place], check=True)


def test_a_door_opens(mounted):
    door = Door()
    door.push(6)
    if not door.open:
        Path("waits").write_text(str(os.getpid()))
        threading.Event().wait()
"""


def traces(root: Path) -> list[str]:
    """The processes at work in a folder, and what they mounted."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(root) in line]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == root:
                found.append(str(process))
    return found


def waiting_room(root: Path) -> list[str]:
    """Make a project with a test that waits for ever for a door; give how to try its changes."""
    run(root, [], "--list")
    (root / "tests/test_door.py").write_text(WAITS.replace("MARK", str(root)))
    words = [sys.executable, "-B", str(MUTANTS), "--root", str(root), "shop"]
    return [*words, "--match", "True -> False"]


def test_a_change_that_has_a_test_wait_for_ever_is_noticed(tmp_path):
    """What the test had mounted is gone."""
    words = waiting_room(tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("shop/door.py: 1 of 1 (100%)")
    assert traces(tmp_path) == []


def test_whoever_is_told_to_end_leaves_nothing_behind(tmp_path):
    """No child that waits, nothing mounted."""
    with subprocess.Popen(waiting_room(tmp_path)) as program:
        for _ in range(4000):
            if (tmp_path / "waits").exists():
                break
            time.sleep(0.005)
        assert traces(tmp_path)
        program.terminate()
        assert program.wait(60) == 128 + signal.SIGTERM
    assert traces(tmp_path) == []


def test_a_room_that_is_not_there_is_an_error_that_names_those_there_are():
    """As for every name."""
    done = subprocess.run(
        [sys.executable, str(MUTANTS), "nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    rooms = ", ".join(sorted(path.stem for path in MUTANTS.glob("*.toml")))
    assert done.stdout == f"no room nowhere; there are: {rooms}\n"
