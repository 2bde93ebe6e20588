"""What the device is, and what it sees: ``info`` and ``state``."""

from __future__ import annotations

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
from edge.messages.sighting import Location, Sighting
from edge.outbox.outbox import Depth, Outbox
from edge.outbox.retime import retimed
from edge.outbox.rows import Kind
from edge.outbox.writer import Writer
from edge.system.clock import Clock
from edge.system.counters import Counters
from edge.system.identity import boot_id, device_id
from edge.system.place import place


class Reporter:
    """Writes the retained messages in which the device speaks of itself."""

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
        self._clock, self._started = clock, clock.since_boot()
        self._configured, self._verbs = configured, verbs
        self._boot = boot_id(root)

    def info(self, protocol: str) -> bytes:
        """The retained description for a connection over this MQTT version."""
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
        """The retained state."""
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
        """Correct a sighting's time if the clock was set since."""
        if self._clock.quality() != "synced":
            return sighting
        return retimed(sighting, self._boot, self._clock.booted()) or sighting


def _capabilities(config: Config) -> tuple[str, ...]:
    able = (("image", config.images.send), ("inbox", config.inbox.send))
    return tuple(name for name, on in able if on)
