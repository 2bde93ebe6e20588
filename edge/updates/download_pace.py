"""Whether a download goes on fast enough, and still may."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.errors import StoppedError, UnreachableError, UpdateExpiredError

if TYPE_CHECKING:
    from edge.config import Update

STEP_SECONDS = 0.2
"""How long anything waits without a look at the pace."""


class BrokenError(Exception):
    """An attempt ended early; another may get further, after `rest_seconds` at the least."""

    def __init__(self, text: str, rest_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.rest_seconds = rest_seconds


class SlowError(BrokenError):
    """An attempt brings too little in its time."""


class Pace:
    """Watches over one download: :meth:`check` ends what takes too long.

    `spent` are seconds that earlier runs of the program took for it.
    """

    def __init__(
        self,
        limits: Update,
        stop: Callable[[], bool],
        spent: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._stop = limits, stop
        self.now = now
        """The clock, in seconds, by which all of a download is timed."""
        self._until = now() + limits.download_seconds - spent
        self.begin(0)
        self.stopped = False
        """:meth:`check` found that it is to stop."""

    def begin(self, room: int) -> None:
        """Begin to listen to a server that may send `room` bytes."""
        self._last = self._since = self.now()
        self._bytes = 0
        self.room = room
        """Bytes that the server may still send."""

    def widen(self, room: int) -> None:
        """Have a server send so many bytes more."""
        self.room += room

    def got(self, count: int) -> None:
        """Take note of bytes that came. Raises UnreachableError where they are too many."""
        self._last = self.now()
        self._bytes += count
        self.room -= count
        if self.room < 0:
            raise UnreachableError("the server sends too much for an answer")

    def check(self) -> None:
        """See that the download may go on.

        Raises:
            StoppedError: the device stops, or somebody asked for the end.
            UpdateExpiredError: its time is over.
        """
        if self._stop():
            self.stopped = True
            raise StoppedError
        if self.now() >= self._until:
            raise UpdateExpiredError(
                "it did not arrive within model.update.download_seconds = "
                f"{self._limits.download_seconds:g}; ask again, or allow more time"
            )

    def check_flow(self) -> None:
        """See that a server sends, and not too slowly. Raises as :meth:`check`, and BrokenError."""
        self.check()
        limits, now = self._limits, self.now()
        if now - self._last >= limits.timeout_seconds:
            raise BrokenError(f"{limits.timeout_seconds:g} s without a byte")
        window = limits.least_window_seconds
        if now - self._since < window:
            return
        if self._bytes < limits.least_bytes_per_second * (now - self._since):
            raise SlowError(
                f"{self._bytes} bytes in {window:g} s are less than "
                f"model.update.least_bytes_per_second = {limits.least_bytes_per_second:g}"
            )
        self._since, self._bytes = now, 0
