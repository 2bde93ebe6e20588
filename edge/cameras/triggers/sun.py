"""Sunrise and sunset, by the equations of NOAA's solar calculator (after Meeus, "Astronomical
Algorithms", 2nd edition, chapters 25 and 28; https://gml.noaa.gov/grad/solcalc/calcdetails.html).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from math import acos, asin, cos, degrees, radians, sin, tan
from typing import NamedTuple

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_HORIZON = radians(-0.833)
"""Elevation of the sun's centre when its rim touches the horizon: radius and refraction."""
_ROUNDS = 5
"""The sun moves while it climbs to noon: each round works with where it is at the event itself."""


class SunDay(NamedTuple):
    """One day of the sun, in UTC."""

    sunrise: datetime
    noon: datetime
    sunset: datetime


def sun_day(day: date, lat: float, lon: float) -> SunDay:
    """The sun's day around `day` 12:00 local solar time, at degrees north and east.

    Where the sun does not set, sunrise and sunset are its lowest moments before and after noon
    (the day is whole); where it does not rise, both are noon (the day is empty). So they move
    without a jump into and out of polar day and night.

    Within 20 seconds of a full ephemeris up to 71 degrees of latitude; hills, height and the
    weather's refraction move the seen sunrise by minutes.
    """
    start = datetime.combine(day, time(12), UTC) - timedelta(minutes=4 * lon)
    noon = start
    for _ in range(2):
        noon = start - timedelta(minutes=_position(noon)[1])
    return SunDay(_event(start, noon, lat, -1), noon, _event(start, noon, lat, 1))


def _event(start: datetime, noon: datetime, lat: float, side: int) -> datetime:
    moment = noon
    for _ in range(_ROUNDS):
        declination, equation = _position(moment)
        sines = sin(radians(lat)) * sin(declination)
        cosines = max(1e-9, cos(radians(lat)) * cos(declination))  # 0 at the poles
        hour_angle = acos(max(-1.0, min(1.0, (sin(_HORIZON) - sines) / cosines)))
        moment = start + timedelta(minutes=side * 4 * degrees(hour_angle) - equation)
    return moment


def _position(moment: datetime) -> tuple[float, float]:
    """The sun's declination (radians) and the equation of time (minutes)."""
    t = (moment - _J2000) / timedelta(days=36525)  # Julian centuries
    longitude = radians(280.46646 + t * (36000.76983 + t * 0.0003032))
    anomaly = radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    eccentricity = 0.016708634 - t * (0.000042037 + t * 0.0000001267)
    centre = (
        sin(anomaly) * (1.914602 - t * (0.004817 + t * 0.000014))
        + sin(2 * anomaly) * (0.019993 - t * 0.000101)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * t)
    apparent = longitude + radians(centre - 0.00569 - 0.00478 * sin(node))
    arc_seconds = 21.448 - t * (46.815 + t * (0.00059 - t * 0.001813))
    obliquity = radians(23 + (26 + arc_seconds / 60) / 60 + 0.00256 * cos(node))
    declination = asin(sin(obliquity) * sin(apparent))
    y = tan(obliquity / 2) ** 2
    equation = (
        y * sin(2 * longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * longitude)
        - 0.5 * y * y * sin(4 * longitude)
        - 1.25 * eccentricity**2 * sin(2 * anomaly)
    )
    return declination, 4 * degrees(equation)
