"""When windows are open: a schedule, and a trigger for replayed photographs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from edge.cameras.triggers.sun import sun_day
from edge.config.windows import Point, Window

if TYPE_CHECKING:
    from edge.cameras import Frame

_DAY = timedelta(days=1)
_SEAM = timedelta(minutes=1)
"""Windows so close to each other are one: the sun's noon moves by half a minute a day."""
_SEARCH_DAYS = 400

Coordinates = tuple[float, float]
"""Latitude and longitude in degrees, north and east positive."""


class Opening(NamedTuple):
    """When windows are open, in UTC: from `start` until before `end`."""

    start: datetime
    end: datetime
    text: str


class Schedule:
    """When windows are open. `place` gives where the camera stands, or None while unknown."""

    def __init__(
        self,
        windows: Sequence[Window],
        zone: ZoneInfo | None,
        place: Callable[[], Coordinates | None],
    ) -> None:
        self._windows, self._zone, self._place = tuple(windows), zone or ZoneInfo("UTC"), place
        self._sunny = any(point.sun for one in windows for point in (one.start, one.end))
        self._around = lru_cache(maxsize=8)(self._openings_around)

    @property
    def known(self) -> bool:
        """The sun's events can be worked out, or are not needed."""
        return not self._sunny or self._place() is not None

    def at(self, moment: datetime) -> Opening | None:
        """The opening at `moment` (with a zone); None where all windows are closed."""
        around = self._around(self._local(moment), self._here())
        return next((one for one in around if one.start <= moment < one.end), None)

    def after(self, moment: datetime) -> Opening | None:
        """The first opening that begins after `moment`; None within 400 days."""
        day, here = self._local(moment), self._here()
        for ahead in range(0, _SEARCH_DAYS, 2):
            for one in self._around(day + timedelta(days=ahead), here):
                if one.start > moment:
                    return one
        return None

    def _local(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def _here(self) -> Coordinates | None:
        """The camera's place, to a hundredth of a degree: three seconds of sunrise."""
        place = self._place() if self._sunny else None
        return place and (round(place[0], 2), round(place[1], 2))

    def _openings_around(self, day: date, here: Coordinates | None) -> tuple[Opening, ...]:
        """The openings from two days before `day` until two days after, joined, sorted."""
        days = [day + timedelta(days=shift) for shift in range(-2, 3)]
        found = [
            Opening(start, end, window.text)
            for one in days
            for window in self._windows
            for start, end in [self._ends(window, one, here)]
            if start < end
        ]
        joined: list[Opening] = []
        for opening in sorted(found):
            if joined and opening.start <= joined[-1].end + _SEAM:
                last = joined[-1]
                text = last.text if opening.text in last.text else f"{last.text}, {opening.text}"
                joined[-1] = Opening(last.start, max(last.end, opening.end), text)
            else:
                joined.append(opening)
        return tuple(joined)

    def _ends(
        self, window: Window, day: date, here: Coordinates | None
    ) -> tuple[datetime, datetime]:
        until = day + _DAY if window.overnight else day
        return self._moment(window.start, day, here, 0), self._moment(window.end, until, here, 1)

    def _moment(self, point: Point, day: date, here: Coordinates | None, fold: int) -> datetime:
        """A point of `day` in UTC.

        A time that a clock change leaves out is as long after the change as it should have been;
        of one that comes twice, a window begins with the first and ends with the second.
        """
        if point.sun is None:
            wall = (datetime.combine(day, time()) + point.offset).replace(tzinfo=self._zone)
            both = (wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC))
            return max(both) if fold else both[0]
        assert here is not None  # asked for only where `known`
        event: datetime = getattr(sun_day(self._solar(day, here[1]), *here), point.sun)
        return event + point.offset

    def _solar(self, day: date, lon: float) -> date:
        """The sun's day whose noon is nearest to local noon: zones may differ by a day."""
        noon = datetime.combine(day, time(12), self._zone)
        ahead = noon + timedelta(hours=lon / 15) - datetime.combine(day, time(12), UTC)
        return day + timedelta(days=round(ahead / _DAY))


class Windows:
    """A trigger: admits pictures that were taken while a window was open.

    For replayed photographs, which carry their own time. A camera rests instead.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def admits(self, frame: Frame) -> bool:
        """Look at when the frame was taken."""
        return not self._schedule.known or self._schedule.at(frame.time) is not None
