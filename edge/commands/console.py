"""What a command of ``wheatear`` talks to, and the standard streams."""

from __future__ import annotations

import os
import sys
from typing import Protocol


class Console(Protocol):
    """Where a command says things."""

    def out(self, text: str) -> None:
        """Print a line of results."""
        ...

    def err(self, text: str) -> None:
        """Print a line of trouble."""
        ...


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
