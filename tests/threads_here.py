"""The threads of this process."""

from __future__ import annotations

import threading


def runs(name: str) -> bool:
    """Whether a thread of this name runs."""
    return any(thread.name == name for thread in threading.enumerate())
