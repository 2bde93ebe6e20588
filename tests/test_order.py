"""The order of the tests themselves: another each time, and the same again by its number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pytest_randomly")
HERE = Path(__file__).parent


def listed(*words: str) -> list[str]:
    """The tests of two files in the order in which a run would take them."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    files = [str(HERE / name) for name in ("test_scores.py", "test_models.py")]
    said = subprocess.run(
        [*command, *words, *files], capture_output=True, text=True, check=True, cwd=HERE.parent
    ).stdout
    return [line for line in said.splitlines() if "::" in line]


def test_tests_of_a_file_are_shuffled_and_long_files_stay_first():
    """A number gives one order, another number another; `test_models` takes long."""
    first, again, other = (listed(f"--randomly-seed={seed}") for seed in (1, 1, 2))
    written = listed("--randomly-dont-reorganize")
    assert first == again
    assert sorted(first) == sorted(other) == sorted(written)
    assert len({tuple(first), tuple(other), tuple(written)}) == 3
    for order in (first, other, written):
        long = ["test_models" in name for name in order]
        assert long == sorted(long, reverse=True)


def test_the_order_of_a_run_is_named():
    """Also where pytest is quiet."""
    command = [sys.executable, "-m", "pytest", "--randomly-seed=7", str(HERE / "test_scores.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert "this order again: --randomly-seed=7\n" in said.stdout


def test_numbers_at_random_are_left_alone(pytestconfig):
    """What holds only for one seed is to be seen, not hidden by the same seed before each test."""
    assert pytestconfig.getoption("randomly_reset_seed") is False
