"""Windows: by the clock on the wall and by the sun."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from clocks import utc
from schedules import DHAKA, schedule
from there import there

from edge.cameras.triggers.sun import sun_day
from edge.cameras.triggers.windows import Schedule

NORTH = (70.0, 20.0)


def openings(plan: Schedule, start: str, count: int, zone: str = "UTC") -> list[str]:
    """The next openings in local time."""
    moment, found = utc(start), []
    for _ in range(count):
        opening = plan.after(moment)
        assert opening is not None
        ends = [end.astimezone(ZoneInfo(zone)) for end in opening[:2]]
        found.append(f"{ends[0]:%m-%d %H:%M}..{ends[1]:%m-%d %H:%M}")
        moment = opening.start
    return found


# Computed with PyEphem 4.2.1 (VSOP87; horizon -0:34, no further refraction), to the second.
EPHEMERIS = [
    (DHAKA, date(2026, 6, 21), "2026-06-20T23:11:56", "2026-06-21T12:48:19"),
    ((59.91, 10.75), date(2026, 12, 21), "2026-12-21T08:18:02", "2026-12-21T14:12:04"),
    ((-33.87, 151.21), date(2026, 3, 20), "2026-03-19T19:57:57", "2026-03-20T08:06:57"),
    ((-0.18, -78.47), date(2026, 6, 21), "2026-06-21T11:12:24", "2026-06-21T23:19:05"),
]


@pytest.mark.parametrize(("place", "day", "rise", "fall"), EPHEMERIS)
def test_sunrise_and_sunset_are_those_of_an_ephemeris(place, day, rise, fall):
    """Within ten seconds, north and south, east and west."""
    sun = sun_day(day, *place)
    assert abs((sun.sunrise - utc(rise)).total_seconds()) < 10
    assert abs((sun.sunset - utc(fall)).total_seconds()) < 10


def test_times_of_day_are_local_and_run_over_midnight():
    """A window in Dhaka's time; one from evening to morning."""
    plan = schedule("06:00-10:00", "22:00-02:00", zone="Asia/Dhaka")
    assert plan.at(utc("2026-06-21T00:00")) is not None  # 06:00 in Dhaka
    assert plan.at(utc("2026-06-21T03:59:59")) is not None
    assert plan.at(utc("2026-06-21T04:00")) is None
    assert plan.at(utc("2026-06-21T19:59:59")) is not None
    assert openings(plan, "2026-06-20T12:00", 2, "Asia/Dhaka") == [
        "06-20 22:00..06-21 02:00",
        "06-21 06:00..06-21 10:00",
    ]


def test_clock_changes_move_windows_with_the_wall_clock():
    """The night of the change is an hour shorter or longer; a time that is left out comes later."""
    night = schedule("22:00-04:00", zone="Europe/Berlin")
    spring = there(night.after(utc("2026-03-28T12:00")))
    autumn = there(night.after(utc("2026-10-24T12:00")))
    assert spring.end - spring.start == timedelta(hours=5)
    assert autumn.end - autumn.start == timedelta(hours=7)
    gap = schedule("02:10-02:20", zone="Europe/Berlin")
    assert openings(gap, "2026-03-29T00:00", 2, "Europe/Berlin") == [
        "03-29 03:10..03-29 03:20",
        "03-30 02:10..03-30 02:20",
    ]
    twice = there(gap.after(utc("2026-10-24T12:00")))  # from the first 02:10 to the second 02:20
    assert twice.end - twice.start == timedelta(minutes=70)


def test_windows_that_touch_are_one():
    """A whole day has no seam at midnight."""
    plan = schedule("00:00-24:00")
    around = plan.at(utc("2026-06-21T23:59:59"))
    assert around is not None
    assert around.end > utc("2026-06-22T12:00")
    joined = there(schedule("06:00-08:00", "08:00-09:00").after(utc("2026-06-21T00:00")))
    assert (joined.end - joined.start, joined.text) == (
        timedelta(hours=3),
        "06:00-08:00, 08:00-09:00",
    )


def test_offsets_from_the_sun_follow_the_year():
    """Dusk in Dhaka in June and December."""
    plan = schedule("sunset-00:30..sunset+02:00", zone="Asia/Dhaka", place=DHAKA)
    assert openings(plan, "2026-06-21T00:00", 1, "Asia/Dhaka") == ["06-21 18:18..06-21 20:48"]
    assert openings(plan, "2026-12-21T00:00", 1, "Asia/Dhaka") == ["12-21 16:46..12-21 19:16"]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("20:00..sunset", "12-21 none"),  # the sun has set before: not that day, nor 21 hours long
        ("20:00..sunrise", "12-21 20:00..12-22 09:18"),
        ("sunset..20:00", "12-21 15:12..12-21 20:00"),
        ("sunset..06:00", "12-21 15:12..12-22 06:00"),
        ("03:00..sunrise", "12-21 03:00..12-21 09:18"),
        ("sunset..sunrise", "12-21 15:12..12-22 09:18"),
        ("sunrise..sunset", "12-21 09:18..12-21 15:12"),
    ],
)
def test_times_and_the_sun_mix_by_morning_and_evening(window, expected):
    """From an evening to a morning passes midnight; nothing else with the sun does."""
    plan = schedule(window, zone="Europe/Oslo", place=(59.91, 10.75))
    opening = there(plan.after(utc("2026-12-20T23:00")))
    local = opening.start.astimezone(ZoneInfo("Europe/Oslo"))
    if expected.endswith("none"):
        assert local.month < 12  # next spring
    else:
        assert openings(plan, "2026-12-20T23:00", 1, "Europe/Oslo") == [expected]


def test_polar_day_is_all_day_and_polar_night_all_night():
    """Daylight has no end in June and does not come in December; dusk is then the lowest sun."""
    light = schedule("sunrise..sunset", place=NORTH)
    dark = schedule("sunset..sunrise", place=NORTH)
    hours = [utc("2026-06-10T00:00") + timedelta(hours=n) for n in range(240)]
    assert all(light.at(hour) and not dark.at(hour) for hour in hours)
    hours = [utc("2026-12-10T00:00") + timedelta(hours=n) for n in range(240)]
    assert all(dark.at(hour) and not light.at(hour) for hour in hours)
    assert there(light.after(utc("2026-12-10T00:00"))).start.date() == date(2027, 1, 17)
    dusk = schedule("sunset-00:30..sunset+01:00", place=NORTH)
    assert openings(dusk, "2026-06-20T12:00", 1) == ["06-20 22:11..06-20 23:41"]


def test_every_moment_of_a_year_agrees_with_the_wall_clock():
    """What is open at a moment is what a clock on the wall says, but for the hours of a change."""
    plan = schedule("06:30-10:00", "21:00-01:15", zone="America/New_York")
    zone = ZoneInfo("America/New_York")
    for step in range(0, 365 * 24 * 60, 13):
        moment = utc("2026-01-01T00:00") + timedelta(minutes=step)
        wall = moment.astimezone(zone)
        minute = wall.hour * 60 + wall.minute
        expected = 390 <= minute < 600 or minute >= 1260 or minute < 75
        if (wall.month, wall.day, wall.hour) == (11, 1, 1):
            continue  # 01:00 to 01:15 comes twice
        assert (plan.at(moment) is not None) == expected, wall
