"""How many bytes may still be sent today; survives a restart.

One rule for all pictures: ``[images]`` and ``[inbox]`` each have such a budget, in a file of its
own.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import msgspec

from edge.errors import RecordError, ShortageError
from edge.system.record_file import RecordFile

MOST_DAYS = 8
"""Days that are remembered: a clock that starts wrong and is then set counts on where it was."""


class _Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of the file on disk."""

    days: dict[str, int]
    """Bytes by UTC day, as 2026-06-21; the one that was used last comes last."""


class Budget:
    """Counts the bytes of a UTC day; what is taken is on disk before it is spent.

    With `block`, so many bytes more are noted at once, so that not each picture waits for the disk;
    a program that is killed leaves less than that unused. `path` None keeps nothing. A file that
    cannot be read counts as a day that is used up: sending too little is the safe side.
    """

    def __init__(self, path: Path | None, max_bytes_per_day: int, block: int = 0) -> None:
        self._file = RecordFile(path, _Days) if path is not None else None
        self._most, self._block = max_bytes_per_day, block
        self._spent: dict[str, int] | None = None
        self._noted: dict[str, int] = {}

    def used(self, now: datetime) -> int:
        """Bytes taken so far on the day of `now`."""
        day = _day(now)
        return self._days(day).get(day, 0)

    def left(self, now: datetime) -> int:
        """Bytes left of the day of `now`."""
        return max(0, self._most - self.used(now))

    def take(self, count: int, now: datetime) -> bool:
        """Take so many bytes of the day's; False where there are not as many left.

        Raises:
            RecordError: it cannot be written down; nothing is taken.
        """
        day, total = _day(now), self.used(now) + count
        if total > self._most:
            return False
        spent = self._days(day)
        if total > self._noted.get(day, 0):
            noted = {one: size for one, size in spent.items() if one != day}
            noted[day] = min(self._most, total + self._block)
            self._note(noted)
        spent.pop(day, None)
        spent[day] = total
        while len(spent) > MOST_DAYS:
            del spent[next(iter(spent))]
        return True

    def close(self) -> None:
        """Return to the budget what was noted and not taken."""
        if self._spent is not None and self._noted != self._spent:
            with contextlib.suppress(RecordError):
                self._note(self._spent)

    def _days(self, today: str) -> dict[str, int]:
        if self._spent is None:
            self._spent = self._read(today)
            self._noted = dict(self._spent)
        return self._spent

    def _note(self, days: dict[str, int]) -> None:
        newest = dict(list(days.items())[-MOST_DAYS:])
        if self._file is not None:
            self._file.replace(_Days(newest))
        self._noted = newest

    def _read(self, today: str) -> dict[str, int]:
        try:
            found = self._file.read() if self._file is not None else None
        except (RecordError, ShortageError):
            return {today: self._most}
        return found.days if found is not None else {}


def _day(now: datetime) -> str:
    return now.date().isoformat()
