"""Waiting for what a test expects: for as long as it takes, up to a last resort."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0
"""Seconds that nothing takes on the busiest machine: only a test that fails waits so long."""
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found]) -> Found:
    """Wait until something is so that nobody tells of, and return what the condition gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
