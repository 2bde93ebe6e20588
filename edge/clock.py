"""Time: what the clock says, and how far it can be trusted."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol

from edge.messages import Clock as Quality

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex on any Linux (208 on 64-bit)


class Clock(Protocol):
    """The time, passed in wherever it is needed."""

    def now(self) -> datetime:
        """Give the time of day, UTC."""
        ...

    def monotonic(self) -> float:
        """Give seconds that never jump."""
        ...

    def quality(self) -> Quality:
        """Say how far :meth:`now` can be trusted."""
        ...


class SystemClock:
    """The computer's clock."""

    def __init__(self, sys_root: Path = Path("/sys")) -> None:
        self._rtc = sys_root / "class/rtc/rtc0/hctosys"

    def now(self) -> datetime:
        """Give the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds that never jump."""
        return time.monotonic()

    def quality(self) -> Quality:
        """Say ``synced`` where the kernel is disciplined by NTP or GPS, ``rtc`` where the clock was
        set from a battery-backed one at start-up, else ``unsynced``.
        """
        if _synchronised():
            return "synced"
        try:
            return "rtc" if self._rtc.read_text().strip() == "1" else "unsynced"
        except OSError:
            return "unsynced"


def _synchronised() -> bool:
    """Ask the kernel (adjtimex(2), read only); NTP daemons and gpsd all report there."""
    try:
        state: int = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
