"""A thread that ends for want of memory, and has none to say so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "memoryless_thread.py"
NOTICED, ENDED = 3, 1
"""The alarm rang; or the whole program ended, so that systemd starts it anew."""


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_thread_that_ends_without_memory_never_ends_unnoticed(count):
    """Whichever allocation fails first, and for how long: the alarm rings, or the program ends."""
    pytest.importorskip("_testcapi")
    words = [sys.executable, str(PROGRAM), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    statuses = json.loads(done.stdout)
    assert set(statuses) == {NOTICED, ENDED}, done.stderr
