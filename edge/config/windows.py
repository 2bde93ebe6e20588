"""How windows are written: local times of day, or offsets from sunrise and sunset. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import NamedTuple

_POINT = r"\d\d:\d\d|(?:sunrise|sunset)(?:[+-]\d\d:\d\d)?"
_WINDOW = re.compile(rf"(?P<a>\d\d:\d\d)-(?P<b>\d\d:\d\d)|(?P<c>{_POINT})\.\.(?P<d>{_POINT})")
_DAY, _HALF_DAY = timedelta(days=1), timedelta(hours=12)


class Point(NamedTuple):
    """One end of a window."""

    sun: str | None
    """``sunrise``, ``sunset``, or None: a time of day."""
    offset: timedelta
    """From the sun's event, or from midnight."""

    @property
    def evening(self) -> bool:
        """Belongs to the second half of a day."""
        return self.offset >= _HALF_DAY if self.sun is None else self.sun == "sunset"


class Window:
    """A window as it was written: ``06:00-10:00`` or ``sunset-00:30..sunset+02:00``.

    Raises ValueError with the cure.
    """

    __slots__ = ("end", "start", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.start, self.end = _ends(text.replace(" ", ""))

    @property
    def overnight(self) -> bool:
        """Ends on the day after it began: whatever runs from an evening to a morning does, and
        times of day of which the second is not after the first.
        """
        if self.start.sun is None and self.end.sun is None:
            return self.end.offset <= self.start.offset
        return self.start.evening and not self.end.evening

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _ends(text: str) -> tuple[Point, Point]:
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(
            'it is not a window; write "06:00-10:00", or "sunset-00:30..sunset+02:00" with times, '
            "sunrise and sunset"
        )
    start, end = _point(found["a"] or found["c"]), _point(found["b"] or found["d"])
    if start == end or (start.sun and start.sun == end.sun and end.offset < start.offset):
        how = "when" if start == end else "before"
        raise ValueError(f'it ends {how} it begins; the whole day is "00:00-24:00"')
    return start, end


def _point(text: str) -> Point:
    sun = next((name for name in ("sunrise", "sunset") if text.startswith(name)), None)
    clock = text[len(sun or "") :]
    if not clock:
        return Point(sun, timedelta())
    hours, minutes = int(clock[-5:-3]), int(clock[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or offset > (_HALF_DAY if sun else _DAY):
        allowed = "offsets go up to 12:00" if sun else "times go from 00:00 to 24:00"
        raise ValueError(f"it has no such time as {clock.lstrip('+-')}; {allowed}")
    return Point(sun, -offset if clock.startswith("-") else offset)
