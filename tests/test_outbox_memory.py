"""Memory that runs out while the outbox writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "memoryless_append.py"
FOR_A_WHILE = 40
"""So many allocations in a row: what is done about the first one fails too."""


@pytest.mark.usefixtures("unmeasured")
def test_memory_that_runs_out_in_an_append_loses_and_doubles_nothing(tmp_path):
    """At each of Python's allocations in turn: tried again, all is there once, under its number.

    Where a library crashes instead, that is the end of a process, and of nothing on disk.
    """
    pytest.importorskip("_testcapi")
    path, progress = tmp_path / "outbox.db", tmp_path / "progress"
    progress.touch()
    words = [sys.executable, str(PROGRAM), str(path), str(progress), str(FOR_A_WHILE)]
    for _ in range(60):
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        if not done.returncode:
            break
        assert done.returncode < 0, done.stderr
        path.unlink()
        with progress.open("ab") as file:
            file.write(b"....")  # it would crash there again
    assert done.returncode == 0
    assert len(progress.read_bytes()) > 50
