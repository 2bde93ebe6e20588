"""How many bytes may still be sent today; survives a restart."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from edge.files import sync_folder, write_whole


class _Day(msgspec.Struct, frozen=True):
    day: str
    """UTC, as 2026-06-21."""
    bytes: int


class Budget:
    """Counts the bytes of a UTC day; what is taken is on disk before it is spent.

    A file that cannot be read counts as a day that is used up: sending too little is the safe side.
    """

    def __init__(self, path: Path, max_bytes_per_day: int) -> None:
        self._path, self._most = path, max_bytes_per_day
        self._day: _Day | None = None

    def used(self, now: datetime) -> int:
        """Give the bytes taken so far on the day of `now`."""
        day = self._today(now)
        return day.bytes

    def take(self, count: int, now: datetime) -> bool:
        """Take so many bytes of the day's; False where there are not as many left.

        Raises:
            OSError: it cannot be written down; nothing is taken.
        """
        day = self._today(now)
        if day.bytes + count > self._most:
            return False
        new = msgspec.structs.replace(day, bytes=day.bytes + count)
        write_whole(self._path, msgspec.json.encode(new))
        sync_folder(self._path.parent)
        self._day = new
        return True

    def _today(self, now: datetime) -> _Day:
        today = now.date().isoformat()
        if self._day is None:
            self._day = self._read(today)
        if self._day.day != today:
            self._day = _Day(today, 0)
        return self._day

    def _read(self, today: str) -> _Day:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Day)
        except FileNotFoundError:
            return _Day(today, 0)
        except (OSError, msgspec.MsgspecError):
            return _Day(today, self._most)
