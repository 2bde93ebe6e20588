"""What `make coverage` says at its end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage")

TREE = Path(__file__).parent.parent


def summary(lines: int, reached: int, branches: int, taken: int) -> dict[str, float]:
    """What is measured of a file."""
    return {
        "num_statements": lines,
        "covered_lines": reached,
        "num_branches": branches,
        "covered_branches": taken,
        "percent_covered": 100 * (reached + taken) / (lines + branches),
    }


def test_a_room_is_the_sum_of_its_files():
    """Lines and branches apart; a room without branches has no share of them."""
    from coverage_table import table

    lines = table(
        {
            "edge/outbox/sql.py": summary(10, 5, 4, 1),
            "edge/outbox/rows.py": summary(30, 30, 0, 0),
            "edge/errors.py": summary(8, 6, 0, 0),
            "edge/__init__.py": summary(2, 2, 0, 0),
        }
    )
    assert "| **edge** | 50 | 86.0 % | 4 | 25.0 % |" in lines
    assert "| `outbox` | 40 | 87.5 % | 4 | 25.0 % |" in lines
    assert "| `errors` | 8 | 75.0 % | 0 | – |" in lines


def test_what_is_reached_least_comes_first():
    """By lines and branches together."""
    from coverage_table import least

    found = least({"edge/a.py": summary(10, 9, 0, 0), "edge/b.py": summary(10, 10, 10, 0)})
    assert [re.split(" +", line.strip()) for line in found] == [
        ["50.0", "%", "edge/b.py"],
        ["90.0", "%", "edge/a.py"],
    ]


def test_a_child_that_ends_at_once_is_measured(tmp_path):
    """Also one started elsewhere, and by a child."""
    if not (TREE / "pyproject.toml").is_file() or not (TREE / "training").is_dir():
        pytest.skip("only the wheel is here")
    package = tmp_path / "edge"
    package.mkdir()
    (tmp_path / "pyproject.toml").write_text((TREE / "pyproject.toml").read_text("utf-8"))
    for name in ("training", "quantize"):
        (tmp_path / name).mkdir()
    (package / "__init__.py").write_text("")
    (package / "leaf.py").write_text("import os\nos._exit(0)\n")
    (package / "root.py").write_text(
        "import subprocess, sys\n"
        'subprocess.run([sys.executable, "-m", "edge.leaf"], cwd="/", check=True)\n'
    )
    env = {"PATH": "/usr/bin", "PYTHONPATH": str(tmp_path)}
    for words in (["run", "-m", "edge.root"], ["combine", "-q"], ["json", "-q", "-o", "all.json"]):
        subprocess.run(
            [sys.executable, "-m", "coverage", *words], cwd=tmp_path, env=env, check=True
        )
    from coverage_table import summaries

    found = summaries(tmp_path / "all.json")
    assert found["edge/leaf.py"]["covered_lines"] == 2
