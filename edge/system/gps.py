"""Where the camera is, by a GPS receiver: a client of gpsd.

Speaks gpsd's JSON over TCP (gpsd_json(5), protocol 3): asks to be told, reads ``TPV`` reports.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Self

import msgspec

from edge.config import Gps as GpsConfig
from edge.errors import GpsError
from edge.messages.sighting import Location
from edge.system.clock import Clock, SystemClock
from edge.system.counters import Backoff, Counters, Episode

log = logging.getLogger(__name__)

_WATCH = b'?WATCH={"enable":true,"json":true}\n'
_MAX_LINE = 65_536
"""Bytes of a report; gpsd keeps to 10,240 (GPS_JSON_RESPONSE_MAX)."""
_MAX_REST = 16
"""Times as much of a line is passed over; what follows counts as another line."""
_TIMEOUT_SECONDS = 5.0
_GREETINGS = 20
"""Lines of which one at least is a report, where gpsd speaks."""
_NAN = re.compile(r"([:,\[]\s*)[+-]?(?:nan|inf)\b")
"""Some versions print numbers that they do not know as C does."""
_HEIGHTS = ("altMSL", "altHAE", "alt")


class GpsReport(msgspec.Struct, frozen=True):
    """What a report of gpsd says that makes sense; of those that are no ``TPV`` only the class."""

    kind: str
    device: str = ""
    mode: int = 0
    """0, 1: no fix; 2: without height; 3: with height."""
    lat: float | None = None
    lon: float | None = None
    alt: float | None = None
    """Metres, above the sea where gpsd knows that, else above the ellipsoid, which lies up to 105 m
    above or below it."""
    eph: float | None = None
    """Estimated horizontal error, metres."""
    odd: bool = False
    """It says that it has a fix, and its place makes no sense."""


def parse(line: bytes) -> GpsReport:
    """Read a report, also one with NaN, control characters or bytes that are not UTF-8.

    Raises:
        ValueError: no JSON object with a class.
    """
    text = _NAN.sub(r"\1null", line.decode("utf-8", "replace"))
    try:
        raw = json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("class"), str):
        raise ValueError("no object with a class")
    device, mode = raw.get("device"), _number(raw, "mode", 0, 3)
    report = GpsReport(
        kind=raw["class"],
        device=device if isinstance(device, str) else "",
        mode=int(mode or 0),
        lat=_number(raw, "lat", -90, 90),
        lon=_number(raw, "lon", -180, 180),
        # "alt" is what gpsd before 3.20 says in place of both.
        alt=next((a for k in _HEIGHTS if (a := _number(raw, k, -500, 20_000)) is not None), None),
        eph=_number(raw, "eph", 0, 100_000),
    )
    senseless = report.lat is None or report.lon is None or report.lat == report.lon == 0
    if report.kind == "TPV" and report.mode >= 2 and senseless:
        report = msgspec.structs.replace(report, odd=True)
    return report


def fix(report: GpsReport) -> Location | None:
    """The place in a report; None where it has no fix."""
    if report.kind != "TPV" or report.mode < 2 or report.odd:
        return None
    assert report.lat is not None
    assert report.lon is not None
    return Location(
        lat=report.lat,
        lon=report.lon,
        alt=report.alt if report.mode >= 3 else None,
        accuracy_metres=report.eph,
        source="gps",
    )


def _number(raw: dict[str, Any], name: str, least: float, most: float) -> float | None:
    """A number within bounds; None for anything else."""
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if least <= value <= most else None  # NaN is within none


class GpsReceiver:
    """Keeps the newest fix, on a thread of its own, through every failure of gpsd.

    `found` is called when a fix is there after there was none.
    """

    def __init__(
        self,
        config: GpsConfig,
        clock: Clock,
        counters: Counters,
        found: Callable[[], None] = lambda: None,
        retry_min_seconds: float = 1.0,
    ) -> None:
        self._config, self._clock, self._found = config, clock, found
        self._counters = counters
        self._trouble = Episode("gps", counters, log)
        self._backoff = Backoff(retry_min_seconds, 60.0)
        self._fix: tuple[Location, float] | None = None
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = counters.crew.worker("gps", self._run, self._stop.is_set)

    def __enter__(self) -> Self:
        if self._config.enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; doing so twice is fine."""
        self._stop.set()
        if (open_socket := self._socket) is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
        if self._thread.is_alive():
            self._thread.join(2 * _TIMEOUT_SECONDS)

    def where(self) -> Location | None:
        """The newest fix; None where it is older than configured, or there was none."""
        newest = self._fix
        if newest is None or self._clock.since_boot() - newest[1] > self._config.max_age_seconds:
            return None
        return newest[0]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except GpsError as error:
                if not self._stop.is_set():
                    self._trouble.failed(error)
            except Exception as error:  # a bug must not end the watch for good
                log.exception("the GPS thread failed; it goes on")
                self._trouble.failed(error)
            self._stop.wait(self._backoff.next(random.random()))

    def _listen(self) -> None:
        """Take reports until the connection ends. Raises GpsError."""
        host, port = self._config.host, self._config.port
        try:
            with socket.create_connection((host, port), _TIMEOUT_SECONDS) as connection:
                self._socket = connection
                connection.sendall(_WATCH)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._hear(connection)
        except OSError as error:
            raise GpsError(
                f"gpsd at {host}:{port}: {error.strerror or error}; `cgps {host}:{port}` shows "
                "whether it runs there and has a receiver"
            ) from error
        finally:
            self._socket = None
        raise GpsError(f"gpsd at {host}:{port} closed the connection; look at its log")

    def _hear(self, connection: socket.socket) -> None:
        """Take lines. A line that is no report is left out and counted, and the next one heard.

        Raises:
            GpsError: none of its first lines is one. gpsd greets with a report at once.
            OSError: the connection broke.
        """
        understood, odd, last = False, 0, b""
        with connection.makefile("rb") as lines, contextlib.suppress(TimeoutError):
            while not self._stop.is_set() and (line := _line(lines)) is not None:
                try:
                    odd_place = self._take(parse(line))
                except ValueError:
                    if not line.strip():
                        continue
                    odd, last = odd + 1, line
                    if understood:
                        self._leave_out(line, odd)
                    elif odd >= _GREETINGS:
                        break
                    continue
                if odd_place:
                    odd += 1
                    self._leave_out(line, odd)
                if not understood:
                    understood = True
                    # gpsd says nothing while its receiver is silent; the fix grows old by itself.
                    connection.settimeout(None)
        if not understood and not self._stop.is_set():
            said = f"its last line: {last[:60]!r}" if odd else "it says nothing"
            raise GpsError(
                f"{self._config.host}:{self._config.port} does not speak as gpsd does ({said}); "
                "set gps.host and gps.port"
            )

    def _leave_out(self, line: bytes, count: int) -> None:
        """Count a line that makes no sense; log the first of a connection."""
        error = GpsError(f"gpsd sent a line that makes no sense; left out: {line[:200]!r}")
        self._counters.error(error)
        if count == 1:
            log.warning("%s", error)

    def _take(self, report: GpsReport) -> bool:
        """Take the place of a report; tell whether it has one that makes no sense."""
        if self._config.device and report.device != self._config.device:
            return False
        place = fix(report)
        if place is None:
            return report.odd
        self._trouble.recovered()
        self._backoff.reset()
        before, self._fix = self.where(), (place, self._clock.since_boot())
        if before is None:
            self._found()
        return False


def _line(lines: BinaryIO) -> bytes | None:
    """Read a line; of one that is too long the beginning. None at the end."""
    line = rest = lines.readline(_MAX_LINE)
    for _ in range(_MAX_REST):
        if not rest or rest.endswith(b"\n"):
            break
        rest = lines.readline(_MAX_LINE)
    return line or None


def ask(config: GpsConfig, timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
    """Wait for a fix of gpsd and describe it in words. Raises GpsError where none comes in time."""
    clock, there, problems = SystemClock(), threading.Event(), Counters()
    with GpsReceiver(config, clock, problems, there.set) as gps:
        there.wait(timeout_seconds)
        place = gps.where()
    if place is not None:
        height = "" if place.alt is None else f", {place.alt:.1f} m high"
        error = "" if place.accuracy_metres is None else f", within {place.accuracy_metres:.1f} m"
        return f"{place.lat:.6f}, {place.lon:.6f}{height}{error}"
    for problem in problems.problems():
        raise GpsError(problem.removeprefix("gps: "))
    return f"gpsd answers; no fix within {timeout_seconds:g} s"
