"""Where the camera is, by a GPS receiver: a client of gpsd.

Speaks gpsd's JSON over TCP (gpsd_json(5), protocol 3): asks to be told, reads ``TPV`` reports.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import socket
import threading
from collections.abc import Callable
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from edge.clock import Clock, SystemClock
from edge.config import Gps as GpsConfig
from edge.counters import Backoff, Counters, Episode
from edge.errors import GpsError
from edge.messages import Location

log = logging.getLogger(__name__)

_WATCH = b'?WATCH={"enable":true,"json":true}\n'
_MAX_LINE = 65_536
"""Bytes of a report; gpsd keeps to 10,240 (GPS_JSON_RESPONSE_MAX)."""
_TIMEOUT_SECONDS = 5.0


class Report(msgspec.Struct, frozen=True):
    """A report of gpsd; of those that are no ``TPV`` only the class counts."""

    kind: str = msgspec.field(name="class", default="")
    device: str = ""
    mode: int = 0
    """0, 1: no fix; 2: without height; 3: with height."""
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    alt_msl: float | None = msgspec.field(name="altMSL", default=None)
    """Metres above the sea."""
    alt_hae: float | None = msgspec.field(name="altHAE", default=None)
    """Metres above the ellipsoid, which lies up to 105 m above or below the sea."""
    alt: float | None = None
    """What gpsd before 3.20 says in place of both."""
    eph: float | None = None
    """Estimated horizontal error, metres."""


_decoder = msgspec.json.Decoder(Report)


def fix(report: Report) -> Location | None:
    """Give the place a report tells of; None where it has no fix."""
    if report.kind != "TPV" or report.mode < 2 or report.lat is None or report.lon is None:
        return None
    heights = (report.alt_msl, report.alt_hae, report.alt) if report.mode >= 3 else ()
    height = next((one for one in heights if one is not None and math.isfinite(one)), None)
    return Location(
        lat=report.lat, lon=report.lon, alt=height, accuracy_metres=report.eph, source="gps"
    )


class Gps:
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
        self._trouble = Episode("gps", counters, log)
        self._backoff = Backoff(retry_min_seconds, 60.0)
        self._fix: tuple[Location, float] | None = None
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="gps", daemon=True)

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
        """Give the newest fix; None where it is older than configured, or there was none."""
        newest = self._fix
        if newest is None or self._clock.monotonic() - newest[1] > self._config.max_age_seconds:
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
                # gpsd says nothing while its receiver is silent; the fix grows old by itself.
                connection.settimeout(None)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                with connection.makefile("rb") as lines:
                    while not self._stop.is_set() and (line := lines.readline(_MAX_LINE)):
                        self._take(line)
        except OSError as error:
            raise GpsError(
                f"gpsd at {host}:{port}: {error.strerror or error}; `cgps {host}:{port}` shows "
                "whether it runs there and has a receiver"
            ) from error
        finally:
            self._socket = None
        raise GpsError(f"gpsd at {host}:{port} closed the connection; look at its log")

    def _take(self, line: bytes) -> None:
        try:
            report = _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise GpsError(
                f"{self._config.host}:{self._config.port} does not speak as gpsd does ({error}: "
                f"{line[:60]!r}); set gps.host and gps.port"
            ) from error
        if self._config.device and report.device != self._config.device:
            return
        place = fix(report)
        if place is None:
            return
        self._trouble.recovered()
        self._backoff.reset()
        before, self._fix = self.where(), (place, self._clock.monotonic())
        if before is None:
            self._found()


def ask(config: GpsConfig, timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
    """Say where gpsd says that we are, in words, waiting so long for a fix. Raises GpsError."""
    clock, there, problems = SystemClock(), threading.Event(), Counters()
    with Gps(config, clock, problems, there.set) as gps:
        there.wait(timeout_seconds)
        place = gps.where()
    if place is not None:
        height = "" if place.alt is None else f", {place.alt:.1f} m high"
        error = "" if place.accuracy_metres is None else f", within {place.accuracy_metres:.1f} m"
        return f"{place.lat:.6f}, {place.lon:.6f}{height}{error}"
    for problem in problems.problems():
        raise GpsError(problem.removeprefix("gps: "))
    return f"gpsd answers; no fix within {timeout_seconds:g} s"
