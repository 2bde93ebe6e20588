"""Standard streams that are closed when the program starts."""

from __future__ import annotations

import os
import sys


def open_missing() -> None:
    """Lead stdin, stdout and stderr to nowhere where they are closed.

    Otherwise the first files and connections that are opened get their numbers, and what a library
    prints goes there.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
