"""What the broker's access list forbids, remembered beyond a connection."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.system.counters import Backoff

_LONGEST = 20
"""Waits grow up to so many times the first one."""


class Denials:
    """Which kinds of message were answered with no, and when to try them again.

    Some brokers hang up after a denial (mosquitto 2.0.11 does), so this outlives the connection.
    """

    def __init__(
        self, retry_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._retry_seconds, self._monotonic = retry_seconds, monotonic
        self._until: dict[str, float] = {}
        self._waits: dict[str, Backoff] = {}

    def deny(self, kind: str) -> None:
        """Note a denial: leave `kind` alone for a while, longer with every denial."""
        waits = self._waits.setdefault(
            kind, Backoff(self._retry_seconds, _LONGEST * self._retry_seconds)
        )
        self._until[kind] = self._monotonic() + waits.next(1.0)

    def allow(self, kind: str) -> bool:
        """Note that `kind` was taken; True where it was denied before."""
        self._waits.pop(kind, None)
        return self._until.pop(kind, None) is not None

    def denied(self, kind: str) -> bool:
        """Whether the last answer to `kind` was no."""
        return kind in self._until

    def resting(self, kind: str) -> bool:
        """Whether it is too early to try `kind` again."""
        return self._monotonic() < self._until.get(kind, 0.0)

    def any(self) -> bool:
        """Whether anything is denied."""
        return bool(self._until)
