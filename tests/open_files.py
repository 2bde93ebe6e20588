"""What this process has open: for tests that see whether something is left so."""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter


def open_files() -> Counter[str]:
    """How often each file, socket and the like is open, without what waits to be collected.

    A thread of an earlier test may still close something, so a test compares by ``<=``: each thing
    no more often than before. What was closed meanwhile makes up for nothing that was left open.
    """
    gc.collect()
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    return found
