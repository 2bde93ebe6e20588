"""What this process has open: for tests that see whether something is left so."""

from __future__ import annotations

import gc
import os


def open_files() -> int:
    """Count them, without what earlier tests left to be collected.

    A thread of an earlier test may still close something: what is left open shows as *more* than
    before, so tests compare by ``<=``.
    """
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
