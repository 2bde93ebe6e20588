"""How the device is: read from the kernel's own files; what a machine lacks is null."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from edge import __version__
from edge.config import Config
from edge.errors import OutboxError
from edge.messages.base import SCHEMA_VERSION, encode
from edge.messages.device import (
    ConfigState,
    HealthSummary,
    Info,
    Present,
    RunningModel,
    Software,
    State,
)
from edge.messages.health import (
    BrokerHealth,
    ClockHealth,
    Frames,
    Health,
    OutboxHealth,
    RequestHealth,
    Timings,
)
from edge.messages.sighting import Location, Sighting
from edge.outbox.outbox import Depth, Outbox
from edge.outbox.retime import retimed
from edge.outbox.rows import Kind
from edge.outbox.writer import Writer
from edge.system.board import read, temperature, throttled
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.identity import boot_id, device_id


class Reporter:
    """Writes the messages in which the device speaks of itself."""

    def __init__(
        self,
        config: Config,
        model: RunningModel,
        outbox: Outbox,
        writer: Writer,
        counters: Counters,
        clock: Clock,
        root: Path = Path("/"),
        where: Callable[[], Location | None] | None = None,
        configured: Callable[[], ConfigState | None] = lambda: None,
        verbs: Callable[[], tuple[str, ...]] = tuple,
        installation: str = "",
    ) -> None:
        self._installation = installation
        self._where = where or (lambda: place(config))
        self._config, self.model = config, model
        self._outbox, self._writer, self._counters = outbox, writer, counters
        self._started, self._started_monotonic = clock.since_boot(), clock.monotonic()
        self._clock, self._root = clock, root
        self._configured, self._verbs = configured, verbs
        self._boot = boot_id(root)

    def info(self, protocol: str) -> bytes:
        """Give the retained description for a connection over this MQTT version."""
        config, quality = self._config, self._clock.quality()
        booted = self._clock.booted()
        return encode(
            Info(
                device=device_id(config),
                name=config.device.name or device_id(config),
                installation=self._installation,
                boot=self._boot,
                started=booted + timedelta(seconds=self._started),
                clock=quality,
                booted=booted,
                software=Software(
                    name="wheatear", version=__version__, python=platform.python_version()
                ),
                model=self.model,
                camera=str(config.camera.__struct_config__.tag),
                protocol=protocol,
                location=self._where(),
                config=self._configured(),
                requests=self._verbs(),
                capabilities=_capabilities(config),
                schemas=dict.fromkeys(("info", "state", "sighting", "health"), SCHEMA_VERSION),
            )
        )

    def state(self) -> bytes:
        """Give the retained state."""
        now, latest = self._clock.now(), self._writer.latest
        try:
            hours, depth = self._outbox.hours(now), self._outbox.depth()
            lives = self._outbox.lives()
        except OutboxError:
            hours, depth, lives = (), Depth(0, 0), ()
        problems = self._counters.problems()
        return encode(
            State(
                device=device_id(self._config),
                time=now,
                latest=self._righted(latest) if latest else None,
                hours=hours,
                present=tuple(
                    Present(label=one.label, event=one.event, since=one.since)
                    for one in map(self._righted, lives)
                ),
                health=HealthSummary(
                    ok=not problems,
                    problems=problems,
                    waiting=depth.waiting,
                    asleep=self._counters.noted("asleep"),
                    lost=self._outbox.dropped[Kind.SIGHTING]
                    + self._outbox.lost
                    + self._counters["sightings_lost"],
                ),
            )
        )

    def _righted(self, sighting: Sighting) -> Sighting:
        """Give a sighting with the right time if the clock was set since."""
        if self._clock.quality() != "synced":
            return sighting
        return retimed(sighting, self._boot, self._clock.booted()) or sighting

    def health(self, milliseconds: Timings) -> Health:
        """Measure."""
        count, quality = self._counters, self._clock.quality()
        try:
            depth = self._outbox.depth()
        except OutboxError:
            depth = Depth(0, 0)
        dropped = self._outbox.dropped
        return Health(
            device=device_id(self._config),
            boot=self._boot,
            time=self._clock.now(),
            uptime_seconds=round(self._clock.monotonic() - self._started_monotonic, 3),
            clock=quality,
            boot_seconds=round(self._clock.since_boot(), 3),
            clock_health=self._clock_health(),
            temperature_celsius=temperature(self._root),
            throttled=throttled(self._root),
            memory_available_bytes=read(self._root / "proc/meminfo", _available),
            process_bytes=read(
                self._root / "proc/self/statm",
                lambda text: int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            ),
            disk_free_bytes=_free(self._config.outbox.path.parent),
            frames=Frames(
                captured=count["frames_captured"],
                classified=count["frames_classified"],
                skipped=count["frames_skipped"],
                bad=count["frames_bad"],
                idle=count["frames_idle"],
                limited=count["frames_limited"],
            ),
            milliseconds=milliseconds,
            outbox=OutboxHealth(
                waiting=depth.waiting,
                bytes=depth.bytes,
                sightings=self._outbox.appended,
                dropped_images=dropped[Kind.IMAGE],
                dropped_health=dropped[Kind.HEALTH],
                dropped_sightings=dropped[Kind.SIGHTING],
                salvaged=self._outbox.salvaged,
                lost=self._outbox.lost,
            ),
            broker=BrokerHealth(
                connects=count["connects"],
                failures=count["broker_failures"],
                denied=count["denied"],
                delivered=count["delivered"],
            ),
            errors=count.errors(),
            requests=RequestHealth(
                received=count["requests"],
                carried_out=count["requests_carried_out"],
                dropped=count["requests_dropped"],
                refused=count["requests_refused"],
            ),
            asleep=count.noted("asleep"),
        )

    def _clock_health(self) -> ClockHealth:
        clock, errors = self._clock, self._clock.errors()
        return ClockHealth(
            estimated_error_seconds=errors.estimated,
            max_error_seconds=errors.largest,
            steps=clock.steps,
            last_step_seconds=clock.last_step_seconds,
            retimed=self._counters["retimed"],
        )


def _capabilities(config: Config) -> tuple[str, ...]:
    able = (("image", config.images.send), ("inbox", config.inbox.send))
    return tuple(name for name, on in able if on)


def place(config: Config) -> Location | None:
    """Give where the configuration says that the camera stands."""
    where = config.device.location
    if where is None:
        return None
    return Location(lat=where.lat, lon=where.lon, alt=where.alt, source="config")


def _available(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemAvailable")


def _free(folder: Path) -> int | None:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
